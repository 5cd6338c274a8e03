// Clients by rate, each with its history, and one that is followed (by default the busiest).
import { css, sparkline, TimeChart } from "./charts";
import { byId, el, put, Rows, set } from "./dom";
import { age, bytes, count, rate, rateMark } from "./format";
import type { ClientTrace, History } from "./history";
import { firstSessions } from "./lists";
import type { Client, Session } from "./model";

type SortKey = "client" | "rate" | "out" | "in" | "sessions";
const FEW = 10;
const CALM = 5; // seconds over which rates are averaged for the order, so that rows do not dance

interface Entry {
    trace: ClientTrace;
    c: Client;
    in: number;
    out: number;
    calm: number;
    present: boolean;
}

interface Row {
    root: HTMLTableRowElement;
    name: HTMLButtonElement;
    cells: HTMLElement[];
    canvas: HTMLCanvasElement;
    trace: ClientTrace | null;
}

function mean(trace: ClientTrace, name: "in" | "out", n: number): number {
    let sum = 0;
    for (let i = 1; i <= n; i++)
        sum += trace.columns.at(name, -i) ?? 0;
    return sum / n;
}

export function matches(c: Client, words: string): boolean {
    const text = c.client.toLowerCase();
    return words.toLowerCase().split(/\s+/).every((w) => text.includes(w));
}

export class Clients {
    private sort: SortKey = "rate";
    private rising = false;
    private filter = "";
    private many = false;
    private order: string[] = [];
    private held = false;
    private history: History | null = null;
    private window = 300;
    followed: string | null = null;
    private readonly rows: Rows<Entry, Row>;
    private readonly chart: TimeChart;
    private readonly body = byId("client-rows");
    private readonly box = byId("clients-box");
    private readonly details: Record<string, HTMLElement> = {};
    private readonly sessionRows: Rows<Session, { root: HTMLElement; what: HTMLElement; size: HTMLElement }>;

    constructor(private readonly onFollow: () => void) {
        this.rows = new Rows(this.body, (e) => e.c.client, () => this.makeRow(), (row, e) => this.update(row, e));
        this.chart = new TimeChart(byId("follow-chart"), [
            { label: "to client", color: "--out", text: rate },
            { label: "from client", color: "--in", text: rate, below: true },
        ], { name: "Throughput of this client over time", axis: rateMark, axisWidth: 72, least: 1000, height: 150 });
        for (const label of ["To client", "From client", "Sessions", "Sent in all", "Received in all", "Handshakes", "Full handshakes", "Resumed", "Failed"]) {
            const dd = el("dd", {}, "–");
            this.details[label] = dd;
            byId("follow-details").append(el("div", {}, el("dt", {}, label), dd));
        }
        this.sessionRows = new Rows<Session, { root: HTMLElement; what: HTMLElement; size: HTMLElement }>(byId("follow-sessions"), (s) => s.id, () => {
            const what = el("span");
            const size = el("span");
            return { root: el("li", {}, what, size), what, size };
        }, (row, s) => {
            put(row.what, `${s.service}${s.sni ? ` · ${s.sni}` : ""}`);
            put(row.size, `${bytes(s.bytesIn + s.bytesOut)} · ${age(s.age)}`);
        });
        this.wire();
    }

