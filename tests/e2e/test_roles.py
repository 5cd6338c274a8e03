"""The processes: any may be killed, the supervisor stays and restarts it, and only the clients that it served notice."""
import os
import select
import signal
import socket
import time

import pytest

from support import clients, processes
from support.clients import connect, context, lives, says_echo
from support.waiting import DEADLINE, until


@pytest.fixture
def p(parts):
    proxy = parts.proxy(parts.backend(), top={"workers": 2})
    proxy.allow_killed_roles = True
    return proxy


def kill_and_see_it_again(p, role, index=0):
    before = p.roles()[role]
    os.kill(sorted(before)[index], signal.SIGKILL)

    def again():
        now = p.roles().get(role, [])
        return len(now) == len(before) and set(now) != set(before)

    until(again, lambda: f"a new {role}: {p.roles()} {p.text()}")
    assert p.running()


def alive(sessions):
    """Those that still echo."""
    found = []
    for c in sessions:
        if lives(c):
            found.append(c)
        else:
            c.close()
    return found


def sessions_of(pid):
    """A session of a relay is two sockets: its client's and its backend's."""
    return sum(processes.traffic_sockets([pid]).values()) // 2


def sessions_on_all_relays(p, least):
    """LEAST sessions, and as many more as it takes: on a busy machine a relay may be passed over for a while."""
    sessions = []

    def spread():
        c = connect(p.port)
        says_echo(c)
        sessions.append(c)
        return len(sessions) >= least and all(sessions_of(pid) for pid in p.roles()["relay"])

    until(spread, lambda: f"sessions on each relay, {len(sessions)} made")
    return sessions


def served(p):
    def try_it():
        try:
            with connect(p.port) as c:
                says_echo(c)
            return True
        except (OSError, AssertionError):
            return False

    until(try_it, "a new session is served")


def test_the_roles_are_there(p):
    roles = p.roles()
    assert len(roles["relay"]) == len(roles["handshaker"]) == 2
    assert len(roles["observer"]) == 1
    assert set(roles) <= set(processes.ROLES)
    until(lambda: "config" not in p.roles(), "the config role is short-lived")


def test_no_role_weighs_less_than_its_neighbours(p):
    """Handshakes of a lower priority would starve beside an application that fills the CPUs."""
    own = os.getpriority(os.PRIO_PROCESS, p.pid)
    for role in ("relay", "handshaker", "signer"):
        for pid in p.roles()[role]:
            assert (os.getpriority(os.PRIO_PROCESS, pid), os.sched_getscheduler(pid)) == (own, os.SCHED_OTHER), role


@pytest.mark.parametrize("role", ["handshaker", "observer"])
def test_killed_role_costs_no_session(p, role):
    sessions = [connect(p.port) for _ in range(8)]
    pid = p.pid
    for c in sessions:
        says_echo(c)
    kill_and_see_it_again(p, role)
    assert len(alive(sessions)) == 8
    served(p)
    assert p.pid == pid
    for c in sessions:
        c.close()


def test_killed_resolver(parts):
    b = parts.backend(where="tcp")
    p = parts.proxy(f"tcp:localhost:{b.port}")
    p.allow_killed_roles = True
    with connect(p.port) as c:
        says_echo(c)
        kill_and_see_it_again(p, "resolver")
        says_echo(c)
        served(p)


def test_killed_relay_costs_only_its_own_sessions(p):
    sessions = sessions_on_all_relays(p, 16)
    killed, other = sorted(p.roles()["relay"])
    on_killed, on_other = sessions_of(killed), sessions_of(other)
    assert on_killed + on_other == len(sessions)
    kill_and_see_it_again(p, "relay")
    left = alive(sessions)
    assert len(left) == on_other
    for _ in range(10):
        served(p)
    assert len(alive(left)) == len(left)
    for c in left:
        c.close()


def test_every_role_killed_in_turn(p):
    for _ in range(2):
        for role in ("handshaker", "relay", "observer"):
            for index in range(len(p.roles()[role])):
                kill_and_see_it_again(p, role, index)
    served(p)


def test_killed_role_is_reported_in_the_log(p):
    kill_and_see_it_again(p, "handshaker")
    p.wait_text(r"handshaker.*(killed|signal|ended|died|restart)")


