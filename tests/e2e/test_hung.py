"""
Processes that hang. A hung one costs what is its own, and nothing else; one that was only stopped for some time continues where it was, and time in which a client could not be served does not count against it.
"""
import contextlib
import os
import signal
import ssl
import threading

import pytest

from support import processes
from support.clients import connect, context, forget_errors, hello_bytes, lives, says_echo, tcp
from support.waiting import DEADLINE, until

CLIENTS = 60


def state_of(pid):
    return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0]


@contextlib.contextmanager
def stopped(*pids):
    """Those that still run afterwards continue."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    until(lambda: all(state_of(pid) == "T" for pid in pids), "stopped")
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def proxy_of(parts, workers, **keys):
    p = parts.proxy(parts.backend(), top={"workers": workers, **keys})
    p.allow_killed_roles = True
    return p


def relays(p):
    return sorted(p.roles()["relay"])


def served(port, clients, seconds=3):
    """How many of so many new connections, one after the other, get an echo; all that were made."""
    made = []
    n = 0
    for _ in range(clients):
        with contextlib.suppress(OSError):
            made.append(connect(port))
            n += lives(made[-1], seconds)
    return n, made


def owner(c, pids):
    """Which of PIDS has the session of client C."""
    mine = c.getsockname()[1], c.getpeername()[1]

    def inode():
        for line in open("/proc/net/tcp").readlines()[1:]:
            f = line.split()
            if tuple(int(a.rsplit(":", 1)[1], 16) for a in (f[2], f[1])) == mine:
                return f[9]
        return None

    found = until(inode, "the session's socket")
    return next(pid for pid in pids if found in processes.socket_inodes(pid))


def close_all(sessions):
    for c in sessions:
        c.close()


# --- relays


@pytest.mark.parametrize("workers", [2, 4])
def test_a_hung_relay_costs_its_own_share_only(parts, workers):
    """Each handshaker finds out on its own, with what it has sent by then; afterwards no session is sent there."""
    p = proxy_of(parts, workers)
    with stopped(relays(p)[0]):
        n, first = served(p.port, CLIENTS)
        assert n >= CLIENTS - 2 * workers, "more than the first ones of each handshaker"
        n, later = served(p.port, CLIENTS)
        assert n >= CLIENTS - workers, "sent there though it is known to hang"
    assert all(lives(c, DEADLINE) for c in first + later), "all it was sent is served when it goes on"
    close_all(first + later)


def test_all_relays_but_one_hang(parts):
    p = proxy_of(parts, 4)
    with stopped(*relays(p)[1:]):
        n, first = served(p.port, CLIENTS)
        assert n >= CLIENTS - 4 * 3 * 2
        n, later = served(p.port, CLIENTS)
        assert n >= CLIENTS - 4 * 3
    assert all(lives(c, DEADLINE) for c in first + later)
    close_all(first + later)


def test_a_relay_stopped_under_load_gets_sessions_again(parts):
    p = proxy_of(parts, 2)
    _, before = served(p.port, 20)
    victim = relays(p)[0]
    with stopped(victim):
        n, during = served(p.port, CLIENTS)
        assert n >= CLIENTS - 4
    assert all(lives(c, DEADLINE) for c in before + during)
    held = socket_count(victim)
    _, after = served(p.port, CLIENTS)
    until(lambda: socket_count(victim) > held, "it gets new ones")
    assert all(lives(c, DEADLINE) for c in after)
    close_all(before + during + after)


def socket_count(pid):
    n = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            n += os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:")
    return n


def test_a_reload_beside_a_hung_relay(parts):
    """The old one hangs, later one of the new ones."""
    p = proxy_of(parts, 2, drain_timeout="1s")
    old = relays(p)
    with stopped(old[0]):
        p.signal(signal.SIGHUP)
        p.wait_event("log", message=lambda m: m.startswith("generation 1 serves"))
        n, first = served(p.port, CLIENTS)
        assert n >= CLIENTS - 2, "more than one of each old handshaker, which may accept until it hears of the change"
        new = [pid for pid in relays(p) if pid not in old]
        with stopped(new[0]):
            n, later = served(p.port, CLIENTS)
            assert n >= CLIENTS - 4
        assert all(lives(c, DEADLINE) for c in first + later)
    p.wait_event("log", message=lambda m: m.startswith("reload done"))
    close_all(first + later)


# --- handshakers and signers


def all_at_once(port, n):
    """So many new connections; what became of each."""
    results = []

    def client():
        try:
            with connect(port) as c:
                says_echo(c)
            results.append("well")
        except OSError as e:
            results.append(repr(e))

    threads = [threading.Thread(target=client) for _ in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return results


def test_another_takes_what_waits_for_a_hung_handshaker(parts):
    """The kernel still queues its share of new connections for it."""
    p = proxy_of(parts, 2)
    hung = p.roles()["handshaker"][0]
    with stopped(hung):
        assert all_at_once(p.port, 40) == ["well"] * 40
        assert all_at_once(p.port, 40) == ["well"] * 40
        assert hung in p.roles()["handshaker"], "it was not killed for it"
    assert all_at_once(p.port, 40) == ["well"] * 40


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
def test_the_next_signer_signs_for_one_that_hangs(parts, how):
    p = proxy_of(parts, 3)
    signers = p.roles()["signer"]
    if how == signal.SIGKILL:
        os.kill(signers[0], how)
        assert all_at_once(p.port, 60) == ["well"] * 60
        return
    with stopped(signers[0]):
        assert all_at_once(p.port, 60) == ["well"] * 60
        p.wait_text(r"signer\.\d does not answer: full handshakes go to the next one")
    p.wait_text(r"signer\.\d answers again")
    assert all_at_once(p.port, 60) == ["well"] * 60


def test_all_signers_hang(parts):
    """No signer answers: they wait, and continue when one is back."""
    p = proxy_of(parts, 2)
    results = []
    with stopped(*p.roles()["signer"]):
        t = threading.Thread(target=lambda: results.extend(all_at_once(p.port, 20)))
        t.start()
        p.wait_text(r"signer\.\d does not answer: full handshakes wait for it")
        assert not results
    t.join()
    assert results == ["well"] * 20


# --- the whole proxy


@pytest.mark.parametrize("who", ["handshaker", "all"])
def test_what_came_during_a_pause_is_served(parts, who):
    """The deadline of a handshake passes while no process runs; the client's part had arrived by then."""
    p = parts.proxy(parts.backend(), timeouts={"handshake": "4s"})
    waiting = []
    for _ in range(10):
        s = tcp(p.port)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        t = context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            t.do_handshake()
        hello = outgoing.read()
        s.sendall(hello[:100])
        waiting.append((s, t, incoming, outgoing, hello[100:]))
    handshaker = p.roles()["handshaker"][0]
    until(lambda: socket_count(handshaker) >= len(waiting), "accepted")
    pids = p.pids() if who == "all" else p.roles()["handshaker"]
    began = os.times().elapsed
    with stopped(*pids):
        for s, _, _, _, rest in waiting:
            s.sendall(rest)
        until(lambda: os.times().elapsed - began > 5, "more than the deadline", deadline=DEADLINE)
    for s, t, incoming, outgoing, _ in waiting:
        while True:
            try:
                t.do_handshake()
                break
            except ssl.SSLWantReadError:
                data = s.recv(65536)
                assert data, "ended though its ClientHello had come"
                incoming.write(data)
        t.write(b"ping")
        s.sendall(outgoing.read())
        s.settimeout(DEADLINE)
        while True:
            try:
                assert t.read(4) == b"ping"
                break
            except ssl.SSLWantReadError:
                incoming.write(s.recv(65536))
        s.close()
    assert not p.events("failed")


