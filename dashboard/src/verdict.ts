// One line that says whether somebody has to get up, and what for. No DOM here.
import { age, count, percent, plural } from "./format";
import type { Certificate, Order, Snapshot, Totals } from "./model";

export type Level = "none" | "good" | "warn" | "bad";

export interface Finding {
    key: string; // stays the same while its numbers change
    level: "warn" | "bad";
    text: string;
}

export interface Verdict {
    level: Level;
    state: string;
    text: string;
    findings: Finding[];
}

const DAY = 86400;
export const CERT_BAD_DAYS = 3;
export const CERT_WARN_DAYS = 21;
const FAILED_SHARE = 0.1; // of all handshakes in the last minute
const FAILED_LEAST = 20;
const NEW_RESTART_SECONDS = 600;
const SHOWN_MAX = 6;
// Sentences of the proxy about what is in its figures too, where more is known of it.
const REPORTED_ELSEWHERE = /^backend .* is ejected$|^[a-z]+\.\d+ is (down|hung)$/;

/** In one unit: what is read again and again need not count the seconds. */
export function roughly(seconds: number): string {
    const n = Math.max(0, Math.floor(seconds));
    const of = (v: number, unit: string) => `${plural(Math.floor(v), unit)} ago`;
    return n < 60 ? "within the last minute" : n < 3600 ? of(n / 60, "minute") : n < 86400 ? of(n / 3600, "hour") : of(n / 86400, "day");
}

export const daysLeft = (c: Certificate, now: number) => (c.notAfter - now) / DAY;

export function orderLevel(o: Order): "good" | "warn" | "bad" {
    return o.alarm ? "bad" : o.failures > 0 || (!o.issued && o.state !== "") ? "warn" : "good";
}

/** What an order does now, or will do next. */
export function orderText(o: Order, now: number): string {
    if (o.state === "")
        return "not known yet";
    if (o.state !== "idle")
        return o.state;
    const next = o.nextAttempt ?? 0;
    const when = next > now ? `in ${age(next - now)}` : "now";
    return o.failures > 0 ? `next attempt ${when}` : o.issued ? `renewal ${when}` : `order ${when}`;
}

const URGENCY = { bad: 0, warn: 1, good: 2 };

/** A copy of LIST: what an operator has to look at comes first, then what happens soonest. */
export const byUrgency = (list: readonly Order[]) =>
    list.slice().sort((a, b) => URGENCY[orderLevel(a)] - URGENCY[orderLevel(b)] || (a.nextAttempt ?? 0) - (b.nextAttempt ?? 0) || (a.id < b.id ? -1 : 1));

export function certificateLevel(days: number): "good" | "warn" | "bad" {
    return days < CERT_BAD_DAYS ? "bad" : days < CERT_WARN_DAYS ? "warn" : "good";
}

/** One finding a certificate, however many services have it. */
function certificates(list: readonly Certificate[], now: number, out: Finding[]): void {
    const seen = new Map<string, { c: Certificate; services: Set<string> }>();
    for (const c of list) {
        const key = JSON.stringify([c.file, c.names[0], c.key, c.notAfter]);
        const one = seen.get(key) ?? { c, services: new Set<string>() };
        c.services.forEach((s) => one.services.add(s));
        seen.set(key, one);
    }
    for (const { c, services } of seen.values()) {
        const days = daysLeft(c, now);
        const name = c.names[0] ?? c.file;
        const level = certificateLevel(days);
        const where = services.size > 1 ? ` (${plural(services.size, "service")})` : "";
        if (level !== "good")
            out.push({ key: `certificate ${name} ${c.file} ${c.key}`, level, text: days < 0 ? `The certificate of ${name}${where} expired ${age(-days * DAY)} ago.` : `The certificate of ${name}${where} expires in ${age(days * DAY)}.` });
    }
}

