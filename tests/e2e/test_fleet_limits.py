"""Limits of clients over several instances, which share them through a real Redis server."""
import contextlib
import hmac
import itertools
import json
import os
import random
import socket
import ssl
import struct
import threading
import time

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from support.clients import context, says_echo
from support.proxy import command
from support.store import Store
from support.waiting import until

CLIENT, OTHER, SIX = "192.0.2.7", "192.0.2.8", "2001:db8:7:1::1"
RATE = 1_000_000


def start(parts, store, n=3, backend=None, **limits):
    fleet = [parts.proxy(backend or parts.backend(), top={"acme": store.section, "workers": 1}, limits={"scope": "fleet", **limits},
                         proxy_protocol={"accept": "required", "trust": ["127.0.0.0/8"]}) for _ in range(n)]
    for p in fleet:
        wait_heard(p, n - 1)
    return fleet


def shared(p):
    return p.admin.json("/status.json")["store"]["clients"]


def wait_heard(p, n):
    until(lambda: shared(p)["instances_seen"] == n, lambda: f"{n} instances: {shared(p)}\n{p.text()}")


def come(p, ip=CLIENT):
    """A connection of that client, as a load balancer names it."""
    kind, there = ("TCP6", "::1") if ":" in ip else ("TCP4", "127.0.0.1")
    s = socket.create_connection(("127.0.0.1", p.port), timeout=60)
    try:
        s.sendall(f"PROXY {kind} {ip} {there} 1 443\r\n".encode())
        c = context().wrap_socket(s, server_hostname="localhost", suppress_ragged_eofs=False)
        s = None
        says_echo(c)
        return c
    finally:
        if s:
            s.close()


def refused(p, ip=CLIENT):
    try:
        come(p, ip).close()
    except (OSError, ssl.SSLError):
        return True
    return False


def over_fleet(p, *arguments):
    status, out, err = command("clients", "--fleet", "--json", "--admin", p.admin_socket, *arguments)
    assert status == 0, err
    return json.loads(out)


def of_client(p, ip=CLIENT):
    found = over_fleet(p, "--client", ip)["clients"]
    return found[0] if found else {"sessions": 0}


def wait_sum(fleet, sessions, ip=CLIENT):
    """Until every instance knows that all together have so many."""
    for p in fleet:
        until(lambda: of_client(p, ip)["sessions"] == sessions, lambda: f"{sessions} of {ip}: {of_client(p, ip)} {shared(p)}")


@pytest.mark.parametrize("ip, name", [(CLIENT, CLIENT), (SIX, "2001:db8:7:1::/64")], ids=["ipv4", "ipv6"])
def test_sessions_are_limited_by_the_sum(parts, ip, name):
    store = Store(parts)
    fleet = start(parts, store, sessions_per_client=6)
    with contextlib.ExitStack() as open_sessions:
        held = [open_sessions.enter_context(come(p, ip)) for p in fleet for _ in range(2)]
        wait_sum(fleet, 6, name)
        for p in fleet:
            assert refused(p, ip)
            until(lambda: '"reason":"client_sessions"' in p.text(), p.text)
            come(p, OTHER).close()
        shown = of_client(fleet[1], name)
        assert shown["instances"] == 3 and shown["most_share"] == pytest.approx(1 / 3)
        for c in held[:2]:
            c.close()
        wait_sum(fleet, 4, name)
        open_sessions.enter_context(come(fleet[2], ip))
    wait_sum(fleet, 0, name)


def test_networks_around_a_client_count_too(parts):
    """A /56 may have 4 times what one client may."""
    store = Store(parts)
    fleet = start(parts, store, 2, sessions_per_client=1)
    with contextlib.ExitStack() as held:
        for n in range(1, 5):
            held.enter_context(come(fleet[0], f"2001:db8:7:{n}::1"))
        for n in range(1, 5):
            wait_sum(fleet, 1, f"2001:db8:7:{n}::/64")
        assert refused(fleet[1], "2001:db8:7:f::1")
        come(fleet[1], "2001:db8:7:100::1").close()


