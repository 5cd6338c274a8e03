// A server with made-up figures, to work on the page without a proxy: node dashboard/mock.mjs [port] [calm|trouble|empty|many]
// Serves dist/, so build first. The C code of the observer is the real one; nothing here is part of the program.
import { createReadStream, existsSync } from "node:fs";
import { createServer } from "node:http";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const dist = join(dirname(fileURLToPath(import.meta.url)), "dist");
const scenario = process.argv[3] ?? "calm";
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const EDGES = Array.from({ length: 46 }, (_, i) => ((i % 2 ? 24 : 16) * 2 ** Math.floor(i / 2)) / 1e6);
const began = Date.now() / 1000 - 93784;

const gauss = () => Array.from({ length: 6 }, Math.random).reduce((a, b) => a + b, -3);
const histogram = (median, spread) => ({ counts: EDGES.map(() => 0), sum: 0, count: 0, add(n) {
    for (let i = 0; i < n; i++) {
        const v = median * Math.exp(gauss() * spread);
        this.count++;
        this.sum += v;
        EDGES.forEach((e, k) => { if (v <= e) this.counts[k]++; });
    }
}, json() { return { buckets: EDGES.map((e, i) => [e, this.counts[i]]).filter(([, n], i) => n > (this.counts[i - 1] ?? 0)), sum: this.sum, count: this.count }; } });

const latency = { handshake_seconds: histogram(0.0016, 0.7), connect_seconds: histogram(0.00006, 0.8), first_byte_seconds: histogram(0.006, 1.2) };
const totals = { bytes_in: 0, bytes_out: 0, full: 0, resumed: 0, failed: {}, sessions: 0, sessions_total: 0 };
const clients = Array.from({ length: scenario === "empty" ? 0 : scenario === "many" ? 100 : 34 }, (_, i) => ({
    client: i % 9 === 2 ? `dns:robot-${i}.svc.example.org` : i % 7 === 3 ? `2001:db8:${(i * 7919 % 65536).toString(16)}:${i}::/64` : `192.0.2.${(i * 37) % 251}`,
    verified: i % 9 === 2, weight: 60e6 / (i + 1) ** 1.3, phase: Math.random() * 6, sessions: 1 + Math.floor(200 / (i + 2)), in: 0, out: 0, handshakes: 10 + i, failed: i % 5 ? 0 : i,
}));
const past = { edges: EDGES, time: [], bytes_in: [], bytes_out: [], full: [], resumed: [], failed: [], sessions: [] };
let generation = 4;
let reloaded = Date.now() / 1000 - 5400;
const cpu = {};

function second(now) {
    const load = 0.75 + 0.2 * Math.sin(now / 40) + 0.05 * gauss();
    for (const c of clients) {
        const wave = Math.max(0, load * (0.6 + 0.4 * Math.sin(now / 13 + c.phase)) + 0.1 * gauss());
        c.rateOut = c.weight * wave;
        c.rateIn = c.weight * 0.12 * wave;
        c.out += Math.round(c.rateOut);
        c.in += Math.round(c.rateIn);
        totals.bytes_out += Math.round(c.rateOut);
        totals.bytes_in += Math.round(c.rateIn);
    }
    if (scenario !== "empty") {
        const full = Math.round(120 * load), resumed = Math.round(340 * load);
        totals.full += full;
        totals.resumed += resumed;
        latency.handshake_seconds.add(full + resumed);
        latency.connect_seconds.add(full + resumed);
        latency.first_byte_seconds.add(full + resumed);
        const bad = (reason, n) => { totals.failed[reason] = (totals.failed[reason] ?? 0) + n; };
        bad("no_shared_cipher", Math.random() < 0.3 ? 1 : 0);
        bad("client_closed", Math.random() < 0.5 ? 2 : 0);
        bad("hello_timeout", Math.random() < 0.1 ? 1 : 0);
        if (scenario === "trouble")
            bad("client_rate", Math.round(110 * load));
        totals.sessions = clients.reduce((n, c) => n + c.sessions, 0);
        totals.sessions_total += full + resumed;
    }
    past.time.push(now);
    for (const k of ["bytes_in", "bytes_out", "full", "resumed", "sessions"])
        past[k].push(totals[k]);
    past.failed.push(Object.values(totals.failed).reduce((a, b) => a + b, 0));
    if (past.time.length > 300)
        for (const k in past)
            if (k !== "edges")
                past[k].shift();
}

