"""After the handshake: KeyUpdate both ways, and TLS 1.2's renegotiation, which is refused."""
import os

import pytest

from support.clients import V12, V13, connect, s_client, says_echo
from support.raw import ALERT, DATA, HANDSHAKE, RawSession

UNEXPECTED, ILLEGAL, DECODE = 10, 47, 50
NOT_REQUESTED, REQUESTED = b"\x18\0\0\x01\0", b"\x18\0\0\x01\x01"


@pytest.fixture
def p(parts):
    proxy = parts.proxy(parts.backend())
    with connect(proxy.port) as bystander:
        says_echo(bystander)
        yield proxy
        says_echo(bystander)


@pytest.mark.parametrize("command", ["K", "k"])
def test_openssl_updates_its_key(p, command):
    c = s_client(p.port, "-tls1_3")
    c.wait_for("Verify return code")
    for i in range(5):
        c.send(f"line {i}\n")
        c.wait_for(f"line {i}\n")
        c.send(command + "\n")
        c.wait_for("KEYUPDATE", count=i + 1)
    c.send("the end\n")
    c.wait_for("the end\n")
    _, said = c.end()
    assert ":error:" not in said
    assert p.wait_session(tls_version="TLSv1.3")["client_end"] == "close"


def test_request_is_answered(p):
    r = RawSession(p.port, V13)
    r.says_echo()
    for _ in range(3):
        r.send_record(HANDSHAKE, REQUESTED)
        r.out.update()
        kind, body = r.read_record()
        while kind == HANDSHAKE and body[0] == 4:
            kind, body = r.read_record()
        assert (kind, body) == (HANDSHAKE, NOT_REQUESTED)
        r.into.update()
        r.says_echo(os.urandom(1000))
    r.close()


def test_without_request_there_is_no_answer(p):
    r = RawSession(p.port, V13)
    for _ in range(3):
        r.send_record(HANDSHAKE, NOT_REQUESTED)
        r.out.update()
        r.says_echo()
    r.close()


def test_request_amid_data_loses_nothing(p):
    """Requests while data flows both ways: every record still opens. One answer may serve several requests (RFC 8446 4.6.3)."""
    r = RawSession(p.port, V13)
    data, got, asked, answers = os.urandom(200_000), b"", 0, 0
    for i in range(0, len(data), 10_000):
        r.send_record(DATA, data[i:i + 10_000])
        if i % 50_000 == 0:
            r.send_record(HANDSHAKE, REQUESTED)
            r.out.update()
            asked += 1
    while len(got) < len(data) or answers == 0:
        kind, body = r.read_record()
        if kind == DATA:
            got += body
        elif body == NOT_REQUESTED:
            r.into.update()
            answers += 1
    assert got == data
    assert answers <= asked
    r.close()


def test_message_over_two_records(p):
    """RFC 8446 4.6.3 forbids data between the parts only; the parts themselves may be apart."""
    r = RawSession(p.port, V13)
    r.send_record(HANDSHAKE, NOT_REQUESTED[:2])
    r.send_record(HANDSHAKE, NOT_REQUESTED[2:])
    r.out.update()
    r.says_echo()
    r.close()


def ends_with(p, r, alert, reason):
    assert r.read_alert() == (2, alert)
    assert r.read_record() is None
    r.socket.close()
    p.wait_session(reason=reason)


def test_data_between_the_parts_of_a_message(p):
    r = RawSession(p.port, V13)
    r.send_record(HANDSHAKE, NOT_REQUESTED[:2])
    r.send_record(DATA, b"in between")
    ends_with(p, r, UNEXPECTED, "unexpected_message")


def test_update_not_at_the_end_of_its_record(p):
    r = RawSession(p.port, V13)
    r.send_record(HANDSHAKE, NOT_REQUESTED * 2)
    ends_with(p, r, UNEXPECTED, "unexpected_message")


@pytest.mark.parametrize("body,alert,reason", [(b"\x18\0\0\x01\x02", ILLEGAL, "illegal_parameter"), (b"\x18\0\0\x02\0\0", DECODE, "record_decode"),
                                               (b"\x18\0\0\0", DECODE, "record_decode")])
def test_malformed_update(p, body, alert, reason):
    r = RawSession(p.port, V13)
    r.send_record(HANDSHAKE, body)
    ends_with(p, r, alert, reason)


@pytest.mark.parametrize("kind", [1, 2, 4, 11, 13, 20, 99])
def test_other_messages_after_the_handshake(p, kind):
    r = RawSession(p.port, V13)
    r.send_record(HANDSHAKE, bytes([kind]) + b"\0\0\x04abcd")
    ends_with(p, r, UNEXPECTED, "unexpected_message")


def test_empty_handshake_record(p):
    r = RawSession(p.port, V13)
    r.send_record(HANDSHAKE, b"")
    ends_with(p, r, UNEXPECTED, "unexpected_message")


def test_flood_of_updates(p):
    r = RawSession(p.port, V13)
    wire = b""
    for _ in range(500):
        wire += r.out.seal(HANDSHAKE, REQUESTED)
        r.out.update()
    r.send_bytes(wire)
    while True:
        kind, body = r.read_record()
        if kind == ALERT:
            assert body == bytes([2, UNEXPECTED])
            break
        if body == NOT_REQUESTED:
            r.into.update()
    r.socket.close()
    p.wait_session(reason="record_flood")


# --- TLS 1.2


def test_openssl_tries_to_renegotiate(p):
    c = s_client(p.port, "-tls1_2")
    c.wait_for("Verify return code")
    c.send("hello\n")
    c.wait_for("hello\n")
    c.send("R\n")
    c.wait_for("RENEGOTIATING")
    _, said = c.end()
    assert "no renegotiation" in said.lower()


def test_no_renegotiation_is_a_warning_and_the_session_lives(p):
    r = RawSession(p.port, V12)
    r.says_echo()
    r.send_record(HANDSHAKE, b"\x01\0\0\x04abcd")
    assert r.read_record() == (ALERT, b"\x01\x64")
    r.says_echo()
    r.close()


def test_flood_of_renegotiations(p):
    r = RawSession(p.port, V12)
    r.send_bytes(b"".join(r.out.seal(HANDSHAKE, b"\x01\0\0\x04abcd") for _ in range(500)))
    while True:
        record = r.read_record()
        if record is None or (record[0] == ALERT and record[1][0] == 2):
            break
    r.socket.close()
    p.wait_session(reason=lambda x: x in ("record_flood", "unexpected_message", "client_reset"))


def test_finished_after_the_handshake_of_tls12(p):
    r = RawSession(p.port, V12)
    r.send_record(HANDSHAKE, b"\x14\0\0\x0c" + bytes(12))
    ends_with(p, r, UNEXPECTED, "unexpected_message")
