"""What bad beginnings get: the right alert, a reason in the log, an end by the deadline; and no other client notices."""
import os
import re
import signal
import socket
import ssl
import struct
import time

import pytest

from support import clients
from support.clients import V12, V13, alert_of, connect, context, hello_bytes, s_client, says_echo, tcp, until_closed
from support.waiting import until

PROTOCOL_VERSION, HANDSHAKE_FAILURE, DECODE_ERROR, UNEXPECTED, UNRECOGNIZED, NO_ALPN = 70, 40, 50, 10, 112, 120


@pytest.fixture
def p(parts):
    """A proxy with a session that must live through all that the test does."""
    proxy = parts.proxy(parts.backend(), timeouts={"handshake": "10s"})
    with connect(proxy.port) as bystander:
        says_echo(bystander)
        yield proxy
        says_echo(bystander)


def answer_to(port, data):
    s = tcp(port)
    s.sendall(data)
    got, _ = until_closed(s)
    s.close()
    return got


def process_accepted(p):
    return sum(int(n) for n in re.findall(r'^tls_off_process_connections_accepted_total\{.*\} (\d+)$', p.admin.ask("/metrics").text, re.M))


def refused(proxy, data, reason, alert=None):
    got = answer_to(proxy.port, data)
    if alert is None:
        assert alert_of(got) is None
    else:
        assert alert_of(got) == (2, alert), got
    e = proxy.wait_failure(reason)
    assert e.get("client", "").startswith("127.0.0.1")
    return got


# --- what is no TLS


@pytest.mark.parametrize("request_line", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /x HTTP/1.0\r\n\r\n", b"OPTIONS * HTTP/1.1\r\n\r\n",
                                          b"CONNECT x:1 HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"])
def test_plain_http_gets_a_400(p, request_line):
    got = refused(p, request_line, "plain_http")
    assert got.startswith(b"HTTP/1.1 400 ")


def test_curl_understands_the_400(p):
    out = clients.run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", f"http://127.0.0.1:{p.port}/", check=False)
    assert out == "400"


def test_ssh(p):
    refused(p, b"SSH-2.0-OpenSSH_9.2p1\r\n", "plain_ssh")


@pytest.mark.parametrize("garbage", [bytes(64), b"\xff" * 64, b"hello, is this the right door?\r\n", b"\x16\x16\x16\x16\x16\x16"])
def test_garbage(p, garbage):
    answer_to(p.port, garbage)
    p.wait_event(reason=lambda r: r in ("not_tls", "record_version", "hello_malformed"))


def test_proxy_header_where_none_is_expected(p):
    refused(p, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "proxy_unexpected")


