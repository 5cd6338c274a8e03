"""What the death of a role costs: a relay its own sessions, a handshaker its handshakes, all others nothing. At any time."""
import json
import os
import pathlib
import random
import signal
import threading
import time

import pytest

from support import processes
from support.clients import V12, V13, connect, context, lives, says_echo
from support.proxy import SANITIZED, command
from support.waiting import until

ROLES = ["handshaker", "relay", "signer", "observer", "resolver"]


def remote_inodes():
    """{(the client's port, ours): inode of our side of the connection}"""
    found = {}
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        f = line.split()
        local, remote = (int(a.rsplit(":", 1)[1], 16) for a in f[1:3])
        found[remote, local] = f[9]
    return found


def owner(c, pids):
    """Which of PIDS has the session of client C."""
    mine = c.getsockname()[1], c.getpeername()[1]
    inode = until(lambda: remote_inodes().get(mine), "the session's socket")  # the table may change while it is read
    return next((pid for pid in pids if inode in processes.socket_inodes(pid)), None)


class Load:
    """Sessions that begin and end meanwhile. They may fail, but must work again afterwards."""

    def __init__(self, port):
        self.port, self.done, self.stopping = port, 0, False
        self.threads = [threading.Thread(target=self.run, args=(v,), daemon=True) for v in (V12, V13)]
        for t in self.threads:
            t.start()

    def run(self, version):
        while not self.stopping:
            try:
                with connect(self.port, context(version=version)) as c:
                    c.settimeout(3)
                    says_echo(c)
                    c.unwrap()
                self.done += 1
            except (OSError, AssertionError):
                time.sleep(0.01)  # it met the one that died

    def goes_on(self):
        before = self.done
        until(lambda: self.done > before + 2, "new sessions are served")

    def stop(self):
        self.stopping = True
        for t in self.threads:
            t.join(20)


@pytest.fixture
def p(parts):
    b = parts.backend(where="tcp")
    proxy = parts.proxy(f"tcp:localhost:{b.port}", top={"workers": 2})
    proxy.allow_killed_roles = True
    return proxy


def again(p, role, count, without):
    def there():
        pids = p.roles().get(role, [])
        return len(pids) == count and without not in pids

    until(there, lambda: f"a new {role}: {p.text()}")


def kill(p, role, number, sessions, load):
    relays = p.roles()["relay"]
    pids = p.roles()[role]
    victim = random.choice(pids)
    at_stake = [c for c in sessions if role == "relay" and owner(c, relays) == victim]
    os.kill(victim, number)
    again(p, role, len(pids), victim)
    how = "killed by signal %d" % number
    p.wait_event("log", role="supervisor.0", message=lambda m: m.startswith(f"{role}.") and f"(pid {victim}) {how}" in m)
    left = [c for c in sessions if c not in at_stake]
    assert all(lives(c) for c in left), "a session of another process has suffered"
    assert not any(lives(c, 2) for c in at_stake), "a session of a process that is gone"
    load.goes_on()
    return left


def stop(p, role, sessions, load):
    """The worst hang: sessions of all other relays continue; afterwards all do."""
    relays = p.roles()["relay"]
    victim = random.choice(p.roles()[role])
    os.kill(victim, signal.SIGSTOP)
    try:
        with_it = [c for c in sessions if role == "relay" and owner(c, relays) == victim]
        assert all(lives(c) for c in sessions if c not in with_it)
    finally:
        os.kill(victim, signal.SIGCONT)
    assert all(lives(c) for c in sessions)
    load.goes_on()
    return sessions


@pytest.mark.parametrize("seed", range(2))
def test_any_role_at_any_time(p, parts, seed):
    random.seed(seed)
    port = p.port
    load = Load(port)
    sessions = []
    steps = [(role, how) for role in ROLES for how in ("kill", "segv", "stop")]
    random.shuffle(steps)
    for role, how in steps[:9]:
        while len(sessions) < 10:
            try:
                sessions.append(connect(port, context(version=random.choice([V12, V13]))))
            except OSError:
                time.sleep(0.02)  # the accept queue of one that is not there again yet
        assert all(lives(c) for c in sessions)
        if how == "stop":
            sessions = stop(p, role, sessions, load)
        else:
            number = signal.SIGSEGV if how == "segv" and not SANITIZED else signal.SIGKILL
            sessions = kill(p, role, number, sessions, load)
    load.stop()
    for c in sessions:
        c.close()
    assert p.running()


def test_what_died_is_in_the_status(parts):
    p = parts.proxy(parts.backend(), top={"workers": 2})
    p.allow_killed_roles = True

    def status():
        code, out, _ = command("status", "--json", "--admin", p.admin_socket)
        return json.loads(out) if code == 0 else None

    assert status()["restarts_total"] == 0 and status()["state"] == "serving"
    victim = p.roles()["relay"][0]
    os.kill(victim, signal.SIGSTOP)
    assert until(lambda: (status() or {}).get("state") == "degraded", "degraded service is reported", deadline=40)
    os.kill(victim, signal.SIGCONT)
    until(lambda: status()["state"] == "serving", "it answers again")
    os.kill(victim, signal.SIGKILL)
    again(p, "relay", 2, victim)
    until(lambda: status()["restarts_total"] == 1 and status()["state"] == "serving", "the restart is reported")


@pytest.mark.parametrize("role", ["relay", "handshaker", "signer", "observer"])
@pytest.mark.parametrize("when", ["starting", "migrating"])
def test_deaths_during_a_reload(parts, role, when):
    """Of the old generation, and of the new one while it starts: the reload ends with a result, and service continues."""
    p = parts.proxy(parts.backend(), top={"workers": 2, "drain_timeout": "1s"})
    p.allow_killed_roles = True
    sessions = [connect(p.port) for _ in range(6)]
    assert all(lives(c) for c in sessions), "none is with its handshaker any more"
    old = p.roles()
    p.signal(signal.SIGHUP)
    if when == "starting":
        new = until(lambda: [x for x in p.roles().get(role, []) if x not in old[role]] or
                    p.events("log", message=lambda m: m.startswith("reload done")), f"a new {role}")
        victim = new[0] if isinstance(new[0], int) else None
    else:
        p.wait_event("log", message=lambda m: m.startswith("generation 1 serves"))
        victim = old[role][0]
    try:
        if victim:
            os.kill(victim, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it had ended in good order
    p.wait_event("log", message=lambda m: m.startswith(("reload done", "reload refused")))
    until(lambda: {r: len(x) for r, x in p.roles().items()} == {r: len(x) for r, x in old.items()}, lambda: f"{p.roles()}")
    with connect(p.port) as c:
        says_echo(c)
    if role != "relay":
        assert all(lives(c) for c in sessions)
    for c in sessions:
        c.close()
    done = len(p.events("log", message=lambda m: m.startswith("reload done")))
    p.signal(signal.SIGHUP)
    p.wait_event("log", count=done + 1, message=lambda m: m.startswith("reload done"))