function processes(now) {
    const one = (role, index, use, more = {}) => {
        const key = role + index + (more.generation ?? generation);
        cpu[key] = (cpu[key] ?? 100) + use * (0.9 + 0.1 * Math.sin(now / 9 + index));
        return { role, index, generation, pid: 4000 + Object.keys(cpu).indexOf(key), state: "ready", cpu_seconds_total: cpu[key], memory_bytes: 2.1e6 + index * 1e5, restarts_total: 0, started: began, last_end: "", ...more };
    };
    const list = [one("supervisor", 0, 0.0004, {}), one("observer", 0, 0.006, {}), one("resolver", 0, 0.0001, {})];
    const workers = scenario === "many" ? 24 : 4;
    for (let i = 0; i < workers; i++) {
        list.push(one("handshaker", i, 0.09 + 0.01 * i, { handshakes: 8 + i, queue: 0 }), one("signer", i, 0.04),
            one("relay", i, 0.21 + 0.02 * i, { buffer_bytes: 1.2e6 * i, sessions: Math.round(totals.sessions / workers), ...(scenario === "trouble" && i === 1 ? { restarts_total: 2, started: now - 95, last_end: "killed by signal 6 (Aborted)" } : {}) }));
    }
    if (scenario === "trouble") {
        list.push(one("relay", 0, 0.02, { generation: generation - 1, state: "leaving", sessions: 12 }));
        list.push(one("handshaker", 0, 0, { generation: generation - 1, state: "leaving", handshakes: 3 }));
    }
    return list;
}

function status(now) {
    const services = [["web", 0.7, ["unix:/run/app.sock", "tcp:127.0.0.1:8080"]], ["redis", 0.2, ["unix:/run/redis/redis.sock"]], ["mail", 0.1, ["tcp:mail.internal:993"]]].map(([name, part, backends], i) => ({
        name, mode: i === 2 ? "passthrough" : "terminate", listen: [i === 0 ? "0.0.0.0:443" : `0.0.0.0:${6379 + i}`], sessions: Math.round(totals.sessions * part), sessions_total: Math.round(totals.sessions_total * part),
        bytes_in_total: Math.round(totals.bytes_in * part), bytes_out_total: Math.round(totals.bytes_out * part), handshakes: { full: Math.round(totals.full * part), resumed: Math.round(totals.resumed * part), failed: { no_shared_cipher: 4 } },
        backends: backends.map((address, k) => ({ name: address, state: scenario === "trouble" && i === 0 && k === 1 ? "down" : "up", sessions: Math.round(totals.sessions * part / backends.length), sessions_total: 1, connects_failed_total: k ? 31 : 0 })) }));
    return { time: now, version: "0.2.0", hostname: "edge-3.example.org", pid: 812, uptime_seconds: now - began, generation, state: "serving", degraded: scenario === "trouble" ? ["Service web has used 96 % of its 20,000 sessions."] : [],
        last_reload: { time: reloaded, result: "done", text: "" },
        totals: { sessions: totals.sessions, sessions_total: totals.sessions_total, bytes_in_total: totals.bytes_in, bytes_out_total: totals.bytes_out, handshakes: { full: totals.full, resumed: totals.resumed, failed: totals.failed }, },
        log: { events_dropped_total: 0, lines_lost_total: 0 }, histograms: Object.fromEntries(Object.entries(latency).map(([k, h]) => [k, h.json()])),
        services: scenario === "empty" ? services.slice(0, 1) : services, processes: processes(now) };
}

const certificates = (now) => ({ total: 6, certificates: [["web", ["www.example.org", "example.org"], "ECDSA P-256", scenario === "trouble" ? 2.4 : 61.2], ["web", ["api.example.org"], "ECDSA P-256", 74], ["redis", ["cache.example.org"], "RSA 2048", scenario === "trouble" ? 17.5 : 44], ["web", ["shop.example.net", "www.shop.example.net", "m.shop.example.net"], "ECDSA P-256", 83], ["web", ["xn--bcher-kva.example"], "Ed25519", 88]]
    .map(([service, names, key_type, days]) => ({ service, names, key_type, issuer: "Example CA", not_after: now + days * 86400, file: `/etc/tls-off/${names[0]}.pem`, ocsp: "good" })) });

