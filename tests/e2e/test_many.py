"""Many sessions at once, and what they hold."""
import os
import re
import resource
import subprocess

import pytest

from support import clients, processes
from support.backends import ManyEcho, unix_listener
from support.clients import connect, context, says_echo, tcp
from support.proxy import BINARY, ROOT, SANITIZED
from support.waiting import until

MANY = 2000


@pytest.fixture(autouse=True)
def enough_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 3 * MANY
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"needs {wanted} descriptors, the limit is {hard}")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_two_thousand_sessions(parts):
    b = parts.add(ManyEcho(unix_listener(parts.socket_path(), 4096)))
    p = parts.proxy(b, top={"workers": 2}, timeouts={"connect": "30s", "handshake": "60s"}, limits={"sessions_per_client": 0})
    ctx = context()
    port = p.port
    sessions = [connect(port, ctx) for _ in range(MANY)]
    for round_ in range(3):
        for i, c in enumerate(sessions):
            c.sendall(b"%d %d" % (round_, i))
        for i, c in enumerate(sessions):
            wanted = b"%d %d" % (round_, i)
            assert clients.receive(c, len(wanted)) == wanted
    assert b.accepted == MANY
    for c in sessions:
        c.close()
    until(lambda: not b.open, "end of all sessions at the backend")
    p.wait_session(count=MANY)
    assert all(e["bytes_in"] == e["bytes_out"] for e in p.events("session"))


@pytest.mark.skipif(SANITIZED, reason="sanitizers hold much more memory")
def test_memory_comes_back(parts):
    b = parts.add(ManyEcho(unix_listener(parts.socket_path(), 4096)))
    p = parts.proxy(b)
    ctx, port = context(), p.port

    def wave():
        sessions = [connect(port, ctx) for _ in range(500)]
        for c in sessions:
            clients.says_echo(c, b"x" * 20_000)
        for c in sessions:
            c.close()
        until(lambda: not b.open, "end of all sessions at the backend")

    # The first ones bring heaps to their size, which depends on how many handshakes meet, and one phase may hold a chunk:
    # what four waves leave at least has to end growing. 64 bytes kept of each session would be 128 KB.
    sizes, grown = [], True
    while grown and len(sizes) < 24:
        wave()
        sizes.append(p.memory())
        grown = len(sizes) < 8 or min(sizes[-4:]) - min(sizes[-8:-4]) >= 64 * 1024
    assert not grown, f"memory goes on growing: {sizes}"


@pytest.mark.skipif(SANITIZED, reason="sanitizers hold much more memory")
@pytest.mark.parametrize("what", ["silent", "half a hello"])
def test_unfinished_hellos_hold_little(parts, what):
    n = 1000
    p = parts.proxy(parts.backend(), timeouts={"handshake": "60s"}, limits={"sessions_per_client": 0})
    data = clients.hello_bytes(context())[:60] if what != "silent" else b""
    handshaker = p.roles()["handshaker"][0]
    from support import processes

    def pile(count):
        pile = [tcp(p.port) for _ in range(count)]
        for s in pile:
            s.sendall(data)
        return pile

    base = processes.descriptors(handshaker)
    first = pile(200)
    until(lambda: processes.descriptors(handshaker) >= base + 200, "200 accepted")
    before = p.memory()
    more = pile(n)
    until(lambda: processes.descriptors(handshaker) >= base + 200 + n, "all accepted")
    each = (p.memory() - before) / n
    for s in first + more:
        s.close()
    assert each < 1024, f"{each} bytes for a connection that is {what}"


@pytest.mark.skipif(SANITIZED, reason="sanitizers hold much more memory")
def test_idle_session_holds_less_than_2_kb(parts):
    done = subprocess.run(["/usr/bin/python3", str(ROOT / "bench" / "idle-memory"), "--binary", BINARY, str(MANY)], capture_output=True, text=True,
                          timeout=150, env=dict(os.environ))
    assert done.returncode == 0, done.stdout + done.stderr
    each = float(re.search(r"^([\d.]+) bytes a session", done.stdout, re.M).group(1))
    assert each < 2048, done.stdout


def test_a_session_handed_over_no_longer_wakes_the_handshaker(parts):
    """Its descriptor lives on in the relay: closing alone would leave it in the handshaker's epoll set."""
    p = parts.proxy(parts.backend(), top={"workers": 1})
    (handshaker,) = p.roles()["handshaker"]
    before = processes.watched(handshaker)
    sessions = [connect(p.port) for _ in range(20)]
    for c in sessions:
        says_echo(c)
    until(lambda: processes.watched(handshaker) == before, lambda: f"{processes.watched(handshaker)} watched, {before} before")
    for c in sessions:
        c.close()


def test_sessions_spread_over_the_relays(parts):
    """The kernel spreads connections by chance; relays get more even shares than that."""
    p = parts.proxy(parts.backend(), top={"workers": 2})
    sessions = []
    for _ in range(100):
        sessions.append(connect(p.port))
        says_echo(sessions[-1])
    for c in sessions:
        c.close()
    p.wait_session(count=100)
    first = len([e for e in p.events("session") if e["role"] == "relay.0"])
    assert 40 <= first <= 60
