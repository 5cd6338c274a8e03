"""What the RFCs require of hellos, records and alerts, with clients that comply in odd ways, and with some that do not."""
import ssl
import struct
import subprocess

import pytest

from support import clients, hello
from support.client_pki import Issuer
from support.clients import V12, V13, alert_of, connect, context, s_client, says_echo, tcp, until_closed
from support.hello import P256, P384, X25519, message, records, server_name, usual
from support.proxy_header import read_v2
from support.raw import ALERT, CHANGE_CIPHER, HANDSHAKE, RawSession, in_pieces
from support.waiting import until

BOTH = pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])
UNEXPECTED, OVERFLOW, ILLEGAL, DECODE, DECRYPT, VERSION, UNRECOGNIZED = 10, 22, 47, 50, 51, 70, 112
ALERTS = {"UNEXPECTED_MESSAGE": 10, "BAD_RECORD_MAC": 20, "RECORD_OVERFLOW": 22, "HANDSHAKE_FAILURE": 40, "BAD_CERTIFICATE": 42,
          "ILLEGAL_PARAMETER": 47, "UNKNOWN_CA": 48, "DECODE_ERROR": 50, "DECRYPT_ERROR": 51, "PROTOCOL_VERSION": 70,
          "CERTIFICATE_REQUIRED": 116}
SERVER_HELLO, CCS = 2, b"\x14\x03\x03\x00\x01\x01"


@pytest.fixture
def p(parts):
    """A proxy with a session that must live through all that the test does."""
    proxy = parts.proxy(parts.backend())
    with connect(proxy.port) as bystander:
        says_echo(bystander)
        yield proxy
        says_echo(bystander)


def first_answer(port, data):
    """The first record that the server sends, and, unless it is a ServerHello, what follows up to the end."""
    with tcp(port) as s:
        s.sendall(data)
        head = clients.receive(s, 5)
        body = clients.receive(s, struct.unpack("!H", head[3:])[0])
        if head[0] == HANDSHAKE:
            assert body[0] == SERVER_HELLO
            return "hello"
        return alert_of(head + body)


def takes(p, data):
    assert first_answer(p.port, data) == "hello"


def refuses(p, data, alert, reason):
    before = len(p.events(reason=reason))
    with tcp(p.port) as s:
        s.sendall(data)
        got, _ = until_closed(s)
    assert (alert_of(got) if alert else got or None) == ((2, alert) if alert else None)
    return p.wait_failure(reason, count=before + 1)


def hello_of(version, extensions=(), **fields):
    return message({**usual(version == V13), **dict(extensions)}, **fields)


# --- size and number of what a hello holds (RFC 8446 4.2: what is not known is ignored)


@BOTH
@pytest.mark.parametrize("extra", [[(1000 + i, b"") for i in range(129)], [(1000 + i, b"") for i in range(16000)],
                                   [(1000, bytes(65000))], [(1000 + i, bytes(200)) for i in range(300)]],
                         ids=["129", "16000", "one of 65000 bytes", "300 of 200 bytes"])
def test_unknown_extensions(p, version, extra):
    takes(p, records(hello_of(version, extra)))


LIBSSLS_SUITES = 4096  # libssl looks each of them up


def longest_hello(version, suites=32767):
    """With one compression method in 1.3, so 254 bytes shorter than it can be."""
    extensions = usual(version == V13)
    used = sum(4 + len(data) for data in extensions.values())
    extensions[1000] = bytes(65535 - used - 4)
    known = hello.SUITES13 + hello.SUITES12
    return message(extensions, session_id=bytes(32), suites=known + [0x6000 + i % 200 for i in range(suites - len(known))],
                   compression=b"\0" if version == V13 else bytes(range(255)))


@pytest.mark.parametrize("handshake", ["auto", "libssl"])
def test_the_longest_hello_that_can_be(parts, handshake):
    p = parts.proxy(parts.backend(), top={"handshake": handshake})
    assert len(longest_hello(V12)) == 4 + 131396
    for version in (V12, V13):
        longest = longest_hello(version)
        own = handshake == "auto" and version == V13
        for size in (16384, 1000, 40):
            if own:
                takes(p, records(longest, size))
            else:
                refuses(p, records(longest, size), 80, "limit")
                takes(p, records(longest_hello(version, LIBSSLS_SUITES), size))
        if not own:
            refuses(p, records(longest_hello(version, LIBSSLS_SUITES + 1)), 80, "limit")


