// The six numbers one looks at first.
import { el, put, set } from "./dom";
import { age, count, percent, perSecond, rate, rateParts, seconds } from "./format";
import { quantile, type History } from "./history";
import type { Level } from "./verdict";

interface Tile {
    root: HTMLElement;
    big: Text;
    unit: HTMLElement;
    sub: HTMLElement;
}

function tile(parent: HTMLElement, label: string, color?: string): Tile {
    const big = document.createTextNode("–");
    const unit = el("span", { class: "unit" });
    const sub = el("p", { class: "sub" });
    const value = el("p", { class: "big" });
    value.append(big, unit);
    const root = el("div", { class: "stat", role: "group", "aria-label": label },
        el("p", { class: "label" }, color ? el("i", { class: "key", "data-color": color }) : null, label), value, sub);
    parent.append(root);
    return { root, big, unit, sub };
}

function show(t: Tile, value: string, unit: string, sub: string, level: Level = "none"): void {
    put(t.big, value);
    put(t.unit, unit);
    put(t.sub, sub);
    set(t.root, { "data-level": level });
}

export class Stats {
    private readonly out: Tile;
    private readonly in: Tile;
    private readonly sessions: Tile;
    private readonly handshakes: Tile;
    private readonly failed: Tile;
    private readonly time: Tile;

    constructor(parent: HTMLElement) {
        this.out = tile(parent, "To clients", "--out");
        this.in = tile(parent, "From clients", "--in");
        this.sessions = tile(parent, "Sessions");
        this.handshakes = tile(parent, "Handshakes");
        this.failed = tile(parent, "Failed handshakes");
        this.time = tile(parent, "Handshake time, p95");
    }

    show(h: History, window: number): void {
        const s = h.last;
        if (!s)
            return;
        const from = h.rates.since("time", s.time - window);
        const of = (name: "in" | "out" | "full" | "resumed" | "failed" | "sessions") => h.rates.slice(name, from);
        const sumOf = (column: (number | null)[]) => column.reduce<number>((n, v) => n + (v ?? 0), 0);
        const peak = (column: (number | null)[]) => column.reduce<number>((n, v) => Math.max(n, v ?? 0), 0);
        const last = (name: "in" | "out" | "full" | "resumed") => h.rates.at(name, -1);
        const span = age(Math.min(window, s.time - (h.rates.at("time", from) ?? s.time)));

        show(this.out, ...rateParts(last("out")), `peak ${rate(peak(of("out")))}`);
        show(this.in, ...rateParts(last("in")), `peak ${rate(peak(of("in")))}`);
        show(this.sessions, count(s.totals.sessions), "", `${count(s.totals.sessionsTotal)} since the start`);
        const full = last("full");
        const resumed = last("resumed");
        const good = sumOf(of("full")) + sumOf(of("resumed"));
        show(this.handshakes, perSecond(full === null || resumed === null ? null : full + resumed), "/s",
            good > 0 ? `${percent(sumOf(of("resumed")) / good)} resumed` : "none lately");
        const bad = sumOf(of("failed"));
        const share = bad + good > 0 ? bad / (bad + good) : 0;
        show(this.failed, percent(share).replace(/\s%$/, ""), "%", `${count(bad)} in ${span}`, bad >= 20 && share > 0.1 ? "warn" : "none");
        const counts = h.latency.handshake.window(window);
        const [value, unit] = seconds(quantile(h.latency.handshake.edges, counts, 0.95)).split("\u202f");
        show(this.time, value ?? "–", unit ?? "", `p50 ${seconds(quantile(h.latency.handshake.edges, counts, 0.5))}`);
    }
}
