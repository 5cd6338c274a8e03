// What the page knows of one moment, whatever the names on the wire are (wire.ts translates). Numbers that end in a total only grow.

export interface Histogram {
    edges: number[]; // upper edges in seconds, rising, the last one infinite
    counts: number[]; // in each bucket, not added up
    sum: number;
    count: number;
}

export interface Totals {
    sessions: number;
    sessionsTotal: number;
    bytesIn: number;
    bytesOut: number;
    full: number;
    resumed: number;
    failed: number;
    failures: Record<string, number>; // by reason
    dropped: number; // log events
}

/** Each relay ejects a backend on its own: partly = some do. */
export type BackendState = "up" | "partly" | "down";

export interface Backend {
    address: string;
    state: BackendState;
    sessions: number;
    sessionsTotal: number;
    failures: number; // connects
}

export interface Service {
    name: string;
    mode: string;
    listen: string[];
    sessions: number;
    sessionsTotal: number;
    bytesIn: number;
    bytesOut: number;
    full: number;
    resumed: number;
    failed: number;
    backends: Backend[];
}

export interface Process {
    role: string;
    index: number;
    generation: number;
    pid: number;
    state: string; // "preparing", "ready", "hung", "leaving", "down"
    cpuSeconds: number | null;
    memory: number | null;
    sessions: number | null;
    handshakes: number | null;
    queue: number; // finished handshakes that wait for a relay
    waiters: number; // sessions that wait for a full backend
    buffers: number; // bytes that wait for their sink
    restarts: number;
    started: number | null;
    lastEnd: string;
}

export interface Client {
    client: string; // an address, or the verified name of a client certificate
    verified: boolean;
    sessions: number;
    bytesIn: number;
    bytesOut: number;
    rateIn: number | null; // over the last seconds, as the proxy measures it
    rateOut: number | null;
    handshakes: number | null; // begun; with a verified name: done
    full: number | null;
    resumed: number | null;
    failed: number | null;
    uncertain: number; // bytes that may belong to another client which was tracked before
}

export interface Reload {
    time: number;
    result: string; // "queued", "running", "done", "refused"
    text: string;
}

export interface Snapshot {
    time: number; // unix seconds
    instance: string; // of the supervisor: another one means that all counters restarted
    host: string;
    version: string;
    uptime: number;
    generation: number;
    state: string;
    problems: string[];
    reload: Reload | null;
    totals: Totals;
    latency: Record<LatencyKind, Histogram>;
    services: Service[];
    processes: Process[];
    clients: Client[];
    clientsTracked: number;
}

export type LatencyKind = "handshake" | "connect" | "firstByte";

/** A certificate that an issuer gives: how it stands and what comes next. Times are unix seconds. */
export interface Order {
    id: string;
    names: string[];
    issuer: string;
    state: string; // "idle", or the step of the attempt under way; "" = not known yet
    issued: boolean; // by an issuer; else a self-signed one is served
    alarm: boolean;
    notAfter: number | null;
    renewAt: number | null;
    nextAttempt: number | null;
    window: [number, number] | null; // that the issuer suggests
    failures: number; // in a row
    error: string;
}

export interface Certificate {
    services: string[];
    names: string[];
    key: string;
    issuer: string;
    notAfter: number;
    file: string;
    ocsp: string;
}

export interface Session {
    id: string;
    client: string;
    name: string;
    service: string;
    sni: string;
    protocol: string;
    backend: string;
    state: string;
    age: number;
    idle: number | null;
    bytesIn: number;
    bytesOut: number;
}
