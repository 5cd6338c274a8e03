"""The store that the instances of a fleet share: a real Redis server, and all that can be wrong with one."""
import os
import socketserver
import threading

import pytest

from support.clients import connect, context, says_echo
from support.proxy import command
from support.store import Store
from support.waiting import until
from test_reload import reload, rewrite


def instance(parts, store, **section):
    """A proxy that shares; its certificates are files."""
    p = parts.proxy(parts.backend(), top={"acme": {**store.section, **section}})
    return p


def state(p):
    return p.admin.json("/status.json")["store"]


def wait_state(p, word, error=None):
    until(lambda: (s := state(p))["state"] == word and (error is None or error in s["error"]), lambda: f"{word}, {error}: {state(p)}\n{p.text()}")
    return state(p)


def serves(p):
    with connect(p.port, context()) as c:
        says_echo(c)


def test_the_store_comes_and_goes(parts):
    store = Store(parts)
    p = instance(parts, store)
    shown = wait_state(p, "up")
    assert shown["socket"] == str(store.socket) and shown["cluster"] == "tls-off" and shown["error"] is None
    assert "tls_off_fleet_store_up 1" in p.admin.ask("/metrics").text
    key, = store.wait_keys("{tls-off}/instance/*")
    assert 0 < store.do("PTTL", key) <= 10000
    store.stop()
    away = wait_state(p, "away")
    assert away["error"]
    assert "tls_off_fleet_store_up 0" in p.admin.ask("/metrics").text
    assert any("the store of the fleet is away" in line for line in p.admin.json("/status.json")["degraded"])
    serves(p)
    store.start()
    assert wait_state(p, "up")["since"] >= away["since"]
    until(lambda: p.text().count("the store of the fleet answers") == 2, p.text)
    serves(p)


def test_two_clusters_and_a_start_without_the_store(parts):
    store = Store(parts)
    store.stop()
    a, b = instance(parts, store), instance(parts, store, cluster="other.fleet-1")
    wait_state(a, "away", "No such file" if not store.socket.exists() else "refused")
    serves(a)
    store.start()
    wait_state(a, "up")
    wait_state(b, "up")
    store.wait_keys("{tls-off}/instance/*")
    store.wait_keys("{other.fleet-1}/instance/*")


@pytest.mark.parametrize("options, error", [
    (["--requirepass", "secret"], "password"),
    (["--replicaof", "127.0.0.1 1", "--replica-serve-stale-data", "yes"], "replica"),
    (["--replicaof", "127.0.0.1 1", "--replica-serve-stale-data", "no"], "primary is away"),
    (["--maxmemory", "1"], "memory is used up"),
    (["--user", "default", "on", "nopass", "~*", "+@all", "-set"], "access lists"),
    (["--user", "default", "on", "nopass", "~*", "+@all", "-eval"], "access lists"),
    (["--rename-command", "EVAL", ""], "unknown command"),
], ids=["password", "replica", "stale", "memory", "rights", "scripts", "renamed"])
def test_a_store_that_takes_nothing(parts, options, error):
    p = instance(parts, Store(parts, *options))
    wait_state(p, "away", error)
    serves(p)


def test_a_store_that_takes_some_things(parts):
    """It counts as one that can be used, and what it does not do is in the log."""
    store = Store(parts, "--user", "default", "on", "nopass", "~*", "&*", "+@all", "-zremrangebyscore")
    p = parts.proxy(parts.backend(), top={"acme": store.section}, limits={"scope": "fleet", "sessions_per_client": 10})
    wait_state(p, "up")
    p.wait_text("limits are not shared with the fleet: its store: its access lists")


def test_a_store_that_hangs(parts):
    store = Store(parts)
    p = instance(parts, store)
    wait_state(p, "up")
    store.hang()
    wait_state(p, "away", "does not answer")
    serves(p)
    store.go_on()
    wait_state(p, "up")


