"""Limits and timeouts: what is over them ends or is refused, with its reason; what is under them is untouched."""
import concurrent.futures
import contextlib
import os
import re
import resource
import select
import signal
import socket
import ssl
import threading
import time

import pytest

from support import clients, processes, proxy_header
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
    """Many simultaneous handshakes over two workers: sessions in transit between processes are counted."""
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


def comes_in(port, source):
    try:
        with connect(port, source=source) as c:
            says_echo(c)
        return True
    except OSError:
        return False


@pytest.mark.parametrize("workers", [1, 2])
def test_a_rate_lets_its_number_through(parts, workers):
    """Tries that are refused do not count: however eager a client is, it gets what the limit says, and not more."""
    rate = 5
    p = parts.proxy(parts.backend(), limits={"handshakes_per_client_per_second": rate}, top={"workers": workers})

    def served_at_once(address):
        """How many come in until one is refused, and the seconds that it took."""
        began = time.monotonic()
        n = 0
        while comes_in(p.port, address):
            n += 1
        return n, time.monotonic() - began

    served_at_once("127.0.0.5")
    began = time.monotonic()
    served = tries = 0
    while served < 3 * rate:
        served += comes_in(p.port, "127.0.0.5")
        tries += 1
        assert time.monotonic() < began + DEADLINE, f"{served} of {tries}"
    assert tries > served, "the client was not eager enough to show it"
    assert served <= 1.1 * rate * (time.monotonic() - began) + 2
    assert comes_in(p.port, "127.0.0.6")
    p.signal(signal.SIGHUP)
    p.wait_event("log", message=lambda m: m.startswith("reload done"))
    held, took = served_at_once("127.0.0.5")
    assert rate <= held <= rate + 1.1 * rate * took + 2  # a new generation begins with full buckets, and they hold


def test_rates_of_services_at_one_address(parts, pki):
    """Before the name is known the widest limit holds; then that of the service."""
    leaf = pki.leaf("slow", "p256", ["slow.example.org"])
    port = clients.free_port()
    here = {"listen": [f"127.0.0.1:{port}"]}
    parts.proxy(services={"free": {**parts.service(parts.backend()), **here},
                          "slow": {**parts.service(parts.backend(), certificates=[leaf]), **here,
                                   "limits": {"handshakes_per_client_per_second": 1}}})

    def asks(name):
        try:
            with connect(port, name=name) as c:
                says_echo(c)
            return True
        except OSError:
            return False

    assert asks("slow.example.org")
    assert not all(asks("slow.example.org") for _ in range(5))
    assert all(asks("localhost") for _ in range(20))


