"""What the scripts compare before they write, run by a real Redis server as src/fleet/objects.c has them."""
import ast
import pathlib
import re
import time

import pytest

from support.store import Store

SOURCE = pathlib.Path(__file__).resolve().parents[2] / "src" / "fleet" / "objects.c"
CONSTANTS = {"SHARING_LEASE_MS": "60000", "SHARING_OFFER_MS": "600000"}


def scripts():
    source = SOURCE.read_text()
    table = source.split("scripts[SHARING_OPS] = {", 1)[1].split("};", 1)[0]
    leases = re.search(r"#define LEASES(.*?[^\\])\n", source, re.S).group(1).replace("\\\n", "\n")
    table = re.sub(r"\bLEASES\b", lambda m: leases, table)
    found = {}
    for name, body in re.findall(r"\[SHARING_(\w+)\] =(.*?)(?=\n    \[SHARING_|\Z)", table, re.S):
        pieces = re.finditer(r'("(?:[^"\\]|\\.)*")|NUMBER_OF\(\s*(\w+)\)', body)
        found[name] = "".join(ast.literal_eval(m.group(1)) if m.group(1) else CONSTANTS[m.group(2)] for m in pieces)
    return found


class Scripts(Store):
    table = scripts()

    def run(self, op, fence=0, version=0, data=b"", lease="x", name="certificate/x"):
        """LEASE: one or more names, with blanks between."""
        kind = "challenge" if op in ("OFFER", "FIND") else "object"
        data = lease if op in ("LEASE", "RENEW", "GIVE") else data
        keys = [f"{{c}}/acme/lease/{lease.split()[0]}", f"{{c}}/acme/{kind}/{name}", "{c}/acme/fence", "{c}/acme/version", "{c}/acme/changes"]
        answer = self.do("EVAL", self.table[op], 5, *keys, fence, version, data, name, "{c}/acme/changed", "{c}/acme/lease/")
        return (answer[0].decode(), int(answer[1]), int(answer[2]), answer[3]) if isinstance(answer, list) else answer


@pytest.fixture
def store(parts):
    return Scripts(parts)


def test_all_scripts_are_read():
    assert set(Scripts.table) == {"LEASE", "RENEW", "GIVE", "GET", "PUT", "OFFER", "FIND"}


def test_a_lease_is_one_instances(store):
    word, fence, *_ = store.run("LEASE")
    assert word == "OK" and abs(fence / 1e6 - time.time()) < 60
    assert store.run("LEASE")[0] == "HELD"
    assert store.run("LEASE", lease="y")[1] > fence
    assert store.run("RENEW", fence + 1)[0] == "LOST" and store.run("RENEW", fence)[0] == "OK"
    assert 59000 < store.do("PTTL", "{c}/acme/lease/x") <= 60000
    assert store.run("GIVE", fence + 1)[0] == "OK" and store.run("LEASE")[0] == "HELD", "another one's is not given back"
    assert store.run("GIVE", fence)[0] == "OK"
    assert store.run("RENEW", fence)[0] == "LOST"
    assert store.run("LEASE")[1] > fence


def test_a_lease_is_of_all_its_names_or_of_none(store):
    word, first, *_ = store.run("LEASE", lease="a b c")
    assert word == "OK"
    assert store.run("LEASE", lease="d c")[::3] == ("HELD", b"c"), "it says whose"
    assert store.do("EXISTS", "{c}/acme/lease/d") == 0, "nothing is left of a lease that was not given"
    word, second, *_ = store.run("LEASE", lease="d e")
    assert word == "OK" and second > first
    assert store.run("PUT", second, 1, b"x", lease="a")[0] == "LOST", "each has its own names"
    store.do("DEL", "{c}/acme/lease/b")
    assert store.run("RENEW", first, lease="a b c")[0] == "LOST", "part of it is none"
    store.do("SET", "{c}/acme/lease/b", second)
    assert store.run("GIVE", first, lease="a b c")[0] == "OK"
    assert store.keys("{c}/acme/lease/*") == ["{c}/acme/lease/" + n for n in "bde"], "another one's name stays"
    many = " ".join(f"{i}.{'x' * 60}.{'y' * 60}.{'z' * 60}.{'w' * 60}.example" for i in range(100))
    fence = store.run("LEASE", lease=many)[1]
    assert store.run("RENEW", fence, lease=many)[0] == "OK" and len(store.keys("{c}/acme/lease/*")) == 103
    assert all(59000 < store.do("PTTL", k) <= 60000 for k in store.keys("{c}/acme/lease/*xyz*"))
    assert store.run("GIVE", fence, lease=many)[0] == "OK" and len(store.keys("{c}/acme/lease/*")) == 3


