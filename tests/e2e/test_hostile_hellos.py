"""Second hellos that differ from the first, tickets and early data that are wrong, and hellos as large as they may be."""
import struct

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from support import clients, hello
from support.client_pki import Issuer
from support.clients import connect, context, says_echo
from support.handmade import CLIENT_HELLO, Client12, Client13, framed, record, ticket_of
from support.hello import (ALPN, CERT_SIGALGS, COOKIE, EARLY_DATA, GROUPS, P256, P384, PSK, PSK_MODES, SERVER_NAME, SHARES, SIGALGS, VERSIONS, X25519,
                           dear_hellos, u16s, vec8, vec16, with_psk)
from support.raw import ALERT, DATA, HANDSHAKE
from support.sweep import Case, Sweep

UNEXPECTED, BAD_CERTIFICATE, ILLEGAL, DECODE, DECRYPT, MISSING = 10, 42, 47, 50, 51, 109
CHANGED = (ILLEGAL, "hello_changed")
MALFORMED = (DECODE, "hello_malformed")


@pytest.fixture(params=["auto", "libssl"])
def p(request, parts):
    """A proxy by that path, with a session that must live through all that the test does."""
    proxy = parts.proxy(parts.backend(), alpn=["h2", "http/1.1"], top={"handshake": request.param})
    proxy.own = request.param == "auto"
    with connect(proxy.port) as bystander:
        says_echo(bystander)
        yield proxy
        says_echo(bystander)
    for version in (clients.V12, clients.V13):
        with connect(proxy.port, context(version=version)) as c:
            says_echo(c)


SECOND = {  # what: (extensions that are other ones, fields that are other ones, alert, reason)
    "random": ({}, {"random": bytes(32)}, *CHANGED),
    "session ID": ({}, {"session_id": b"other"}, *CHANGED),
    "suites": ({}, {"suites": [0x1301, 0x1302]}, *CHANGED),
    "legacy_version": ({}, {"legacy_version": 0x0302}, *CHANGED),
    "legacy_version 0x0300": ({}, {"legacy_version": 0x0300}, *CHANGED),
    "compression": ({}, {"compression": b"\0\1"}, ILLEGAL, "illegal_parameter"),
    "session ID of 33 bytes": ({}, {"session_id": bytes(33)}, *MALFORMED),
    "versions": ({VERSIONS: vec8(u16s([0x0304, 0x0303]))}, {}, *CHANGED),
    "no versions": ({VERSIONS: None}, {}, *CHANGED),
    "groups": ({GROUPS: vec16(u16s([X25519, 0x17]))}, {}, *CHANGED),
    "no groups": ({GROUPS: None}, {}, *CHANGED),
    "schemes": ({SIGALGS: vec16(u16s([0x0403]))}, {}, *CHANGED),
    "schemes of certificates": ({50: vec16(u16s([0x0403]))}, {}, *CHANGED),
    "name": (dict([hello.server_name("other.example")]), {}, *CHANGED),
    "no name": ({SERVER_NAME: None}, {}, *CHANGED),
    "protocols": ({ALPN: vec16(vec8(b"h2"))}, {}, *CHANGED),
    "max_fragment_length": ({1: b"\1"}, {}, *CHANGED),
    "record_size_limit": ({28: b"\x40\0"}, {}, *CHANGED),
    "early data": ({EARLY_DATA: b""}, {}, *CHANGED),
    "no share": ({SHARES: vec16(b"")}, {}, *CHANGED),
    "no shares": ({SHARES: None}, {}, *CHANGED),
    "two shares of a group": ({SHARES: vec16(hello.share(X25519) * 2)}, {}, ILLEGAL, "illegal_parameter"),
    "a share of another group": ({SHARES: vec16(hello.share(0x17))}, {}, ILLEGAL, "illegal_parameter"),
    "a share cut": ({SHARES: vec16(struct.pack("!HH", X25519, 32) + bytes(31))}, {}, *MALFORMED),
    "a share of 31 bytes": ({SHARES: vec16(struct.pack("!HH", X25519, 31) + b"\7" * 31)}, {}, ILLEGAL, "bad_key_share"),
    "an empty share": ({SHARES: vec16(struct.pack("!HH", X25519, 0))}, {}, *MALFORMED),
    "ticket not the last": ({**with_psk([b"x" * 40], [bytes(32)]), 0x7777: b""}, {}, ILLEGAL, "illegal_parameter"),
    "fewer binders than tickets": (with_psk([b"x" * 40] * 2, [bytes(32)]), {}, *MALFORMED),
    "a binder of 31 bytes": (with_psk([b"x" * 40], [bytes(31)]), {}, *MALFORMED),
    "tickets without modes": ({PSK_MODES: None, **{PSK: with_psk([b"x" * 40], [bytes(32)])[PSK]}}, {}, MISSING, "missing_extension"),
    "modes empty": ({PSK_MODES: b"\0"}, {}, *MALFORMED),
    "a tail in modes": ({PSK_MODES: b"\1\1\0"}, {}, *MALFORMED),
    "a tail in versions": ({VERSIONS: b"\2\3\4\0"}, {}, *MALFORMED),
    "a tail in groups": ({GROUPS: b"\0\2\0\x1d\0"}, {}, *MALFORMED),
}