    private wire(): void {
        const hold = () => { this.held = this.box.matches(":hover") || this.body.contains(document.activeElement); };
        for (const event of ["mouseenter", "mouseleave", "focusin", "focusout"])
            this.box.addEventListener(event, () => window.setTimeout(hold));
        const heads = [...this.box.querySelectorAll<HTMLButtonElement>("th button")];
        for (const b of heads)
            b.addEventListener("click", () => {
                const key = b.dataset.sort as SortKey;
                this.rising = key === this.sort ? !this.rising : key === "client";
                this.sort = key;
                for (const other of heads)
                    set(other.closest("th") as HTMLElement, { "aria-sort": other === b ? (this.rising ? "ascending" : "descending") : "none" });
                this.order = [];
                this.draw();
            });
        byId<HTMLInputElement>("client-filter").addEventListener("input", (e) => {
            this.filter = (e.target as HTMLInputElement).value.trim();
            this.order = [];
            this.draw();
        });
        byId("clients-more").addEventListener("click", () => {
            this.many = !this.many;
            this.draw();
        });
        byId("follow-stop").addEventListener("click", () => {
            this.follow(null);
            byId("client-filter").focus();
        });
        document.addEventListener("keydown", (e) => {
            if (e.key === "Escape" && this.followed !== null && !(e.target instanceof HTMLInputElement))
                this.follow(null);
        });
    }

    follow(client: string | null): void {
        this.followed = client;
        history.replaceState(null, "", client === null ? location.pathname + location.search : "#client=" + encodeURIComponent(client));
        this.sessionRows.show([]);
        this.draw();
        this.onFollow();
    }

    /** The client shown in the panel: the followed one, else the busiest. */
    shown(): string | null {
        return this.followed ?? this.entries(true)[0]?.c.client ?? null;
    }

    private makeRow(): Row {
        const name = el("button", { type: "button", class: "name-button" });
        name.addEventListener("click", () => this.follow(name.dataset.client === this.followed ? null : (name.dataset.client as string)));
        const cells = ["num", "num opt", "num opt", "num mid"].map((c) => el("td", { class: c }));
        const canvas = el("canvas", { class: "spark", "aria-hidden": "true" });
        return { root: el("tr", {}, el("th", { scope: "row" }, name), ...cells, el("td", {}, canvas)), name, cells, canvas, trace: null };
    }

    private update(row: Row, e: Entry): void {
        const followed = e.c.client === this.followed;
        put(row.name, e.c.client);
        row.name.dataset.client = e.c.client;
        set(row.name, { "aria-pressed": String(followed), "aria-label": `Follow ${e.c.client}`, title: e.c.verified ? "verified by its certificate" : null });
        set(row.root, { "data-followed": followed, "data-gone": !e.present });
        [rate(e.in + e.out), rate(e.out), rate(e.in), count(e.present ? e.c.sessions : 0)].forEach((t, i) => put(row.cells[i] as HTMLElement, t));
        row.trace = e.trace;
    }

    private entries(byRate = false): Entry[] {
        const h = this.history;
        if (!h?.last)
            return [];
        const now = h.last.time;
        const all: Entry[] = [];
        for (const trace of h.clients.values()) {
            const present = trace.seen >= now - 0.5;
            // Gone ones stay for a minute, and as long as they are followed.
            if (!present && now - trace.seen > 60 && trace.last.client !== this.followed)
                continue;
            const value = (n: "in" | "out") => (present ? (trace.columns.at(n, -1) ?? 0) : 0);
            all.push({ trace, c: trace.last, in: value("in"), out: value("out"), calm: present ? mean(trace, "in", CALM) + mean(trace, "out", CALM) : 0, present });
        }
        if (byRate)
            return all.sort((a, b) => b.calm - a.calm);
        const by: Record<SortKey, (e: Entry) => number> = { rate: (e) => e.calm, out: (e) => mean(e.trace, "out", CALM), in: (e) => mean(e.trace, "in", CALM), sessions: (e) => e.c.sessions, client: () => 0 };
        const names = new Intl.Collator("en", { numeric: true });
        const sign = this.rising ? 1 : -1;
        return all.filter((e) => this.filter === "" || matches(e.c, this.filter))
            .sort((a, b) => sign * (by[this.sort](a) - by[this.sort](b)) || (this.sort === "client" ? sign : 1) * names.compare(a.c.client, b.c.client));
    }

