// The processes of the proxy as a picture: what each role is, does and costs now. A worker is one column of roles on one CPU.
import { byId, el, put, Rows, set } from "./dom";
import { age, bytes, count, NONE, percent, plural } from "./format";
import type { History } from "./history";
import type { Process, Snapshot } from "./model";

const WHAT: Record<string, string> = {
    supervisor: "holds sockets, watches the others",
    observer: "log, figures, this page",
    resolver: "names of backends",
    handshaker: "makes handshakes",
    signer: "holds private keys, signs",
    relay: "carries sessions",
    config: "reads the configuration",
    acme: "orders certificates",
};
const IN_WORKER = ["signer", "handshaker", "relay"]; // from top to bottom

interface Box {
    root: HTMLElement;
    name: HTMLElement;
    word: HTMLElement;
    state: HTMLElement;
    doing: HTMLElement;
    details: HTMLElement[];
}

const LEVELS: Record<string, string> = { ready: "good", preparing: "warn", leaving: "warn", hung: "bad", down: "bad" };

/** What a process does now, in a few words; what its role is for when there is nothing more to say. */
export function doing(p: Process): string {
    if (p.state === "down")
        return p.lastEnd || "waits to be restarted";
    if (p.state === "hung")
        return "does not answer";
    if (p.state === "preparing")
        return "gets ready";
    const parts: string[] = [];
    if (p.role === "relay" && p.sessions !== null)
        parts.push(p.state === "leaving" ? `${plural(p.sessions, "session")} left` : plural(p.sessions, "session"), p.buffers > 0 ? `${bytes(p.buffers)} wait` : "", p.waiters > 0 ? `${count(p.waiters)} wait for a backend` : "");
    else if (p.role === "handshaker" && p.handshakes !== null)
        parts.push(plural(p.handshakes, "handshake") + (p.state === "leaving" ? " left" : " under way"), p.queue > 0 ? `${count(p.queue)} wait for a relay` : "");
    return parts.filter((t) => t !== "").join(", ") || (WHAT[p.role] ?? "");
}

function makeBox(): Box {
    const name = el("strong");
    const word = el("span");
    const state = el("span", { class: "state" }, el("i", { class: "dot", "aria-hidden": "true" }), word);
    const doing = el("p", { class: "doing" });
    const details = [0, 1, 2].map(() => el("b"));
    const labels = ["pid ", "CPU ", ""];
    return {
        root: el("div", { class: "proc" }, el("div", { class: "proc-head" }, name, state), doing,
            el("p", { class: "small-details" }, ...details.map((b, i) => el("span", {}, labels[i] as string, b)))),
        name, word, state, doing, details,
    };
}

function updateBox(box: Box, p: Process, h: History): void {
    const l = LEVELS[p.state] ?? "none";
    set(box.root, { "data-level": l, title: p.started === null ? null : `running for ${age((h.last?.time ?? 0) - p.started)}${p.lastEnd ? `; before: ${p.lastEnd}` : ""}` });
    set(box.state, { "data-level": l });
    put(box.name, p.role);
    put(box.word, (p.restarts > 0 ? `${plural(p.restarts, "restart")} · ` : "") + (p.state || "unknown"));
    set(box.root, { "data-role": p.role });
    const words = doing(p);
    put(box.doing, words);
    set(box.doing, { title: `${p.role} ${WHAT[p.role] ?? ""}` });
    const cpu = h.cpuOf(p);
    const details = [
        p.pid > 0 ? String(p.pid) : NONE,
        cpu !== null ? percent(cpu) : p.cpuSeconds === null ? "" : NONE,
        p.memory === null ? "" : bytes(p.memory),
    ];
    details.forEach((t, i) => {
        const b = box.details[i] as HTMLElement;
        put(b, t);
        set(b.parentElement as HTMLElement, { hidden: t === "" });
    });
}

interface Worker {
    key: string;
    index: number;
    generation: number;
    old: boolean;
    list: Process[];
}

interface WorkerRow {
    root: HTMLElement;
    title: HTMLElement;
    sub: HTMLElement;
    boxes: Rows<Process, Box>;
}

function workersOf(s: Snapshot): Worker[] {
    const found = new Map<string, Worker>();
    for (const p of s.processes) {
        if (!IN_WORKER.includes(p.role))
            continue;
        const key = `${p.generation}.${p.index}`;
        const w = found.get(key) ?? { key, index: p.index, generation: p.generation, old: p.generation < s.generation, list: [] };
        w.list.push(p);
        found.set(key, w);
    }
    for (const w of found.values())
        w.list.sort((a, b) => IN_WORKER.indexOf(a.role) - IN_WORKER.indexOf(b.role));
    return [...found.values()].sort((a, b) => b.generation - a.generation || a.index - b.index);
}

export class Processes {
    private history: History | null = null;
    private readonly alone: Rows<Process, Box>;
    private readonly workers: Rows<Worker, WorkerRow>;

    constructor() {
        const parent = byId("process-picture");
        const first = el("div", { class: "proc-row" });
        const second = el("div", { class: "proc-row" });
        parent.append(first, second);
        this.alone = new Rows<Process, Box>(first, (p) => `${p.role}.${p.index}.${p.generation}`, makeBox, (box, p) => this.box(box, p));
        this.workers = new Rows<Worker, WorkerRow>(second, (w) => w.key, () => {
            const title = el("span");
            const sub = el("span", { class: "note" });
            const box = el("div", { class: "worker-boxes" });
            return { root: el("div", { class: "worker", role: "group" }, el("h3", {}, title, sub), box), title, sub, boxes: new Rows<Process, Box>(box, (p) => p.role, makeBox, (b, p) => this.box(b, p)) };
        }, (row, w) => {
            put(row.title, `Worker ${w.index}`);
            put(row.sub, w.old ? `generation ${w.generation}, leaving` : `generation ${w.generation}`);
            set(row.root, { "data-old": w.old, "aria-label": `Worker ${w.index}, generation ${w.generation}` });
            row.boxes.show(w.list);
        });
    }

    private box(box: Box, p: Process): void {
        if (this.history)
            updateBox(box, p, this.history);
    }

    show(h: History): void {
        this.history = h;
        const s = h.last;
        if (!s)
            return;
        this.alone.show(s.processes.filter((p) => !IN_WORKER.includes(p.role)));
        this.workers.show(workersOf(s));
        const cpu = s.processes.reduce((n, p) => n + (h.cpuOf(p) ?? 0), 0);
        put(byId("processes-note"), `${count(s.processes.length)} · ${percent(cpu)} of one CPU · generation ${s.generation}`);
    }
}
