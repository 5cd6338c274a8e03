import assert from "node:assert/strict";
import { test } from "node:test";
import { byUrgency, judge, orderLevel, orderText } from "../src/verdict";
import { certificatesOf, ordersOf, sessionsOf, snapshotOf, suiteOf } from "../src/wire";

const NOW = 1_800_000_000;

function status(more: object = {}, totals: object = {}) {
    const s = snapshotOf({ status: { time: NOW, pid: 1, generation: 1, state: "serving", totals, ...more }, clients: [] });
    assert.ok(s);
    return s;
}

const cert = (days: number) => certificatesOf({ certificates: [{ service: "web", names: ["www.example.org"], not_after: NOW + days * 86400 }] });

test("nothing to say", () => {
    const v = judge(status(), null, cert(80));
    assert.deepEqual([v.level, v.state, v.findings.length], ["good", "Serving", 0]);
});

test("certificates near their end, and beyond it", () => {
    assert.equal(judge(status(), null, cert(20)).level, "warn");
    assert.equal(judge(status(), null, cert(2)).level, "bad");
    assert.match(judge(status(), null, cert(-1)).findings[0]?.text ?? "", /expired 1\sd 0\sh ago/);
});

test("orders of certificates: what is wrong, and what comes next", () => {
    const order = (more: object) => ordersOf({ certificates: [{ certificate: "web.ecdsa-p256", names: ["a.example"], ...more }] })[0]!;
    const well = { state: "idle", issued_by_issuer: true, next_attempt: NOW + 2 * 86400, failures_in_a_row: 0 };
    for (const [more, level, text] of [
        [{}, "good", /not known yet/],
        [well, "good", /^renewal in 2\sd/],
        [{ ...well, state: "finalize" }, "good", /^finalize$/],
        [{ ...well, issued_by_issuer: false, next_attempt: 0 }, "warn", /^order now$/],
        [{ ...well, failures_in_a_row: 2, next_attempt: NOW + 600 }, "warn", /^next attempt in 10\smin/],
        [{ ...well, alarm: true }, "bad", /^renewal in/],
    ] as const) {
        assert.equal(orderLevel(order(more)), level, JSON.stringify(more));
        assert.match(orderText(order(more), NOW), text);
    }
    assert.deepEqual(order({ window_start: 1, window_end: 2 }).window, [1, 2]);
    assert.equal(order({ window_start: 1 }).window, null);
    assert.deepEqual(ordersOf(null), []);
});

test("orders by urgency", () => {
    const order = (id: string, more: object) => ({ certificate: id, state: "idle", issued_by_issuer: true, next_attempt: NOW, ...more });
    const list = ordersOf({ certificates: [order("late", { next_attempt: NOW + 9 }), order("b", {}), order("a", {}), order("failed", { failures_in_a_row: 1 }), order("alarm", { alarm: true })] });
    assert.deepEqual(byUrgency(list).map((o) => o.id), ["alarm", "failed", "a", "b", "late"]);
    assert.equal(list[0]?.id, "late");
});

test("an ejected backend warns; a service without any is bad", () => {
    const service = (...states: string[]) => status({ services: [{ name: "web", backends: states.map((state, i) => ({ name: `b${i}`, state })) }] });
    assert.equal(judge(service("up", "up"), null, []).level, "good");
    assert.equal(judge(service("up", "down"), null, []).level, "warn");
    assert.equal(judge(service("down", "down"), null, []).level, "bad");
});

test("failed handshakes need a number and a share", () => {
    const before = status({}, { handshakes: { full: 100, resumed: 0, failed: { no_shared_cipher: 1 } } });
    const after = (full: number, failed: number) => status({}, { handshakes: { full, resumed: 0, failed: { no_shared_cipher: failed } } });
    assert.equal(judge(after(101, 10), before.totals, []).level, "good", "9 of 10, but few");
    assert.equal(judge(after(2_000, 41), before.totals, []).level, "good", "many, but a small part");
    assert.match(judge(after(200, 41), before.totals, []).findings[0]?.text ?? "", /most by no_shared_cipher/);
});