def test_stopped_relay_delays_only_its_own(p):
    """SIGSTOP is the worst hang there is."""
    sessions = sessions_on_all_relays(p, 12)
    stopped, other = sorted(p.roles()["relay"])
    on_other = sessions_of(other)
    os.kill(stopped, signal.SIGSTOP)
    try:
        for c in sessions:
            c.sendall(b"hello, world")
        waiting = set(sessions)

        def answered():
            for c in select.select(list(waiting), [], [], 0)[0]:
                assert clients.receive(c, 12) == b"hello, world"
                waiting.remove(c)
            return len(waiting) == len(sessions) - on_other

        until(answered, lambda: f"answers of the other relay, {len(waiting)} of {len(sessions)} sessions wait")
    finally:
        os.kill(stopped, signal.SIGCONT)
    for c in sessions:
        c.settimeout(DEADLINE)
        c.close()


# --- the end


def test_term_ends_all(parts):
    p = parts.proxy(parts.backend(), top={"workers": 2})
    pids = p.pids()
    assert len(pids) >= 6
    p.signal(signal.SIGTERM)
    assert p.wait_exit() == 0
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]


def test_int_ends_all(parts):
    p = parts.proxy(parts.backend())
    p.signal(signal.SIGINT)
    assert p.wait_exit() == 0


def test_term_lets_sessions_finish(parts):
    p = parts.proxy(parts.backend(), top={"drain_timeout": "20s"})
    c = connect(p.port)
    says_echo(c)
    port = p.port
    p.signal(signal.SIGTERM)

    def refuses():
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) != 0

    until(refuses, "no more accepting")
    says_echo(c)
    assert p.running()
    c.unwrap().close()
    assert p.wait_exit() == 0
    assert p.events("session")[0]["client_end"] == "close"


def test_drain_time_ends_the_rest(parts):
    p = parts.proxy(parts.backend(), top={"drain_timeout": "400ms"})
    c = connect(p.port)
    says_echo(c)
    began = time.monotonic()
    p.signal(signal.SIGTERM)
    assert p.wait_exit() == 0
    assert 0.2 < time.monotonic() - began < 10
    assert p.events("session")[0]["reason"] == "stopped"
    c.close()


def test_second_term_ends_at_once(parts):
    p = parts.proxy(parts.backend(), top={"drain_timeout": "1h"})
    p.allow_killed_roles = True
    c = connect(p.port)
    says_echo(c)
    p.signal(signal.SIGTERM)

    def draining():
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", p.address()[1])) != 0

    until(draining, "draining")
    assert p.running()
    p.signal(signal.SIGTERM)
    p.wait_exit(10)
    p.expected_status = p.status
    c.close()


def test_killed_supervisor_leaves_no_process(parts):
    p = parts.proxy(parts.backend(), top={"workers": 2})
    children = [pid for pid in p.pids() if pid != p.pid]
    p.signal(signal.SIGKILL)
    p.process.wait()
    until(lambda: not [c for c in children if processes.role_of(c)], lambda: f"end of {[processes.command_line(c) for c in children]}")
    p.wait_exit()
    p.expected_status = -signal.SIGKILL
    (p.directory / "admin.sock").unlink()  # no process was left to remove it; the next start does


def test_listening_port_is_free_after_the_end(parts):
    b = parts.backend()
    first = parts.proxy(b)
    port = first.port
    with connect(port) as c:
        says_echo(c)
        c.unwrap()
    first.stop()
    second = parts.prepare(b, listen=[f"127.0.0.1:{port}"]).start()
    assert second.port == port
    with connect(port) as c:
        says_echo(c)


def test_sd_notify(parts):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        path = parts.directory / "notify"
        s.bind(str(path))
        s.settimeout(DEADLINE)
        try:
            parts.proxy(parts.backend(), environment={"NOTIFY_SOCKET": str(path)})
            assert b"READY=1" in s.recv(4096)
        finally:
            path.unlink()


def test_secrets_are_not_in_environment_or_arguments(p):
    for pid in p.pids():
        assert b"PRIVATE" not in open(f"/proc/{pid}/environ", "rb").read()
        assert len(processes.command_line(pid)) < 300


def test_descriptors_of_children(p):
    """No role holds what it was not given: no listening socket outside supervisor and handshakers."""
    for role, pids in p.roles().items():
        if role in ("handshaker", "supervisor"):
            continue
        for pid in pids:
            assert processes.listening_port(pid) is None, f"{role} holds a listening socket"


def test_handshakers_and_relays_do_no_harm_under_a_storm(p):
    """Connections that begin and end while handshakers are killed: afterwards all is as before."""
    for i in range(100):
        try:
            c = connect(p.port, context())
            c.sendall(b"x")
            clients.reset(c)
        except OSError:
            continue  # it met the killed one
        finally:
            if i % 25 == 10:
                os.kill(p.roles()["handshaker"][0], signal.SIGKILL)
                until(lambda: len(p.roles().get("handshaker", [])) == 2, "two handshakers")
    served(p)
