"""Records made by hand after a true handshake: what is wrong gets the fatal alert of RFC 8446 / 5246 and ends that session only."""
import os
import struct

import pytest

from support.clients import V12, V13, connect, says_echo
from support.raw import ALERT, CHANGE_CIPHER, CLOSE_NOTIFY, DATA, HANDSHAKE, RawSession

UNEXPECTED, BAD_MAC, OVERFLOW, ILLEGAL, DECODE = 10, 20, 22, 47, 50
BOTH = pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])
AES12, CHACHA12 = "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"


@pytest.fixture
def p(parts):
    """A proxy with a session that must live through all that the test does."""
    proxy = parts.proxy(parts.backend())
    with connect(proxy.port) as bystander:
        says_echo(bystander)
        yield proxy
        says_echo(bystander)


def ends_with(p, r, alert, reason):
    """The session R gets this fatal alert, TCP ends, and the log has the reason."""
    assert r.read_alert() == (2, alert)
    assert r.read_record() is None
    r.socket.close()
    return p.wait_session(reason=reason)


@BOTH
def test_bad_mac(p, version):
    r = RawSession(p.port, version)
    r.says_echo()
    bad = bytearray(r.out.seal(DATA, b"hello"))
    bad[-1] ^= 1
    r.send_bytes(bytes(bad))
    ends_with(p, r, BAD_MAC, "bad_record_mac")


@BOTH
@pytest.mark.parametrize("at", [0, 5, -20])
def test_a_flipped_bit_anywhere(p, version, at):
    r = RawSession(p.port, version, ciphers=AES12 if version == V12 else None)
    bad = bytearray(r.out.seal(DATA, b"hello" * 20))
    if at == 0:
        bad[0] = HANDSHAKE  # the outer content type is authenticated in 1.2, and fixed in 1.3
    else:
        bad[at] ^= 0x80
    r.send_bytes(bytes(bad))
    if at == 0 and version == V13:
        ends_with(p, r, UNEXPECTED, "unexpected_message")
    else:
        ends_with(p, r, BAD_MAC, "bad_record_mac")


@BOTH
def test_a_record_twice(p, version):
    r = RawSession(p.port, version)
    record = r.out.seal(DATA, b"once")
    r.send_bytes(record + record)
    ends_with(p, r, BAD_MAC, "bad_record_mac")


@BOTH
def test_data_before_the_fault_is_delivered(p, version):
    r = RawSession(p.port, version)
    bad = r.out.seal(DATA, b"good") + r.out.seal(DATA, b"bad!")[:-1] + b"\0"
    r.send_bytes(bad)
    r.read_alert()
    r.socket.close()
    e = p.wait_session(reason="bad_record_mac")
    assert e["bytes_in"] == 4


@BOTH
def test_record_header_too_long(p, version):
    r = RawSession(p.port, version)
    most = 16384 + (256 if version == V13 else 2048)
    r.send_bytes(struct.pack("!BHH", DATA, 0x0303, most + 1) + bytes(100))
    ends_with(p, r, OVERFLOW, "record_overflow")


def test_inner_plaintext_too_long(p):
    r = RawSession(p.port, V13)
    r.send_bytes(r.out.seal_inner(bytes(16385) + bytes([DATA])))
    ends_with(p, r, OVERFLOW, "record_overflow")


def test_padding_counts_for_the_limit(p):
    r = RawSession(p.port, V13)
    r.send_bytes(r.out.seal(DATA, b"x" * 16000, padding=16384 - 16000))
    assert r.read_n(16000) == b"x" * 16000
    r.send_bytes(r.out.seal(DATA, b"x" * 16000, padding=16384 - 16000 + 1))
    ends_with(p, r, OVERFLOW, "record_overflow")


def test_plaintext_too_long_in_tls12(p):
    r = RawSession(p.port, V12, ciphers=AES12)
    r.send_record(DATA, b"x" * 16384)
    assert r.read_n(16384) == b"x" * 16384
    r.send_record(DATA, b"x" * 16385)
    ends_with(p, r, OVERFLOW, "record_overflow")


@BOTH
def test_largest_records_and_smallest(p, version):
    r = RawSession(p.port, version)
    data = os.urandom(16384)
    r.send_record(DATA, data)
    assert r.read_n(16384) == data
    for n in (1, 2, 3):
        r.says_echo(data[:n])
    r.close()
    assert p.wait_session(bytes_in=16390)["client_end"] == "close"


def test_padding(p):
    r = RawSession(p.port, V13)
    for padding in (1, 15, 16, 17, 1000, 16000):
        r.send_record(DATA, b"padded", padding)
        assert r.read_n(6) == b"padded"
    r.send_record(DATA, b"", 5000)
    r.says_echo()
    r.close()


def test_no_content_type_at_all(p):
    r = RawSession(p.port, V13)
    r.send_bytes(r.out.seal_inner(bytes(50)))
    ends_with(p, r, UNEXPECTED, "unexpected_message")