class Nonsense(socketserver.ThreadingUnixStreamServer):
    """Answers everything with what is no Redis, without an end."""

    daemon_threads = True

    def __init__(self, path, answer):
        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                self.request.recv(1000)
                try:
                    while True:
                        self.request.sendall(answer)
                except OSError:
                    pass

        super().__init__(str(path), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()
        os.unlink(self.server_address)


@pytest.mark.parametrize("answer, error", [(b"HTTP/1.1 400 Bad Request\r\n\r\n", "cannot be read"), (b"$800000000\r\n" + bytes(70000), "larger than 4 MiB"),
                                           (b"*1\r\n" * 100, "cannot be read"), (b"+PONG\r\n", "nothing that was asked")],
                         ids=["http", "giant", "nested", "repeated"])
def test_another_server_behind_the_socket(parts, answer, error):
    store = Store(parts)
    store.stop()
    store.socket.unlink(missing_ok=True)
    parts.add(Nonsense(store.socket, answer))
    p = instance(parts, store)
    wait_state(p, "away", error)
    serves(p)


@pytest.mark.parametrize("section, said", [
    ({"state": "redis://127.0.0.1:6379/0"}, 'acme.state: found "redis://127.0.0.1:6379/0", expected "files", or "redis:unix:'),
    ({"state": "redis:tcp:127.0.0.1:6379"}, "the Unix socket of a Redis server"),
    ({"state": "redis:127.0.0.1:6379"}, "the Unix socket of a Redis server"),
    ({"state": "redis:unix:relative.sock"}, "the Unix socket of a Redis server"),
    ({"state": "redis:unix:/run/redis.sock"}, 'found a store of a fleet without "acme.storage_key_file"'),
    ({"state": "redis:unix:/run/redis.sock", "storage_key_file": "/no/such"}, "acme.storage_key_file: /no/such: cannot be opened"),
], ids=["url", "tcp", "address", "relative", "no key", "no file"])
def test_what_is_no_store(parts, section, said):
    p = parts.prepare(parts.backend(), top={"acme": section})
    status, out, err = command("check", p.directory / "config.toml")
    assert status == 1 and said in out + err, out + err


def test_a_store_that_fills_up_and_has_room_again(parts):
    store = Store(parts, "--maxmemory-policy", "noeviction")
    p = instance(parts, store)
    for round in (1, 2):
        wait_state(p, "up")
        assert store.do("CONFIG", "SET", "maxmemory", 1) == "OK"
        wait_state(p, "away", "memory is used up")
        serves(p)
        assert store.do("CONFIG", "SET", "maxmemory", 0) == "OK"
    wait_state(p, "up")
    assert p.text().count("the store of the fleet is away") == 2, "a line for each time"


def test_a_primary_that_becomes_a_replica_and_one_that_wants_a_password(parts):
    """Set while it is in use: connections stay, and what is refused on them is seen."""
    store = Store(parts)
    p = instance(parts, store)
    wait_state(p, "up")
    assert store.do("REPLICAOF", "127.0.0.1", 1) == "OK"
    wait_state(p, "away", "replica")
    serves(p)
    assert store.do("REPLICAOF", "NO", "ONE") == "OK"
    wait_state(p, "up")
    assert store.do("CONFIG", "SET", "requirepass", "secret") == "OK"
    assert store.do("PING").startswith("-NOAUTH")
    store.kill_clients("secret")
    wait_state(p, "away", "password")
    serves(p)


def test_a_reload_takes_and_leaves_the_store(parts):
    store = Store(parts)
    p = parts.proxy(parts.backend())
    assert state(p) is None and "fleet" not in p.roles()
    rewrite(p, lambda t: t.update(acme=store.section))
    reload(p, 1)
    wait_state(p, "up")
    assert len(p.roles()["fleet"]) == 1
    rewrite(p, lambda t: t.pop("acme"))
    reload(p, 2)
    until(lambda: state(p) is None and "fleet" not in p.roles(), lambda: f"no fleet: {p.roles()}")