def second(port, extensions, fields):
    def begin():
        c = Client13(port)
        c.retry()
        c.send(HANDSHAKE, c.message({k: v for k, v in {**c.extensions(), **extensions}.items() if v is not None}, **fields))
        return c
    return begin


def points(n):
    """Of a curve of N bytes: what is no point of it, or not in the form of RFC 8446 4.2.8.2."""
    return {
        "off the curve": b"\4" + b"\1" * (2 * n),
        "beyond the field": b"\4" + b"\xff" * (2 * n),
        "zeros": b"\4" + bytes(2 * n),
        "compressed": b"\2" + b"\1" * n,
        "infinity": b"\0",
        "an unknown form": b"\5" + b"\1" * (2 * n),
        "a byte short": b"\4" + b"\1" * (2 * n - 1),
        "a byte long": b"\4" + b"\1" * (2 * n + 1),
    }


def off_curve(port, group, point):
    def begin():
        c = Client13(port)
        groups = {GROUPS: vec16(u16s([group]))}
        assert c.hello({**c.extensions(shares=False), **groups}) == "retry"
        c.send(HANDSHAKE, c.message({**c.extensions(), **groups, SHARES: vec16(struct.pack("!H", group) + vec16(point))}))
        return c
    return begin


def test_a_second_hello_that_is_wrong(p):
    sweep = Sweep(p)
    cases = [Case(what, second(p.port, extensions, fields), alert, reason) for what, (extensions, fields, alert, reason) in SECOND.items()]
    cases += [Case(f"a point of group {group:#x}: {what}", off_curve(p.port, group, point), ILLEGAL, "bad_key_share")
              for group, n in ((P256, 32), (P384, 48)) for what, point in points(n).items()]
    zeros = {SHARES: vec16(struct.pack("!HH", X25519, 32) + bytes(32))}
    cases.append(Case("a share of zeros", second(p.port, zeros, {}), ILLEGAL, "bad_key_share"))

    def twice(kind):
        def begin():
            c = Client13(p.port)
            c.retry()
            c.send(HANDSHAKE, c.message([*c.extensions().items(), (kind, b""), (kind, b"")]))
            return c
        return begin

    cases += [Case(f"extension {kind} twice", twice(kind), ILLEGAL, "illegal_parameter") for kind in (0x7777, 49)]

    def act(what):
        def begin():
            c = Client13(p.port)
            c.retry()
            what(c)
            return c
        return begin

    def third(c):
        c.hello()
        c.send(HANDSHAKE, c.message())

    cases += [
        Case("one byte behind it", act(lambda c: c.send(HANDSHAKE, c.message() + b"\x14")), UNEXPECTED, "unexpected_message"),
        Case("one byte short", act(lambda c: c.send(HANDSHAKE, framed(CLIENT_HELLO, c.message()[4:-1]))), *MALFORMED),
        Case("data of no early data", act(lambda c: c.send_bytes(record(DATA, bytes(100)))), UNEXPECTED, "unexpected_message"),
        Case("a third", act(third), UNEXPECTED, "unexpected_message"),
    ]
    sweep.run(cases)
    sweep.end()


def test_what_a_second_hello_may_change(p):
    """A cookie, padding, unknown extensions, a ticket that nobody knows; in records of any size, and CCS before it."""
    for extensions in ({COOKIE: vec16(b"c" * 60)}, {21: bytes(500)}, {0x7777: bytes(60000)}, with_psk([b"x" * 40], [bytes(32)])):
        for size in (16384, 100):
            c = Client13(p.port)
            c.retry()
            c.send_bytes(record(20, b"\1"))
            assert c.hello({**c.extensions(), **extensions}, size=size) == "flight"
            c.finish(size=1)
            assert c.echoes()
            c.close()


