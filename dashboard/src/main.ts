// Puts the parts together: snapshots come in, once a second what is in view is drawn.
import { TimeChart } from "./charts";
import { Clients } from "./clients";
import { Connection, type Link } from "./connection";
import { byId, put, remember, remembered, Rows, segmented, el, set, visible } from "./dom";
import { age, clock, count, perSecond, rate, rateMark } from "./format";
import { History } from "./history";
import { Latency } from "./latency";
import { Certificates, Failures, Orders, Services, Sessions, type SessionOrder } from "./lists";
import type { Snapshot } from "./model";
import { Processes } from "./processes";
import { Stats } from "./stats";
import { judge, type Finding } from "./verdict";
import { certificatesOf, ordersOf, pastOf, sessionsOf, snapshotOf } from "./wire";

const MINUTE = 60;
const SESSIONS_ASKED = 200; // relays are asked one by one: not for thousands every other second
const history = new History();
const minutes: Snapshot[] = []; // of the last minute, the oldest first
let span = 300;

const stats = new Stats(byId("stats"));
const throughput = new TimeChart(byId("throughput"), [
    { label: "to clients", color: "--out", text: rate },
    { label: "from clients", color: "--in", text: rate, below: true },
], { name: "Throughput over time", axis: rateMark, axisWidth: 72, least: 1000, height: 220, marks: history.marks });
const perSec = (v: number | null) => `${perSecond(v)}/s`;
const handshakes = new TimeChart(byId("handshakes"), [
    { label: "full", color: "--full", text: perSec },
    { label: "resumed", color: "--resumed", text: perSec },
    { label: "failed", color: "--failed", text: perSec },
], { name: "Handshakes over time", axis: (v) => (v === 0 ? "0" : (Number.isInteger(v) ? count(v) : v.toFixed(1)) + "/s"), axisWidth: 58, least: 5, height: 220, stacked: true, marks: history.marks });
const latency = new Latency();
const clients = new Clients(() => void loadFollowed());
const services = new Services();
const certificates = new Certificates();
const orders = new Orders();
const failures = new Failures();
const sessions = new Sessions();
const processes = new Processes();
let sessionOrder: SessionOrder = "bytes";

const findings = new Rows<Finding, { root: HTMLElement }>(byId("findings"), (f) => f.key, () => ({ root: el("li") }), (row, f) => put(row.root, f.text));
let said = "";

function drawVerdict(s: Snapshot): void {
    const v = judge(s, minutes.length > 1 ? (minutes[0] as Snapshot).totals : null, certificates.list);
    set(byId("verdict"), { "data-level": v.level });
    put(byId("verdict-mark"), v.level === "good" ? "✓" : "!");
    put(byId("verdict-state"), v.state);
    put(byId("verdict-text"), v.text);
    findings.show(v.findings);
    // For those who listen: when it changes, not when its numbers do.
    const now = v.level + v.state + v.findings.map((f) => f.key).join();
    if (now !== said)
        put(byId("announce"), `${v.state}. ${v.text} ${v.findings.map((f) => f.text).join(" ")}`);
    said = now;
    document.title = v.level === "good" ? `tls-off ${s.host}`.trim() : `! tls-off ${s.host}`.trim();
}

function draw(): void {
    const s = history.last;
    if (!s || !visible())
        return;
    const first = history.rates.since("time", s.time - span - 1);
    const columns = (...names: ("time" | "in" | "out" | "full" | "resumed" | "failed")[]) => names.map((n) => history.rates.slice(n, first));
    put(byId("host"), s.host);
    put(byId("version"), `tls-off ${s.version} · up ${age(s.uptime)}${s.reload?.result === "done" ? ` · reloaded ${age(s.time - s.reload.time)} ago` : ""}`);
    drawVerdict(s);
    stats.show(history, span);
    throughput.show(columns("time", "out", "in"), span);
    handshakes.show(columns("time", "full", "resumed", "failed"), span);
    latency.show(history, span);
    clients.show(history, span);
    services.show(history, minutes.length > 1 ? (minutes[minutes.length - 2] as Snapshot) : null);
    certificates.show(s.time);
    orders.show(s.time);
    failures.show(s.totals.failures);
    processes.show(history);
}

function onSnapshot(data: unknown): void {
    const s = snapshotOf(data);
    if (!s)
        return;
    if (minutes.at(-1)?.instance !== s.instance)
        minutes.length = 0;
    history.push(s);
    minutes.push(s);
    while (minutes.length > 2 && (minutes[0] as Snapshot).time < s.time - MINUTE)
        minutes.shift();
    draw();
}

const WORDS: Record<Link, string> = { connecting: "Connecting", live: "Live", reconnecting: "Reconnecting", lost: "No connection" };