def test_figures_are_exact_when_all_is_quiet(parts):
    store = Store(parts)
    fleet = start(parts, store)
    for i, p in enumerate(fleet):
        for _ in range(i + 1):
            come(p).close()
    members = ["bytes_in", "bytes_out", "handshakes_total", "handshakes_full_total", "handshakes_resumed_total", "failed_total"]

    def sums():
        rows = [c for p in fleet for c in p.admin.json("/clients.json") if c["client"] == CLIENT]
        return {m: sum(r[m] for r in rows) for m in members}
    for p in fleet:
        until(lambda: {m: of_client(p).get(m) for m in members} == sums(), lambda: f"{of_client(p)} != {sums()}")
        wait_heard(p, 2)
    wait_sum(fleet, 0)  # no session is under way, here or there
    assert sums()["handshakes_total"] == 6 and sums()["bytes_in"] > 0
    shown = until(lambda: (o := over_fleet(fleet[0]))["fleet"]["instances_seen"] == 2 and o, lambda: f"{over_fleet(fleet[0])}")
    assert len(shown["fleet"]["instances"]) == 3
    assert all(0 <= i["age_seconds"] < 5 for i in shown["fleet"]["instances"])
    assert of_client(fleet[0])["most_at"] in {i["instance"] for i in shown["fleet"]["instances"] if not i["own"]}
    _, table, _ = command("clients", "--fleet", "--admin", fleet[0].admin_socket)
    assert "2 other instances seen" in table and CLIENT in table
    over = over_fleet(fleet[0], "--over", "handshakes=5")["clients"]
    assert [c["client"] for c in over] == [CLIENT]
    assert over_fleet(fleet[0], "--over", "handshakes=6")["clients"] == []
    _, nft, _ = command("clients", "--fleet", "--over", "handshakes=5", "--format", "nft", "--admin", fleet[0].admin_socket)
    assert f"add element inet tls_off over4 {{ {CLIENT} timeout 10m }}" in nft


def test_byte_rates_are_shared(parts):
    def endless(c):
        data = bytes(65536)
        with contextlib.suppress(OSError):
            while True:
                c.sendall(data)
    store = Store(parts)
    fleet = start(parts, store, 2, backend=parts.backend(endless), bytes_per_second_per_client=RATE)
    over = threading.Event()

    def download(p):
        s = socket.create_connection(("127.0.0.1", p.port), timeout=60)
        s.sendall(f"PROXY TCP4 {CLIENT} 127.0.0.1 1 443\r\n".encode())
        with context().wrap_socket(s, server_hostname="localhost", suppress_ragged_eofs=False) as c:
            while not over.is_set():
                c.recv(65536)

    def rates():
        return [next((c["rate_out"]["1s"] for c in p.admin.json("/clients.json") if c["client"] == CLIENT), 0) for p in fleet]
    threads = [threading.Thread(target=download, args=(p,)) for p in fleet]
    for t in threads:
        t.start()
    try:
        until(lambda: 0.85 * RATE < sum(rates()) < 1.15 * RATE and min(rates()) > 0.3 * RATE, lambda: f"half of {RATE} each: {rates()}")
        store.stop()  # each is alone then, and gives all of it
        until(lambda: min(rates()) > 0.85 * RATE, lambda: f"{RATE} each: {rates()}")
    finally:
        over.set()
        for t in threads:
            t.join()


def test_without_the_store_limits_are_local(parts):
    store = Store(parts)
    fleet = start(parts, store, 2, sessions_per_client=2)
    with come(fleet[0]), come(fleet[0]):
        wait_sum(fleet, 2)
        assert refused(fleet[1])
        store.stop()
        until(lambda: shared(fleet[1])["limits"] == "local", lambda: f"local: {shared(fleet[1])}")
        with come(fleet[1]), come(fleet[1]):
            assert refused(fleet[1])
        assert "tls_off_fleet_limits_local 1" in fleet[1].admin.ask("/metrics").text
        until(lambda: fleet[1].text().count("limits count those of this instance alone") == 1, fleet[1].text)
        assert over_fleet(fleet[1])["fleet"]["instances_seen"] == 0
        store.start()
        wait_sum(fleet, 2)
        assert refused(fleet[1])
        assert "tls_off_fleet_limits_local 0" in fleet[1].admin.ask("/metrics").text


