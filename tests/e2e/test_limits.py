"""Limits and timeouts: what is over them ends or is refused, with its reason; what is under them is untouched."""
import concurrent.futures
import re
import resource
import threading
import time

import pytest

from support import clients
from support.clients import connect, context, says_echo, tcp, until_closed
from support.raw import DATA, RawSession
from support.waiting import DEADLINE, until


def test_idle_session_ends(parts):
    p = parts.proxy(parts.backend(), timeouts={"idle": "2s"})
    r = RawSession(p.port)
    r.says_echo()
    began = time.monotonic()
    while r.read_record() is not None:
        pass
    assert 1 < time.monotonic() - began < 10
    r.socket.close()
    assert p.wait_session()["reason"] == "idle_timeout"


def test_bytes_either_way_keep_a_session_alive(parts):
    def talk(c):
        for _ in range(10):
            c.sendall(b".")
            time.sleep(0.5)

    p = parts.proxy(parts.backend(talk), timeouts={"idle": "3s"})
    with connect(p.port) as c:
        assert clients.receive_all(c) == b"." * 10


def test_sessions(parts):
    p = parts.proxy(parts.backend(), limits={"sessions": 3})
    held = [connect(p.port) for _ in range(3)]
    for c in held:
        says_echo(c)
    with pytest.raises(OSError):
        says_echo(connect(p.port))
    p.wait_failure("service_sessions")
    held[0].unwrap().close()
    p.wait_session()

    def served():
        try:
            with connect(p.port) as c:
                says_echo(c)
            return True
        except OSError:
            return False

    until(served, "a place that was freed")
    for c in held:
        says_echo(c) if c.fileno() >= 0 else None
        c.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_sessions_per_client(parts, workers):
    p = parts.proxy(parts.backend(), limits={"sessions_per_client": 2}, top={"workers": workers})
    held = [connect(p.port, source="127.0.0.5") for _ in range(2)]
    for c in held:
        says_echo(c)
    with pytest.raises(OSError):
        says_echo(connect(p.port, source="127.0.0.5"))
    e = p.wait_failure("client_sessions")
    assert e["client"].startswith("127.0.0.5")
    with connect(p.port, source="127.0.0.6") as other:
        says_echo(other)
    for c in held:
        says_echo(c)
        c.close()


@pytest.mark.parametrize("limits", [{"sessions_per_client": 20}, {"sessions": 20}], ids=["client", "service"])
def test_a_crowd_at_once_stays_within_the_limit(parts, limits):
    """Many handshakes of one moment, over two workers: sessions on their way between processes are not forgotten."""
    b = parts.backend()
    p = parts.proxy(b, limits=limits, top={"workers": 2})
    for _ in range(5):
        start = threading.Barrier(60)

        def one(_):
            start.wait(DEADLINE)
            try:
                c = connect(p.port)
                says_echo(c)
                return c
            except (OSError, AssertionError):
                return None

        with concurrent.futures.ThreadPoolExecutor(60) as pool:
            held = [c for c in pool.map(one, range(60)) if c]
        assert 19 <= len(held) <= 21  # within 5 %
        for c in held:
            says_echo(c)
            c.close()
        until(lambda: len(p.events("session", backend=b.url)) == b.accepted, "the end of this crowd's sessions")


def test_handshakes_per_client_per_second(parts):
    p = parts.proxy(parts.backend(), limits={"handshakes_per_client_per_second": 5})
    served = refused = 0
    end = time.monotonic() + DEADLINE
    while refused < 3 and time.monotonic() < end:
        try:
            with connect(p.port, source="127.0.0.5") as c:
                says_echo(c)
            served += 1
        except OSError:
            refused += 1
    assert refused == 3 and served >= 5
    p.wait_failure("client_rate")
    with connect(p.port, source="127.0.0.6") as c:
        says_echo(c)

    def served_again():
        try:
            with connect(p.port, source="127.0.0.5") as c:
                says_echo(c)
            return True
        except OSError:
            return False

    until(served_again, "the next second", every=0.3)


def test_handshake_timeout_none(parts):
    """A timeout of "none" is none."""
    p = parts.proxy(parts.backend(), timeouts={"handshake": "none", "idle": "none", "linger": "none"})
    with connect(p.port) as c:
        says_echo(c)
        c.unwrap()