function backends(s: Snapshot, out: Finding[]): void {
    for (const service of s.services) {
        const down = service.backends.filter((b) => b.state !== "up");
        if (down.length === 0)
            continue;
        const all = down.length === service.backends.length;
        out.push({
            key: `backends ${service.name}`,
            level: all ? "bad" : "warn",
            text: all ? `Service ${service.name} has no backend: ${down.map((b) => b.address).join(", ")} ${down.length === 1 ? "does" : "do"} not answer.`
                : `Service ${service.name}: ${down.length} of ${plural(service.backends.length, "backend")} ejected (${down.map((b) => b.address).join(", ")}).`,
        });
    }
}

function processes(s: Snapshot, out: Finding[]): void {
    for (const p of s.processes) {
        const name = p.role === "supervisor" || p.role === "observer" || p.role === "resolver" ? p.role : `${p.role}.${p.index}`;
        if (p.state === "down" || p.state === "hung")
            out.push({ key: `process ${name}`, level: "bad", text: p.state === "hung" ? `${name} does not answer.` : `${name} is not running${p.lastEnd ? `: ${p.lastEnd}` : ""}.` });
        else if (p.restarts > 0 && p.started !== null && s.time - p.started < NEW_RESTART_SECONDS)
            out.push({ key: `process ${name}`, level: "warn", text: `${name} was restarted ${roughly(s.time - p.started)}${p.lastEnd ? ` (${p.lastEnd})` : ""}.` });
    }
}

function handshakes(now: Totals, before: Totals | null, out: Finding[]): void {
    if (!before)
        return;
    const failed = now.failed - before.failed;
    const all = failed + now.full - before.full + now.resumed - before.resumed;
    if (failed < FAILED_LEAST || failed / all < FAILED_SHARE)
        return;
    const reasons = Object.entries(now.failures).map(([reason, n]) => [reason, n - (before.failures[reason] ?? 0)] as const).sort((a, b) => b[1] - a[1]);
    const most = reasons[0] && reasons[0][1] > 0 ? `, most by ${reasons[0][0]}` : "";
    out.push({ key: "handshakes", level: "warn", text: `${percent(failed / all)} of the handshakes of the last minute failed${most}.` });
}

/** BEFORE: totals of about a minute ago, or null. */
export function judge(s: Snapshot, before: Totals | null, certs: readonly Certificate[]): Verdict {
    const findings: Finding[] = s.problems.filter((text) => !REPORTED_ELSEWHERE.test(text)).map((text) => ({ key: text, level: "bad" as const, text }));
    backends(s, findings);
    processes(s, findings);
    handshakes(s.totals, before, findings);
    if (before && s.totals.dropped > before.dropped)
        findings.push({ key: "log", level: "warn", text: `${plural(s.totals.dropped - before.dropped, "log event")} dropped in the last minute.` });
    certificates(certs, s.time, findings);
    findings.sort((a, b) => Number(b.level === "bad") - Number(a.level === "bad"));
    // The person who asked for it waits for it: nothing may push it off the list.
    if (s.reload?.result === "refused" && s.time - s.reload.time < DAY)
        findings.unshift({ key: "reload", level: "warn", text: `The last reload was refused ${roughly(s.time - s.reload.time)}: ${s.reload.text || "see the log"}` });
    const more = findings.length - SHOWN_MAX;
    if (more > 1)
        findings.splice(SHOWN_MAX, Infinity, { key: "more", level: "warn", text: `… and ${count(more)} more.` });
    const word = { reloading: "Reloading", draining: "Draining", stopping: "Stopping", starting: "Starting" }[s.state] ?? "Serving";
    const level = findings.length === 0 ? (word === "Serving" ? "good" : "warn") : findings.some((f) => f.level === "bad") ? "bad" : "warn";
    const n = more > 1 ? SHOWN_MAX + more : findings.length;
    return { level, state: word, text: n === 0 ? "Nothing needs attention." : `${plural(n, "thing needs", "things need")} attention.`, findings };
}