@pytest.mark.parametrize("handshake", ["auto", "libssl"])
def test_lists_that_libssl_decodes(parts, handshake):
    """As long as they may be, and a little longer, which no client's are; our own handshake passes them over."""
    p = parts.proxy(parts.backend(), top={"handshake": handshake})
    responders, authorities = hello.vec16(b"\xa1\x02\x30\0"), hello.vec16(b"\x30\0")
    for kind, versions, good, bad in ((5, (V12, V13), b"\1" + hello.vec16(responders * 340) + b"\0\0", b"\1" + hello.vec16(responders * 341) + b"\0\0"),
                                      (47, (V13,), hello.vec16(authorities * 4095), hello.vec16(authorities * 4096))):
        for version in versions:
            takes(p, records(hello_of(version, [(kind, good)])))
            if handshake == "auto" and version == V13:
                takes(p, records(hello_of(version, [(kind, bad)])))
            else:
                refuses(p, records(hello_of(version, [(kind, bad)])), 80, "limit")


def test_one_byte_more_is_refused_at_its_announcement(p):
    refuses(p, records(b"\x01" + struct.pack("!I", 131397)[1:] + bytes(100)), DECODE, "hello_too_long")


def test_more_records_than_a_hello_may_have(p):
    refuses(p, records(longest_hello(V13), 8), DECODE, "hello_malformed")


def test_an_extension_twice(p):
    for version in (V12, V13):
        for kind in (0x7777, hello.GROUPS):
            pairs = [*usual(version == V13).items(), (kind, b"")]
            pairs += [(kind, b"")] if kind == 0x7777 else []
            refuses(p, records(message(pairs)), ILLEGAL, "illegal_parameter")


def test_key_shares_that_do_not_fit_the_groups(p):
    unlisted = usual(groups=(X25519, P256), shares=[P384])
    twice = usual(groups=(X25519, P256), shares=[P256, P256])
    for extensions in (unlisted, twice):
        refuses(p, records(message(extensions)), ILLEGAL, "illegal_parameter")


@pytest.mark.parametrize("lacks", [[hello.SIGALGS], [hello.GROUPS], [hello.SHARES], [hello.GROUPS, hello.SHARES]],
                         ids=["signature_algorithms", "groups", "shares", "groups and shares"])
def test_an_extension_that_1_3_must_have(p, lacks):
    refuses(p, records(message({k: v for k, v in usual().items() if k not in lacks})), 109, "missing_extension")
    takes(p, records(message(usual(False))))


@pytest.mark.parametrize("handshake", ["auto", "libssl"])
def test_many_key_shares(parts, handshake):
    """As many as there may be; by libssl unless the list of groups is long, too: looking them all up is the work of many handshakes."""
    p = parts.proxy(parts.backend(), top={"handshake": handshake})
    for groups, shares, good in ((300, 300, True), (1000, 1000, True), (20000, 50, True), (2000, 2000, False), (20000, 1000, False)):
        extensions = usual()
        numbers = [0x2000 + i for i in range(groups)]
        extensions[hello.GROUPS] = hello.vec16(hello.u16s([*numbers, X25519]))
        extensions[hello.SHARES] = hello.vec16(b"".join(struct.pack("!HHB", g, 1, 0) for g in numbers[:shares]) + hello.share(X25519))
        if good or handshake == "auto":
            takes(p, records(message(extensions)))
        else:
            refuses(p, records(message(extensions)), 80, "limit")


NO_POINTS = {"x25519: zeros": (X25519, bytes(32)), "x25519: one": (X25519, b"\x01" + bytes(31)), "x25519: p": (X25519, b"\xed" + b"\xff" * 30 + b"\x7f"),
             "x25519: short": (X25519, bytes(31)), "p-256: no point": (P256, b"\x04" + b"\x11" * 64), "p-256: (0, 0)": (P256, b"\x04" + bytes(64)),
             "p-256: infinity": (P256, b"\0"), "p-256: compressed": (P256, b"\x02" + b"\x11" * 32), "p-256: above p": (P256, b"\x04" + b"\xff" * 64)}


