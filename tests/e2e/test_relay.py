"""Bytes in = bytes out, whatever the pace; ends as they are; backends that fail, and choosing among them."""
import collections
import hashlib
import os
import select
import socket
import ssl
import threading
import time

import pytest

from support import backends, clients
from support.backends import answer_after_eof, echo, sink
from support.clients import V12, V13, connect, context, receive, receive_all, says_echo
from support.raw import ALERT, CLOSE_NOTIFY, DATA, RawSession
from support.waiting import DEADLINE, standstill, until

BIG = int(os.environ.get("E2E_BIG_MB", "1024")) << 20
BOTH = pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])
PIECE = 1 << 20


def pattern(n):
    """N bytes that repeat nowhere near a record's length, in pieces."""
    block = hashlib.shake_256(b"pattern").digest(PIECE + 4099)
    sent = 0
    while sent < n:
        at = (sent >> 20) % 4099
        piece = block[at:at + min(PIECE, n - sent)]
        yield piece
        sent += len(piece)


def digest(pieces):
    h = hashlib.sha256()
    for piece in pieces:
        h.update(piece)
    return h.hexdigest()


def send_for_ever(c):
    block = bytes(PIECE)
    try:
        while True:
            c.sendall(block)
    except OSError:
        pass


# --- bulk


@BOTH
def test_big_upload_to_a_slow_backend(parts, version):
    def slow(c):
        h, n = hashlib.sha256(), 0
        while n < BIG:
            data = c.recv(1 << 17)
            if n >> 26 != (n + len(data)) >> 26:
                time.sleep(0.2)  # the slowness is the point
            n += len(data)
            h.update(data)
        c.sendall(h.hexdigest().encode())

    p = parts.proxy(parts.backend(slow))
    h = hashlib.sha256()
    with connect(p.port, context(version=version)) as c:
        for piece in pattern(BIG):
            h.update(piece)
            c.sendall(piece)
        assert receive(c, 64).decode() == h.hexdigest()
        c.unwrap()
    assert p.wait_session()["bytes_in"] == BIG


@BOTH
def test_big_download_to_a_slow_client(parts, version):
    def send(c):
        for piece in pattern(BIG):
            c.sendall(piece)

    p = parts.proxy(parts.backend(send))
    wanted = digest(pattern(BIG))
    h, n = hashlib.sha256(), 0
    with connect(p.port, context(version=version)) as c:
        while True:
            data = c.recv(1 << 17)
            if not data:
                break
            if n >> 26 != (n + len(data)) >> 26:
                time.sleep(0.2)
            n += len(data)
            h.update(data)
    assert (n, h.hexdigest()) == (BIG, wanted)
    assert p.wait_session()["bytes_out"] == BIG