def test_tickets_and_finished_that_are_wrong(p):
    ticket, key = ticket_of(p.port)
    sweep = Sweep(p)
    cases = []

    def offer(bit, retried):
        def begin():
            c = Client13(p.port)
            if retried:
                c.retry()
            c.psk = (ticket, key)
            m = bytearray(c.message())
            m[-32 + bit // 8] ^= 1 << bit % 8
            c.send(HANDSHAKE, bytes(m))
            return c
        return begin

    cases += [Case(f"binder, bit {bit}, retried: {retried}", offer(bit, retried), DECRYPT, "bad_binder") for bit in (0, 100, 255) for retried in (False, True)]

    def finishes(make, change):
        def begin():
            c = make()
            c.send(HANDSHAKE, change(c.finished_message()))
            return c
        return begin

    def greeted():
        c = Client13(p.port)
        c.hello()
        return c

    def greeted12():
        c = Client12(p.port)
        c.hello()
        c.exchange()
        c.change()
        return c

    for name, make, n in (("1.3", greeted, 32), ("1.2", greeted12, 12)):
        for at in range(n):
            cases.append(Case(f"{name}: Finished, byte {at}", finishes(make, lambda m, at=at: m[:4 + at] + bytes([m[4 + at] ^ 1]) + m[5 + at:]), DECRYPT, "bad_finished"))
        cases.append(Case(f"{name}: Finished, a byte short", finishes(make, lambda m: framed(20, m[4:-1])), DECODE, "record_decode"))
        cases.append(Case(f"{name}: Finished, a byte long", finishes(make, lambda m: framed(20, m[4:] + b"\0")), DECODE, "record_decode"))
        cases.append(Case(f"{name}: Finished and a byte", finishes(make, lambda m: m + b"\x18"), UNEXPECTED, "unexpected_message"))
        cases.append(Case(f"{name}: KeyUpdate", finishes(make, lambda m: framed(24, b"\0")), UNEXPECTED, "unexpected_message"))
    sweep.run(cases)
    sweep.end()


def test_certificates_of_clients_that_are_too_much(parts):
    """A chain of 30 KB, one certificate of that size, one in records of a byte, and what is longer than all that is taken."""
    ca = Issuer(parts.directory, "clients authority")
    robot = ca.client()
    key = load_pem_private_key(robot.key.read_bytes(), None)
    for path in ("auto", "libssl"):
        proxy = parts.proxy(parts.backend(), client_auth={"mode": "required", "ca": str(ca.file)}, top={"handshake": path})
        sweep = Sweep(proxy)
        own = path == "auto"

        def shows(make, message, size=16384):
            def begin():
                c = make(proxy.port)
                c.hello()
                c.send(HANDSHAKE, message(c), size)
                return c
            return begin

        cases, large = [], (BAD_CERTIFICATE, "client_cert_too_large")
        for make, name in ((Client13, "1.3"), (Client12, "1.2")):
            ours = own and make is Client13
            malformed = (DECODE, "record_decode" if ours else "client_cert_bad")
            cases += [
                Case(f"{name}: 80 certificates", shows(make, lambda c: c.certificate_message([robot.der] * (24000 // len(robot.der)))), BAD_CERTIFICATE, "client_cert_depth"),
                Case(f"{name}: 40 KB", shows(make, lambda c: c.certificate_message([bytes(40000)])), *large),
                Case(f"{name}: announced as 40 KB", shows(make, lambda c: framed(11, b"", 40000)), *large),
                Case(f"{name}: cut", shows(make, lambda c: framed(11, c.certificate_message([robot.der])[4:-1])), *malformed),
            ]
        flood = (UNEXPECTED, "record_flood")
        for make in (Client13, Client12):
            cases.append(Case("records of one byte", shows(make, lambda c: c.certificate_message([robot.der] * 40), 1), *flood))
        context_given = (DECODE, "record_decode") if own else (DECODE, "client_cert_bad")
        cases.append(Case("1.3: a context", shows(Client13, lambda c: c.certificate_message([robot.der], context=b"x")), *context_given))
        sweep.run(cases)
        sweep.end()
        c = Client13(proxy.port)  # and who behaves is served, in records of one byte, too
        c.hello()
        c.say(c.certificate_message([robot.der]), 1)
        c.say(c.verify_message(key), 1)
        c.finish(1)
        assert c.echoes()
        c.close()


def test_schemes_of_certificates_are_bounded_for_libssl(p):
    for version13 in (True, False):
        for n in (1024, 1025):
            with clients.tcp(p.port) as s:
                schemes = vec16(u16s([0x0403] * n))
                s.sendall(hello.records(hello.message({**hello.usual(version13), CERT_SIGALGS: schemes})))
                taken = n == 1024 or (p.own and version13)
                assert clients.receive(s, 1)[0] == (HANDSHAKE if taken else ALERT), (n, version13)
            if not taken:
                p.wait_failure("limit")


def test_the_dearest_hellos_are_answered(p):
    """As much of everything as is taken; `bench/hello-cost` measures them."""
    for version13 in (True, False):
        for what, message, size in dear_hellos(ticket_of(p.port)[0], p.own and version13, version13):
            with clients.tcp(p.port) as s:
                s.sendall(hello.records(message, size))
                fits = (p.own and version13) or not what.endswith("that do not")  # decision 53: libssl refuses those
                assert clients.receive(s, 1)[0] == (HANDSHAKE if fits else ALERT), what