function onLink(state: Link, since: number): void {
    if (state !== "live")
        resources = null; // another observer may have others
    set(byId("link"), { "data-state": state });
    put(byId("link-text"), state === "lost" ? `Lost ${clock(since / 1000)}` : WORDS[state]);
    set(document.body, { "data-stale": state === "lost" });
    if (state === "lost") {
        set(byId("verdict"), { "data-level": "bad" });
        put(byId("verdict-mark"), "!");
        put(byId("verdict-state"), "No connection");
        put(byId("verdict-text"), `to the observer since ${clock(since / 1000)}; figures below are of then. Reconnecting automatically.`);
        findings.show([]);
        said = "";
        put(byId("announce"), "No connection to the observer.");
        document.title = "! tls-off: no connection";
    }
}

// --- what is fetched: too large or too seldom wanted for the stream

let resources: string | null = null; // what this proxy has, one a line; null = not asked yet

const has = (name: string) => resources?.split(/\s+/).includes("/" + name) ?? false;

async function loadResources(): Promise<void> {
    try {
        const answer = await fetch("resources", { cache: "no-store" });
        resources = answer.ok ? await answer.text() : resources;
    } catch {
        return; // the stream's state shows it
    }
    for (const e of document.querySelectorAll<HTMLElement>("[data-needs]"))
        set(e, { hidden: !has(e.dataset.needs as string) });
}

async function fetchJson(name: string, query = ""): Promise<unknown> {
    if (!has(name))
        return null;
    try {
        const answer = await fetch(name + query, { headers: { accept: "application/json" }, cache: "no-store" });
        return answer.ok ? await answer.json() : null;
    } catch {
        return null; // the stream's state shows it
    }
}

async function loadCertificates(): Promise<void> {
    const v = await fetchJson("certificates.json");
    if (v !== null)
        certificates.list = certificatesOf(v);
}

async function loadOrders(): Promise<void> {
    const v = await fetchJson("acme.json");
    if (v !== null)
        orders.list = ordersOf(v);
}

async function loadSessions(): Promise<void> {
    const v = await fetchJson("sessions.json", `?limit=${SESSIONS_ASKED}`);
    if (v !== null)
        sessions.show(sessionsOf(v), history.last?.totals.sessions ?? 0, sessionOrder);
}

async function loadFollowed(): Promise<void> {
    const client = clients.shown();
    if (client === null)
        return;
    const v = await fetchJson("sessions.json", `?limit=50&client=${encodeURIComponent(client)}`);
    if (v !== null)
        clients.showSessions(client, sessionsOf(v));
}

function inView(id: string): boolean {
    const r = byId(id).getBoundingClientRect();
    return r.bottom > 0 && r.top < window.innerHeight;
}

let turns = 0;
async function turn(): Promise<void> {
    if (visible() && history.last) {
        if (resources === null) {
            await loadResources();
            turns = 0;
        }
        if (turns % 30 === 0)
            void loadCertificates();
        if (turns % 5 === 0)
            void loadOrders();
        if (turns % 3 === 0 && (inView("sessions") || turns === 0))
            void loadSessions();
        if (turns % 3 === 1 && inView("follow"))
            void loadFollowed();
        turns++;
    }
    window.setTimeout(() => void turn(), 1000);
}

// --- controls

type Theme = "auto" | "light" | "dark";
const THEMES: readonly Theme[] = ["auto", "light", "dark"];
const THEME_WORDS: Record<Theme, [string, string]> = { auto: ["Auto", "as the system"], light: ["Light", "light"], dark: ["Dark", "dark"] };

function theme(): Theme {
    const t = document.documentElement.dataset.theme;
    return t === "light" || t === "dark" ? t : "auto";
}

function restyle(): void {
    throughput.restyle();
    handshakes.restyle();
    latency.restyle();
    clients.restyle();
    draw();
}

function enterTheme(t: Theme): void {
    if (t === "auto")
        delete document.documentElement.dataset.theme;
    else
        document.documentElement.dataset.theme = t;
    remember("theme", t === "auto" ? null : t);
    put(byId("theme-text"), THEME_WORDS[t][0]);
    set(byId("theme"), { "aria-label": `Theme: ${THEME_WORDS[t][1]}` });
    restyle();
}

byId("theme").addEventListener("click", () => enterTheme(THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length] as Theme));
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);
enterTheme(theme());

segmented(byId("window"), (value) => {
    span = Number(value);
    remember("window", value);
    draw();
});
byId("window").querySelector<HTMLButtonElement>(`button[data-value="${CSS.escape(remembered("window") ?? "300")}"]`)?.click();
segmented(byId("sessions-sort"), (value) => {
    sessionOrder = value as SessionOrder;
    void loadSessions();
});

function followHash(): void {
    const m = /^#client=(.+)$/.exec(location.hash);
    if (m)
        clients.follow(decodeURIComponent(m[1] as string));
}
window.addEventListener("hashchange", followHash);
followHash();
document.addEventListener("visibilitychange", draw);

new Connection("live", { snapshot: onSnapshot, history: (v) => history.fill(pastOf(v)), link: onLink }).open();
void turn();