test("restarts are reported for ten minutes, what is down at once", () => {
    const relay = (p: object) => status({ processes: [{ role: "relay", index: 1, ...p }] });
    assert.equal(judge(relay({ state: "ready", restarts_total: 1, started: NOW - 30 }), null, []).level, "warn");
    assert.equal(judge(relay({ state: "ready", restarts_total: 1, started: NOW - 3600 }), null, []).level, "good");
    assert.equal(judge(relay({ state: "down" }), null, []).level, "bad");
});

test("what the figures show is not reported twice", () => {
    const s = status({ degraded: ["backend b0 of web is ejected", "relay.1 is down", "something else"], services: [{ name: "web", backends: [{ name: "b0", state: "down" }] }], processes: [{ role: "relay", index: 1, state: "down" }] });
    assert.deepEqual(judge(s, null, []).findings.length, 3);
});

test("a refused reload is reported", () => {
    const v = judge(status({ last_reload: { time: NOW - 60, result: "refused", text: "config.toml:3:1: unknown key" } }), null, []);
    assert.match(v.findings[0]?.text ?? "", /unknown key/);
});

test("a certificate of many services is one finding, and pushes nothing off the list", () => {
    const of = (service: string, name: string, days: number) => ({ service, names: [name], file: `${name}.pem`, key_type: "ecdsa", not_after: NOW + days * 86400 });
    const shared = certificatesOf({ certificates: ["a", "b", "c"].map((s) => of(s, "www.example.org", 20)) });
    assert.deepEqual(judge(status(), null, shared).findings.map((f) => f.text.replace(/ expires.*/, "")), ["The certificate of www.example.org (3 services)"]);
    const many = certificatesOf({ certificates: Array.from({ length: 20 }, (_, i) => of("web", `${i}.example.org`, -1)) });
    const v = judge(status({ last_reload: { time: NOW - 60, result: "refused", text: "one\ntwo" }, services: [{ name: "web", backends: [{ name: "b0", state: "down" }] }] }), null, many);
    assert.match(v.findings[0]?.text ?? "", /refused.*one\ntwo$/);
    assert.match(v.findings[1]?.text ?? "", /no backend/);
});

test("keys stay while numbers change", () => {
    const at = (time: number) => judge(status({ time, processes: [{ role: "relay", index: 0, state: "ready", restarts_total: 1, started: NOW - 5 }] }), null, cert(2)).findings.map((f) => f.key);
    assert.deepEqual(at(NOW), at(NOW + 300));
    assert.equal(new Set(at(NOW)).size, 2);
});

test("many findings stay readable", () => {
    const v = judge(status({ degraded: Array.from({ length: 50 }, (_, i) => `problem ${i}`) }), null, []);
    assert.equal(v.findings.length, 7);
    assert.match(v.text, /50 things/);
});

test("whatever comes on the wire, nothing throws and no number is NaN", () => {
    for (const v of [null, 1, "x", [], {}, { status: { time: "now" } }])
        assert.equal(snapshotOf(v), null);
    const s = snapshotOf({ status: { time: 1, totals: { handshakes: { failed: { x: "y" } }, }, histograms: { handshake_seconds: { buckets: [[null, 3], "q"] } }, services: [1, {}], processes: [null] }, clients: [{}, { client: "a" }] });
    assert.ok(s);
    assert.equal(JSON.stringify(s).includes("NaN"), false);
    assert.equal(s.clients.length, 1);
    assert.deepEqual(sessionsOf({ sessions: [null] }).length, 1);
});

test("suites in short", () => {
    assert.deepEqual(["TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_128_CCM", ""].map(suiteOf), ["AES-128-GCM", "CHACHA20-POLY1305", "AES-256-GCM", "AES-128-CCM", ""]);
});