def test_a_client_that_sends_nothing_still_ends(parts):
    """A pause is no reason to wait forever: the deadline holds again afterwards."""
    p = parts.proxy(parts.backend(), timeouts={"handshake": "1s"})
    s = tcp(p.port)
    s.sendall(hello_bytes(context())[:100])
    handshaker = p.roles()["handshaker"][0]
    until(lambda: socket_count(handshaker) > 3, "accepted")
    with stopped(handshaker):
        began = os.times().elapsed
        until(lambda: os.times().elapsed - began > 1.5, "more than the deadline", deadline=DEADLINE)
    p.wait_failure("handshake_timeout")
    s.close()


# --- the end


def cut(p):
    text = p.wait_event("log", message=lambda m: m.startswith("stopped: "))["message"]
    return int(text.split()[1])


def ended_well(c):
    """close_notify: all was sent."""
    c.settimeout(DEADLINE)
    try:
        return c.recv(1) == b""
    except OSError:
        forget_errors()
        return False


def sessions_by_relay(p, n):
    """So many sessions, by the relay that has them."""
    made = {pid: [] for pid in relays(p)}
    for _ in range(n):
        c = connect(p.port)
        says_echo(c)
        made[owner(c, relays(p))].append(c)
    assert all(made.values())
    return made


def test_a_stop_beside_a_hung_handshaker(parts):
    """Quiet sessions end in good order and none is cut, without waiting for drain_timeout."""
    p = proxy_of(parts, 2, drain_timeout="1h")
    sessions = [c for some in sessions_by_relay(p, 24).values() for c in some]
    with stopped(p.roles()["handshaker"][0]):
        p.signal(signal.SIGTERM)
        assert all(ended_well(c) for c in sessions)
        close_all(sessions)
        assert p.wait_exit(60) == 0
    assert cut(p) == 0
    assert len(p.events("session", reason="stopped")) == len(sessions)


