"""Records without data (KeyUpdates, empty ones, warnings) of clients to whom data flows; and floods of them."""
import os
import signal
import threading

import pytest

from support.clients import V12, V13, connect, says_echo
from support.raw import ALERT, DATA, HANDSHAKE, RawSession
from support.waiting import until

REQUESTED, NOT_REQUESTED = b"\x18\0\0\x01\x01", b"\x18\0\0\x01\0"
UNEXPECTED = b"\x02\x0a"
WARNING_12, CANCELED = b"\x01\x64", b"\x01\x5a"
MB = 1 << 20
BOTH = pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])


def sender(n, gone=None):
    """A backend that sends N bytes after the client's first, then echoes."""
    def serve(c):
        assert c.recv(1) == b"!"
        piece = bytes(1 << 20)
        for at in range(0, n, len(piece)):
            c.sendall(piece[:n - at])
        if gone:
            gone.set()
        while data := c.recv(65536):
            c.sendall(data)
    return serve


def begin(p, version=V13):
    r = RawSession(p.port, version)
    r.send_record(DATA, b"!")
    return r


def updates(r):
    r.send_record(HANDSHAKE, REQUESTED)
    r.out.update()


def reads(r, n, on_record):
    """N bytes; ON_RECORD(bytes so far, number of answers) after each data record. Returns the number of answers."""
    got = answers = 0
    while got < n:
        record = r.read_record()
        assert record is not None, f"the end of TCP after {got} bytes"
        kind, body = record
        assert kind != ALERT, f"{body} after {got} bytes"
        if kind == HANDSHAKE and body == NOT_REQUESTED:
            r.into.update()
            answers += 1
        elif kind == DATA:
            got += len(body)
            on_record(got, answers)
    assert got == n
    return answers


def lives_on(r):
    r.send_record(DATA, b"still there?")
    while True:
        kind, body = r.read_record()
        assert kind != ALERT, body
        if kind == DATA:
            assert body == b"still there?"
            break
        if body == NOT_REQUESTED:
            r.into.update()
    r.close()


def test_a_reader_that_updates_by_received_bytes(parts):
    """100 MB, a new key each 64 KiB, and nothing else from the client."""
    p = parts.proxy(parts.backend(sender(100 * MB)))
    r, at = begin(p), [0]

    def on_record(got, _):
        if got >= at[0]:
            at[0] = got + 65536
            updates(r)
    answers = reads(r, 100 * MB, on_record)
    assert answers >= 10
    lives_on(r)


def test_a_reader_that_asks_with_every_record_until_it_is_answered(parts):
    """As Java's with jdk.tls.keyLimits: our answer comes behind all that was under way."""
    p = parts.proxy(parts.backend(sender(30 * MB)))
    r, due, asked = begin(p), [0], [0]
    seen = [0]

    def on_record(got, answers):
        if answers > seen[0]:
            seen[0], due[0] = answers, got + MB
        if got >= due[0]:
            asked[0] += 1
            updates(r)
    reads(r, 30 * MB, on_record)
    assert asked[0] > 64
    lives_on(r)


def bytes_out(p):
    """Of all live sessions."""
    return sum(s["bytes_out"] for s in p.admin.json("/sessions.json")["sessions"])


def all_left(p, n):
    """The proxy has nothing left to read of N bytes."""
    until(lambda: bytes_out(p) == n, f"{n} bytes read from the backend")


@pytest.mark.parametrize("moves", [False, True], ids=["", "moved"])
def test_requests_for_data_that_has_left_already(parts, moves):
    """Nothing moves at the relay any more while the client asks again, and again, with each record that it still finds."""
    size = 384 * 1024  # as much as the socket holds for a client that does not read
    p = parts.proxy(parts.backend(sender(size)))
    r = begin(p)
    all_left(p, size)
    if moves:
        p.signal(signal.SIGHUP)
        p.wait_event("log", message=lambda m: m.startswith("reload done: "))
    count = [0]

    def on_record(got, _):
        for _ in range(3):
            count[0] += 1
            updates(r)
    reads(r, size, on_record)
    assert count[0] > 64
    lives_on(r)


