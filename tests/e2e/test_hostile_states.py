"""Each state of a handshake times what a client may send there: alert, counted reason, no session; and the next client is served."""
import socket

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from support import clients
from support.client_pki import Issuer
from support.clients import connect, context, says_echo
from support.handmade import CERTIFICATE, CLIENT_HELLO, CLIENT_KEY, FINISHED, VERIFY, Client12, Client13, framed, record, ticket_of
from support.raw import ALERT, CHANGE_CIPHER, DATA, HANDSHAKE
from support.sweep import Case, Sweep

UNEXPECTED, BAD_MAC, OVERFLOW, BAD_CERTIFICATE, ILLEGAL, DECODE, DECRYPT, VERSION = 10, 20, 22, 42, 47, 50, 51, 70


class State:
    """Where the client is to speak. ARRIVE: a client that has come there; TAKES: the message that is due; SEALED: under a key; OWN: by our own code."""

    def __init__(self, name, arrive, takes, sealed, version, own):
        self.name, self.arrive, self.takes, self.sealed, self.version, self.own = name, arrive, takes, sealed, version, own and version == 13
        self.first = name == "hello"
        self.unexpected = "hello_unexpected" if self.first else "unexpected_message"
        by_libssl = {CERTIFICATE: "client_cert_bad", VERIFY: "client_cert_proof"}  # it is asked nothing more than where it failed
        self.decode = "hello_malformed" if takes == CLIENT_HELLO else "record_decode" if self.own else by_libssl.get(takes, "record_decode")

    def then(self, act):
        """A client that comes here and does that."""
        def begin():
            c = self.arrive()
            act(c)
            return c
        return begin


def staged(make, *steps):
    def arrive():
        c = make()
        for step in steps:
            step(c)
        return c
    return arrive


def states_of(port, strict, robot, own):
    """All of them, at a service and at one that wants certificates."""
    der, key = robot

    def shows13(c):
        assert c.requested
        c.say(c.certificate_message([der]))

    def shows12(c):
        assert c.requested
        c.say(c.certificate_message([der]))

    def proves(c):
        c.say(c.verify_message(key))

    def ticket12():
        c = Client12(port)
        staged(lambda: c, Client12.hello, Client12.exchange, Client12.change, Client12.finish, Client12.hear_end)()
        assert c.echoes()
        c.close()
        return c.new_ticket

    psk, master = ticket_of(port), ticket12()

    def resumes13():
        c = Client13(port)
        c.psk = psk
        c.hello()
        assert c.resumed
        return c

    def resumes12():
        c = Client12(port, session_id=b"resume me")
        c.ticket = master
        c.hello()
        assert c.resumed
        return c

    to13, to12 = (lambda: Client13(port)), (lambda: Client12(port))
    strict13, strict12 = (lambda: Client13(strict)), (lambda: Client12(strict))
    hello13, hello12 = Client13.hello, Client12.hello
    return [
        State("hello", to13, CLIENT_HELLO, False, 13, own),
        State("second hello", staged(to13, Client13.retry), CLIENT_HELLO, False, 13, own),
        State("Finished", staged(to13, hello13), FINISHED, True, 13, own),
        State("Finished, retried", staged(to13, Client13.retry, hello13), FINISHED, True, 13, own),
        State("Finished, resumed", resumes13, FINISHED, True, 13, own),
        State("Certificate", staged(strict13, hello13), CERTIFICATE, True, 13, own),
        State("CertificateVerify", staged(strict13, hello13, shows13), VERIFY, True, 13, own),
        State("Finished behind a proof", staged(strict13, hello13, shows13, proves), FINISHED, True, 13, own),
        State("1.2: ClientKeyExchange", staged(to12, hello12), CLIENT_KEY, False, 12, own),
        State("1.2: ChangeCipherSpec", staged(to12, hello12, Client12.exchange), None, False, 12, own),
        State("1.2: Finished", staged(to12, hello12, Client12.exchange, Client12.change), FINISHED, True, 12, own),
        State("1.2: Certificate", staged(strict12, hello12), CERTIFICATE, False, 12, own),
        State("1.2: ClientKeyExchange behind a certificate", staged(strict12, hello12, shows12), CLIENT_KEY, False, 12, own),
        State("1.2: CertificateVerify", staged(strict12, hello12, shows12, Client12.exchange), VERIFY, False, 12, own),
        State("1.2: ChangeCipherSpec behind a proof", staged(strict12, hello12, shows12, Client12.exchange, proves), None, False, 12, own),
        State("1.2: ChangeCipherSpec, resumed", resumes12, None, False, 12, own),
        State("1.2: Finished, resumed", staged(resumes12, Client12.change), FINISHED, True, 12, own),
    ]