const orders = (now) => ({ running: true, issuers: [], certificates: [
    { certificate: "web.ecdsa-p256", names: ["www.example.org", "example.org"], issuer: "le", state: "idle", issued_by_issuer: true, alarm: false, not_after: now + 61.2 * 86400, renew_at: now + 31 * 86400, next_attempt: now + 31 * 86400, window_start: now + 30 * 86400, window_end: now + 32 * 86400, failures_in_a_row: 0, error: null },
    ...(scenario === "trouble" ? [{ certificate: "shop.ecdsa-p256", names: ["shop.example.net"], issuer: "le", state: "idle", issued_by_issuer: true, alarm: true, not_after: now + 2.4 * 86400, next_attempt: now + 5000, failures_in_a_row: 7, error: "shop.example.net is invalid, dns: NXDOMAIN looking up A for shop.example.net" }] : [])] });

const sessions = (url) => {
    const of = url.searchParams.get("client");
    const n = Number(url.searchParams.get("limit") ?? 15);
    return { sessions: clients.filter((c) => !of || c.client === of).flatMap((c) => [c, c, c]).slice(0, n).map((c, i) => ({ id: `s${c.client}${i}`, client: c.client, client_name: "", service: i % 3 ? "web" : "redis", sni: "www.example.org", version: "TLSv1.3", suite: "TLS_AES_128_GCM_SHA256", backend: "unix:/run/app.sock", state: "open", age_seconds: 300 + 61 * i, idle_seconds: 0, bytes_in: Math.round(c.in / 3), bytes_out: Math.round(c.out / 3) })) };
};

for (let t = Date.now() / 1000 - 290; t < Date.now() / 1000; t++)
    second(t);

const open = new Set();
setInterval(() => {
    const now = Date.now() / 1000;
    second(now);
    const text = `event: snapshot\ndata: ${JSON.stringify({ status: status(now), clients: clients.map((c) => ({ client: c.client, verified: c.verified, sessions: c.sessions, bytes_in: c.in, bytes_out: c.out, rate_in: { "1s": c.rateIn }, rate_out: { "1s": c.rateOut }, handshakes_total: c.handshakes + c.failed, handshakes_full_total: c.handshakes - 7, handshakes_resumed_total: 7, failed_total: c.failed, error_bytes: 0 })), clients_tracked: scenario === "many" ? 4096 : clients.length })}\n\n`;
    for (const r of open)
        r.write(text);
}, 1000);

const server = createServer((q, r) => {
    const url = new URL(q.url, "http://localhost");
    const json = (v) => r.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(v));
    if (url.pathname === "/live") {
        r.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
        r.write(`event: history\ndata: ${JSON.stringify(past)}\n\n`);
        open.add(r);
        q.on("close", () => open.delete(r));
    } else if (url.pathname === "/reload") { // for trying what a reload looks like
        generation++;
        reloaded = Date.now() / 1000;
        for (const s of open)
            s.end();
        open.clear();
        json({});
    } else if (url.pathname === "/resources") {
        r.end("GET /acme.json\nGET /certificates.json\nGET /sessions.json\n");
    } else if (url.pathname === "/certificates.json") {
        json(scenario === "empty" ? { certificates: [] } : certificates(Date.now() / 1000));
    } else if (url.pathname === "/acme.json") {
        json(scenario === "empty" ? { certificates: [] } : orders(Date.now() / 1000));
    } else if (url.pathname === "/sessions.json") {
        json(sessions(url));
    } else {
        const file = join(dist, normalize(url.pathname === "/" ? "/index.html" : url.pathname));
        if (!file.startsWith(dist) || !existsSync(file))
            return void r.writeHead(404).end();
        r.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream", "cache-control": "no-store",
            "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'" });
        createReadStream(file).pipe(r);
    }
});
server.listen(Number(process.argv[2] ?? 0), "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/`));
