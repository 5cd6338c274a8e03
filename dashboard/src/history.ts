// The page's memory: rings of what was, filled once a second, and the sums over a window of them. No DOM here.
import type { Client, Histogram, LatencyKind, Snapshot, Totals } from "./model";

export const KEEP = 3600; // points, one a second
const CLIENT_KEEP = 900;
const CLIENTS_MAX = 300;
const CLOSE = 0.5; // seconds between snapshots that are too few to make a rate of
const GAP = 3.5; // seconds without a snapshot that make a hole in a line

/** Columns of numbers of equal length, the oldest first to go. A hole is NaN inside and null outside. */
export class Columns<K extends string> {
    readonly names: readonly K[];
    private readonly data: Record<K, Float64Array>;
    private begin = 0;
    length = 0;

    constructor(names: readonly K[], readonly cap: number) {
        this.names = names;
        this.data = Object.fromEntries(names.map((n) => [n, new Float64Array(cap)])) as Record<K, Float64Array>;
    }

    push(row: Record<K, number | null>): void {
        const at = (this.begin + this.length) % this.cap;
        for (const n of this.names)
            this.data[n][at] = row[n] ?? NaN;
        if (this.length < this.cap)
            this.length++;
        else
            this.begin = (this.begin + 1) % this.cap;
    }

    /** The I-th oldest; negative ones count from the end. */
    at(name: K, i: number): number | null {
        const k = i < 0 ? this.length + i : i;
        if (k < 0 || k >= this.length)
            return null;
        const v = this.data[name][(this.begin + k) % this.cap] as number;
        return Number.isNaN(v) ? null : v;
    }

    /** A copy from the FIRST-th oldest on. */
    slice(name: K, first = 0): (number | null)[] {
        const out: (number | null)[] = [];
        for (let i = Math.max(0, first); i < this.length; i++)
            out.push(this.at(name, i));
        return out;
    }

    /** The number of the first row whose NAME is at least LIMIT; the columns of NAME rise. */
    since(name: K, limit: number): number {
        let low = 0;
        let high = this.length;
        while (low < high) {
            const mid = (low + high) >> 1;
            if ((this.at(name, mid) ?? -Infinity) < limit)
                low = mid + 1;
            else
                high = mid;
        }
        return low;
    }
}

export const RATES = ["time", "in", "out", "full", "resumed", "failed", "sessions"] as const;
export type RateName = (typeof RATES)[number];

/** What happened in the time between two snapshots; null when the counters restarted. */
export function differences(a: Totals, b: Totals, seconds: number): Record<Exclude<RateName, "time" | "sessions">, number> | null {
    if (seconds <= 0 || b.bytesIn < a.bytesIn || b.bytesOut < a.bytesOut || b.full < a.full || b.resumed < a.resumed || b.failed < a.failed)
        return null;
    return {
        in: (b.bytesIn - a.bytesIn) / seconds,
        out: (b.bytesOut - a.bytesOut) / seconds,
        full: (b.full - a.full) / seconds,
        resumed: (b.resumed - a.resumed) / seconds,
        failed: (b.failed - a.failed) / seconds,
    };
}

/**
 * Where Q (0 to 1) of the values lie below, between the edges of its bucket in proportion; null without values. FLOOR is the lower edge of
 * the first bucket. What lies in the last, open bucket is only known to be above its lower edge, and that is the answer then.
 */
export function quantile(edges: readonly number[], counts: readonly number[], q: number, floor = 0): number | null {
    const all = counts.reduce((s, n) => s + n, 0);
    if (all <= 0)
        return null;
    let below = 0;
    for (let i = 0; i < counts.length; i++) {
        const n = counts[i] ?? 0;
        if (n > 0 && below + n >= q * all) {
            const low = i > 0 ? (edges[i - 1] ?? floor) : floor;
            const high = edges[i] ?? Infinity;
            return Number.isFinite(high) ? low + (high - low) * Math.min(1, Math.max(0, (q * all - below) / n)) : low;
        }
        below += n;
    }
    return null;
}

