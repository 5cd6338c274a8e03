// The proxy's JSON (tls-off(8), "status.json") as the page's model. What is missing or of another type becomes a neutral value: an older page
// must live with a newer proxy, and the other way round, for the moment of an upgrade.
import type { Past } from "./history";
import type { Backend, Certificate, Client, Histogram, Order, Process, Service, Session, Snapshot } from "./model";

type Tree = { readonly [name: string]: unknown };

const isTree = (v: unknown): v is Tree => typeof v === "object" && v !== null && !Array.isArray(v);
const tree = (v: unknown): Tree => (isTree(v) ? v : {});
const list = (v: unknown): unknown[] => (Array.isArray(v) ? v : []);
const num = (v: unknown): number => (typeof v === "number" && Number.isFinite(v) ? v : 0);
const maybe = (v: unknown): number | null => (typeof v === "number" && Number.isFinite(v) ? v : null);
const text = (v: unknown): string => (typeof v === "string" ? v : typeof v === "number" ? String(v) : "");
const texts = (v: unknown): string[] => list(v).map(text).filter((t) => t !== "");

/** Upper edges of all buckets of the proxy's histograms, finite ones; sent once at the start of a stream. */
let allEdges: number[] = [];

/** Buckets come as [upper edge, number of values up to it], without those that are empty. */
function histogram(v: unknown): Histogram {
    const t = tree(v);
    const pairs = list(t.buckets).map((b) => list(b)).filter((b) => maybe(b[0]) !== null && maybe(b[1]) !== null).map((b) => [num(b[0]), num(b[1])] as const);
    const edges = allEdges.length > 0 ? [...allEdges] : pairs.map(([le]) => le);
    const counts = [...edges.map(() => 0), 0];
    let before = 0;
    for (const [le, n] of pairs) {
        // by nearest edge: numbers may have been cut on the way
        let i = edges.findIndex((e) => le <= e * 1.0001);
        if (i < 0)
            i = edges.length;
        counts[i] = (counts[i] as number) + Math.max(0, n - before);
        before = n;
    }
    counts[edges.length] = (counts[edges.length] as number) + Math.max(0, num(t.count) - before);
    return { edges: [...edges, Infinity], counts, sum: num(t.sum), count: num(t.count) };
}

function failures(v: unknown): Record<string, number> {
    const out: Record<string, number> = {};
    for (const [reason, n] of Object.entries(tree(v)))
        if (num(n) > 0)
            out[reason] = num(n);
    return out;
}

const sum = (r: Record<string, number>) => Object.values(r).reduce((s, n) => s + n, 0);

function handshakes(v: unknown) {
    const t = tree(v);
    const by = failures(t.failed);
    return { full: num(t.full), resumed: num(t.resumed), failed: typeof t.failed === "number" ? t.failed : sum(by), failures: by };
}

function backend(v: unknown): Backend {
    const t = tree(v);
    const state = text(t.state);
    return {
        address: text(t.name),
        state: state === "down" || state === "partly" ? state : "up",
        sessions: num(t.sessions),
        sessionsTotal: num(t.sessions_total),
        failures: num(t.connects_failed_total),
    };
}

function service(v: unknown): Service {
    const t = tree(v);
    const { full, resumed, failed } = handshakes(t.handshakes);
    return {
        name: text(t.name),
        mode: text(t.mode),
        listen: texts(t.listen),
        sessions: num(t.sessions),
        sessionsTotal: num(t.sessions_total),
        bytesIn: num(t.bytes_in_total),
        bytesOut: num(t.bytes_out_total),
        full,
        resumed,
        failed,
        backends: list(t.backends).map(backend),
    };
}

function process(v: unknown): Process {
    const t = tree(v);
    return {
        role: text(t.role),
        index: num(t.index),
        generation: num(t.generation),
        pid: num(t.pid),
        state: text(t.state),
        cpuSeconds: maybe(t.cpu_seconds_total),
        memory: maybe(t.memory_bytes),
        sessions: maybe(t.sessions),
        handshakes: maybe(t.handshakes),
        queue: num(t.queue),
        waiters: num(t.backlog_waiters),
        buffers: num(t.buffer_bytes),
        restarts: num(t.restarts_total),
        started: maybe(t.started),
        lastEnd: text(t.last_end),
    };
}

/** The supervisor writes the list of the others and is not in it; it must be well when there is one. */
function processes(status: Tree): Process[] {
    const found = list(status.processes).map(process);
    if (num(status.pid) > 0 && !found.some((p) => p.role === "supervisor"))
        found.unshift({ ...process({ role: "supervisor", pid: status.pid, generation: status.generation, started: status.started }), state: "ready" });
    return found;
}