def test_proxy_v2_header_where_none_is_expected(p):
    refused(p, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", "proxy_unexpected")


def test_sslv2_hello(p):
    refused(p, b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + b"\x01\x00\x80" * 7 + bytes(16), "sslv2", PROTOCOL_VERSION)


# --- ClientHello that is none


def record(kind, body, version=0x0301):
    return struct.pack("!BHH", kind, version, len(body)) + body


def handshake(kind, body):
    return bytes([kind]) + struct.pack("!I", len(body))[1:] + body


def test_first_message_is_another(p):
    refused(p, record(22, handshake(20, bytes(32))), "hello_unexpected", UNEXPECTED)


@pytest.mark.parametrize("before", [0, 60])
def test_an_alert_before_the_hello_is_whole(p, before):
    """RFC 8446 6.2: it is the client's reason, and is not answered."""
    start = hello_bytes(context())[5:5 + before]
    for level, n, reason in ((2, 40, "peer_alert"), (1, 70, "peer_alert"), (1, 0, "handshake_closed")):
        count = len(p.events(reason=reason))
        with tcp(p.port) as s:
            s.sendall((record(22, start) if start else b"") + record(21, bytes([level, n])))
            assert until_closed(s)[0] == b""
        e = p.wait_failure(reason, count=count + 1)
        assert e.get("alert") == {40: "handshake_failure", 70: "protocol_version"}.get(n)


def test_giant_hello_is_refused_at_its_announcement(p):
    refused(p, record(22, b"\x01\xff\xff\xff" + bytes(200)), "hello_too_long", DECODE_ERROR)


def test_giant_hello_in_many_records(p):
    whole = handshake(1, bytes(131397))
    data = b"".join(record(22, whole[i:i + 1000]) for i in range(0, len(whole), 1000))
    refused(p, data, "hello_too_long", DECODE_ERROR)


@pytest.mark.parametrize("body", [b"", bytes(10), b"\x03\x03" + bytes(32) + b"\xff" + bytes(10), b"\x03\x03" + bytes(32) + b"\0\0\x03abc\x01\0"])
def test_malformed_hello(p, body):
    refused(p, record(22, handshake(1, body)), "hello_malformed", DECODE_ERROR)


def test_truncated_hello(p):
    hello = hello_bytes(context())
    s = tcp(p.port)
    s.sendall(hello[:len(hello) // 2])
    s.shutdown(socket.SHUT_WR)
    until_closed(s)
    s.close()
    p.wait_failure("handshake_closed")


def test_bytes_and_the_end_reported_at_once(p):
    """Both are there when the handshaker gets the event: an edge that is reported once."""
    hello = hello_bytes(context())
    s = tcp(p.port)
    until(lambda: process_accepted(p) == 2, "it is accepted after the one that lives, and read for nothing")
    pid = p.roles()["handshaker"][0]
    os.kill(pid, signal.SIGSTOP)
    try:
        s.sendall(hello[:len(hello) // 2])
        s.shutdown(socket.SHUT_WR)
    finally:
        os.kill(pid, signal.SIGCONT)
    until_closed(s)
    s.close()
    assert p.wait_failure("handshake_closed")["duration_ms"] < 9000, "not by its deadline"


def test_connect_and_leave_is_no_fault(p):
    tcp(p.port).close()
    with connect(p.port) as c:
        says_echo(c)


def test_reset_within_the_handshake(p):
    s = tcp(p.port)
    s.sendall(hello_bytes(context()))
    clients.receive(s, 5)
    clients.reset(s)
    p.wait_event(reason=lambda r: r in ("handshake_reset", "handshake_closed"))


def test_close_within_the_handshake(p):
    s = tcp(p.port)
    s.sendall(hello_bytes(context()))
    clients.receive(s, 5)
    s.shutdown(socket.SHUT_WR)
    until_closed(s)
    s.close()
    p.wait_failure("handshake_closed")


# --- too slow


@pytest.fixture
def hasty(parts):
    return parts.proxy(parts.backend(), timeouts={"handshake": "500ms"})


def closed_within(s, began, least, most=10.0):
    got, _ = until_closed(s)
    took = time.monotonic() - began
    s.close()
    assert least <= took <= most, took
    return got


def test_silence(hasty):
    began = time.monotonic()
    s = tcp(hasty.port)
    assert closed_within(s, began, 0.3) == b""
    e = hasty.wait_failure("handshake_timeout")
    assert "hello" in str(e).lower()


def test_half_a_hello_and_silence(hasty):
    began = time.monotonic()
    s = tcp(hasty.port)
    s.sendall(hello_bytes(context())[:100])
    closed_within(s, began, 0.3)
    hasty.wait_failure("handshake_timeout")


def test_a_byte_now_and_then_does_not_lengthen_the_deadline(hasty):
    began = time.monotonic()
    s = tcp(hasty.port)
    s.settimeout(0.05)
    gone = False
    for byte in hello_bytes(context()):
        try:
            s.sendall(bytes([byte]))
            gone = s.recv(100) == b""
        except TimeoutError:
            continue  # nothing came within the pause, as it should be
        except OSError:
            gone = True
        if gone:
            break
    s.close()
    assert gone and 0.3 <= time.monotonic() - began <= 10
    hasty.wait_failure("handshake_timeout")


def test_silence_after_the_server_hello(parts):
    p = parts.proxy(parts.backend(), timeouts={"handshake": "4s"})
    began = time.monotonic()
    s = tcp(p.port)
    s.sendall(hello_bytes(context()))
    closed_within(s, began, 3)
    e = p.wait_failure("handshake_timeout")
    assert "Finished" in str(e)


def test_one_byte_at_a_time_is_fine_in_time(p):
    """The whole handshake and the first data, a byte at a time."""
    s = tcp(p.port)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    o = context(version=V13).wrap_bio(incoming, outgoing, server_hostname="localhost")

    def dribble():
        for byte in outgoing.read():
            s.sendall(bytes([byte]))

    def patiently(step):
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                dribble()
                incoming.write(s.recv(65536))

    patiently(o.do_handshake)
    o.write(b"slow but sure")
    dribble()
    assert patiently(lambda: o.read(100)) == b"slow but sure"
    s.close()


# --- nothing in common


def refused_by_openssl(proxy, arguments, alert, reason):
    c = s_client(proxy.port, *arguments)
    status, said = c.end()
    assert status != 0
    assert f"SSL alert number {alert}" in said
    return proxy.wait_failure(reason)


def test_no_shared_version(parts):
    p = parts.proxy(parts.backend(), min_version="1.3")
    refused_by_openssl(p, ["-tls1_2"], PROTOCOL_VERSION, "no_shared_version")


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions(p, version):
    refused_by_openssl(p, [version, "-cipher", "ALL:@SECLEVEL=0"], PROTOCOL_VERSION, "no_shared_version")


@pytest.mark.parametrize("cipher", ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "DHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-CCM8:@SECLEVEL=0"])
def test_no_shared_suite_in_tls12(p, cipher):
    refused_by_openssl(p, ["-tls1_2", "-cipher", cipher], HANDSHAKE_FAILURE, "no_shared_suite")


def test_no_shared_suite_in_tls13(p):
    refused_by_openssl(p, ["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256"], HANDSHAKE_FAILURE, "no_shared_suite")


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_no_shared_group(p, version):
    refused_by_openssl(p, [version, "-groups", "X448"], HANDSHAKE_FAILURE, "no_shared_group")


def test_no_shared_signature_algorithm(parts, pki):
    p = parts.proxy(parts.backend(), certificates=[pki.ecdsa])
    refused_by_openssl(p, ["-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256"], HANDSHAKE_FAILURE, "no_shared_sigalg")


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_no_shared_protocol(parts, version):
    p = parts.proxy(parts.backend(), alpn=["h2"])
    refused_by_openssl(p, [version, "-alpn", "smtp"], NO_ALPN, "no_shared_alpn")


@pytest.mark.parametrize("name", [["-servername", "other.test"], ["-noservername"]])
def test_unknown_name(parts, name):
    p = parts.proxy(parts.backend(), strict_sni=True)
    refused_by_openssl(p, name, UNRECOGNIZED, "unknown_name")


def test_the_log_says_who_asked_for_what(parts):
    p = parts.proxy(parts.backend(), strict_sni=True)
    e = refused_by_openssl(p, ["-servername", "other.test"], UNRECOGNIZED, "unknown_name")
    assert e["sni"] == "other.test" and e["service"] == "web"


# --- the client objects


@pytest.mark.parametrize("version", [V12, V13])
def test_client_does_not_trust_us(p, version, pki):
    ctx = context(version=version)
    ctx.check_hostname = True
    ctx.verify_mode = ssl.CERT_REQUIRED
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(p.port, ctx)
    e = p.wait_failure("peer_alert")
    assert "unknown_ca" in str(e) or "48" in str(e)


def test_broken_finished(p):
    """A flipped bit in the client's last flight."""
    s = tcp(p.port)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    o = context(version=V13).wrap_bio(incoming, outgoing, server_hostname="localhost")
    while True:
        try:
            o.do_handshake()
            break
        except ssl.SSLWantReadError:
            s.sendall(outgoing.read())
            incoming.write(s.recv(65536))
    last = bytearray(outgoing.read())
    last[-1] ^= 1
    s.sendall(last)
    got, _ = until_closed(s)
    s.close()
    assert got  # an alert, under the handshake's keys
    p.wait_event(reason=lambda r: r in ("bad_record_mac", "handshake_failed"))
