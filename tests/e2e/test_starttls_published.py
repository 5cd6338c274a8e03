"""Published faults of STARTTLS, as clients and backends would try them here.

The classes are those of "Why TLS Is Better Without STARTTLS" (Poddebniak, Ising, Boeck, Schinzel; USENIX Security 2021), and of the
faults that were found before and since: CVE-2011-0411 (Postfix), CVE-2021-33515 (Dovecot), CVE-2021-38371 (Exim), CVE-2021-23214
(PostgreSQL), CVE-2021-3935 (PgBouncer). Whatever is tried, nothing that was said in clear reaches a backend or has an influence
behind TLS.
"""
import concurrent.futures
import struct

import pytest

from support.backends import echo
from support.clients import context, receive, receive_all, tcp, until_closed
from support.waiting import until

OID = b"1.3.6.1.4.1.1466.20037"
STARTTLS = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x16" + OID
BIND = b"\x30\x0c\x02\x01\x02\x60\x07\x02\x01\x03\x04\x00\x80\x00"
SSL_REQUEST, GSSENC_REQUEST = struct.pack("!II", 8, 80877103), struct.pack("!II", 8, 80877104)
STARTUP = struct.pack("!II", 17, 196608) + b"user\0me\0\0"
STREAM = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
ASK_XMPP = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
PROTOCOLS = ["postgresql", "ldap", "sieve", "amqp", "xmpp-client", "smtp", "lmtp", "imap", "pop3", "nntp"]

INJECTION, CLEAR, MALFORMED, LIMIT = "starttls_injection", "starttls_clear", "starttls_malformed", "starttls_limit"