@pytest.mark.parametrize("handshake", ["auto", "libssl"])
def test_shares_that_are_no_points(parts, handshake):
    """RFC 8446 4.2.8.2, 7.4.2; each on a connection of its own, and the next client is served."""
    p = parts.proxy(parts.backend(), top={"handshake": handshake})
    for what, (group, point) in NO_POINTS.items():
        extensions = usual(groups=(group,), shares=[])
        extensions[hello.SHARES] = hello.vec16(struct.pack("!H", group) + hello.vec16(point))
        assert first_answer(p.port, records(message(extensions))) == (2, ILLEGAL), what
    with connect(p.port, context(version=V13)) as c:
        says_echo(c)


@pytest.mark.parametrize("handshake", ["auto", "libssl"])
@pytest.mark.parametrize("n,size", [(1, 60000), (100, 200), (1000, 1)])
def test_many_tickets_that_nobody_knows(parts, handshake, n, size):
    p = parts.proxy(parts.backend(), top={"handshake": handshake})
    identities = b"".join(hello.vec16(bytes([i % 251]) * size) + bytes(4) for i in range(n))
    binders = b"".join(hello.vec8(bytes(32)) for _ in range(n))
    extensions = {**usual(), hello.PSK_MODES: b"\x01\x01", hello.PSK: hello.vec16(identities) + hello.vec16(binders)}
    for _ in range(20):
        if n <= 100 or handshake == "auto":
            takes(p, records(message(extensions)))
        else:
            assert first_answer(p.port, records(message(extensions))) == (2, 80)


def handshaker_memory(p):
    total = 0
    for pid in p.roles()["handshaker"]:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            total += sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
    return total * 1024


def test_memory_grows_with_what_came_not_with_what_was_announced(parts):
    p = parts.proxy(parts.backend(), top={"workers": 1})
    beginning = b"\x01" + struct.pack("!I", 131396)[1:] + bytes(500)
    with connect(p.port) as c:
        says_echo(c)
    before, waiting = handshaker_memory(p), []
    for _ in range(300):
        waiting.append(tcp(p.port))
        waiting[-1].sendall(records(beginning))
    with connect(p.port) as c:  # behind them all
        says_echo(c)
    grown = handshaker_memory(p) - before
    for s in waiting:
        s.close()
    assert grown < 300 * 8000, grown


# --- cuts of records and segments (RFC 8446 5.1, RFC 5246 6.2.1)


@BOTH
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 12, 15, 16, 50])
def test_all_messages_in_small_records(p, version, n):
    r = RawSession(p.port, version, rewrite=in_pieces(n))
    r.says_echo()
    r.close()


@pytest.mark.parametrize("ciphers", ["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-AES256-GCM-SHA384"])
@pytest.mark.parametrize("n", range(1, 16))
def test_finished_of_1_2_at_every_byte(p, ciphers, n):
    def cut(flight):
        for kind, plain, sealed in flight:
            parts = [plain[:n], plain[n:]] if sealed else [plain]
            yield from ((kind, part, sealed) for part in parts)

    r = RawSession(p.port, V12, ciphers=ciphers, rewrite=cut)
    r.says_echo()
    r.send_record(HANDSHAKE, b"\x01\0\0\x04abcd")
    assert r.read_record() == (ALERT, b"\x01\x64")
    r.says_echo()
    r.close()


@BOTH
@pytest.mark.parametrize("mode", ["optional", "required"])
def test_with_a_certificate_in_small_records_and_in_one(parts, version, mode):
    ca = Issuer(parts.directory, "clients authority")
    client = ca.client()
    p = parts.proxy(parts.backend(), client_auth={"mode": mode, "ca": str(ca.file)})

    def in_one(flight):
        flight = list(flight)
        for sealed in (False, True):
            joined = b"".join(plain for kind, plain, s in flight if kind == HANDSHAKE and s == sealed)
            if joined:
                yield HANDSHAKE, joined, sealed
            if not sealed:
                yield from (r for r in flight if r[0] == CHANGE_CIPHER)

    for rewrite in (in_pieces(1), in_pieces(33), in_one):
        ctx = context(version=version)
        ctx.load_cert_chain(client.cert, client.key)
        r = RawSession(p.port, version, ctx=ctx, rewrite=rewrite)
        r.says_echo()
        r.close()


