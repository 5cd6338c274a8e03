// Services with their backends, certificates, failures by reason, sessions.
import { byId, el, put, Rows, set } from "./dom";
import { age, bytes, count, day, NONE, percent, perSecond, plural, rate } from "./format";
import type { History } from "./history";
import type { Backend, Certificate, Order, Service, Session, Snapshot } from "./model";
import { byUrgency, certificateLevel, daysLeft, orderLevel, orderText } from "./verdict";

interface BackendRow {
    root: HTMLElement;
    state: HTMLElement;
    word: HTMLElement;
    address: HTMLElement;
    sessions: HTMLElement;
    failures: HTMLElement;
}

interface ServiceRow {
    root: HTMLElement;
    name: HTMLElement;
    where: HTMLElement;
    rates: HTMLElement;
    sub: HTMLElement;
    backends: Rows<Backend, BackendRow>;
}

export class Services {
    private readonly rows = new Rows<Service, ServiceRow>(byId("service-list"), (s) => s.name, () => this.make(), (row, s) => this.update(row, s));
    private history: History | null = null;
    private before: Snapshot | null = null;

    private make(): ServiceRow {
        const name = el("strong");
        const where = el("span", { class: "note" });
        const rates = el("span", { class: "note" });
        const sub = el("p", { class: "note" });
        const box = el("div");
        where.style.marginLeft = "0";
        return {
            root: el("div", { class: "service" }, el("div", { class: "service-head" }, name, where, rates), sub, box),
            name, where, rates, sub,
            backends: new Rows<Backend, BackendRow>(box, (b) => b.address, () => {
                const word = el("span");
                const state = el("span", { class: "state" }, el("i", { class: "dot", "aria-hidden": "true" }), word);
                const address = el("span");
                const sessions = el("span", { class: "r" });
                const failures = el("span", { class: "r fails" });
                return { root: el("div", { class: "backend" }, state, address, sessions, failures), state, word, address, sessions, failures };
            }, (r, b) => {
                set(r.state, { "data-level": b.state === "up" ? "good" : b.state === "partly" ? "warn" : "bad" });
                put(r.word, b.state === "up" ? "up" : b.state === "partly" ? "partly ejected" : "ejected");
                put(r.address, b.address);
                set(r.address, { title: b.address });
                put(r.sessions, plural(b.sessions, "session"));
                put(r.failures, b.failures > 0 ? `${count(b.failures)} failed` : "none failed");
            }),
        };
    }

    private update(row: ServiceRow, s: Service): void {
        put(row.name, s.name);
        put(row.where, s.listen.join(", "));
        const before = this.before?.services.find((x) => x.name === s.name);
        const seconds = (this.history?.last?.time ?? 0) - (this.before?.time ?? 0);
        const per = (now: number, then: number | undefined) => (then === undefined || seconds <= 0 || now < then ? null : (now - then) / seconds);
        put(row.rates, `${rate(per(s.bytesOut, before?.bytesOut))} out, ${rate(per(s.bytesIn, before?.bytesIn))} in`);
        const done = s.full + s.resumed;
        const parts = [
            plural(s.sessions, "session"),
            `${perSecond(per(done, before && before.full + before.resumed))} handshakes/s`,
            done > 0 ? `${percent(s.resumed / done)} resumed` : "",
            s.failed > 0 ? `${percent(s.failed / (s.failed + done))} failed` : "",
            s.mode === "passthrough" ? "passthrough" : "",
        ];
        put(row.sub, parts.filter((p) => p !== "").join(" · "));
        row.backends.show(s.backends);
    }

    show(h: History, before: Snapshot | null): void {
        this.history = h;
        this.before = before;
        this.rows.show(h.last?.services ?? []);
        set(byId("services-empty"), { hidden: this.rows.size > 0 });
    }
}

const CERTIFICATES_SHOWN = 8;
const ORDERS_SHOWN = 20;
const METER_DAYS = 90;

export class Certificates {
    list: Certificate[] = [];
    private now = 0;
    private readonly rows = new Rows<Certificate, { root: HTMLElement; names: HTMLElement; small: HTMLElement; bar: HTMLElement; days: HTMLElement }>(
        byId("certificate-rows"), (c) => `${c.file} ${c.names.join()} ${c.notAfter} ${c.services.join()}`, () => {
            const names = document.createElement("span");
            const small = el("small");
            const bar = el("i");
            const days = el("span", { class: "days" });
            return { root: el("li", {}, el("span", { class: "names" }, names, small), el("span", { class: "meter", "aria-hidden": "true" }, bar), days), names, small, bar, days };
        }, (row, c) => {
            const days = daysLeft(c, this.now);
            put(row.names, c.names.length > 0 ? (c.names[0] as string) + (c.names.length > 1 ? ` +${c.names.length - 1}` : "") : c.file || NONE);
            put(row.small, [c.key, c.services.join(", ")].filter((t) => t !== "").join(" · "));
            set(row.root, { "data-level": certificateLevel(days), title: `${c.names.join(", ")}\n${c.file}\nuntil ${day(c.notAfter)}${c.issuer ? `, by ${c.issuer}` : ""}` });
            row.bar.style.width = `${Math.max(0, Math.min(100, (days / METER_DAYS) * 100))}%`;
            put(row.days, days < 0 ? "expired" : days < 1 ? age(days * 86400) : plural(Math.floor(days), "day"));
        });

