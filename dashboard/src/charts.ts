// Charts over time and bars of a histogram, drawn by uPlot in the colours of the theme.
import uPlot from "uplot";
import { el, put, set } from "./dom";
import { clock, edge } from "./format";
import { quantile, type Mark } from "./history";

export interface Series {
    label: string;
    color: string; // name of a CSS variable
    text(v: number | null): string;
    below?: boolean; // drawn under the axis
    dash?: boolean;
}

const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
const HEIGHT = 190;

export const css = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function translucent(color: string, alpha: number): string {
    const c = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(color);
    return c ? `rgba(${c.slice(1).map((x) => parseInt(x as string, 16)).join(",")},${alpha})` : color;
}

function axes(text: (v: number) => string, width: number, time: boolean): uPlot.Axis[] {
    const line = { stroke: css("--grid"), width: 1 };
    const common = { stroke: css("--muted"), font: FONT, ticks: { show: false }, grid: line };
    return [
        {
            ...common,
            grid: { show: false },
            size: 24,
            gap: 4,
            space: 64,
            ...(time ? { values: (_u: uPlot, at: number[], _i: number, _s: number, step: number) => at.map((t) => (step < 60 ? clock(t) : clock(t).slice(0, 5))) } : {}),
        },
        { ...common, size: width, gap: 6, space: 34, values: (_u: uPlot, at: number[]) => at.map((v) => text(Math.abs(v))) },
    ];
}

/** Rounds up to 1, 2 or 5 times a power of ten, so that the scale does not tremble. */
export function roundUp(v: number): number {
    if (v <= 0)
        return 1;
    const p = 10 ** Math.floor(Math.log10(v));
    const m = v / p;
    return p * (m <= 1 ? 1 : m <= 2 ? 2 : m <= 5 ? 5 : 10);
}

/** Each column stands on those behind it, so that what is drawn later lies in front of what is higher. */
export function stacked(columns: (number | null)[][]): (number | null)[][] {
    const out = columns.map((c) => c.slice());
    for (let i = out.length - 2; i >= 1; i--) {
        const above = out[i] as (number | null)[];
        const under = out[i + 1] as (number | null)[];
        for (let k = 0; k < above.length; k++) {
            const a = above[k] ?? null;
            const b = under[k] ?? null;
            above[k] = a === null || b === null ? null : a + b;
        }
    }
    return out;
}

interface TimeChartOptions {
    name: string; // for people who do not see it
    axis(v: number): string;
    axisWidth: number;
    least: number; // the scale reaches at least this far
    height?: number;
    stacked?: boolean;
    marks?: readonly Mark[];
}

/** Lines over time with a legend that shows the newest values, or those under the cursor; the cursor also moves by arrow keys. */
export class TimeChart {
    private plot: uPlot | null = null;
    private data: (number | null)[][] = [];
    private window = 300;
    private readonly box: HTMLElement;
    private readonly values: HTMLElement[] = [];
    private readonly when: HTMLElement;
    private width = 0;

    constructor(parent: HTMLElement, private readonly series: readonly Series[], private readonly options: TimeChartOptions) {
        const legend = el("div", { class: "legend" });
        for (const s of series) {
            const value = el("span", { class: "value" }, "–");
            this.values.push(value);
            legend.append(el("span", { class: "item" }, el("i", { class: "key", "data-color": s.color }), el("span", { class: "label" }, s.label), value));
        }
        this.when = el("span", { class: "when" });
        legend.append(this.when);
        this.box = el("div", { class: "plot", tabindex: "0", role: "slider", "aria-label": options.name, "aria-orientation": "horizontal" });
        this.box.style.height = `${options.height ?? HEIGHT}px`;
        parent.append(legend, this.box);
        this.box.addEventListener("keydown", (e) => this.onKey(e));
        this.box.addEventListener("blur", () => this.plot?.setCursor({ left: -10, top: -10 }));
        new ResizeObserver(() => this.fit()).observe(this.box);
    }