def test_numbers_of_a_dead_instance_expire(parts):
    store = Store(parts)
    fleet = start(parts, store, sessions_per_client=2)
    a, b = come(fleet[0]), come(fleet[0])
    with a, b:
        wait_sum(fleet, 2)
        assert refused(fleet[2])
        fleet[0].expected_status = -9
        fleet[0].kill()
        wait_heard(fleet[2], 1)
        wait_sum(fleet[1:], 0)
        come(fleet[2]).close()


def number(v):
    return bytes([v & 127 | 128]) + number(v >> 7) if v > 127 else bytes([v])


def summary(instance, seq, sessions, ip=CLIENT, name=b"liar/1", at=None):
    """As src/wire/summary.h has it: one client with so many sessions."""
    head = b"\x02" + struct.pack(">QQQB", instance, seq, int(at or time.time()), len(name)) + name + bytes(3)
    return head + b"\x00" + socket.inet_aton(ip) + number(sessions) + bytes(13)


def sealed(secret, plain, instance=1, cluster=b"tls-off"):
    """As src/seal/seal.h and src/observer/summary_seal.h have it."""
    key = hmac.digest(b"tls-off summaries seal 2", secret, "sha256")
    salt, name = os.urandom(16), b"clients/" + cluster
    aad = struct.pack(">H", len(name)) + name + struct.pack(">Q", instance)
    return struct.pack(">Q", instance) + salt + AESGCM(hmac.digest(key, salt, "sha256")).encrypt(bytes(12), plain, aad)


def publish(store, poison):
    """Into the list of instances, as one of them does."""
    now = int(time.time() * 1000)
    for name, value in poison.items():
        store.do("SET", "{tls-off}/clients/" + name, value, "PX", 60000)
        store.do("ZADD", "{tls-off}/clients", now, name)


def test_who_has_not_the_key_is_not_believed(parts):
    """Nobody who writes to the store counts without the fleet's key: it is refused, counted and logged."""
    store = Store(parts)
    a, b = start(parts, store, 2, sessions_per_client=2)
    key, other = store.key_file.read_bytes(), os.urandom(32)
    numbers = itertools.count(1)
    recorded = [sealed(key, summary(5, n, 99, at=time.time() - 300), 5) for n in range(100)]

    def put():
        n = next(numbers)
        publish(store, {"plain": summary(1, n, 99), "stranger": sealed(other, summary(2, n, 99), 2), "elsewhere": sealed(key, summary(3, n, 99), 3, b"other"),
                        "renamed": struct.pack(">Q", 44) + sealed(key, summary(4, n, 99), 4)[8:], "recorded": recorded[n % 100]})
        return True
    until(lambda: put() and shared(a)["summaries_foreign_total"] > 20 and shared(a)["summaries_old_total"] > 5, lambda: f"{shared(a)}", every=0.3)
    assert shared(a)["instances_seen"] == 1 and of_client(a)["sessions"] == 0
    assert not refused(a) and not refused(b)
    for p in (a, b):
        p.wait_text("summaries in the store are not believed: not sealed with our storage_key_file")
        p.wait_text("summaries in the store are not believed: they are not of now")
        assert p.text().count("are not believed") <= 4, "not a line for each"
    metrics = a.admin.ask("/metrics").text
    assert "tls_off_fleet_summaries_foreign_total" in metrics and "tls_off_fleet_summaries_old_total" in metrics
    before = shared(a)["summaries_refused_total"]
    until(lambda: put() and publish(store, {"believed": sealed(key, summary(6, next(numbers), 99), 6)}) is None and refused(b), lambda: f"with the key it is: {shared(b)}", every=0.3)
    assert shared(a)["summaries_refused_total"] == before


