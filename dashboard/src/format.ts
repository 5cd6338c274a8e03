// Numbers as people read them: three digits that matter, a unit, and the same width from one second to the next.

const THIN = "\u202f"; // a narrow space that does not break
export const NONE = "–";

function digits(n: number): string {
    const a = Math.abs(n);
    return n.toFixed(a >= 99.95 ? 0 : a >= 9.995 ? 1 : 2);
}

function scaled(n: number, units: readonly string[], step: number): [string, string] {
    let i = 0;
    let v = n;
    // 999.6 would be written as 1000
    while (Math.abs(v) >= step - 0.5 && i < units.length - 1) {
        v /= step;
        i++;
    }
    const whole = i === 0 && Number.isInteger(v);
    return [whole ? String(v) : digits(v), units[i] as string];
}

const BYTES = ["B", "kB", "MB", "GB", "TB", "PB"] as const;

/** Value and unit apart, for large figures: ["12.3", "MB/s"]. Whole bytes a second need no fraction. */
export function rateParts(n: number | null): [string, string] {
    if (n === null || !Number.isFinite(n))
        return [NONE, "B/s"];
    const [v, u] = scaled(n < 999.5 ? Math.round(n) : n, BYTES, 1000);
    return [v, u + "/s"];
}

export function rate(n: number | null): string {
    if (n === null || !Number.isFinite(n))
        return NONE;
    const [v, u] = rateParts(n);
    return v + THIN + u;
}

/** For an axis, whose numbers are round: 50 MB/s. */
export function rateMark(n: number): string {
    if (n === 0)
        return "0";
    const [v, u] = scaled(n, BYTES, 1000);
    return Number(v) + THIN + u + "/s";
}

export function bytes(n: number | null): string {
    if (n === null || !Number.isFinite(n))
        return NONE;
    const [v, u] = scaled(Math.round(n), BYTES, 1000);
    return v + THIN + u;
}

/** 12,345; from a million on 1.23 M. */
export function count(n: number | null): string {
    if (n === null || !Number.isFinite(n))
        return NONE;
    if (Math.abs(n) < 999_999.5)
        return Math.round(n).toLocaleString("en-US");
    const [v, u] = scaled(n / 1e6, ["M", "G", "T"], 1000);
    return v + THIN + u;
}

/** Events a second. */
export function perSecond(n: number | null): string {
    if (n === null || !Number.isFinite(n))
        return NONE;
    if (n === 0)
        return "0";
    return n < 99.95 ? n.toFixed(1) : count(n);
}

export function percent(part: number): string {
    if (!Number.isFinite(part))
        return NONE;
    const p = part * 100;
    if (p === 0)
        return "0" + THIN + "%";
    if (p < 0.05)
        return "<" + THIN + "0.1" + THIN + "%";
    return (p < 9.95 ? p.toFixed(1) : p.toFixed(0)) + THIN + "%";
}

/** A short time: 830 µs, 1.24 ms, 12.0 ms, 1.20 s. */
export function seconds(s: number | null): string {
    if (s === null || !Number.isFinite(s))
        return NONE;
    if (s < 0.0009995)
        return Math.round(s * 1e6) + THIN + "µs";
    if (s < 0.9995)
        return digits(s * 1e3) + THIN + "ms";
    return digits(s) + THIN + "s";
}

/** The edge of a histogram's bucket: no more digits than it has. */
export function edge(s: number): string {
    if (!Number.isFinite(s))
        return "∞";
    if (s < 0.001)
        return +(s * 1e6).toPrecision(2) + THIN + "µs";
    if (s < 1)
        return +(s * 1e3).toPrecision(2) + THIN + "ms";
    return +s.toPrecision(2) + THIN + "s";
}

/** A long time in two units: 3 d 4 h, 12 min 5 s. */
export function age(s: number | null): string {
    if (s === null || !Number.isFinite(s))
        return NONE;
    const n = Math.max(0, Math.floor(s));
    const two = (a: number, ua: string, b: number, ub: string) => `${a}${THIN}${ua} ${b}${THIN}${ub}`;
    if (n < 60)
        return `${n}${THIN}s`;
    if (n < 3600)
        return two(Math.floor(n / 60), "min", n % 60, "s");
    if (n < 86400)
        return two(Math.floor(n / 3600), "h", Math.floor(n / 60) % 60, "min");
    return two(Math.floor(n / 86400), "d", Math.floor(n / 3600) % 24, "h");
}

export function plural(n: number, one: string, many = one + "s"): string {
    return `${count(n)} ${n === 1 ? one : many}`;
}

const pad = (n: number) => String(n).padStart(2, "0");

/** Local time of day, 24 hours. */
export function clock(unix: number): string {
    const d = new Date(unix * 1000);
    return `${pad(d.getHours())}:${pad(d.getMinutes())}:${pad(d.getSeconds())}`;
}

export function day(unix: number): string {
    const d = new Date(unix * 1000);
    return `${d.getFullYear()}-${pad(d.getMonth() + 1)}-${pad(d.getDate())}`;
}