    private fit(): void {
        const w = Math.floor(this.box.clientWidth);
        if (w > 0 && w !== this.width) {
            this.width = w;
            if (this.plot)
                this.plot.setSize({ width: w, height: this.options.height ?? HEIGHT });
            else
                this.make();
        }
    }

    /** After a change of theme. */
    restyle(): void {
        if (this.plot)
            this.make();
    }

    private range(): [number, number] {
        let low = 0;
        let high = this.options.least;
        this.series.forEach((s, i) => {
            for (const v of this.data[i + 1] ?? [])
                if (v !== null && s.below)
                    low = Math.min(low, v);
                else if (v !== null)
                    high = Math.max(high, v);
        });
        const below = this.series.some((s) => s.below);
        return [below ? -roundUp(Math.max(-low, this.options.least)) : 0, roundUp(high * 1.02)];
    }

    private make(): void {
        this.plot?.destroy();
        const o: uPlot.Options = {
            width: this.width,
            height: this.options.height ?? HEIGHT,
            legend: { show: false },
            padding: [8, 8, 0, 0],
            cursor: { y: false, points: { size: 7 }, drag: { x: false, y: false, setScale: false }, sync: { key: "time" } },
            scales: {
                x: { time: true, range: () => { const end = (this.data[0]?.at(-1) as number | undefined) ?? Date.now() / 1000; return [end - this.window, end]; } },
                y: { range: () => this.range() },
            },
            axes: axes(this.options.axis, this.options.axisWidth, true),
            series: [
                {},
                ...this.series.map((s): uPlot.Series => {
                    const color = css(s.color);
                    return {
                        label: s.label,
                        stroke: color,
                        width: 1.5,
                        spanGaps: false,
                        points: { show: false },
                        fill: s.dash ? undefined : translucent(color, this.options.stacked ? 0.5 : 0.16),
                        dash: s.dash ? [4, 3] : undefined,
                    };
                }),
            ],
            hooks: { draw: [(u) => this.drawMarks(u)], setCursor: [() => this.legend()] },
        };
        this.plot = new uPlot(o, this.data as uPlot.AlignedData, this.box);
        for (const i of this.box.parentElement?.querySelectorAll<HTMLElement>("i.key") ?? [])
            i.style.background = css(i.dataset.color as string);
    }

    private drawMarks(u: uPlot): void {
        const { ctx, bbox } = u;
        ctx.save();
        ctx.strokeStyle = ctx.fillStyle = css("--muted");
        ctx.textAlign = "left";
        ctx.font = FONT.replace("12px", `${11 * devicePixelRatio}px`);
        ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
        for (const m of this.options.marks ?? []) {
            const x = Math.round(u.valToPos(m.time, "x", true));
            if (x < bbox.left || x > bbox.left + bbox.width)
                continue;
            ctx.beginPath();
            ctx.moveTo(x, bbox.top);
            ctx.lineTo(x, bbox.top + bbox.height);
            ctx.stroke();
            const wide = ctx.measureText(m.text).width;
            ctx.fillText(m.text, Math.min(x + 4, bbox.left + bbox.width - wide), bbox.top + 11 * devicePixelRatio);
        }
        ctx.restore();
    }

    private plain: (number | null)[][] = [];

    /** Columns: times, then one for each series (positive, also of those below the axis). */
    show(columns: (number | null)[][], window: number): void {
        this.plain = columns;
        this.window = window;
        this.data = this.options.stacked ? stacked(columns) : columns.map((c, i) => (this.series[i - 1]?.below ? c.map((v) => (v === null ? null : -v)) : c));
        this.fit();
        this.plot?.setData(this.data as uPlot.AlignedData);
        this.legend();
    }

    private legend(): void {
        const last = (this.plain[0]?.length ?? 0) - 1;
        const idx = this.plot?.cursor.idx ?? null;
        const at = idx !== null && idx >= 0 && idx <= last ? idx : last;
        this.series.forEach((s, i) => put(this.values[i] as HTMLElement, s.text(this.plain[i + 1]?.[at] ?? null)));
        put(this.when, idx !== null && at !== last ? clock(this.plain[0]?.[at] ?? 0) : "");
        this.announce(at, last);
    }