def test_both_ways_at_once(parts):
    n = BIG // 4
    p = parts.proxy(parts.backend())
    sent, got = hashlib.sha256(), hashlib.sha256()
    r = connect(p.port)
    r.setblocking(False)
    pieces, piece, received = pattern(n), b"", 0
    while received < n:
        readable, writable = True, True
        if not piece:
            piece = next(pieces, b"")
            sent.update(piece)
        try:
            piece = piece[r.send(piece[:65536]):] if piece else piece
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            writable = False
        try:
            data = r.recv(1 << 18)
            assert data
            received += len(data)
            got.update(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            readable = False
        if not readable and (not writable or not piece):
            select.select([r], [r] if piece else [], [], DEADLINE)
    assert sent.digest() == got.digest()
    r.setblocking(True)
    r.unwrap().close()


def test_many_small_messages(parts):
    p = parts.proxy(parts.backend())
    with connect(p.port) as c:
        for i in range(3000):
            says_echo(c, b"%d" % i)
        c.unwrap()
    assert p.wait_session()["bytes_in"] == sum(len(b"%d" % i) for i in range(3000))


def test_a_bulk_session_does_not_starve_a_small_one(parts):
    p = parts.proxy(services={"web": parts.service(parts.backend(send_for_ever)), "small": {**parts.service(parts.backend()), "listen": ["[::1]:0"]}})
    stop = threading.Event()

    def pull():
        with connect(p.port) as c:
            while not stop.is_set():
                c.recv(1 << 18)
            clients.reset(c)

    threads = [threading.Thread(target=pull) for _ in range(4)]
    for t in threads:
        t.start()
    try:
        port = int(p.wait_text(r"listening on \[::1\]:(\d+) for small").group(1))
        with connect(port, host="::1") as c:
            worst = 0.0
            for _ in range(100):
                began = time.monotonic()
                says_echo(c)
                worst = max(worst, time.monotonic() - began)
            c.unwrap()
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert worst < 10


def test_a_client_that_never_reads_costs_a_bounded_amount(parts):
    p = parts.proxy(parts.backend(send_for_ever))
    with connect(p.port) as c:
        c.recv(1)
        before = p.role_memory("relay")
        stuck = [connect(p.port) for _ in range(10)]
        for s in stuck:
            s.recv(1)
        standstill(lambda: sum(unsent(s) for s in stuck), "what waits for the clients")
        grown = p.role_memory("relay") - before
        for s in stuck:
            clients.reset(s)
        clients.reset(c)
    assert grown < 10 * 1024 * 1024, f"{grown} bytes for 10 clients that do not read"
    p.wait_session(count=11)


def unsent(s):
    """Bytes waiting in the client's receive queue."""
    import array
    import fcntl
    import termios

    n = array.array("i", [0])
    fcntl.ioctl(s.fileno(), termios.FIONREAD, n)
    return n[0]


def test_a_backend_that_never_reads_costs_a_bounded_amount(parts):
    release = threading.Event()

    def stubborn(c):
        release.wait(DEADLINE)

    p = parts.proxy(parts.backend(stubborn))
    c = connect(p.port)
    before = p.role_memory("relay")
    c.setblocking(False)
    sent, block, began = 0, bytes(PIECE), time.monotonic()
    quiet = 0
    while quiet < 20 and time.monotonic() - began < DEADLINE:
        try:
            sent += c.send(block)
            quiet = 0
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            select.select([], [c], [], 0.05)
            quiet += 1
    grown = p.role_memory("relay") - before
    clients.reset(c)
    release.set()
    assert grown < 4 * 1024 * 1024, f"{grown} bytes after {sent} were sent"
    p.wait_session()


# --- ends


@BOTH
def test_client_closes_its_half_and_still_gets_the_answer(parts, version):
    p = parts.proxy(parts.backend(answer_after_eof))
    r = RawSession(p.port, version)
    data = os.urandom(1_000_000)
    for i in range(0, len(data), 16384):
        r.send_record(DATA, data[i:i + 16384])
    r.send_record(ALERT, CLOSE_NOTIFY)
    wanted = f"{len(data)} {hashlib.sha256(data).hexdigest()}\n".encode()
    assert r.read_n(len(wanted)) == wanted
    assert r.read_alert() == (1, 0)
    assert r.read_record() is None
    r.socket.close()
    e = p.wait_session()
    assert (e["client_end"], e["backend_end"], e["bytes_in"]) == ("close", "close", len(data))


@BOTH
def test_backend_closes_its_half_and_still_gets_the_rest(parts, version):
    result = []

    def half(c):
        c.sendall(b"that was all")
        c.shutdown(socket.SHUT_WR)
        data = b""
        while True:
            piece = c.recv(65536)
            if not piece:
                break
            data += piece
        result.append(data)

    p = parts.proxy(parts.backend(half))
    r = RawSession(p.port, version)
    assert r.read_n(12) == b"that was all"
    assert r.read_alert() == (1, 0)
    for _ in range(100):
        r.send_record(DATA, b"k" * 10_000)
    r.send_record(ALERT, CLOSE_NOTIFY)
    assert r.read_record() is None
    r.socket.close()
    until(lambda: result, "the backend's end of file")
    assert result[0] == b"k" * 1_000_000
    e = p.wait_session()
    assert (e["client_end"], e["backend_end"]) == ("close", "close")


def test_client_ends_tcp_without_close_notify(parts):
    ended = []

    def watch(c):
        try:
            ended.append(receive_all(c))
        except ConnectionResetError:
            ended.append("reset")

    p = parts.proxy(parts.backend(watch))
    r = RawSession(p.port)
    r.send_record(DATA, b"and then")
    r.socket.shutdown(socket.SHUT_WR)
    e = p.wait_session()
    r.socket.close()
    assert e["client_end"] == "truncated"
    until(lambda: ended, "the backend's end")
    assert ended == [b"and then"]


def test_truncation_can_be_a_reset_for_the_backend(parts):
    ended = []

    def watch(c):
        try:
            ended.append(receive_all(c))
        except ConnectionResetError:
            ended.append("reset")

    p = parts.proxy(parts.backend(watch, where="tcp"), truncation="reset")
    r = RawSession(p.port)
    r.send_record(DATA, b"and then")
    r.socket.shutdown(socket.SHUT_WR)
    e = p.wait_session()
    assert (e["client_end"], e["reason"]) == ("truncated", "truncated")
    r.socket.close()
    until(lambda: ended, "the backend's end")
    assert ended == ["reset"]


@pytest.mark.parametrize("where", [None, "tcp"])
def test_client_resets(parts, where):
    came, ended = threading.Event(), []

    def watch(c):
        try:
            while c.recv(65536):
                came.set()
            ended.append("end")
        except ConnectionResetError:
            ended.append("reset")

    p = parts.proxy(parts.backend(watch, where=where))
    with connect(p.port) as c:
        c.sendall(b"and then")
        assert came.wait(DEADLINE)
        clients.reset(c)
    e = p.wait_session()
    assert (e["client_end"], e["reason"]) == ("reset", "client_reset")
    until(lambda: ended, "the backend's end")
    if where == "tcp":
        assert ended == ["reset"]


def test_backend_resets(parts):
    def handler(c):
        c.recv(100)
        backends.reset(c)

    p = parts.proxy(parts.backend(handler, where="tcp"))
    with connect(p.port) as c:
        c.sendall(b"hello")
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            while c.recv(100):
                pass
    e = p.wait_session()
    assert (e["backend_end"], e["reason"]) == ("reset", "backend_reset")


def test_backend_resets_a_session_passed_through(parts):
    """In passthrough only a reset can show the client that the data is incomplete."""

    def handler(c):
        c.recv(65536)
        c.sendall(b"not all of it")
        c.recv(65536)
        backends.reset(c)

    service = parts.service(parts.backend(handler, where="tcp"), mode="passthrough")
    del service["certificates"]
    p = parts.proxy(services={"web": service})
    s = clients.tcp(p.port)
    s.sendall(clients.hello_bytes(context()))
    assert receive(s, 13) == b"not all of it"
    s.sendall(b"go on")
    got, was_reset = clients.until_closed(s)
    s.close()
    assert (got, was_reset) == (b"", True)
    assert p.wait_session()["backend_end"] == "reset"


def test_backend_closes_with_unread_bytes_and_its_answer_arrives(parts):
    """Its Unix socket is reset then; what it had sent is still delivered."""

    def rude(c):
        c.recv(10)
        c.sendall(b"no thanks" * 1000)

    p = parts.proxy(parts.backend(rude))
    for _ in range(20):
        with connect(p.port) as c:
            c.sendall(bytes(50_000))
            assert receive(c, 9000) == b"no thanks" * 1000
    p.wait_session(count=20)


def test_backend_dies_mid_transfer(parts):
    """Killed while it sends: everything that it had written arrives."""
    path = parts.socket_path()
    program = (
        "import os, signal, socket, sys\n"
        "s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()\n"
        "c = s.accept()[0]; c.sendall(b'w' * 3000000); os.unlink(sys.argv[1]); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    server = parts.server("/usr/bin/python3", "-c", program, path)
    until(lambda: os.path.exists(path), "the backend's socket")
    p = parts.proxy("unix:" + path, timeouts={"connect": "10s"})
    with connect(p.port, receive_buffer=65536) as c:
        assert receive(c, 3_000_000) == b"w" * 3_000_000
        try:
            assert c.recv(1) == b""
        except (ssl.SSLError, OSError):
            pass
    server.process.wait(DEADLINE)
    p.wait_session(bytes_out=3_000_000)


def test_client_vanishes_while_bytes_wait_for_it(parts):
    p = parts.proxy(parts.backend(send_for_ever))
    c = connect(p.port)
    c.recv(1)
    clients.reset(c)
    assert p.wait_session()["client_end"] == "reset"


def test_linger_ends_a_client_that_never_closes(parts):
    p = parts.proxy(parts.backend(lambda c: c.sendall(b"bye")), timeouts={"linger": "300ms"})
    r = RawSession(p.port)
    assert r.read_n(3) == b"bye"
    assert r.read_alert() == (1, 0)
    e = p.wait_session()
    r.socket.close()
    assert e["reason"] == "linger_timeout"


# --- backends that fail


def alert_after_handshake(port):
    """What a client sees whose session finds no backend: the alert's number."""
    r = RawSession(port)
    try:
        return r.read_alert()
    finally:
        r.socket.close()


def test_backend_absent(parts):
    p = parts.proxy("unix:/nowhere/app.sock")
    assert alert_after_handshake(p.port) == (2, 80)
    assert p.wait_session()["reason"] == "backend_refused"


def test_backend_refuses(parts):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        p = parts.proxy(f"tcp:127.0.0.1:{s.getsockname()[1]}")
        assert alert_after_handshake(p.port) == (2, 80)
        assert p.wait_session()["reason"] == "backend_refused"


def full_backlog(parts, handler=echo):
    b = parts.backend(handler, backlog=0, accepting=False)
    fillers = []
    while True:
        s = socket.socket(socket.AF_UNIX)
        s.setblocking(False)
        if s.connect_ex(b.listener.getsockname()) != 0:
            s.close()
            return b, fillers
        fillers.append(s)


def test_backend_never_accepts(parts):
    b, fillers = full_backlog(parts)
    p = parts.proxy(b, timeouts={"connect": "400ms"})
    began = time.monotonic()
    assert alert_after_handshake(p.port) == (2, 80)
    assert 0.2 < time.monotonic() - began < 10
    e = p.wait_session()
    assert e["reason"] == "backend_backlog"
    for s in fillers:
        s.close()


def test_backend_accepts_late(parts):
    b, fillers = full_backlog(parts)
    p = parts.proxy(b, timeouts={"connect": "15s"})
    waiting = [RawSession(p.port) for _ in range(20)]
    for r in waiting:
        r.send_record(DATA, b"patience")
    for s in fillers:
        s.close()
    b.start_accepting()
    for r in waiting:
        assert r.read_n(8) == b"patience"
        r.close()
    until(lambda: len(p.events("session")) == 20, "20 sessions")
    assert sum(e["retries"] for e in p.events("session")) > 0
    b.accepted -= len(fillers)


def test_many_connects_to_a_short_backlog(parts):
    """A backlog of 1 and 200 sessions at once: all are served."""
    p = parts.proxy(parts.backend(backlog=1), timeouts={"connect": "20s"})
    sessions = [connect(p.port) for _ in range(200)]
    for c in sessions:
        c.sendall(b"me too")
    for c in sessions:
        assert receive(c, 6) == b"me too"
        c.close()


# --- several backends


def three(parts, handler=echo):
    return [parts.backend(handler) for _ in range(3)]


def test_round_robin(parts):
    servers = three(parts)
    p = parts.proxy(servers, balance="round-robin")
    with connect(p.port) as held:  # loads are unequal, and turns are taken all the same
        says_echo(held)
        for _ in range(11):
            with connect(p.port) as c:
                says_echo(c)
        p.wait_session(count=11)
        assert [b.accepted for b in servers] == [4, 4, 4]


def test_least_sessions(parts):
    servers = three(parts)
    p = parts.proxy(servers, balance="least-sessions")
    held = []
    for _ in range(9):
        held.append(connect(p.port))
        says_echo(held[-1])
    assert [b.accepted for b in servers] == [3, 3, 3]
    # Free all of one backend: the next three must go there.
    freed = held[0:9:3]
    before = len(p.events("session"))
    for c in freed:
        c.unwrap().close()
    p.wait_session(count=before + 3)
    counts = collections.Counter(e["backend"] for e in p.events("session"))
    again = [connect(p.port) for _ in range(3)]
    for c in again:
        says_echo(c)
        c.unwrap().close()
    p.wait_session(count=before + 6)
    later = collections.Counter(e["backend"] for e in p.events("session")) - counts
    assert later == counts
    for c in held:
        c.close()


def test_client_hash(parts):
    servers = three(parts)
    p = parts.proxy(servers, balance="client-hash")
    chosen = collections.defaultdict(set)
    for _ in range(3):
        for i in range(1, 31):
            with connect(p.port, source=f"127.0.0.{i}") as c:
                says_echo(c)
    p.wait_session(count=90)
    for e in p.events("session"):
        chosen[e["client"].rsplit(":", 1)[0]].add(e["backend"])
    assert len(chosen) == 30
    assert all(len(b) == 1 for b in chosen.values()), "a client went to several backends"
    assert len(set.union(*chosen.values())) == 3, "all clients went to few backends"


def test_failed_connect_goes_to_the_next(parts):
    good = parts.backend()
    p = parts.proxy(["unix:/nowhere/app.sock", good], balance="round-robin")
    for _ in range(10):
        with connect(p.port) as c:
            says_echo(c)
    p.wait_session(count=10)
    assert {e["backend"] for e in p.events("session")} == {good.url}


def test_a_backend_that_keeps_failing_is_ejected_and_comes_back(parts):
    good, path = parts.backend(), parts.socket_path()
    p = parts.proxy(["unix:" + path, good], balance="round-robin")
    for _ in range(12):
        with connect(p.port) as c:
            says_echo(c)
    assert p.wait_text(r"unix:" + path)
    late = parts.add(backends.Backend(backends.unix_listener(path), echo))

    def comes_back():
        with connect(p.port) as c:
            says_echo(c)
        return late.accepted

    until(comes_back, "a session for the backend that came back", every=0.1)


# --- kinds of backend


@pytest.mark.parametrize("where", ["tcp", "::1", "@tls-off-test"])
def test_other_backends(parts, where):
    p = parts.proxy(parts.backend(where=f"{where}-{os.getpid()}" if where.startswith("@") else where))
    with connect(p.port) as c:
        says_echo(c, os.urandom(100_000))
        c.unwrap()
    assert p.wait_session()["client_end"] == "close"


def test_tcp_by_name(parts):
    b = parts.backend(where="tcp")
    p = parts.proxy(f"tcp:localhost:{b.port}")
    with connect(p.port) as c:
        says_echo(c)
        c.unwrap()
    assert p.wait_session()["backend"] == f"tcp:localhost:{b.port}"
    b.accepted = 0  # known to the log by its other name


def test_tcp_by_a_name_that_is_none(parts):
    p = parts.proxy("tcp:does-not-exist.invalid:80", timeouts={"connect": "2s"})
    assert alert_after_handshake(p.port) == (2, 80)
    p.wait_session(reason=lambda r: r.startswith("backend_"))


def test_sink(parts):
    p = parts.proxy(parts.backend(sink))
    with connect(p.port) as c:
        c.sendall(bytes(5 << 20))
        c.unwrap()
    assert p.wait_session()["bytes_in"] == 5 << 20
