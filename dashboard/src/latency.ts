// Three times and how they spread.
import { Bars } from "./charts";
import { byId, el, put } from "./dom";
import { plural, seconds } from "./format";
import { quantile, type History } from "./history";
import type { LatencyKind } from "./model";

const BUCKETS_LEAST = 10;
const QUANTILES = [["p50", 0.5], ["p95", 0.95], ["p99", 0.99]] as const;

class Panel {
    private readonly values = QUANTILES.map(() => el("dd", {}, "–"));
    private readonly note = el("p", { class: "note" }, "no values yet");
    private readonly bars: Bars;

    constructor(private readonly kind: LatencyKind, name: string, color: string) {
        const parent = byId(`latency-${kind}`);
        parent.append(el("dl", { class: "quantiles" }, ...QUANTILES.map(([label], i) => el("div", {}, el("dt", {}, label), this.values[i] as HTMLElement))));
        this.bars = new Bars(parent, name, color);
        parent.append(this.note);
    }

    restyle(): void {
        this.bars.restyle();
    }

    show(h: History, window: number): void {
        const ring = h.latency[this.kind];
        const counts = ring.window(window);
        QUANTILES.forEach(([, q], i) => put(this.values[i] as HTMLElement, seconds(quantile(ring.edges, counts, q))));
        const n = counts.reduce((s, c) => s + c, 0);
        put(this.note, n > 0 ? `${plural(n, "value")} in the time shown` : "no values in the time shown");
        const [first, end] = ring.extent(BUCKETS_LEAST);
        if (end > first)
            this.bars.show(ring.edges.slice(first, end), counts.slice(first, end), first > 0 ? (ring.edges[first - 1] as number) : 0);
    }
}

export class Latency {
    private readonly panels = [
        new Panel("handshake", "Handshake time", "--full"),
        new Panel("connect", "Time to connect to the backend", "--resumed"),
        new Panel("firstByte", "Time to the backend's first byte", "--in"),
    ];

    restyle(): void {
        for (const p of this.panels)
            p.restyle();
    }

    show(h: History, window: number): void {
        for (const p of this.panels)
            p.show(h, window);
    }
}