@pytest.fixture
def descriptors_for_many():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4096:
        pytest.skip(f"needs 4096 descriptors, the limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_one_client_has_1024_by_default(parts, descriptors_for_many):
    p = parts.proxy(parts.backend(), timeouts={"handshake": "60s"})
    held = [tcp(p.port, source="127.0.0.5") for _ in range(1024)]
    over = tcp(p.port, source="127.0.0.5")
    until_closed(over)
    e = p.wait_failure("client_sessions")
    assert e["client"].startswith("127.0.0.5")
    with connect(p.port, source="127.0.0.6") as c:
        says_echo(c)
    held.pop().close()
    until(lambda: comes_in(p.port, "127.0.0.5"), "a place that is free again")
    for s in [*held, over]:
        s.close()


@pytest.mark.parametrize("format,share", [("2001:db8:1:1%02x::1", 4), ("2001:db8:1:%x00::1", 32)], ids=["56", "48"])
def test_networks_of_ipv6_have_shares(parts, format, share):
    """Many /64 of one customer have so many times what one has. Nothing is said behind the header, so all of them are held."""
    limit = 2
    p = parts.proxy(parts.backend(), proxy_protocol={"accept": "required", "trust": ["127.0.0.0/8"]}, timeouts={"handshake": "60s"},
                    limits={"sessions_per_client": limit})

    def client(address):
        s = tcp(p.port)
        s.sendall(proxy_header.v1((address, 1), ("2001:db8::2", 443)))
        return s

    held = [client(format % i) for i in range(share * limit)]
    over = client(format % 200)
    until_closed(over)
    e = p.wait_failure("client_sessions")
    assert e["client"].startswith("[" + format % 200)
    assert len(p.events(reason="client_sessions")) == 1
    other = client("2001:db8:2::1")
    other.sendall(clients.hello_bytes(context()))
    assert clients.receive(other, 1) == b"\x16"
    for s in [*held, over, other]:
        s.close()


class SlowHandshake:
    """A client whose handshake goes on when say() is called, and waits otherwise."""

    def __init__(self, port, **options):
        self.socket = tcp(port, **options)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context().wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        with contextlib.suppress(ssl.SSLWantReadError):
            self.object.do_handshake()
        self.unsaid = self.outgoing.read()

    def say(self, n):
        """The next N bytes of the ClientHello."""
        self.socket.sendall(self.unsaid[:n])
        self.unsaid = self.unsaid[n:]

    def finish(self):
        """The rest of the handshake, and an echo."""
        self.say(len(self.unsaid))
        self._complete(self.object.do_handshake)
        self.object.write(b"hello")
        assert self._complete(self.object.read, 5) == b"hello"
        self.socket.close()

    def _complete(self, call, *arguments):
        while True:
            try:
                return call(*arguments)
            except ssl.SSLWantReadError:
                self.socket.sendall(self.outgoing.read())
                data = self.socket.recv(65536)
                assert data, "the end of the connection"
                self.incoming.write(data)


def test_timeouts_of_none_outlive_the_defaults(parts):
    """Beside each connection that may take its time is one, made later, that has the default; when that has ended the other lives."""
    b = parts.backend(lambda c: c.shutdown(socket.SHUT_WR))
    free = {"handshake": "none", "linger": "none", "half_closed": "none"}
    p = parts.proxy(services={"none": parts.service(b, timeouts=free), "default": parts.service(b)})
    forever, default = p.address("none")[1], p.address("default")[1]
    patient, hasty = SlowHandshake(forever), tcp(default)
    patient.say(50)
    not_closing, closed = connect(forever), connect(default)
    for c in (not_closing, closed):
        assert clients.receive_all(c) == b""
        c = c.unwrap()  # close_notify, and no end of TCP
    until_closed(hasty)
    p.wait_failure("handshake_timeout")
    assert p.wait_session(service="default")["reason"] == "linger_timeout"
    assert not p.events("session", service="none") and not p.events("failed", service="none")


def test_idle_none(parts):
    b = parts.backend()
    p = parts.proxy(services={"none": parts.service(b, timeouts={"idle": "none"}), "short": parts.service(b, timeouts={"idle": "500ms"})})
    with connect(p.address("none")[1]) as patient:
        says_echo(patient)
        for n in range(1, 4):
            with connect(p.address("short")[1]) as c:
                says_echo(c)
                assert clients.receive_all(c) == b""
            p.wait_session(n, service="short", reason="idle_timeout")
        says_echo(patient)
        patient.unwrap()


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


def test_slow_handshakes_and_others_do_not_hold_each_other_up(parts):
    """Others are served between any two bytes of the slow ones, and these come to their sessions nevertheless."""
    n = 50
    p = parts.proxy(parts.backend(), timeouts={"handshake": "60s"})
    slow = [SlowHandshake(p.port) for _ in range(n)]
    for _ in range(10):
        for s in slow:
            s.say(7)
        until(lambda: sum(processes.traffic_sockets(p.roles()["handshaker"]).values()) == n, "all slow handshakes at once")
        with connect(p.port) as c:
            says_echo(c)
    assert not p.events("failed")
    for s in slow:
        s.finish()


def test_silent_connections_are_closed_all(parts):
    """Each one when its own time is over, not before; who speaks in time is served."""
    n, timeout = 200, 1.0
    p = parts.proxy(parts.backend(), timeouts={"handshake": "1s"})
    begun, silent = {}, []
    with connect(p.port) as session:
        for _ in range(n):
            before = time.monotonic()
            silent.append(tcp(p.port))
            begun[silent[-1]] = before
        waiting = set(silent)
        while waiting:
            ended, _, _ = select.select(list(waiting), [], [], DEADLINE)
            assert ended, f"{len(waiting)} are left"
            for s in ended:
                assert time.monotonic() - begun[s] >= timeout * 0.95
                assert until_closed(s)[0] == b""
                waiting.remove(s)
            with connect(p.port) as other:
                says_echo(other)
        says_echo(session)
    timed_out = r'tls_off_service_handshakes_failed_total\{[^}]*reason="handshake_timeout"[^}]*\} ' + str(n)
    until(lambda: re.search(timed_out, p.admin.ask("/metrics").text), "all of them counted", every=0.1)
    for s in silent:
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


def begin_reload_with_a_relay_that_stands(p):
    """Up to the end of the handshaker before: newcomers have the new one. The pid of the relay before, whose sessions stay where they are."""
    (relay,) = p.roles()["relay"]
    (handshaker,) = p.roles()["handshaker"]
    os.kill(relay, signal.SIGSTOP)
    p.signal(signal.SIGHUP)
    until(lambda: handshaker not in p.roles()["handshaker"], "the end of the handshaker before")
    return relay


def wait_reload(p):
    p.wait_event("log", message=lambda m: m.startswith("reload done"))


@pytest.mark.parametrize("limit, reason", [("sessions_per_client", "client_sessions"), ("sessions", "service_sessions"), ("sessions_per_name", "name_sessions")])
def test_a_reload_is_no_way_around_a_limit(parts, limit, reason):
    p = parts.proxy(parts.backend(), limits={limit: 5})
    held = [connect(p.port) for _ in range(5)]
    for c in held:
        says_echo(c)
    relay = begin_reload_with_a_relay_that_stands(p)
    for n in range(1, 4):
        with pytest.raises((OSError, AssertionError)):
            says_echo(connect(p.port))
        p.wait_failure(reason, count=n)
    os.kill(relay, signal.SIGCONT)
    wait_reload(p)
    for c in held:
        says_echo(c)
    held.pop().unwrap().close()
    p.wait_session()
    held.append(connect(p.port))
    for c in held:
        says_echo(c)
        c.close()


def test_sessions_that_died_with_a_relay_in_a_reload_count_no_more(parts):
    p = parts.proxy(parts.backend(), limits={"sessions_per_client": 5})
    p.allow_killed_roles = True
    held = [connect(p.port) for _ in range(5)]
    for c in held:
        says_echo(c)
    os.kill(begin_reload_with_a_relay_that_stands(p), signal.SIGKILL)
    wait_reload(p)
    for c in held:
        c.close()
    with contextlib.ExitStack() as all_of_them:
        for _ in range(5):
            says_echo(all_of_them.enter_context(connect(p.port)))
