import assert from "node:assert/strict";
import { test } from "node:test";
import * as f from "../src/format";

const plain = (s: string) => s.replaceAll("\u202f", " ");

test("rates keep three digits and change unit before they would show four", () => {
    const cases: [number, string][] = [[0, "0 B/s"], [999, "999 B/s"], [999.6, "1.00 kB/s"], [1234, "1.23 kB/s"], [99_950, "100 kB/s"], [999_600, "1.00 MB/s"], [12_340_000, "12.3 MB/s"], [2.5e15, "2.50 PB/s"]];
    for (const [n, text] of cases)
        assert.equal(plain(f.rate(n)), text);
});

test("what is not known is a dash, never NaN", () => {
    for (const fn of [f.rate, f.bytes, f.count, f.perSecond, f.seconds, f.age])
        for (const v of [null, NaN, Infinity])
            assert.match(fn(v), /^–/);
    assert.equal(f.percent(NaN), "–");
});

test("short times", () => {
    const cases: [number, string][] = [[0, "0 µs"], [0.00083, "830 µs"], [0.0009996, "1.00 ms"], [0.01234, "12.3 ms"], [0.9996, "1.00 s"], [12, "12.0 s"]];
    for (const [s, text] of cases)
        assert.equal(plain(f.seconds(s)), text);
});

test("long times have two units", () => {
    const cases: [number, string][] = [[-3, "0 s"], [59.9, "59 s"], [60, "1 min 0 s"], [3661, "1 h 1 min"], [90_000, "1 d 1 h"]];
    for (const [s, text] of cases)
        assert.equal(plain(f.age(s)), text);
});

test("a small share is not rounded to nothing", () => {
    assert.equal(plain(f.percent(0)), "0 %");
    assert.equal(plain(f.percent(0.0001)), "< 0.1 %");
    assert.equal(plain(f.percent(0.0123)), "1.2 %");
    assert.equal(plain(f.percent(0.996)), "100 %");
});

test("counts", () => {
    assert.equal(f.count(12_345), "12,345");
    assert.equal(plain(f.count(999_999.7)), "1.00 M");
    assert.equal(f.plural(1, "session"), "1 session");
    assert.equal(f.plural(0, "session"), "0 sessions");
});

test("edges and marks of axes have no needless digits", () => {
    assert.deepEqual([0.0001, 0.0025, 1, 10, Infinity].map((e) => plain(f.edge(e))), ["100 µs", "2.5 ms", "1 s", "10 s", "∞"]);
    assert.deepEqual([0, 50e6, 2.5e3].map((e) => plain(f.rateMark(e))), ["0", "50 MB/s", "2.5 kB/s"]);
});