    show(now: number): void {
        this.now = now;
        const sorted = this.list.slice().sort((a, b) => a.notAfter - b.notAfter);
        this.rows.show(sorted.slice(0, CERTIFICATES_SHOWN));
        set(byId("certificates-empty"), { hidden: sorted.length > 0 });
        put(byId("certificates-note"), sorted.length > CERTIFICATES_SHOWN ? `first to expire of ${count(sorted.length)}` : sorted.length > 0 ? "first to expire" : "");
    }
}

/** Certificates from issuers; hidden where there are none. */
export class Orders {
    list: Order[] = [];
    private now = 0;
    private readonly rows = new Rows<Order, { root: HTMLElement; names: HTMLElement; small: HTMLElement; next: HTMLElement; error: HTMLElement }>(
        byId("order-rows"), (o) => o.id, () => {
            const names = document.createElement("span");
            const small = el("small");
            const next = el("span", { class: "next" });
            const error = el("p", { class: "error" });
            return { root: el("li", {}, el("span", { class: "names" }, names, small), next, error), names, small, next, error };
        }, (row, o) => {
            put(row.names, (o.names[0] ?? o.id) + (o.names.length > 1 ? ` +${o.names.length - 1}` : ""));
            put(row.small, [o.id, o.issuer, o.issued ? (o.notAfter !== null ? `until ${day(o.notAfter)}` : "") : "self-signed until there is one"].filter((t) => t !== "").join(" · "));
            put(row.next, orderText(o, this.now));
            put(row.error, o.error !== "" ? `${o.failures > 1 ? `${count(o.failures)} failures in a row, the last: ` : ""}${o.error}` : "");
            set(row.error, { hidden: o.error === "" });
            const window = o.window ? `\nthe issuer suggests ${day(o.window[0])} to ${day(o.window[1])}` : "";
            set(row.root, { "data-level": orderLevel(o), title: `${o.names.join(", ")}${o.renewAt !== null ? `\nrenewal at ${day(o.renewAt)}` : ""}${window}` });
        });

    show(now: number): void {
        this.now = now;
        this.rows.show(byUrgency(this.list).slice(0, ORDERS_SHOWN));
        set(byId("orders"), { hidden: this.list.length === 0 });
        const notes = [this.list.some((o) => o.alarm) ? "ALARM" : "", this.list.length > ORDERS_SHOWN ? `most urgent of ${count(this.list.length)}` : ""];
        put(byId("orders-note"), notes.filter((n) => n !== "").join(" · "));
    }
}

export class Failures {
    private readonly rows = new Rows<[string, number], { root: HTMLElement; name: HTMLElement; bar: HTMLElement; n: HTMLElement }>(byId("failure-rows"), ([reason]) => reason, () => {
        const name = el("span");
        const bar = el("i");
        const n = el("span", { class: "r" });
        return { root: el("li", {}, name, el("span", { class: "meter", "aria-hidden": "true" }, bar), n), name, bar, n };
    }, (row, [reason, n]) => {
        put(row.name, reason.replaceAll("_", " "));
        row.bar.style.width = `${(n / this.most) * 100}%`;
        put(row.n, count(n));
    });
    private most = 1;

    show(by: Record<string, number>): void {
        const list = Object.entries(by).sort((a, b) => b[1] - a[1]).slice(0, 8);
        this.most = list[0]?.[1] ?? 1;
        this.rows.show(list);
        set(byId("failures-empty"), { hidden: list.length > 0 });
    }
}

export type SessionOrder = "bytes" | "age" | "new";

const SESSIONS_SHOWN = 15;

/** The first of LIST by one of the orders. */
export function firstSessions(list: readonly Session[], order: SessionOrder, n: number): Session[] {
    const by: Record<SessionOrder, (s: Session) => number> = { bytes: (s) => s.bytesIn + s.bytesOut, age: (s) => s.age, new: (s) => -s.age };
    return list.slice().sort((a, b) => by[order](b) - by[order](a)).slice(0, n);
}

export class Sessions {
    private readonly rows = new Rows<Session, { root: HTMLElement; cells: HTMLElement[] }>(byId("session-rows"), (s) => s.id, () => {
        const cells = ["", "", "opt", "opt", "opt", "num mid", "num opt", "num"].map((c) => el("td", { class: c || null }));
        return { root: el("tr", {}, ...cells), cells };
    }, (row, s) => {
        [s.client + (s.name ? ` (${s.name})` : ""), s.service, s.sni || NONE, s.protocol || NONE, s.backend || NONE, bytes(s.bytesOut), bytes(s.bytesIn), age(s.age)].forEach((t, i) => {
            put(row.cells[i] as HTMLElement, t);
            set(row.cells[i] as HTMLElement, { title: i === 0 ? `session ${s.id}` : t });
        });
    });

    /** LIST: what was asked for, which may be less than is OPEN. */
    show(list: readonly Session[], open: number, order: SessionOrder): void {
        const shown = firstSessions(list, order, SESSIONS_SHOWN);
        this.rows.show(shown);
        const all = Math.max(open, list.length);
        put(byId("sessions-note"), list.length < open ? `${shown.length} of ${count(list.length)} looked at, of ${count(all)}` : shown.length < all ? `${shown.length} of ${count(all)}` : count(all));
        set(byId("sessions-empty"), { hidden: list.length > 0 });
    }
}