def test_a_stop_cuts_what_moves_beside_a_hung_handshaker(parts):
    p = proxy_of(parts, 2, drain_timeout="3s")
    quiet = [connect(p.port) for _ in range(4)]
    busy = [connect(p.port) for _ in range(6)]
    for c in quiet + busy:
        says_echo(c)
    with stopped(p.roles()["handshaker"][0]):
        p.signal(signal.SIGTERM)
        while any([lives(c, 2) for c in busy]):  # all of them: none is left to become quiet
            continue
        assert all(ended_well(c) for c in quiet)
        close_all(quiet + busy)
        assert p.wait_exit(60) == 0
    assert cut(p) == len(busy)


def test_a_stop_counts_the_sessions_of_a_hung_relay(parts):
    p = proxy_of(parts, 2, drain_timeout="1s")
    made = sessions_by_relay(p, 24)
    hung, other = made
    with stopped(hung):
        p.signal(signal.SIGTERM)
        assert all(ended_well(c) for c in made[other]), "the other one's end in good order"
        close_all(made[other])
        assert p.wait_exit(60) == 0
    assert cut(p) == len(made[hung])
    p.wait_event("log", level="warning", message=lambda m: "is killed: it has not stopped in time" in m)
    close_all(made[hung])


def test_a_second_term_counts(parts):
    p = proxy_of(parts, 2, drain_timeout="1h")
    sessions = [connect(p.port) for _ in range(10)]
    for c in sessions:
        says_echo(c)
    p.signal(signal.SIGTERM)
    p.wait_event("log", message=lambda m: m.startswith("stopping: "))
    p.signal(signal.SIGTERM)
    assert p.wait_exit() == 0
    assert cut(p) == len([c for c in sessions if not ended_well(c)]) > 0
    close_all(sessions)


def test_a_second_term_counts_the_sessions_of_a_hung_relay_too(parts):
    p = proxy_of(parts, 2, drain_timeout="1h")
    made = sessions_by_relay(p, 24)
    relays_then = relays(p)
    with stopped(relays_then[0]):
        p.signal(signal.SIGTERM)
        p.wait_event("log", message=lambda m: m.startswith("stopping: "))
        p.signal(signal.SIGTERM)
        assert p.wait_exit() == 0
    sessions = [c for some in made.values() for c in some]
    assert cut(p) == len([c for c in sessions if not ended_well(c)]) >= len(made[relays_then[0]])
    close_all(sessions)


@pytest.mark.parametrize("role", ["observer", "signer", "resolver"])
def test_a_stop_beside_another_hung_role(parts, role):
    b = parts.backend(where="tcp")
    p = parts.proxy(f"tcp:localhost:{b.port}", top={"workers": 2, "drain_timeout": "1h"})
    p.allow_killed_roles = True
    sessions = [connect(p.port) for _ in range(6)]
    for c in sessions:
        says_echo(c)
    with stopped(p.roles()[role][0]):
        p.signal(signal.SIGTERM)
        assert all(ended_well(c) for c in sessions)
        close_all(sessions)
        assert p.wait_exit(60) == 0
    if role != "observer":  # which writes the log
        assert cut(p) == 0