def test_fences_grow_when_all_is_lost(store):
    fence = store.run("LEASE")[1]
    store.do("FLUSHALL")
    assert store.run("LEASE")[1] > fence
    store.do("SET", "{c}/acme/fence", 9 * 10**15)
    assert store.run("LEASE", lease="y")[1] == 9 * 10**15 + 1, "the last one counts when the clock is behind"


def test_only_who_holds_the_lease_writes(store):
    first = store.run("LEASE")[1]
    assert store.run("PUT", first, 1, b"one") == ("OK", first, 1, b"")
    assert store.run("GET") == ("OK", 0, 1, b"one")
    store.do("DEL", "{c}/acme/lease/x")
    assert store.run("PUT", first, 2, b"late")[0] == "LOST", "nobody has it"
    second = store.run("LEASE")[1]
    assert store.run("PUT", first, 2, b"late")[0] == "LOST", "another one has it"
    assert store.run("OFFER", first, data=b"late", name="http-01/t")[0] == "LOST"
    assert store.run("PUT", second, 2, b"two")[0] == "OK"
    store.do("SET", "{c}/acme/lease/x", first)  # an old copy of the data was restored
    assert store.run("PUT", first, 3, b"late")[0] == "LOST", "the fence that the object was written with counts, too"
    assert store.run("GET")[3] == b"two"


def test_versions_grow(store):
    fence = store.run("LEASE")[1]
    assert store.run("GET") == ("NONE", 0, 0, b"")
    assert store.run("PUT", fence, 7, b"x")[0] == "OK"
    assert store.run("PUT", fence, 7, b"y") == ("OLD", 0, 7, b"") == store.run("PUT", fence, 3, b"y")
    assert store.run("GET", version=6)[0] == "OK" and store.run("GET", version=7) == ("NONE", 0, 7, b"")
    assert store.run("GET", version=2**63 - 1) == ("NONE", 0, 7, b"")
    assert store.do("GET", "{c}/acme/version") == b"1"
    store.do("HSET", "{c}/acme/object/certificate/x", "data", bytes(57345))
    assert "larger than 56 KiB" in store.run("GET")


def test_what_has_changed_is_read(store):
    script = "".join(ast.literal_eval(s) for s in re.findall(r'"(?:[^"\\]|\\.)*"', re.search(r"changes_script\[\] =(.*?);\n\n", SOURCE.read_text(), re.S).group(1)))

    def changes(seen, most=64):
        return store.do("EVAL", script, 2, "{c}/acme/version", "{c}/acme/changes", seen, most)
    assert changes(0) == [b"0", 1, []]
    fence = store.run("LEASE")[1]
    for name, version in ("a", 1), ("b", 1), ("a", 2):
        assert store.run("PUT", fence, version, name=name)[0] == "OK"
    assert changes(0) == [b"3", 1, [b"b", b"a"]] and changes(2) == [b"3", 1, [b"a"]] and changes(3) == [b"3", 1, []]
    assert changes(0, 1) == [b"3", 1, [b"b"]]
    assert changes(9) == [b"3", 1, []], "it went back"
    store.do("INCR", "{c}/acme/version")
    assert changes(3) == [b"4", 0, []], "what changed is not known: all may have"


def test_offers_expire(store):
    fence = store.run("LEASE")[1]
    assert store.run("FIND", name="http-01/t")[0] == "NONE"
    assert store.run("OFFER", fence, data=b"a t.k", name="http-01/t")[0] == "OK"
    assert store.run("FIND", name="http-01/t") == ("OK", 0, 0, b"a t.k")
    assert 590000 < store.do("PTTL", "{c}/acme/challenge/http-01/t") <= 600000
    store.do("SET", "{c}/acme/challenge/http-01/big", bytes(5000))
    assert store.run("FIND", name="http-01/big")[0] == "NONE"
