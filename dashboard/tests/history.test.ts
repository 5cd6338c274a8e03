import assert from "node:assert/strict";
import { test } from "node:test";
import { Columns, History, KEEP, quantile } from "../src/history";
import type { Snapshot } from "../src/model";
import { pastOf, snapshotOf } from "../src/wire";

function at(time: number, more: { pid?: number; out?: number; generation?: number; clients?: object[]; buckets?: [number, number][]; processes?: object[] } = {}): Snapshot {
    const s = snapshotOf({
        status: {
            time, pid: more.pid ?? 7, generation: more.generation ?? 1, processes: more.processes ?? [],
            totals: { bytes_out_total: more.out ?? 0, handshakes: { failed: {} } }, histograms: { handshake_seconds: { buckets: more.buckets ?? [], count: more.buckets?.at(-1)?.[1] ?? 0 } },
        },
        clients: more.clients ?? [],
    });
    assert.ok(s);
    return s;
}

test("columns forget the oldest, and find by time", () => {
    const c = new Columns(["time", "v"], 3);
    for (let i = 1; i <= 5; i++)
        c.push({ time: i * 10, v: i === 4 ? null : i });
    assert.deepEqual(c.slice("time"), [30, 40, 50]);
    assert.deepEqual(c.slice("v"), [3, null, 5]);
    assert.equal(c.since("time", 40), 1);
    assert.equal(c.since("time", 41), 2);
    assert.equal(c.since("time", 99), 3);
    assert.equal(c.at("v", -1), 5);
    assert.equal(c.at("v", -4), null);
});

test("a rate is the difference by the time between", () => {
    const h = new History();
    h.push(at(100, { out: 5_000 }));
    h.push(at(102, { out: 9_000 }));
    assert.equal(h.rates.length, 1);
    assert.equal(h.rates.at("out", -1), 2_000);
});

test("counters that restart make a hole, not a negative or a giant rate", () => {
    const h = new History();
    h.push(at(100, { out: 5_000 }));
    h.push(at(101, { out: 10, pid: 8 }));
    assert.equal(h.rates.at("out", -1), null);
    h.push(at(102, { out: 30, pid: 8 }));
    assert.equal(h.rates.at("out", -1), 20);
    assert.deepEqual(h.marks.map((m) => m.text), ["start"]);
});

test("time without snapshots is a hole and then the average", () => {
    const h = new History();
    h.push(at(100));
    h.push(at(101, { out: 100 }));
    h.push(at(111, { out: 1_100 }));
    assert.deepEqual(h.rates.slice("out"), [100, null, 100]);
});

test("what the proxy kept fills the time before the page and the time it was cut off", () => {
    const h = new History();
    const past = (times: number[]) => ({ time: times, in: times.map(() => 0), out: times.map((t) => t * 10), full: times, resumed: times, failed: times, sessions: times });
    h.fill(past([97, 98, 99, 100]));
    assert.deepEqual(h.rates.slice("time"), [98, 99, 100]);
    h.push(at(100.5, { out: 1_005 }));
    h.push(at(101.5, { out: 1_015 }));
    assert.deepEqual(h.rates.slice("out"), [10, 10, 10, 10]);
    h.fill(past([99, 100, 101, 102, 103]));
    assert.deepEqual(h.rates.slice("time"), [98, 99, 100, 101.5, 103], "nothing twice");
    h.push(at(110, { out: 1_100 }));
    assert.equal(h.rates.at("time", -1), 103, "an average over time that is known in detail is skipped");
    h.fill(past([130, 131]));
    assert.deepEqual(h.rates.slice("out").slice(-3), [10, null, 10], "a hole where nobody knows");
});

test("a second snapshot of the same moment counts once", () => {
    const h = new History();
    h.push(at(100));
    h.push(at(101, { out: 1 }));
    h.push(at(101, { out: 1 }));
    h.push(at(101.05, { out: 9 }));
    assert.deepEqual(h.rates.slice("out"), [1], "and 8 bytes in a twentieth of a second are no 160 a second");
});

test("reloads and restarts are marked", () => {
    const h = new History();
    const relay = (restarts_total: number) => [{ role: "relay", restarts_total }];
    h.push(at(1, { processes: relay(0) }));
    h.push(at(2, { processes: relay(1) }));
    h.push(at(3, { generation: 2, processes: relay(0) }));
    assert.deepEqual(h.marks.map((m) => m.text), ["restart", "reload"]);
});

test("a histogram's window is the difference of two moments", () => {
    const h = new History();
    h.push(at(100, { buckets: [[0.001, 10], [0.01, 10]] }));
    h.push(at(160, { buckets: [[0.001, 12], [0.01, 15]] }));
    assert.deepEqual(h.latency.handshake.window(60), [2, 3, 0]);
    assert.deepEqual(h.latency.handshake.window(5), [0, 0, 0]);
    h.push(at(161, { buckets: [[0.001, 1], [0.01, 1]] }));
    assert.deepEqual(h.latency.handshake.window(60), [0, 0, 0], "empty after counters restarted");
    assert.equal(h.latency.handshake.edges.at(-1), Infinity);
});

test("empty buckets are omitted on the wire, and have their place again here", () => {
    pastOf({ edges: [0.001, 0.002, 0.004] });
    const h = at(1, { buckets: [[0.00200000001, 3], [0.004, 5]] }).latency.handshake;
    pastOf({});
    assert.deepEqual(h.edges, [0.001, 0.002, 0.004, Infinity]);
    assert.deepEqual(h.counts, [0, 3, 2, 0]);
});

test("quantiles", () => {
    assert.equal(quantile([1, 2, 4], [0, 0, 0], 0.5), null);
    assert.equal(quantile([1, 2, 4], [0, 10, 0], 0.5), 1.5);
    assert.equal(quantile([1, 2, 4], [5, 0, 5], 0.9), 3.6);
    assert.equal(quantile([1, Infinity], [0, 4], 0.99), 1, "above the last edge: at least that");
    assert.equal(quantile([2, 4], [10, 0], 0.5, 1), 1.5, "the first bucket begins at its floor");
});

test("clients have rates of their own, and the list is bounded", () => {
    const h = new History();
    const client = (bytes_out: number, name = "192.0.2.1") => ({ client: name, bytes_out, rate_out: { "1s": 7 } });
    h.push(at(100, { clients: [client(1_000)] }));
    h.push(at(101, { clients: [client(1_500)] }));
    assert.deepEqual(h.clients.get("192.0.2.1")?.columns.slice("out"), [7, 500]);
    for (let i = 0; i < 1_000; i++)
        h.push(at(102 + i, { clients: [client(i, `c${i}`)] }));
    assert.ok(h.clients.size <= 301);
    assert.ok(h.clients.has("c999"));
    assert.ok(!h.clients.has("192.0.2.1"));
    assert.ok(h.rates.length <= KEEP);
});
