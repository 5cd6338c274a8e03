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

export type BackendState = "up" | "down" | "trying";

export interface Backend {
    address: string;
    state: BackendState;
    sessions: number;
    sessionsTotal: number;
    failures: number;
    retryIn: number | null;
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
    state: string; // "running", "starting", "draining", "ended", ...
    doing: string;
    cpuSeconds: number | null;
    memory: number | null;
    sessions: number | null;
    restarts: number;
    started: number | null;
    lastEnd: string;
}

export interface Client {
    client: string;
    name: string;
    sessions: number;
    bytesIn: number;
    bytesOut: number;
    rateIn: number | null; // over the last seconds, as the proxy measures it
    rateOut: number | null;
    handshakes: number | null;
    failed: number | null;
    uncertain: number; // bytes that may belong to another client which was tracked before
}

export interface Reload {
    time: number;
    ok: boolean;
    text: string;
}

export interface Snapshot {
    time: number; // unix seconds
    instance: string; // of the supervisor: another one means that all counters began anew
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