    private announcedAt = 0;

    /** Values for those who listen instead of looking; not more often than one can listen. */
    private announce(at: number, last: number): void {
        if (last < 0 || (at === last && Date.now() - this.announcedAt < 5000 && this.box.hasAttribute("aria-valuetext")))
            return;
        this.announcedAt = Date.now();
        const time = this.plain[0]?.[at] ?? 0;
        const words = this.series.map((s, i) => `${s.label} ${s.text(this.plain[i + 1]?.[at] ?? null)}`).join(", ");
        set(this.box, { "aria-valuemin": 0, "aria-valuemax": last, "aria-valuenow": at, "aria-valuetext": `${clock(time)}: ${words}` });
    }

    private onKey(e: KeyboardEvent): void {
        const u = this.plot;
        const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -30, PageDown: 30, Home: -Infinity, End: Infinity }[e.key];
        const last = (this.plain[0]?.length ?? 0) - 1;
        if (!u || step === undefined || last < 0)
            return;
        e.preventDefault();
        const from = u.cursor.idx ?? last;
        const first = u.valToIdx(u.scales.x?.min ?? 0);
        const idx = Math.max(first, Math.min(last, from + step));
        u.setCursor({ left: u.valToPos(u.data[0][idx] as number, "x"), top: 10 });
    }
}

/** How values of a latency spread over its buckets, with lines where half, 95 and 99 of 100 lie below. */
export class Bars {
    private plot: uPlot | null = null;
    private readonly box: HTMLElement;
    private width = 0;
    private edges: readonly number[] = [];
    private shares: number[] = [];
    private floor = 0; // lower edge of the first bucket
    private marks: [string, number][] = [];

    constructor(parent: HTMLElement, private readonly name: string, private readonly color: string) {
        this.box = el("div", { class: "plot bars", role: "img", "aria-label": name });
        this.box.style.height = "130px";
        parent.append(this.box);
        new ResizeObserver(() => this.fit()).observe(this.box);
    }

    private fit(): void {
        const w = Math.floor(this.box.clientWidth);
        if (w > 0 && w !== this.width && this.edges.length > 0) {
            this.width = w;
            if (this.plot)
                this.plot.setSize({ width: w, height: 130 });
            else
                this.make();
        }
    }

    restyle(): void {
        if (this.plot)
            this.make();
    }

    private make(): void {
        this.plot?.destroy();
        const color = css(this.color);
        const [x, y] = axes((v) => `${Math.round(v * 100)} %`, 44, false) as [uPlot.Axis, uPlot.Axis];
        const edgeAt = (i: number) => (i >= 0 && i < this.edges.length ? edge(this.edges[i] as number) : "");
        this.plot = new uPlot({
            width: this.width,
            height: 130,
            legend: { show: false },
            padding: [16, 22, 0, 0],
            cursor: { show: false },
            scales: {
                x: { time: false, range: () => [-0.5, this.edges.length - 0.5] },
                y: { range: () => [0, Math.min(1, Math.max(0.1, Math.ceil(Math.max(0, ...this.shares) * 10) / 10))] },
            },
            axes: [
                // A bucket's upper edge is its right side.
                { ...x, space: 48, incrs: [1, 2, 3, 4, 6, 8], splits: (_u, _i, min, max, step) => { const out = []; for (let v = Math.ceil(min); v <= max; v += step) out.push(v + 0.5); return out; }, values: (_u, at) => at.map((v) => edgeAt(Math.round(v - 0.5))) },
                { ...y, space: 40 },
            ],
            series: [{}, { stroke: color, width: 0, fill: translucent(color, 0.75), points: { show: false }, paths: (uPlot.paths.bars as uPlot.Series.BarsPathBuilderFactory)({ size: [0.9, 60], radius: 0.15 }) }],
            hooks: { draw: [(u) => this.drawMarks(u)] },
        }, [this.edges.map((_, i) => i), this.shares], this.box);
    }