# --- versions, compression, names


@BOTH
@pytest.mark.parametrize("record_version", [0x0300, 0x0302, 0x0304, 0x0305, 0x03FF])
def test_the_minor_version_of_a_record_says_nothing(p, version, record_version):
    takes(p, records(hello_of(version), version=record_version))
    takes(p, records(hello_of(version), 50, version=record_version))


@pytest.mark.parametrize("record_version", [0x0200, 0x0002, 0x0403, 0xFEFD])
def test_another_major_version_is_no_tls(p, record_version):
    refuses(p, records(hello_of(V13), version=record_version), None, "not_tls")


@pytest.mark.parametrize("legacy,alert", [(0x0300, VERSION), (0x0200, VERSION), (0x0301, None), (0x0302, None), (0x0304, None), (0x0500, None)])
def test_legacy_version_beside_supported_versions(p, legacy, alert):
    """RFC 8446 D.5: 0x0300 is refused; 4.2.1: nothing else than supported_versions decides."""
    data = records(hello_of(V13, legacy_version=legacy))
    if alert:
        refuses(p, data, alert, "no_shared_version")
    else:
        takes(p, data)


@pytest.mark.parametrize("legacy,alert", [(0x0300, VERSION), (0x0301, VERSION), (0x0302, VERSION), (0x0304, None)])
def test_legacy_version_alone(p, legacy, alert):
    data = records(hello_of(V12, legacy_version=legacy))
    if alert:
        refuses(p, data, alert, "no_shared_version")
    else:
        takes(p, data)


@BOTH
@pytest.mark.parametrize("methods,alert", [(b"\x01", ILLEGAL), (b"\x01\x40", ILLEGAL), (b"", DECODE)])
def test_no_null_compression(p, version, methods, alert):
    refuses(p, records(hello_of(version, compression=methods)), alert, "illegal_parameter" if alert == ILLEGAL else "hello_malformed")


@pytest.mark.parametrize("methods", [b"\0\x01", b"\x01\0", b"\0\0"])
def test_further_compression(p, methods):
    refuses(p, records(hello_of(V13, compression=methods)), ILLEGAL, "illegal_parameter")
    takes(p, records(hello_of(V12, compression=methods)))


NO_NAMES = ["::1", "fe80::1%eth0", "[::1]", "192.0.2.1", "a b", b"\xc3\xa4.example", b"\xff\xfe", "a\nb", "*.example.org", ".", "<b>"]


@BOTH
@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_host_name_gets_the_default(p, version, name):
    takes(p, records(hello_of(version, [server_name(name)])))


@BOTH
@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_host_name_is_refused_by_strict_sni_and_logged(parts, version, name):
    p = parts.proxy(parts.backend(), strict_sni=True)
    e = refuses(p, records(hello_of(version, [server_name(name)])), UNRECOGNIZED, "unknown_name")
    asked = name if isinstance(name, str) else name.decode(errors="replace")
    assert e["sni"] == asked
    line = next(line for line in p.lines if '"unknown_name"' in line)
    assert all(ord(c) >= 0x20 for c in line)


@BOTH
def test_names_that_are_malformed_or_too_many(p, version):
    for name in (b"", b"\0", b"a\0b", b"::\0"):
        refuses(p, records(hello_of(version, [server_name(name)])), DECODE, "hello_malformed")
    refuses(p, records(hello_of(version, [server_name("a.example", "b.example")])), ILLEGAL, "illegal_parameter")
    refuses(p, records(hello_of(version, [server_name("::1", "b.example")])), ILLEGAL, "illegal_parameter")
    refuses(p, records(hello_of(version, [server_name("x" * 256)])), UNRECOGNIZED, "unknown_name")