/** Counts of a histogram once a second, to find what fell into a window. */
class HistogramRing {
    edges: number[] = [];
    private times: number[] = [];
    private rows: Float64Array[] = [];

    push(time: number, h: Histogram): void {
        const last = this.rows.at(-1);
        const restarted = h.edges.length !== this.edges.length || h.edges.some((e, i) => e !== this.edges[i]) ||
            (last !== undefined && h.counts.some((n, i) => n < (last[i] ?? 0)));
        if (restarted) {
            this.edges = h.edges.slice();
            this.times = [];
            this.rows = [];
        }
        this.times.push(time);
        this.rows.push(Float64Array.from(h.counts));
        if (this.rows.length > KEEP) {
            this.times.shift();
            this.rows.shift();
        }
    }

    /** The buckets worth showing: those that ever held a value, one more each side, and at least LEAST of them. Only ever grows. */
    extent(least: number): [number, number] {
        const last = this.rows.at(-1) ?? new Float64Array(0);
        let first = last.findIndex((n) => n > 0);
        if (first < 0)
            return [0, this.edges.length];
        let end = last.findLastIndex((n) => n > 0) + 1;
        first = Math.max(0, first - 1);
        end = Math.min(this.edges.length, end + 1);
        while (end - first < least && (first > 0 || end < this.edges.length)) {
            if (end < this.edges.length)
                end++;
            if (end - first < least && first > 0)
                first--;
        }
        return [first, end];
    }

    /** Counts of the last SECONDS, or of as many as there are. */
    window(seconds: number): number[] {
        const last = this.rows.at(-1);
        if (!last)
            return [];
        const limit = (this.times.at(-1) as number) - seconds - 0.5;
        let i = 0;
        while (i < this.times.length - 1 && (this.times[i] as number) < limit)
            i++;
        const first = this.rows[i] as Float64Array;
        return Array.from(last, (n, k) => n - (first[k] ?? 0));
    }
}

export interface ClientTrace {
    last: Client;
    seen: number;
    columns: Columns<"time" | "in" | "out" | "sessions">;
}

/** A vertical line in the charts. */
export interface Mark {
    time: number;
    text: string;
}

/** Totals of the time before the page was opened, as the proxy keeps them. */
export interface Past {
    time: number[];
    in: number[];
    out: number[];
    full: number[];
    resumed: number[];
    failed: number[];
    sessions: number[];
}

export class History {
    readonly rates = new Columns<RateName>(RATES, KEEP);
    readonly latency: Record<LatencyKind, HistogramRing> = {
        handshake: new HistogramRing(),
        connect: new HistogramRing(),
        firstByte: new HistogramRing(),
    };
    readonly clients = new Map<string, ClientTrace>();
    readonly cpu = new Map<string, number>(); // share of a CPU by pid
    readonly marks: Mark[] = [];
    last: Snapshot | null = null;

    /** Points that the page has not seen itself: before its first one, or while it was cut off. */
    fill(past: Past): void {
        const from = this.rates.at("time", -1) ?? -Infinity;
        let before = this.last ? null : undefined;
        for (let i = 1; i < past.time.length; i++) {
            const at = (k: keyof Past, j: number) => past[k][j] ?? 0;
            const time = at("time", i);
            const seconds = time - at("time", i - 1);
            const d = (k: keyof Past) => (at(k, i) - at(k, i - 1)) / seconds;
            if (time <= from + 0.5 || seconds <= 0 || d("in") < 0 || d("out") < 0)
                continue;
            if (before === null && time - seconds - from > GAP)
                this.hole(time - seconds);
            before = undefined;
            this.rates.push({ time, in: d("in"), out: d("out"), full: d("full"), resumed: d("resumed"), failed: d("failed"), sessions: at("sessions", i) });
        }
    }

    private hole(time: number): void {
        const last = this.rates.at("time", -1);
        if (last !== null && time > last)
            this.rates.push({ time, in: null, out: null, full: null, resumed: null, failed: null, sessions: null });
    }