@pytest.fixture(params=["auto", "libssl"])
def at(request, parts):
    """A proxy by that path, its states, and a session that must live through all that the test does."""
    ca = Issuer(parts.directory, "clients authority")
    robot = ca.client()
    services = {"web": parts.service(parts.backend()),
                "strict": parts.service(parts.backend(), client_auth={"mode": "required", "ca": str(ca.file)})}
    p = parts.proxy(services=services, top={"handshake": request.param})
    port, strict = p.address("web")[1], p.address("strict")[1]
    p.path = request.param
    with connect(port) as bystander:
        says_echo(bystander)
        p.states = states_of(port, strict, (robot.der, load_pem_private_key(robot.key.read_bytes(), None)), request.param == "auto")
        sweep = Sweep(p)
        yield p, sweep
        sweep.end()
        says_echo(bystander)
    for version in (clients.V12, clients.V13):
        with connect(port, context(version=version)) as c:
            says_echo(c)


MESSAGES = [0, 1, 2, 3, 4, 5, 6, 8, 11, 12, 13, 14, 15, 16, 20, 21, 22, 23, 24, 25, 67, 99, 254, 255]


def test_messages(at):
    """Every other message is refused by its header; the one that is due, cut short, is malformed."""
    p, sweep = at
    cases = []
    for s in p.states:
        for kind in MESSAGES:
            if kind == s.takes:
                cases.append(Case(f"{s.name}: its own, too short", s.then(lambda c, k=kind: c.send(HANDSHAKE, framed(k, b"\5"))), DECODE, s.decode))
            else:
                cases.append(Case(f"{s.name}: message {kind}", s.then(lambda c, k=kind: c.send(HANDSHAKE, framed(k, b"", 1))), UNEXPECTED, s.unexpected))
    sweep.run(cases)


def record_cases(s):
    """(what, what the client does, alert, reason): S is not the first hello, of which test_conformance.py has more."""
    sealed12, libssl13 = s.sealed and s.version == 12, s.version == 13 and not s.own
    wrong_place = (UNEXPECTED, "unexpected_message")
    in_plain = (BAD_MAC, "bad_record_mac") if sealed12 else wrong_place
    for kind in (0, 1, 19, 24, 25, 99, 255):
        yield f"record of type {kind}", lambda c, k=kind: c.send_bytes(record(k, b"xy")), *in_plain
        if s.sealed:
            yield f"sealed record of type {kind}", lambda c, k=kind: c.send(k, b"xy"), *wrong_place
    for kind, name in ((ALERT, "alert"), (HANDSHAKE, "handshake record"), (DATA, "data"), (CHANGE_CIPHER, "ccs")):
        opens_not = s.sealed and kind == DATA
        yield f"empty plain {name}", lambda c, k=kind: c.send_bytes(record(k, b"")), *((BAD_MAC, "bad_record_mac") if opens_not else in_plain)
        if s.sealed:
            yield f"empty sealed {name}", lambda c, k=kind: c.send_bytes(c.sealed(k, b"")), *wrong_place
        yield f"{name} of 65,535 bytes", lambda c, k=kind: c.send_bytes(record(k, b"", length=65535)), OVERFLOW, "record_overflow"
    yield "data in plain", lambda c: c.send_bytes(record(DATA, bytes(40))), *((BAD_MAC, "bad_record_mac") if s.sealed else wrong_place)
    if s.sealed:
        yield "data", lambda c: c.send(DATA, b"GET / HTTP/1.0\r\n\r\n"), *wrong_place
        yield "its message in plain", lambda c: c.send_bytes(record(HANDSHAKE, framed(s.takes, bytes(12)))), *in_plain
        yield "what no key opens", lambda c: c.send_bytes(record(DATA if s.version == 13 else HANDSHAKE, bytes(40))), BAD_MAC, "bad_record_mac"
    for what, body in (("zero", b"\0"), ("two", b"\2"), ("twice in one", b"\1\1")):
        yield f"ccs: {what}", lambda c, b=body: c.send_bytes(record(CHANGE_CIPHER, b)), *in_plain
    flood = (UNEXPECTED, "record_flood") if s.own else (BAD_MAC, "bad_record_mac") if sealed12 or not s.takes else wrong_place
    yield "40 ccs", lambda c: c.send_bytes(40 * record(CHANGE_CIPHER, b"\1")), *flood
    yield "major version 4", lambda c: c.send_bytes(record(HANDSHAKE, b"xy", version=0x0403)), VERSION, "record_version"
    if s.takes:
        def torn(between):
            return lambda c: (c.send(HANDSHAKE, bytes([s.takes])), between(c))
        if not (libssl13 and s.sealed):
            yield "ccs between fragments", torn(lambda c: c.send_bytes(record(CHANGE_CIPHER, b"\1"))), *in_plain
        if s.own or s.takes == CLIENT_HELLO:
            yield "an alert between fragments", torn(lambda c: c.send(ALERT, b"\1\x5a")), *wrong_place
        yield "data between fragments", torn(lambda c: c.send(DATA, b"xy")), *wrong_place
        too_long = {CLIENT_HELLO: (DECODE, "hello_too_long"), CERTIFICATE: (BAD_CERTIFICATE, "client_cert_too_large")}.get(s.takes)
        too_long = too_long or ((DECODE, "record_decode") if s.own else (ILLEGAL, "illegal_parameter"))
        yield "announced as 16 MB", lambda c: c.send(HANDSHAKE, framed(s.takes, bytes(10), 0xffffff)), *too_long