/** Rates come for three spans; the longest is calm, the shortest is now. */
const rateOf = (v: unknown): number | null => (isTree(v) ? maybe(v["1s"]) : maybe(v));

function client(v: unknown): Client {
    const t = tree(v);
    return {
        client: text(t.client),
        verified: t.verified === true,
        sessions: num(t.sessions),
        bytesIn: num(t.bytes_in),
        bytesOut: num(t.bytes_out),
        rateIn: rateOf(t.rate_in),
        rateOut: rateOf(t.rate_out),
        handshakes: maybe(t.handshakes_total),
        full: maybe(t.handshakes_full_total),
        resumed: maybe(t.handshakes_resumed_total),
        failed: maybe(t.failed_total),
        uncertain: num(t.error_bytes),
    };
}

export function snapshotOf(v: unknown): Snapshot | null {
    const message = tree(v);
    const t = tree(message.status);
    if (maybe(t.time) === null)
        return null;
    const totals = tree(t.totals);
    const h = handshakes(totals.handshakes);
    const latency = tree(t.histograms);
    const log = tree(t.log);
    const clients = list(message.clients).map(client).filter((c) => c.client !== "");
    const reload = tree(t.last_reload);
    const uptime = num(t.uptime_seconds);
    return {
        time: num(t.time),
        instance: `${num(t.pid)}`,
        host: text(t.hostname),
        version: text(t.version),
        uptime,
        generation: num(t.generation),
        state: text(t.state),
        problems: texts(t.degraded),
        reload: maybe(reload.time) === null ? null : { time: num(reload.time), result: text(reload.result), text: text(reload.text) },
        totals: {
            sessions: num(totals.sessions),
            sessionsTotal: num(totals.sessions_total),
            bytesIn: num(totals.bytes_in_total),
            bytesOut: num(totals.bytes_out_total),
            dropped: num(log.events_dropped_total) + num(log.lines_lost_total),
            ...h,
        },
        latency: {
            handshake: histogram(latency.handshake_seconds),
            connect: histogram(latency.connect_seconds),
            firstByte: histogram(latency.first_byte_seconds),
        },
        services: list(t.services).map(service),
        processes: processes(t),
        clients,
        clientsTracked: maybe(message.clients_tracked) ?? clients.length,
    };
}

export function pastOf(v: unknown): Past {
    const t = tree(v);
    allEdges = list(t.edges).filter((e): e is number => typeof e === "number" && e > 0);
    const column = (name: string) => list(t[name]).map(num);
    return {
        time: column("time"),
        in: column("bytes_in"),
        out: column("bytes_out"),
        full: column("full"),
        resumed: column("resumed"),
        failed: column("failed"),
        sessions: column("sessions"),
    };
}

export function certificatesOf(v: unknown): Certificate[] {
    const all = isTree(v) ? v.certificates : v;
    return list(all).map((c) => {
        const t = tree(c);
        return {
            services: t.service !== undefined ? texts([t.service]) : texts(t.services),
            names: texts(t.names),
            key: text(t.key_type),
            issuer: text(t.issuer),
            notAfter: num(t.not_after),
            file: text(t.file),
            ocsp: text(t.ocsp),
        };
    });
}

export function ordersOf(v: unknown): Order[] {
    return list(tree(v).certificates).map((c) => {
        const t = tree(c);
        const start = maybe(t.window_start);
        const end = maybe(t.window_end);
        return {
            id: text(t.certificate),
            names: texts(t.names),
            issuer: text(t.issuer),
            state: text(t.state),
            issued: t.issued_by_issuer === true,
            alarm: t.alarm === true,
            notAfter: maybe(t.not_after),
            renewAt: maybe(t.renew_at),
            nextAttempt: maybe(t.next_attempt),
            window: start !== null && end !== null ? [start, end] : null,
            failures: num(t.failures_in_a_row),
            error: text(t.error),
        };
    });
}

/** TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 -> AES-128-GCM: what distinguishes suites that are all AEAD with ECDHE. */
export const suiteOf = (name: string) => name.replace(/^TLS_(?:.*_WITH_)?/, "").replace(/_SHA\d+$/, "").replaceAll("_", "-");

export function sessionsOf(v: unknown): Session[] {
    const all = isTree(v) ? v.sessions : v;
    return list(all).map((c) => {
        const t = tree(c);
        return {
            id: text(t.id),
            client: text(t.client),
            name: text(t.client_name),
            service: text(t.service),
            sni: text(t.sni),
            protocol: [text(t.version).replace("TLSv", "TLS "), suiteOf(text(t.suite))].filter((x) => x !== "").join(" "),
            backend: text(t.backend),
            state: text(t.state),
            age: num(t.age_seconds),
            idle: maybe(t.idle_seconds),
            bytesIn: num(t.bytes_in),
            bytesOut: num(t.bytes_out),
        };
    });
}
