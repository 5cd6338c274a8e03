"""Limits of server names and of services as a whole: who asks for one name is nobody's burden who asks for another."""
import signal
import threading

import pytest

from support import clients
from support.clients import connect, says_echo, tcp
from support.waiting import until


@pytest.fixture
def tenants(pki):
    return pki.leaf("tenants", "p256", ["*.tenants.example"])


def served(port, name, **options):
    try:
        with connect(port, name=name, **options) as c:
            says_echo(c)
        return True
    except OSError:
        return False


def failed(p, reason):
    """How many failures of that reason the metrics have."""
    lines = [line for line in p.admin.ask("/metrics").text.splitlines()
             if "handshakes_failed_total{" in line and f'reason="{reason}"' in line]
    return sum(int(line.rsplit(" ", 1)[1]) for line in lines)


def reload(p):
    p.signal(signal.SIGHUP)
    p.wait_event("log", message=lambda m: m.startswith("reload done"))


@pytest.mark.parametrize("workers", [1, 2])
def test_sessions_of_a_name(parts, tenants, workers):
    """Each name below the wildcard for itself, however it is written; sessions that a reload has migrated count as before."""
    p = parts.proxy(parts.backend(), certificates=[tenants], limits={"sessions_per_name": 2}, top={"workers": workers})
    held = [connect(p.port, name=name) for name in ("a.tenants.example", "A.Tenants.Example")]
    for c in held:
        says_echo(c)
    for _ in range(3):
        assert not served(p.port, "a.tenants.example")
        assert served(p.port, "b.tenants.example")
    e = p.wait_failure("name_sessions")
    assert e["sni"] == "a.tenants.example"
    until(lambda: failed(p, "name_sessions") == 3, "all refusals counted", every=0.1)
    reload(p)
    assert not served(p.port, "a.tenants.example")
    assert served(p.port, "b.tenants.example")
    held.pop().unwrap().close()
    until(lambda: served(p.port, "a.tenants.example"), "a place that is free again")
    for c in held:
        says_echo(c)
        c.close()


def test_who_asks_for_no_name_counts_together(parts):
    p = parts.proxy(parts.backend(), limits={"sessions_per_name": 1})
    with connect(p.port, name=None) as held:
        says_echo(held)
        assert not served(p.port, None)
        assert served(p.port, "localhost")
    p.wait_failure("name_sessions")


def test_connections_without_a_whole_hello_count_for_no_name(parts):
    """A name is known when the ClientHello is; who is silent holds no place of anybody's."""
    p = parts.proxy(parts.backend(), limits={"sessions_per_name": 1})
    hello = clients.hello_bytes(clients.context())
    silent = [tcp(p.port) for _ in range(3)]
    for s in silent:
        s.sendall(hello[:60])
    assert served(p.port, "localhost")
    until(lambda: served(p.port, "localhost"), "the place of the one before")
    for s in silent:
        s.close()


@pytest.mark.parametrize("mode", ["terminate", "passthrough"])
def test_a_flood_for_one_name(parts, tenants, mode):
    """Beside it another name of the same service and address gets every handshake it asks for."""
    keys = {"certificates": [tenants]}
    backend = parts.backend()
    if mode == "passthrough":
        inner = parts.proxy(backend, certificates=[tenants])
        keys = {"mode": "passthrough", "names": ["*.tenants.example"], "certificates": [], "backends": [f"tcp:127.0.0.1:{inner.port}"]}
    p = parts.proxy(backend, limits={"handshakes_per_name_per_second": 20}, top={"workers": 2}, **keys)
    stop, got = threading.Event(), []

    def flood():
        while not stop.is_set():
            got.append(served(p.port, "a.tenants.example", source="127.0.0.5"))
    threads = [threading.Thread(target=flood) for _ in range(4)]
    for t in threads:
        t.start()
    until(lambda: got.count(False) > 20, "refusals")
    assert all(served(p.port, "b.tenants.example") for _ in range(15))
    stop.set()
    for t in threads:
        t.join()
    refused = p.events("failed")
    assert {e["reason"] for e in refused} == {"name_rate"} and {e["sni"] for e in refused} == {"a.tenants.example"}
    until(lambda: failed(p, "name_rate") == got.count(False), "all refusals counted", every=0.1)
    until(lambda: served(p.port, "a.tenants.example"), "the next second", every=0.1)


def test_a_service_has_a_rate_of_handshakes(parts):
    """No matter who they come from; another service at another address has its own."""
    p = parts.proxy(services={"slow": parts.service(parts.backend(), limits={"handshakes_per_second": 3}), "free": parts.service(parts.backend())})
    slow, free = p.address("slow")[1], p.address("free")[1]
    results = [served(slow, "localhost", source=f"127.0.0.{5 + i}") for i in range(40)]
    assert results[:3] == [True] * 3 and not all(results)
    assert p.wait_failure("service_rate")["service"] == "slow"
    assert all(served(free, "localhost") for _ in range(10))
    until(lambda: served(slow, "localhost"), "the next second", every=0.1)


def test_a_client_over_its_own_limit_takes_nothing_of_the_names(parts):
    p = parts.proxy(parts.backend(), limits={"handshakes_per_client_per_second": 1, "handshakes_per_name_per_second": 4})
    results = [served(p.port, "localhost", source="127.0.0.5") for _ in range(12)]
    assert results[0]
    assert [served(p.port, "localhost", source=f"127.0.0.{6 + i}") for i in range(2)] == [True, True]
    p.wait_failure("client_rate")
    assert not failed(p, "name_rate")


def test_made_up_names_cost_nobody_anything(parts, tenants):
    """Thousands of names that nobody has, of which most belong to no service: no memory that stays, and no limit that wavers."""
    p = parts.proxy(parts.backend(), certificates=[tenants], strict_sni=True,
                    limits={"sessions_per_name": 1, "handshakes_per_name_per_second": 50})
    def shared_kb():
        def rss(pid):
            with open(f"/proc/{pid}/status", encoding="ascii") as f:
                return next(int(line.split()[1]) for line in f if line.startswith("RssShmem"))
        return sum(rss(pid) for pid in p.roles()["handshaker"])

    with connect(p.port, name="mine.tenants.example") as held:
        says_echo(held)
        before = shared_kb()
        for i in range(1500):
            with tcp(p.port) as s:
                domain = "tenants" if i % 3 == 0 else "elsewhere"
                s.sendall(clients.hello_bytes(clients.context(), f"x{i}.{domain}.example"))
                clients.receive(s, 1)
        assert not served(p.port, "mine.tenants.example")
        assert served(p.port, "other.tenants.example")
        says_echo(held)
        assert shared_kb() - before < 8192  # the whole table of a handshaker and a relay
    reasons = {e["reason"] for e in p.events("failed", sni=lambda n: n.endswith("elsewhere.example"))}
    assert reasons == {"unknown_name"}


def test_explain_has_them(parts):
    limits = {"sessions": 9, "sessions_per_client": 8, "sessions_per_name": 7, "handshakes_per_second": 6,
              "handshakes_per_client_per_second": 5, "handshakes_per_name_per_second": 4, "bytes_per_second": 3000,
              "bytes_per_second_per_client": 2000, "bytes_per_second_per_name": 1500}
    p = parts.proxy(parts.backend(), limits=limits)
    assert p.admin.json("/explain?address=127.0.0.1:0&name=localhost")["limits"] == limits