    push(s: Snapshot): void {
        const before = this.last;
        if (before && s.time < before.time + CLOSE && s.instance === before.instance)
            return;
        this.last = s;
        this.pushMarks(before, s);
        this.pushRates(before, s);
        for (const kind of ["handshake", "connect", "firstByte"] as const)
            this.latency[kind].push(s.time, s.latency[kind]);
        this.pushClients(before, s);
        this.pushCpu(before, s);
    }

    private pushMarks(before: Snapshot | null, s: Snapshot): void {
        if (!before)
            return;
        if (s.instance !== before.instance)
            this.marks.push({ time: s.time, text: "start" });
        else if (s.generation !== before.generation)
            this.marks.push({ time: s.time, text: "reload" });
        const restarts = (x: Snapshot) => x.processes.reduce((n, p) => n + p.restarts, 0);
        if (s.instance === before.instance && s.generation === before.generation && restarts(s) > restarts(before))
            this.marks.push({ time: s.time, text: "restart" });
        while (this.marks.length > 100 || (this.marks[0] && this.marks[0].time < s.time - KEEP))
            this.marks.shift();
    }

    private pushRates(before: Snapshot | null, s: Snapshot): void {
        if (!before)
            return;
        const newest = this.rates.at("time", -1) ?? -Infinity;
        const seconds = s.time - before.time;
        const d = s.instance === before.instance ? differences(before.totals, s.totals, seconds) : null;
        if (seconds > GAP && newest <= before.time + 0.5)
            this.hole(before.time + 0.001);
        // What the proxy kept covers that time already, and better than one average would.
        if (s.time <= newest || (seconds > GAP && newest > before.time + 0.5))
            return;
        const none = { in: null, out: null, full: null, resumed: null, failed: null };
        this.rates.push({ time: s.time, sessions: s.totals.sessions, ...(d ?? none) });
    }

    private pushClients(before: Snapshot | null, s: Snapshot): void {
        for (const c of s.clients) {
            let trace = this.clients.get(c.client);
            if (!trace) {
                trace = { last: c, seen: s.time, columns: new Columns(["time", "in", "out", "sessions"], CLIENT_KEEP) };
                this.clients.set(c.client, trace);
                trace.columns.push({ time: s.time, in: c.rateIn, out: c.rateOut, sessions: c.sessions });
                continue;
            }
            const seconds = s.time - trace.seen;
            const grew = c.bytesIn >= trace.last.bytesIn && c.bytesOut >= trace.last.bytesOut && seconds > 0 && before?.instance === s.instance;
            if (seconds > GAP)
                trace.columns.push({ time: trace.seen + 0.001, in: null, out: null, sessions: null });
            trace.columns.push({
                time: s.time,
                in: grew ? (c.bytesIn - trace.last.bytesIn) / seconds : null,
                out: grew ? (c.bytesOut - trace.last.bytesOut) / seconds : null,
                sessions: c.sessions,
            });
            trace.last = c;
            trace.seen = s.time;
        }
        this.forgetClients(s);
    }

    /** The longest unseen go first. */
    private forgetClients(s: Snapshot): void {
        if (this.clients.size <= CLIENTS_MAX)
            return;
        const old = [...this.clients].filter(([, t]) => t.seen < s.time).sort((a, b) => a[1].seen - b[1].seen);
        for (const [name] of old.slice(0, this.clients.size - CLIENTS_MAX))
            this.clients.delete(name);
    }

    private pushCpu(before: Snapshot | null, s: Snapshot): void {
        const was = new Map(before?.processes.map((p) => [`${p.role}.${p.index}.${p.pid}`, p]));
        this.cpu.clear();
        for (const p of s.processes) {
            const key = `${p.role}.${p.index}.${p.pid}`;
            const q = was.get(key);
            if (before && q && p.cpuSeconds !== null && q.cpuSeconds !== null)
                this.cpu.set(key, Math.max(0, (p.cpuSeconds - q.cpuSeconds) / (s.time - before.time)));
        }
    }

    cpuOf(p: { role: string; index: number; pid: number }): number | null {
        return this.cpu.get(`${p.role}.${p.index}.${p.pid}`) ?? null;
    }
}