    private drawMarks(u: uPlot): void {
        const { ctx, bbox } = u;
        ctx.save();
        ctx.strokeStyle = ctx.fillStyle = css("--text");
        ctx.textAlign = "left";
        ctx.textBaseline = "alphabetic";
        ctx.font = FONT.replace("12px", `${11 * devicePixelRatio}px`);
        ctx.setLineDash([2 * devicePixelRatio, 2 * devicePixelRatio]);
        let free = -Infinity;
        for (const [text, pos] of this.marks) {
            const x = Math.round(u.valToPos(pos, "x", true));
            ctx.beginPath();
            ctx.moveTo(x, bbox.top);
            ctx.lineTo(x, bbox.top + bbox.height);
            ctx.stroke();
            const wide = ctx.measureText(text).width;
            const left = Math.min(x - wide / 2, bbox.left + bbox.width - wide);
            if (left < free)
                continue; // lines that close need no two names
            ctx.fillText(text, left, bbox.top - 4 * devicePixelRatio);
            free = left + wide + 4 * devicePixelRatio;
        }
        ctx.restore();
    }

    /** COUNTS in buckets with these upper EDGES; what never held a value at either end was removed by the caller. */
    show(edges: readonly number[], counts: readonly number[], floor: number): void {
        this.floor = floor;
        const all = counts.reduce((s, n) => s + n, 0);
        const newEdges = edges.length !== this.edges.length || edges[0] !== this.edges[0];
        this.edges = edges;
        this.shares = edges.map((_, i) => (all > 0 ? (counts[i] ?? 0) / all : 0));
        this.marks = [];
        for (const [text, q] of [["p50", 0.5], ["p95", 0.95], ["p99", 0.99]] as const) {
            const v = quantile(edges, counts, q, floor);
            if (v !== null)
                this.marks.push([text, this.position(v)]);
        }
        const top = this.shares.indexOf(Math.max(...this.shares));
        set(this.box, {
            "aria-label": all > 0
                ? `${this.name}: most values, ${Math.round((this.shares[top] as number) * 100)} %, between ${edge(top > 0 ? (edges[top - 1] as number) : floor)} and ${edge(edges[top] as number)}`
                : `${this.name}: no values yet`,
        });
        if (newEdges && this.plot)
            this.make();
        this.fit();
        this.plot?.setData([edges.map((_, i) => i), this.shares]);
    }

    /** Where a value lies on the axis of bucket numbers. */
    private position(v: number): number {
        const i = this.edges.findIndex((e) => v <= e);
        const low = i > 0 ? (this.edges[i - 1] as number) : this.floor;
        const high = this.edges[i] as number;
        return i - 0.5 + (Number.isFinite(high) && high > low ? (v - low) / (high - low) : 0);
    }
}

/** A small line without axes, for a row of a table. */
export function sparkline(canvas: HTMLCanvasElement, a: (number | null)[], b: (number | null)[], colors: [string, string], points: number): void {
    const ratio = devicePixelRatio;
    const w = canvas.clientWidth;
    const h = canvas.clientHeight;
    if (w === 0)
        return;
    if (canvas.width !== Math.round(w * ratio)) {
        canvas.width = Math.round(w * ratio);
        canvas.height = Math.round(h * ratio);
    }
    const ctx = canvas.getContext("2d");
    if (!ctx)
        return;
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, w, h);
    let top = 1;
    for (const v of a)
        top = Math.max(top, v ?? 0);
    for (const v of b)
        top = Math.max(top, v ?? 0);
    for (const [column, color] of [[a, colors[0]], [b, colors[1]]] as const) {
        ctx.strokeStyle = color;
        ctx.lineWidth = 1.25;
        ctx.beginPath();
        let open = false;
        column.forEach((v, i) => {
            const x = w - 1 - ((column.length - 1 - i) / Math.max(1, points - 1)) * (w - 2);
            if (v === null || x < 0) {
                open = false;
                return;
            }
            const y = h - 1.5 - (v / top) * (h - 3);
            if (open)
                ctx.lineTo(x, y);
            else
                ctx.moveTo(x, y);
            open = true;
        });
        ctx.stroke();
    }
}