@BOTH
def test_a_client_that_asks_for_an_address_is_served(parts, version):
    headers = []

    def handler(c):
        headers.append(read_v2(c))
        c.sendall(b"ok")

    p = parts.proxy(parts.backend(handler), proxy_protocol={"send": "v2", "tlvs": ["authority"]})
    flag = "-tls1_3" if version == V13 else "-tls1_2"
    for name in ("::1", "192.0.2.7"):
        c = s_client(p.port, flag, "-servername", name)
        c.wait_for("ok")
        c.end()
        assert p.wait_session(sni=name)["sni"] == name
    assert len(headers) == 2 and all(0x02 not in h["tlvs"] for h in headers)


# --- ChangeCipherSpec where nothing is changed (RFC 8446 5, D.4)


def with_ccs(n, at):
    """N of them behind the flight with that number."""
    flights = []

    def rewrite(flight):
        flights.append(1)
        yield from flight
        if len(flights) == at:
            yield from ((CHANGE_CIPHER, b"\x01", False) for _ in range(n))
    return rewrite


@pytest.mark.parametrize("n", [1, 3, 20])
@pytest.mark.parametrize("retried", [False, True], ids=["", "retried"])
@pytest.mark.parametrize("size", [16384, 40])
def test_ccs_behind_the_hello(parts, n, retried, size):
    p = parts.proxy(parts.backend(), **({"groups": ["secp384r1"]} if retried else {}))
    for at in ((1, 2) if retried else (1,)):
        behind = with_ccs(n, at)
        r = RawSession(p.port, V13, rewrite=lambda flight: list(in_pieces(size)(behind(list(flight)))))
        r.says_echo()
        r.close()


@pytest.mark.parametrize("bad", [b"\x14\x03\x03\x00\x01\x02", b"\x14\x03\x03\x00\x02\x01\x01", CCS * 40], ids=["value", "length", "flood"])
@pytest.mark.parametrize("retried", [False, True], ids=["", "retried"])
def test_bad_ccs_behind_the_hello(parts, bad, retried):
    p = parts.proxy(parts.backend(), **({"groups": ["secp384r1"]} if retried else {}))
    assert alert_after_the_hello(p, V13, bad) == UNEXPECTED


def test_ccs_before_and_within_the_hello(p):
    whole = records(hello_of(V13), 40)
    refuses(p, CCS + whole, UNEXPECTED, "hello_unexpected")
    refuses(p, whole[:45] + CCS + whole[45:], UNEXPECTED, "hello_unexpected")


def test_ccs_behind_a_hello_of_1_2(p):
    """There it is a message, and arrives at the wrong time (RFC 5246 7.1)."""
    assert alert_after_the_hello(p, V12, CCS) == UNEXPECTED


# --- faults in the midst of a handshake: the alert, as the client can read it


def number_of(error):
    return next(n for name, n in ALERTS.items() if error.reason.endswith("ALERT_" + name))