# What is said before TLS in one piece, and why the connection ends.
ENDS = [
    # commands behind the request, which a server that buffers takes for said within TLS
    ("smtp", b"EHLO a\r\nSTARTTLS\r\nMAIL FROM:<a@b>\r\n", INJECTION),
    ("smtp", b"EHLO a\r\nSTARTTLS\r\nEHLO a\r\nAUTH PLAIN AGEAYg==\r\n", INJECTION),
    ("lmtp", b"LHLO a\r\nSTARTTLS\r\nMAIL FROM:<>\r\n", INJECTION),
    ("imap", b"a STARTTLS\r\nb LOGIN me secret\r\n", INJECTION),
    ("imap", b"a STARTTLS\r\nb APPEND x {10}\r\n", INJECTION),
    ("imap", b"a STARTTLS\r\nb UNAUTHENTICATE\r\n", INJECTION),
    ("pop3", b"STLS\r\nUSER me\r\n", INJECTION),
    ("sieve", b'STARTTLS\r\nAUTHENTICATE "PLAIN" "AGEAYg=="\r\n', INJECTION),
    ("nntp", b"STARTTLS\r\nPOST\r\n", INJECTION),
    ("ldap", STARTTLS + BIND, INJECTION),
    ("postgresql", SSL_REQUEST + STARTUP, INJECTION),
    ("postgresql", SSL_REQUEST + SSL_REQUEST, INJECTION),
    ("postgresql", GSSENC_REQUEST + SSL_REQUEST + b"Q\0\0\0\x0cselect\0", INJECTION),
    ("amqp", b"AMQP\x02\x01\x00\x00AMQP\x03\x01\x00\x00", INJECTION),
    ("xmpp-client", STREAM + ASK_XMPP + STREAM, INJECTION),
    ("xmpp-client", STREAM + ASK_XMPP + b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>", INJECTION),
    # the request twice; the second is a command behind the first
    ("smtp", b"EHLO a\r\nSTARTTLS\r\nSTARTTLS\r\n", INJECTION),
    ("imap", b"a STARTTLS\r\na STARTTLS\r\n", INJECTION),
    ("ldap", STARTTLS + STARTTLS, INJECTION),
    # a half line behind it, which the first bytes within TLS would complete
    ("smtp", b"EHLO a\r\nSTARTTLS\r\nRCPT TO:<", INJECTION),
    ("imap", b"a STARTTLS\r\nb LOGIN ", INJECTION),
    ("pop3", b"STLS\r\n\r", INJECTION),
    # ends of lines that some take for one and others not
    ("smtp", b"EHLO a\r\nSTARTTLS\nMAIL FROM:<a@b>\r\n", MALFORMED),
    ("imap", b"a STARTTLS\nb LOGIN me secret\r\n", MALFORMED),
    ("pop3", b"STLS\rUSER me\r\n", MALFORMED),
    ("nntp", b"STARTTLS\x00\r\nPOST\r\n", MALFORMED),
    # a session that is begun in clear and would go on within TLS
    ("xmpp-client", STREAM + b"<iq type='set'/>", CLEAR),
    ("postgresql", STARTUP, CLEAR),
    ("amqp", b"AMQP\x00\x01\x00\x00", CLEAR),
    ("amqp", b"AMQP\x03\x01\x00\x00", CLEAR),
]

# What is said before TLS and refused; then TLS is asked for as it should be, and the backend sees only what is said within.
REFUSED = [
    # LOGIN in clear: session fixation, where a server keeps who logged in
    ("imap", b"a LOGIN me secret\r\n", b"a NO", b"b STARTTLS\r\n", b"b OK begin TLS\r\n"),
    ("imap", b"a AUTHENTICATE PLAIN\r\n", b"a NO", b"b STARTTLS\r\n", b"b OK begin TLS\r\n"),
    ("imap", b"a UNAUTHENTICATE\r\n", b"a BAD", b"b STARTTLS\r\n", b"b OK begin TLS\r\n"),
    ("imap", b"a ENABLE UTF8=ACCEPT\r\n", b"a BAD", b"b STARTTLS\r\n", b"b OK begin TLS\r\n"),
    ("pop3", b"USER me\r\n", b"-ERR", b"STLS\r\n", b"+OK begin TLS\r\n"),
    ("pop3", b"STLS now\r\n", b"-ERR", b"STLS\r\n", b"+OK begin TLS\r\n"),
    ("smtp", b"EHLO a\r\nMAIL FROM:<a@b>\r\n", b"530", b"STARTTLS\r\n", b"220 2.0.0 Ready to start TLS\r\n"),
    ("smtp", b"EHLO a\r\nSTARTTLS now\r\n", b"501", b"STARTTLS\r\n", b"220 2.0.0 Ready to start TLS\r\n"),
    ("smtp", b"EHLO a\r\nAUTH PLAIN AGEAYg==\r\n", b"530", b"STARTTLS\r\n", b"220 2.0.0 Ready to start TLS\r\n"),
    ("nntp", b"AUTHINFO USER me\r\n", b"483", b"STARTTLS\r\n", b"382 Begin TLS\r\n"),
    ("ldap", BIND, bytes.fromhex("0a010d"), STARTTLS, bytes.fromhex("300c02010178070a010004000400")),
]


GREETINGS = {"smtp": b"220 backend\r\n", "lmtp": b"220 backend\r\n", "imap": b"* OK backend\r\n", "pop3": b"+OK backend\r\n", "nntp": b"200 backend\r\n"}


@pytest.fixture
def doors(parts):
    """One proxy with a service for each protocol, the backends, and what these heard."""
    heard = []

    def backend(protocol):
        def serve(s):
            s.sendall(GREETINGS.get(protocol, b""))
            heard.append(receive_all(s))
        return parts.backend(serve)

    backends = {name: backend(name) for name in PROTOCOLS}
    return parts.proxy(services={name: parts.service(b, starttls=name) for name, b in backends.items()}), backends, heard


def test_what_ends_it(doors):
    p, backends, _ = doors

    def reason(case):
        protocol, said, _ = case
        with tcp(p.address(protocol)[1]) as s:
            s.sendall(said)
            until_closed(s)
            return p.wait_event("failed", client="%s:%d" % s.getsockname())["reason"]

    with concurrent.futures.ThreadPoolExecutor(len(ENDS)) as pool:  # each end takes a second in which the client may close first
        for case, why in zip(ENDS, pool.map(reason, ENDS)):
            assert why == case[2], case
    assert not any(b.accepted for b in backends.values()) and not p.events("session")


def test_what_is_refused_has_no_influence(doors):
    p, _, heard = doors
    for protocol, said, refusal, asks, go_ahead in REFUSED:
        s = tcp(p.address(protocol)[1])
        s.sendall(said)
        answer = b""
        while refusal not in answer or (protocol != "ldap" and not answer.endswith(b"\r\n")):
            answer += receive(s, 1)
        s.sendall(asks)
        while not answer.endswith(go_ahead):
            answer += receive(s, 1)
        with context().wrap_socket(s, server_hostname="localhost", suppress_ragged_eofs=False) as c:
            c.sendall(b"within")
            c.unwrap()
    until(lambda: len(heard) == len(REFUSED), "all that was said within TLS")
    assert set(heard) == {b"within"}


def test_a_backend_that_says_more_than_its_greeting(parts):
    """Answers that a man in the middle would put behind a greeting: only the greeting is swallowed, the rest is heard within TLS, and nothing before."""
    def talks(s):
        s.sendall(b"220 backend\r\n250 injected\r\n")
        echo(s)

    p = parts.proxy(parts.backend(talks), starttls="smtp")
    s = tcp(p.port)
    s.sendall(b"EHLO a\r\n")
    heard = b""
    while not heard.endswith(b"250 STARTTLS\r\n"):
        heard += receive(s, 1)
    s.sendall(b"STARTTLS\r\n")
    while not heard.endswith(b"Ready to start TLS\r\n"):
        heard += receive(s, 1)
    assert b"injected" not in heard and b"backend" not in heard
    with context().wrap_socket(s, server_hostname="localhost") as c:
        assert receive(c, 14) == b"250 injected\r\n"


def test_a_backend_that_takes_everybody_for_logged_in(parts):
    """PREAUTH skips STARTTLS and LOGIN: no client gets a session with it."""
    p = parts.proxy(parts.backend(lambda s: s.sendall(b"* PREAUTH welcome\r\n")), starttls="imap")
    s = tcp(p.port)
    s.sendall(b"a STARTTLS\r\n")
    heard = b""
    while not heard.endswith(b"a OK begin TLS\r\n"):
        heard += receive(s, 1)
    assert b"PREAUTH" not in heard
    with context().wrap_socket(s, server_hostname="localhost") as c, pytest.raises(OSError):
        c.recv(1)
    assert p.wait_session()["reason"] == "greeting_preauth"