    /** While somebody points at the table, rows stay where they are. */
    private ordered(): Entry[] {
        const entries = this.entries();
        if (!this.held || this.order.length === 0) {
            this.order = entries.map((e) => e.c.client);
            return entries;
        }
        const place = new Map(this.order.map((c, i) => [c, i]));
        return entries.map((e, i) => [e, place.get(e.c.client) ?? this.order.length + i] as const).sort((a, b) => a[1] - b[1]).map(([e]) => e);
    }

    show(h: History, window: number): void {
        this.history = h;
        this.window = window;
        this.draw();
    }

    restyle(): void {
        this.chart.restyle();
    }

    private draw(): void {
        const h = this.history;
        if (!h?.last)
            return;
        const entries = this.ordered();
        const followedAt = entries.findIndex((e) => e.c.client === this.followed);
        const shown = this.many ? entries : entries.slice(0, FEW);
        if (followedAt >= shown.length)
            shown.push(entries[followedAt] as Entry);
        this.rows.show(shown);
        this.drawLines(h.last.time);
        const tracked = Math.max(h.last.clientsTracked, h.last.clients.length);
        put(byId("clients-note"), tracked > 0 ? `${count(tracked)} tracked` : "");
        put(byId("spark-head"), `Last ${Math.min(this.window, 900) / 60} min`);
        set(byId("clients-empty"), { hidden: shown.length > 0 });
        put(byId("clients-empty"), this.filter ? `No client matches “${this.filter}”.` : "No client has been seen yet.");
        set(byId("clients-more"), { hidden: entries.length <= FEW });
        put(byId("clients-more"), this.many ? "Show fewer" : `Show all ${count(entries.length)}`);
        this.drawFollowed(h);
    }

    private drawLines(now: number): void {
        const seconds = Math.min(this.window, 900);
        const colors: [string, string] = [css("--out"), css("--in")];
        this.rows.each((row) => {
            const columns = row.trace?.columns;
            const first = columns?.since("time", now - seconds) ?? 0;
            if (columns)
                sparkline(row.canvas, columns.slice("out", first), columns.slice("in", first), colors, seconds);
        });
    }

    private drawFollowed(h: History): void {
        const name = this.shown();
        const trace = name === null ? undefined : h.clients.get(name);
        put(byId("follow-title"), this.followed === null ? "Busiest client" : "Followed client");
        set(byId("follow-stop"), { hidden: this.followed === null });
        put(byId("follow-name"), name ?? "–");
        const present = trace !== undefined && h.last !== null && trace.seen >= h.last.time - 0.5;
        put(byId("follow-note"), trace === undefined ? (this.followed === null ? "" : "Not among the clients seen so far.")
            : !present && h.last ? `Not among the busiest since ${age(h.last.time - trace.seen)}.` : trace.last.uncertain > 0 ? `Bytes may be over-counted by ${bytes(trace.last.uncertain)}: it came to be tracked in another client's place.` : trace.last.verified ? "Verified by its certificate." : "");
        const c = trace?.last;
        const details: Record<string, string> = {
            "To client": rate(present && trace ? trace.columns.at("out", -1) : null),
            "From client": rate(present && trace ? trace.columns.at("in", -1) : null),
            "Sessions": count(c?.sessions ?? null),
            "Sent in all": bytes(c?.bytesOut ?? null),
            "Received in all": bytes(c?.bytesIn ?? null),
            "Handshakes": count(c?.handshakes ?? null),
            "Full handshakes": count(c?.full ?? null),
            "Resumed": count(c?.resumed ?? null),
            "Failed": count(c?.failed ?? null),
        };
        for (const [label, value] of Object.entries(details))
            put(this.details[label] as HTMLElement, value);
        const first = trace && h.last ? trace.columns.since("time", h.last.time - this.window) : 0;
        this.chart.show(trace ? (["time", "out", "in"] as const).map((n) => trace.columns.slice(n, first)) : [[], [], []], this.window);
    }

    showSessions(client: string, sessions: readonly Session[]): void {
        if (client === this.shown())
            this.sessionRows.show(firstSessions(sessions, "bytes", 5));
    }
}