def alert_after_the_hello(p, version, data, ctx=None):
    """DATA instead of the client's second flight; the alert that its library reads."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    o = (ctx or context(version=version)).wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        o.do_handshake()
    with tcp(p.port) as s:
        s.sendall(outgoing.read() + data)
        got, _ = until_closed(s)
    incoming.write(got)
    incoming.write_eof()
    with pytest.raises(ssl.SSLError) as e:
        o.do_handshake()
        o.read(1)
    return number_of(e.value)


@BOTH
@pytest.mark.parametrize("data,alert", [
    (b"\x16\x03\x03\x41\x01", OVERFLOW), (b"\x17\x03\x03\x41\x01", OVERFLOW), (b"\x14\x03\x03\xff\xff", OVERFLOW), (b"\x15\x03\x03\x41\x01", OVERFLOW),
    (b"\x16\x03\x03\x40\x01", OVERFLOW), (b"\x17\x03\x03\x40\x12", OVERFLOW), (b"\x16\x03\x03\0\0", UNEXPECTED), (b"\x15\x03\x03\0\0", UNEXPECTED),
    (b"\x63\x03\x03\0\x01x", UNEXPECTED), (b"\x18\x03\x03\0\x03\x01\x00\x00", UNEXPECTED)],
    ids=["handshake", "data", "ccs", "alert", "long plain", "long inside", "empty", "empty alert", "type 99", "heartbeat"])
@pytest.mark.parametrize("retried", [False, True], ids=["", "retried"])
def test_faults_of_records_behind_the_hello(parts, version, data, alert, retried):
    p = parts.proxy(parts.backend(), **({"groups": ["secp384r1"]} if retried else {}))
    assert alert_after_the_hello(p, version, data) == alert


@BOTH
def test_faults_of_records_when_resuming(p, version):
    """In 1.2 our Finished is out by then, and alerts are sealed."""
    ctx = context(version=version)
    with connect(p.port, ctx) as c:
        says_echo(c)
        session = c.session
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    for data, alert in ((b"\x16\x03\x03\x41\x01", OVERFLOW), (b"\x15\x03\x03\0\0", UNEXPECTED)):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        o = ctx.wrap_bio(incoming, outgoing, server_hostname="localhost", session=session)
        with pytest.raises(ssl.SSLWantReadError):
            o.do_handshake()
        with tcp(p.port) as s:
            s.sendall(outgoing.read() + data)
            got, _ = until_closed(s)
        incoming.write(got)
        incoming.write_eof()
        with pytest.raises(ssl.SSLError) as e:
            o.do_handshake()
            o.read(1)
        assert number_of(e.value) == alert


def alert_for(p, version, rewrite, ctx=None):
    """The alert for a client whose flights are changed."""
    try:
        r = RawSession(p.port, version, rewrite=rewrite, ctx=ctx)
    except ssl.SSLError as e:
        return number_of(e)
    try:
        return r.read_alert()[1]
    finally:
        r.socket.close()


def in_last_flight(change):
    """CHANGE works on the sealed records of 1.3, or on those behind the hello in 1.2."""
    flights = []

    def rewrite(flight):
        flights.append(1)
        flight = list(flight)
        return flight if len(flights) == 1 else change(flight)
    return rewrite


def test_bytes_behind_finished_in_its_record(p):
    """RFC 8446 5.1: a key ends with its record."""
    def more(flight):
        kind, plain, sealed = flight[-1]
        return [*flight[:-1], (kind, plain + b"\x18\0\0\x01\0", sealed)]
    for version in (V12, V13):
        assert alert_for(p, version, in_last_flight(more)) == UNEXPECTED


def test_an_inner_plaintext_that_is_too_long(p):
    def padded(flight):
        return [(kind, plain + bytes([HANDSHAKE]) + bytes(16384 - len(plain)) + b"" if sealed else plain, sealed) for kind, plain, sealed in flight]
    assert alert_for(p, V13, in_last_flight(padded)) == OVERFLOW


@pytest.mark.parametrize("kind", [HANDSHAKE, ALERT])
def test_an_empty_sealed_record(p, kind):
    assert alert_for(p, V13, in_last_flight(lambda flight: [(kind, b"", True), *flight])) == UNEXPECTED
    assert alert_for(p, V12, in_last_flight(lambda flight: [*flight[:-1], (kind, b"", True), flight[-1]])) == UNEXPECTED


# --- certificates of clients: whose alert (RFC 8446 4.4.3, 6.2; RFC 5246 7.2.2)


def change_message(kind, change):
    """CHANGE makes another body of the message of that type, wherever it lies in the flight."""
    def rewrite(flight):
        for content, plain, sealed in flight:
            out = b""
            while content == HANDSHAKE and plain:
                n = int.from_bytes(plain[1:4], "big")
                body, rest = plain[4:4 + n], plain[4 + n:]
                if plain[0] == kind:
                    body = change(body)
                out += plain[:1] + len(body).to_bytes(3, "big") + body
                plain = rest
            yield content, out or plain, sealed
    return in_last_flight(lambda flight: list(rewrite(flight)))


def flipped(body):
    return body[:-1] + bytes([body[-1] ^ 1])


CERTIFICATE, CERTIFICATE_VERIFY = 11, 15


@BOTH
@pytest.mark.parametrize("kind,change,alert", [
    (CERTIFICATE, lambda b: b[:-2], DECODE), (CERTIFICATE, lambda b: b + b"\0", DECODE), (CERTIFICATE, lambda b: b"", DECODE),
    (CERTIFICATE_VERIFY, lambda b: b[:-3], DECODE), (CERTIFICATE_VERIFY, lambda b: b + b"x", DECODE), (CERTIFICATE_VERIFY, lambda b: b[:1], DECODE),
    (CERTIFICATE_VERIFY, lambda b: b"\xfe\xfe" + b[2:], ILLEGAL), (CERTIFICATE_VERIFY, lambda b: b"\x08\x04" + b[2:], ILLEGAL), (CERTIFICATE_VERIFY, flipped, DECRYPT)],
    ids=["cut", "tail", "nothing", "proof cut", "proof with a tail", "a byte of proof", "no scheme", "RSA for EC", "wrong"])
@pytest.mark.parametrize("mode", ["optional", "required"])
def test_malformed_messages_of_a_client_with_a_certificate(parts, version, kind, change, alert, mode):
    ca = Issuer(parts.directory, "clients authority")
    client = ca.client()
    p = parts.proxy(parts.backend(), client_auth={"mode": mode, "ca": str(ca.file)})
    ctx = context(version=version)
    ctx.load_cert_chain(client.cert, client.key)
    assert alert_for(p, version, change_message(kind, change), ctx) == alert


@BOTH
def test_a_broken_finished_beside_client_certificates(parts, version):
    ca = Issuer(parts.directory, "clients authority")
    client = ca.client()
    p = parts.proxy(parts.backend(), client_auth={"mode": "required", "ca": str(ca.file)})
    ctx = context(version=version)
    ctx.load_cert_chain(client.cert, client.key)
    assert alert_for(p, version, change_message(20, flipped), ctx) == DECRYPT


# --- early data of a ticket that is not ours (RFC 8446 4.2.10)


@pytest.fixture(scope="module")
def foreign_session(tmp_path_factory, pki):
    """A session file of another server, which allows 100,000 bytes of early data."""
    directory = tmp_path_factory.mktemp("foreign")
    port = clients.free_port()
    server = subprocess.Popen(["openssl", "s_server", "-accept", str(port), "-cert", pki.ecdsa["cert"], "-key", pki.ecdsa["key"], "-www",
                               "-max_early_data", "100000"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        def listens():
            try:
                tcp(port).close()
                return True
            except OSError:
                return False
        until(listens, "openssl s_server listens")
        file = directory / "session"
        c = s_client(port, "-tls1_3", "-ign_eof", "-sess_out", file)
        c.send("GET / HTTP/1.0\r\n\r\n")
        c.wait_for("Max Early Data: 100000")
        c.end()
        yield file
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize("retried", [False, True], ids=["", "retried"])
@pytest.mark.parametrize("size,good", [(1, True), (16384, True), (40000, True), (64 * 1024, True), (90000, False)])
def test_early_data_of_a_foreign_ticket(p, foreign_session, tmp_path, size, good, retried):
    data = tmp_path / "early"
    data.write_bytes(b"e" * size)
    groups = ["-groups", "X448:X25519"] if retried else []
    c = s_client(p.port, "-tls1_3", "-sess_in", foreign_session, "-early_data", data, *groups)
    if good:
        c.wait_for("Early data was rejected")
        c.send("after it\n")
        c.wait_for("after it\n")
        c.end()
    else:
        c.wait_for("unexpected message")
        c.end()
        p.wait_event(reason=lambda r: r in ("handshake_failed", "unexpected_message", "record_flood"))


# --- P-521


@BOTH
def test_p521_is_offered_last(p, version):
    flag = "-tls1_3" if version == V13 else "-tls1_2"
    for groups, used in (("P-521", "secp521r1"), ("P-521:P-384", "secp384r1" if version == V12 else None)):
        c = s_client(p.port, flag, "-groups", groups)
        c.wait_for("Verify return code")
        c.end()
        if used:
            p.wait_session(group=used)


@pytest.mark.parametrize("formats, fits", [([0], True), ([2, 1, 0], True), ([1], False), ([1, 2], False)])
def test_point_formats(p, formats, fits):
    """RFC 8422 5.1.2: of interest to TLS 1.2 alone."""
    body = bytes([len(formats), *formats])
    takes(p, records(hello_of(V13, {11: body})))
    if fits:
        takes(p, records(hello_of(V12, {11: body})))
    else:
        refuses(p, records(hello_of(V12, {11: body})), ILLEGAL, "illegal_parameter")