def alert_cases(s):
    """In 1.3 the level says nothing (RFC 8446 6); in 1.2 libssl passes warnings over, knows two levels, and takes nothing between CCS and Finished."""
    malformed = (DECODE, "record_decode") if s.own else (UNEXPECTED, "unexpected_message")
    wrong_place = (UNEXPECTED, "unexpected_message")
    sealed12 = s.sealed and s.version == 12
    for body in (b"\2", b"\2\x28\2", b"\2\x28\2\x28"):
        yield f"alert of {len(body)} bytes", lambda c, b=body: c.send(ALERT, b), *malformed
    yield "user_canceled, 40 times", lambda c: c.send_bytes(b"".join(c.sealed(ALERT, b"\1\x5a") for _ in range(40))), \
        *(wrong_place if sealed12 else (UNEXPECTED, "record_flood"))
    for level in (0, 1, 2, 3):
        for n in (0, 10, 20, 42, 70, 86, 112, 117, 255):
            ended = (None, "handshake_closed" if n == 0 else "peer_alert")
            if s.version == 12:
                ended = wrong_place if s.sealed else (ILLEGAL, "illegal_parameter") if level in (0, 3) else ended
                if level == 1 and n and not s.sealed:
                    continue
            yield f"alert {n} level {level}", lambda c, b=bytes([level, n]): c.send(ALERT, b), *ended


@pytest.mark.parametrize("kinds", [record_cases, alert_cases])
def test_records(at, kinds):
    p, sweep = at
    sweep.run([Case(f"{s.name}: {what}", s.then(act), alert, reason) for s in p.states[1:] for what, act, alert, reason in kinds(s)])


def test_ends(at):
    """Half-closed, and reset, at every border and within."""
    p, sweep = at
    cases = []
    for s in p.states:
        kind = s.takes or FINISHED
        for what, data in (("nothing", b""), ("a byte", b"\x16"), ("a header", b"\x16\3\3\0\x20"), ("half a record", b"\x16\3\3\0\x20" + bytes([kind]) + b"\0\0\x40")):
            if s.first and not data:
                continue
            cases.append(Case(f"{s.name}: half-closed behind {what}", s.then(lambda c, d=data: (c.send_bytes(d), c.socket.shutdown(socket.SHUT_WR))),
                              None, "handshake_closed"))
            cases.append(Case(f"{s.name}: reset behind {what}", s.then(lambda c, d=data: (c.send_bytes(d), clients.reset(c.socket))), "gone", "handshake_reset"))
    sweep.run(cases)