def with_few_descriptors(parts, n, **keys):
    """The limit is also one of descriptors on their way between all processes of the user: tests beside this one may have used it up."""
    def started():
        p = parts.prepare(parts.backend(), limits_of_process={resource.RLIMIT_NOFILE: n}, **keys)
        try:
            return p.start()
        except AssertionError:
            p.wait_text("RLIMIT_NOFILE also bounds those on their way")
            p.expected_status = p.wait_exit()

    return until(started, "a start", deadline=90, every=0.5)


def test_out_of_descriptors_pauses_and_recovers(parts):
    p = with_few_descriptors(parts, 64, timeouts={"handshake": "30s"})
    silent = [tcp(p.port) for _ in range(100)]
    p.wait_text(r"out_of_descriptors|out of file descriptors|descriptors")
    for s in silent:
        s.close()

    def served():
        try:
            with connect(p.port) as c:
                says_echo(c)
            return True
        except OSError:
            return False

    until(served, "accepting again")


def test_out_of_descriptors_in_the_relay(parts):
    """What does not fit waits; those that fit live on, and a place that comes free is used."""
    p = with_few_descriptors(parts, 128)
    good, waiting = [], None
    while waiting is None and len(good) < 128:
        c = connect(p.port)
        c.settimeout(1)
        c.sendall(b"room?")
        while waiting is None and c not in good:
            try:
                assert clients.receive(c, 5) == b"room?"
                good.append(c)
            except TimeoutError:
                if any(re.search(r"no session is taken at \d+ sessions", line) for line in p.lines):
                    waiting = c
        c.settimeout(DEADLINE)
    assert waiting and len(good) >= 10
    for c in good:
        says_echo(c)
    good.pop().unwrap().close()
    assert clients.receive(waiting, 5) == b"room?"
    for c in [*good, waiting]:
        c.close()


def test_buffer_budget_is_shared_and_survived(parts):
    """One MiB for bytes that wait and 60 clients that do not read: no session is lost, and all bytes come when they read."""
    n = 3 << 20
    p = parts.proxy(parts.backend(lambda c: c.sendall(b"b" * n)), top={"buffer_memory": 1 << 20})
    sessions = [connect(p.port, receive_buffer=65536) for _ in range(60)]
    for c in sessions:
        assert clients.receive(c, 1) == b"b"
    for c in sessions:
        assert len(clients.receive_all(c)) == n - 1
        c.close()


def test_limits_are_per_service(parts):
    first, second = parts.backend(), parts.backend()
    p = parts.proxy(services={"first": parts.service(first, limits={"sessions": 1}), "second": {**parts.service(second), "listen": ["[::1]:0"]}})
    port = p.address("first")[1]
    other = int(p.wait_text(r"listening on \[::1\]:(\d+) for second").group(1))
    with connect(port) as held:
        says_echo(held)
        with pytest.raises(OSError):
            says_echo(connect(port))
        for _ in range(3):
            with connect(other, host="::1") as c:
                says_echo(c)


def test_a_slow_handshake_does_not_hold_up_others(parts):
    p = parts.proxy(parts.backend(), timeouts={"handshake": "20s"})
    slow = [tcp(p.port) for _ in range(50)]
    for s in slow:
        s.sendall(clients.hello_bytes(context())[:50])
    for _ in range(20):
        with connect(p.port) as c:
            says_echo(c)
    for s in slow:
        s.close()


def test_silent_connections_are_closed_all(parts):
    p = parts.proxy(parts.backend(), timeouts={"handshake": "500ms"})
    silent = [tcp(p.port) for _ in range(200)]
    for s in silent:
        until_closed(s)
        s.close()


def test_data_in_flight_at_the_idle_end(parts):
    r"""A session that is busy is never idle."""
    p = parts.proxy(parts.backend(), timeouts={"idle": "2s"})
    r = RawSession(p.port)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        r.send_record(DATA, b"tick")
        assert r.read_n(4) == b"tick"
        time.sleep(0.05)
    r.close()
    assert p.wait_session()["client_end"] == "close"