def test_an_instance_with_another_key_is_alone(parts):
    store = Store(parts)
    fleet = start(parts, store, 2, sessions_per_client=2)
    store.key_file = store.directory / "other.key"
    store.key_file.write_bytes(os.urandom(32))
    store.key_file.chmod(0o600)
    odd, = start(parts, store, 1, sessions_per_client=2)
    with come(fleet[0]), come(fleet[0]):
        wait_sum(fleet, 2)
        assert refused(fleet[1])
        with come(odd), come(odd):
            wait_sum([odd], 2)
            assert refused(odd)
        for p in (*fleet, odd):
            p.wait_text("are not believed: not sealed with our storage_key_file")
            assert shared(p)["instances_seen"] == (0 if p is odd else 1)


def test_a_poisoned_store_denies_nobody(parts):
    """Of those who have the key: what breaks the form, or cannot be."""
    store = Store(parts)
    a, b = start(parts, store, 2, sessions_per_client=2)
    key = store.key_file.read_bytes()
    poison = {
        "garbage": random.Random(1).randbytes(5000), "empty": b"", "cut": summary(1, 1, 99)[:-3], "longer": summary(2, 1, 99) + b"\0",
        "giant": bytes(1 << 20), "later": b"\x03" + summary(3, 1, 99)[1:], "impossible": summary(4, 1, 1 << 41), "negative": summary(5, 1, (1 << 64) - 1),
        "overflow": summary(6, 1, 1 << 64), "name": summary(7, 1, 99, name=b"two words"), "old": summary(8, 1, 99),
    }

    def put():
        now = int(time.time() * 1000)
        publish(store, {name: sealed(key, value) for name, value in poison.items()})
        store.do("DEL", "{tls-off}/clients/list")
        store.do("LPUSH", "{tls-off}/clients/list", "no string")
        store.do("ZADD", "{tls-off}/clients", now, "list")
    numbers = itertools.count(2)

    def believed():  # what could be true is believed, as long as there is news of it: after this there is none
        poison["old"] = summary(8, next(numbers), 99)
        put()
        return of_client(a)["sessions"] == 0 and of_client(a).get("instances") == 1 and refused(a)
    until(believed, lambda: f"{of_client(a)}", every=0.5)

    def harmless():
        put()
        return not refused(a) and not refused(b)
    until(harmless, lambda: f"let in: {shared(a)}")
    for p in (a, b):
        until(lambda: put() or shared(p)["summaries_refused_total"] > 5 and shared(p)["entries_skipped_total"] > 0, lambda: f"{shared(p)}")
        assert shared(p)["limits"] == "fleet"
        with come(p), come(p):
            assert refused(p)
            come(p, OTHER).close()
    until(lambda: put() or shared(a)["instances_seen"] == 1, lambda: f"{shared(a)}")  # what never changes is silence


def test_a_reload_keeps_the_sums(parts):
    from test_reload import reload
    store = Store(parts)
    fleet = start(parts, store, 2, sessions_per_client=3)
    with come(fleet[0]), come(fleet[0]):
        reload(fleet[0], 1)
        reload(fleet[1], 1)
        wait_sum(fleet, 2)
        with come(fleet[1]):
            wait_sum(fleet, 3)
            assert refused(fleet[0]) and refused(fleet[1])
        assert len(over_fleet(fleet[1])["fleet"]["instances"]) == 2  # no generation is an instance of its own


def test_nobody_shares_where_limits_are_local(parts):
    store = Store(parts)
    fleet = start(parts, store, 2, scope="local", sessions_per_client=2)
    with come(fleet[0]), come(fleet[0]):
        wait_sum(fleet, 2)  # seen, and not counted
        come(fleet[1]).close()
    p = parts.proxy(parts.backend())
    status, _, err = command("clients", "--fleet", "--admin", p.admin_socket)
    assert status == 1 and "of no fleet" in err