@BOTH
@pytest.mark.parametrize("what", ["empty", "warning"])
def test_a_reader_that_sends_other_records_without_data(parts, version, what):
    kind, body = (DATA, b"") if what == "empty" else (ALERT, WARNING_12 if version == V12 else CANCELED)
    p = parts.proxy(parts.backend(sender(5 * MB)))
    r, count = begin(p, version), [0]

    def on_record(got, _):
        count[0] += 1
        r.send_record(kind, body)
    reads(r, 5 * MB, on_record)
    assert count[0] > 200
    lives_on(r)


# --- floods


def flood_of_updates(r, n):
    wire = []
    for _ in range(n):
        wire.append(r.out.seal(HANDSHAKE, REQUESTED))
        r.out.update()
    return b"".join(wire)


def sent_beside(r, wire):
    """WIRE is sent by a thread: the proxy may stop reading it."""
    def send():
        try:
            r.send_bytes(wire)
        except OSError:
            pass
    t = threading.Thread(target=send, daemon=True)
    t.start()
    return t


def alert_and_answers(r):
    answers = 0
    while True:
        record = r.read_record()
        if record is None:
            return None, answers
        kind, body = record
        if kind == ALERT:
            return body, answers
        if body == NOT_REQUESTED:
            r.into.update()
            answers += 1


@pytest.mark.parametrize("saved", [False, True], ids=["", "saved up"])
def test_thirty_thousand_updates_at_once(parts, saved):
    p = parts.proxy([parts.backend(sender(20 * MB))])
    r = begin(p)
    if saved:
        reads(r, 20 * MB, lambda *_: None)
    wire = flood_of_updates(r, 30_000)
    t = sent_beside(r, wire)
    if saved:
        _, answers = alert_and_answers(r)  # the reset that follows unread bytes may overtake the alert
        assert answers < 600
    e = p.wait_session(reason="record_flood")
    t.join(30)
    r.socket.close()
    seen = [int(line.rsplit(" ", 1)[1]) for line in p.admin.ask("/metrics").text.splitlines()
            if line.startswith("tls_off_service_key_updates_total") and 'direction="in"' in line]
    assert 64 <= sum(seen) <= 64 + 512, seen
    assert e["duration_ms"] > 0


def test_a_flood_delays_nobody(parts):
    p = parts.proxy(parts.backend())
    with connect(p.port) as bystander:
        says_echo(bystander)
        for _ in range(5):
            r = RawSession(p.port, V13)
            r.says_echo()
            t = sent_beside(r, flood_of_updates(r, 3_000))
            says_echo(bystander, os.urandom(1000))
            body, _ = alert_and_answers(r)
            assert body in (UNEXPECTED, None)
            t.join(30)
            r.socket.close()
            says_echo(bystander)
    p.wait_session(count=5, reason="record_flood")


def test_requests_while_our_answer_waits_cost_one(parts):
    """The client reads nothing: the answer stands behind the data, however often it is asked for."""
    gone = threading.Event()
    p = parts.proxy(parts.backend(sender(40 * MB, gone)))
    r = begin(p)
    until(lambda: bytes_out(p) > MB // 4, "data on its way")
    seen = [-1]

    def stands():
        seen.append(bytes_out(p))
        return len(seen) > 4 and len(set(seen[-4:])) == 1
    until(stands, "the socket is full")
    for _ in range(40):
        updates(r)
    answers = reads(r, 40 * MB, lambda *_: None)
    assert answers <= 2, answers
    lives_on(r)


def test_the_count_of_idle_records_moves_along(parts):
    p = parts.proxy(parts.backend())
    r = RawSession(p.port, V13)
    r.says_echo()
    for _ in range(50):
        r.send_record(HANDSHAKE, NOT_REQUESTED)
        r.out.update()
    until(lambda: 'direction="in"} 50' in p.admin.ask("/metrics").text, "they are taken")
    p.signal(signal.SIGHUP)
    p.wait_event("log", message=lambda m: m.startswith("reload done: "))
    for _ in range(30):
        r.send_record(HANDSHAKE, NOT_REQUESTED)
        r.out.update()
    assert r.read_alert() == (2, 10)
    r.socket.close()
    p.wait_session(reason="record_flood")