@BOTH
@pytest.mark.parametrize("kind", [0, 24, 25, 255])
def test_unknown_content_type(p, version, kind):
    if version == V13 and kind == 0:
        pytest.skip("a type of 0 is padding")
    r = RawSession(p.port, version)
    r.send_record(kind, b"what is this")
    ends_with(p, r, UNEXPECTED, "unexpected_message")


@BOTH
def test_unknown_outer_content_type(p, version):
    r = RawSession(p.port, version)
    r.send_bytes(struct.pack("!BHH", 99, 0x0303, 40) + bytes(40))
    assert r.read_alert()[0] == 2
    r.socket.close()
    p.wait_session(reason=lambda x: x in ("unexpected_message", "bad_record_mac"))


@BOTH
def test_plain_records_after_the_handshake(p, version):
    r = RawSession(p.port, version)
    r.send_bytes(struct.pack("!BHH", ALERT, 0x0303, 2) + CLOSE_NOTIFY)
    assert r.read_alert()[0] == 2
    r.socket.close()
    p.wait_session(reason=lambda x: x in ("unexpected_message", "bad_record_mac", "record_decode"))


def test_late_change_cipher_spec(p):
    """RFC 8446 5: allowed only until the peer's Finished."""
    r = RawSession(p.port, V13)
    r.send_bytes(struct.pack("!BHHB", CHANGE_CIPHER, 0x0303, 1, 1))
    ends_with(p, r, UNEXPECTED, "unexpected_message")


def test_wrong_version_in_a_record_of_tls12(p):
    r = RawSession(p.port, V12)
    record = bytearray(r.out.seal(DATA, b"hello"))
    record[1:3] = b"\x03\x01"
    r.send_bytes(bytes(record))
    assert r.read_alert()[0] == 2
    r.socket.close()
    p.wait_session(reason=lambda x: x in ("record_version", "bad_record_mac"))


def test_short_records(p):
    for n in (0, 1, 15, 16):
        r = RawSession(p.port, V13)
        r.send_bytes(struct.pack("!BHH", DATA, 0x0303, n) + bytes(n))
        assert r.read_alert()[0] == 2
        r.socket.close()
    p.wait_session(count=4)


@BOTH
def test_flood_of_empty_records(p, version):
    r = RawSession(p.port, version)
    r.send_bytes(b"".join(r.out.seal(DATA, b"") for _ in range(200)))
    ends_with(p, r, UNEXPECTED, "record_flood")


@BOTH
def test_some_empty_records_are_fine(p, version):
    r = RawSession(p.port, version)
    for _ in range(20):
        r.send_record(DATA, b"")
        r.send_record(DATA, b"")
        r.says_echo()
    r.close()


# --- alerts


@BOTH
def test_data_after_close_notify_is_ignored(p, version):
    r = RawSession(p.port, version)
    r.says_echo(b"before")
    r.send_bytes(r.out.seal(ALERT, CLOSE_NOTIFY) + r.out.seal(DATA, b"after"))
    assert r.read_alert() == (1, 0)
    assert r.read_record() is None
    r.socket.close()
    e = p.wait_session(bytes_in=6)
    assert (e["client_end"], e["backend_end"]) == ("close", "close")


@BOTH
def test_garbage_after_close_notify_is_ignored(p, version):
    r = RawSession(p.port, version)
    r.says_echo(b"before")
    r.send_bytes(r.out.seal(ALERT, CLOSE_NOTIFY) + b"\xff" * 1000)
    assert r.read_alert() == (1, 0)
    r.socket.close()
    assert p.wait_session(bytes_in=6)["client_end"] == "close"


@BOTH
def test_fatal_alert_of_the_client(p, version):
    r = RawSession(p.port, version)
    r.says_echo()
    r.send_record(ALERT, b"\x02\x50")  # internal_error
    while r.read_record() is not None:
        pass
    r.socket.close()
    e = p.wait_session(reason="peer_alert")
    assert "internal_error" in str(e) or "80" in str(e)


@BOTH
def test_malformed_alert(p, version):
    r = RawSession(p.port, version)
    r.send_record(ALERT, b"\x02")
    assert r.read_alert()[0] == 2
    r.socket.close()
    p.wait_session(reason=lambda x: x in ("record_decode", "unexpected_message"))


def test_two_alerts_in_one_record_of_tls13(p):
    r = RawSession(p.port, V13)
    r.send_record(ALERT, CLOSE_NOTIFY * 2)
    assert r.read_alert()[0] == 2
    r.socket.close()
    p.wait_session()


# --- nonces


@pytest.mark.parametrize("suite", [AES12, "ECDHE-ECDSA-AES256-GCM-SHA384"])
def test_explicit_nonces_of_tls12_never_come_twice(p, suite):
    r = RawSession(p.port, V12, ciphers=suite)
    seen = set()
    for _ in range(200):
        r.send_record(DATA, b"n")
        record = r._raw_record()
        assert record[5:13] not in seen
        seen.add(record[5:13])
        assert r.into.open(record[:5], record[5:]) == (DATA, b"n")
    r.close()


def test_chacha_of_tls12_has_no_explicit_nonce(p):
    r = RawSession(p.port, V12, ciphers=CHACHA12)
    for _ in range(5):
        r.says_echo()
    r.close()
