"""STARTTLS and its kin: clients and servers of Debian's packages around tls-off, and clients that break the rules by hand."""
import base64
import contextlib
import imaplib
import os
import pathlib
import poplib
import re
import signal
import smtplib
import struct
import subprocess
import threading
import time

import pytest

from support import daemons
from support.backends import echo
from support.clients import context, receive, receive_all, run, says_echo, tcp, until_closed
from support.proxy import BINARY
from support.waiting import until

SSL_REQUEST = struct.pack("!II", 8, 80877103)
GSSENC_REQUEST = struct.pack("!II", 8, 80877104)
OID = b"1.3.6.1.4.1.1466.20037"
LDAP_STARTTLS = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x16" + OID
STREAM = b"<?xml version='1.0'?><stream:stream to='localhost' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"

# What a client says, and what must be the end of what it hears, before TLS.
WAYS = {
    "postgresql": [(SSL_REQUEST, b"S")],
    "ldap": [(LDAP_STARTTLS, bytes.fromhex("300c02010178070a010004000400"))],
    "sieve": [(b"STARTTLS\r\n", b'OK "begin TLS"\r\n')],
    "amqp": [(b"AMQP\x02\x01\x00\x00", b"AMQP\x02\x01\x00\x00")],
    "smtp": [(b"EHLO me\r\n", b"250 STARTTLS\r\n"), (b"STARTTLS\r\n", b"220 2.0.0 Ready to start TLS\r\n")],
    "lmtp": [(b"LHLO me\r\n", b"250 STARTTLS\r\n"), (b"STARTTLS\r\n", b"220 2.0.0 Ready to start TLS\r\n")],
    "imap": [(b"a CAPABILITY\r\n", b"a OK done\r\n"), (b"b STARTTLS\r\n", b"b OK begin TLS\r\n")],
    "pop3": [(b"CAPA\r\n", b"\r\n.\r\n"), (b"STLS\r\n", b"+OK begin TLS\r\n")],
    "nntp": [(b"CAPABILITIES\r\n", b"\r\n.\r\n"), (b"STARTTLS\r\n", b"382 Begin TLS\r\n")],
    "xmpp-client": [(STREAM, b"</stream:features>"), (b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", b"-tls'/>")],
}

# What a backend says first, and a client in TLS must not see.
GREETINGS = {"smtp": b"220 backend\r\n", "lmtp": b"220-backend\r\n220 ready\r\n", "imap": b"* OK backend\r\n", "pop3": b"+OK backend <1.2@me>\r\n",
             "nntp": b"201 backend\r\n"}


def greets(protocol):
    """A backend of that protocol, as far as its greeting goes; an echo behind it."""

    def handler(s):
        s.sendall(GREETINGS.get(protocol, b""))
        echo(s)

    return handler


def hear(s, end):
    """All that comes up to END."""
    heard = b""
    while not heard.endswith(end):
        piece = s.recv(4096)
        assert piece, heard
        heard += piece
    return heard


def begin(p, protocol, service="web"):
    s = tcp(p.address(service)[1])
    for said, answer in WAYS[protocol]:
        s.sendall(said)  # who speaks before the greeting is greeted at once
        hear(s, answer)
    return s


def upgrade(p, protocol, ctx=None):
    return (ctx or context()).wrap_socket(begin(p, protocol), server_hostname="localhost", suppress_ragged_eofs=False)


# --- by hand, each protocol


@pytest.mark.parametrize("protocol", WAYS)
def test_tls_behind_the_go_ahead_and_at_once(parts, protocol):
    p = parts.proxy(parts.backend(greets(protocol)), starttls=protocol)
    with upgrade(p, protocol) as c:
        says_echo(c)
        c.unwrap()
    p.wait_session(tls_version="TLSv1.3")
    s = tcp(p.port)
    with context().wrap_socket(s, server_hostname="localhost") as c:
        greeting = GREETINGS.get(protocol, b"")
        assert receive(c, len(greeting)) == greeting
        says_echo(c)


@pytest.mark.parametrize("protocol", WAYS)
def test_a_byte_behind_the_request_ends_it(parts, protocol):
    p = parts.proxy(parts.backend(), starttls=protocol)
    for n, behind in enumerate((b"x", b"\r\n", b"\x16\x03\x01\x00\x10"), 1):
        s = tcp(p.port)
        for said, answer in WAYS[protocol][:-1]:
            s.sendall(said)
            hear(s, answer)
        s.sendall(WAYS[protocol][-1][0] + behind)
        heard, _ = until_closed(s)
        assert not heard.endswith(WAYS[protocol][-1][1])
        p.wait_failure("starttls_injection", count=n)
    assert p.events("session") == []


@pytest.mark.parametrize("protocol", WAYS)
def test_clear_text_behind_the_go_ahead_ends_it(parts, protocol):
    p = parts.proxy(parts.backend(), starttls=protocol)
    s = begin(p, protocol)
    s.sendall(b"MAIL FROM:<a@example.org>\r\n")
    assert until_closed(s)[0] == b""
    p.wait_failure("starttls_injection")
    assert p.admin.ask("/metrics").text.count('reason="starttls_injection"') == 1


def test_half_a_way_is_over_with_the_handshake(parts):
    p = parts.proxy(parts.backend(), starttls="xmpp-client", timeouts={"handshake": "400ms"})
    s = tcp(p.port)
    s.sendall(STREAM)
    heard, _ = until_closed(s)
    assert heard.endswith(b"<connection-timeout xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>")
    e = p.wait_failure("handshake_timeout")
    assert e["detail"] == "waiting for STARTTLS, 0 bytes held; the protocol before TLS is xmpp-client"


def test_floods_are_bounded(parts):
    p = parts.proxy(parts.backend(), starttls="sieve")
    s = tcp(p.port)
    s.sendall(b"NOOP\r\n" * 17)
    assert until_closed(s)[0].endswith(b'BYE "no STARTTLS in time"\r\n')
    s = tcp(p.port)
    s.sendall(b"x" * 100_000)
    until_closed(s)
    p.wait_failure("starttls_limit", count=2)


def test_slow_and_endless_clients_beside_others(parts):
    """A hundred that say a byte now and then, a hundred that never stop: each ends by its own bound, and others are served between."""
    p = parts.proxy(parts.backend(), starttls="sieve", timeouts={"handshake": "3s"})
    slow = [tcp(p.port) for _ in range(100)]
    endless = [tcp(p.port) for _ in range(100)]
    ended = threading.Event()

    def trickle():
        while not ended.is_set():
            for s in slow:
                with contextlib.suppress(OSError):
                    s.sendall(b"N")
            time.sleep(0.3)  # slowness is what they are about

    thread = threading.Thread(target=trickle)
    thread.start()
    for s in endless:
        with contextlib.suppress(OSError):
            s.sendall(b"NOOP\r\n" * 2000)
    for _ in range(10):
        with upgrade(p, "sieve") as c:
            says_echo(c)
    for s in endless:
        heard, _ = until_closed(s)
        assert len(heard) < 17 * 1024
    for s in slow:
        until_closed(s)
    ended.set()
    thread.join()
    counted = r'handshakes_failed_total\{[^}]*reason="%s"[^}]*\} 100\b'
    until(lambda: all(re.search(counted % reason, p.admin.ask("/metrics").text) for reason in ("handshake_timeout", "starttls_limit")),
          "all of them counted", every=0.1)


def test_behind_a_load_balancer(parts):
    p = parts.proxy(parts.backend(), starttls="postgresql", proxy_protocol={"accept": "required", "trust": ["127.0.0.0/8"]})
    s = tcp(p.port)
    s.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.1 4000 5432\r\n" + SSL_REQUEST)
    assert receive(s, 1) == b"S"
    with context().wrap_socket(s, server_hostname="localhost") as c:
        says_echo(c)
    assert p.wait_session()["client"] == "192.0.2.7:4000"


def test_services_of_an_address_agree(parts):
    p = parts.prepare(services={"a": parts.service(parts.backend(), listen=["127.0.0.1:5"], starttls="ldap"),
                                "b": parts.service(parts.backend(), listen=["127.0.0.1:5"])})
    done = subprocess.run([p.binary, "check", p.config_file], capture_output=True, text=True)
    assert done.returncode == 1
    assert 'service.b.starttls: differs from service "a", expected the same since both listen on 127.0.0.1:5' in done.stdout + done.stderr


# --- clients in clear where TLS is expected


@pytest.mark.parametrize("said, kind", [
    (SSL_REQUEST, 'it is PostgreSQL: see starttls = "postgresql"'),
    (LDAP_STARTTLS, 'it is LDAP: see starttls = "ldap"'),
    (b"EHLO localhost\r\n", 'it is SMTP: see starttls = "smtp"'),
    (b"a CAPABILITY\r\n", 'it is IMAP: see starttls = "imap"'),
    (b"*1\r\n$4\r\nPING\r\n", "it is Redis"),
    (b"\x10\x10\x00\x04MQTT\x04", "it is MQTT"),
])
def test_what_is_not_tls_is_named(parts, said, kind):
    p = parts.proxy(parts.backend())
    s = tcp(p.port)
    s.sendall(said)
    until_closed(s)
    assert p.wait_failure("not_tls")["detail"] == kind


def test_who_waits_for_a_greeting_is_named(parts):
    p = parts.proxy(parts.backend(), timeouts={"handshake": "300ms"})
    until_closed(tcp(p.port))
    detail = p.wait_failure("handshake_timeout")["detail"]
    assert detail.endswith("; a client that waits for a greeting needs starttls (SMTP, IMAP, POP3, NNTP, ManageSieve), or another port (MySQL, FTP)")


# --- PostgreSQL


def psql(p, pki, query, *options, mode="verify-full", check=True, **environment):
    environment = {**os.environ, "PGSSLMODE": mode, "PGSSLROOTCERT": str(pki.ca), "PGCONNECT_TIMEOUT": "20", **environment}
    done = subprocess.run(["psql", "-h", "localhost", "-p", str(p.port), "-U", "me", "-d", "postgres", "-X", "-q", "-A", "-t", "-c", query, *options],
                          env=environment, capture_output=True, text=True, timeout=60)
    assert not check or done.returncode == 0, done.stderr
    return done


def test_psql(parts, pki):
    p = parts.proxy(daemons.postgresql(parts), starttls="postgresql", cancel="pass", listen=["127.0.0.1:0"])
    assert psql(p, pki, "select 6 * 7").stdout == "42\n"
    assert psql(p, pki, "select 6 * 7", mode="require", PGGSSENCMODE="prefer").stdout == "42\n"
    rows = psql(p, pki, "select repeat('x', 1000) from generate_series(1, 5000)").stdout
    assert len(rows) == 1001 * 5000
    p.wait_session(count=3, sni="localhost")
    # no TLS: an error that drivers show
    done = psql(p, pki, "select 1", mode="disable", check=False)
    assert "FATAL:  TLS is required here: use sslmode=require, verify-ca or verify-full" in done.stderr
    p.wait_failure("starttls_clear")
    # a query that runs for ever is canceled by a request in clear
    c = subprocess.Popen(["psql", f"host=localhost port={p.port} user=me dbname=postgres sslmode=require", "-X", "-c", "select pg_sleep(600)"],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    running = "select count(*) from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'"
    until(lambda: psql(p, pki, running).stdout == "1\n", "a running query")
    c.send_signal(signal.SIGINT)
    assert "canceling statement due to user request" in c.communicate(timeout=60)[1]
    passed = p.wait_session(bytes_in=16)
    assert "tls_version" not in passed and passed["service"] == "web"


def test_postgresql_by_hand(parts):
    p = parts.proxy(parts.backend(), starttls="postgresql", alpn=["postgresql"])
    s = tcp(p.port)
    s.sendall(GSSENC_REQUEST)
    assert receive(s, 1) == b"N"
    s.sendall(SSL_REQUEST)
    assert receive(s, 1) == b"S"
    with context().wrap_socket(s, server_hostname="localhost") as c:
        says_echo(c)
    # direct, as libpq 17 does it
    with context(alpn=["postgresql"]).wrap_socket(tcp(p.port), server_hostname="localhost") as c:
        assert c.selected_alpn_protocol() == "postgresql"
        says_echo(c)
    s = tcp(p.port)
    s.sendall(struct.pack("!IIII", 16, 80877102, 1, 2))
    assert until_closed(s)[0] == b""
    p.wait_failure("starttls_cancel")


def test_a_passed_cancel_request_is_all_that_is_passed(parts):
    heard = []

    def listens(s):
        heard.append(receive_all(s))

    p = parts.proxy(parts.backend(listens), starttls="postgresql", cancel="pass")
    request = struct.pack("!IIII", 16, 80877102, 1, 2)
    s = tcp(p.port)
    s.sendall(request[:9])
    s.sendall(request[9:])
    assert until_closed(s)[0] == b""
    p.wait_session(bytes_in=16)
    s = tcp(p.port)
    s.sendall(request + b"x")
    until_closed(s)
    p.wait_failure("starttls_injection")
    assert heard == [request]


# --- LDAP


def ldap(p, pki, *arguments, check=True, program="ldapsearch"):
    environment = {**os.environ, "LDAPTLS_CACERT": str(pki.ca), "LDAPTLS_REQCERT": "demand"}
    done = subprocess.run([program, "-x", "-H", f"ldap://127.0.0.1:{p.port}", "-o", "nettimeout=60", *arguments], env=environment,
                          capture_output=True, text=True, timeout=60)
    assert not check or done.returncode == 0, done.stderr
    return done


def test_ldapsearch(parts, pki, directory):
    p = parts.proxy(daemons.slapd(parts), starttls="ldap")
    found = ldap(p, pki, "-ZZ", "-LLL", "-b", "dc=example,dc=org", "o")
    assert "o: behind tls-off" in found.stdout
    change = directory / "change.ldif"
    change.write_text("dn: dc=example,dc=org\nchangetype: modify\nreplace: o\no: changed\n")
    ldap(p, pki, "-ZZ", "-D", "cn=admin,dc=example,dc=org", "-w", "secret", "-f", str(change), program="ldapmodify")
    assert "o: changed" in ldap(p, pki, "-ZZ", "-LLL", "-b", "dc=example,dc=org", "o").stdout
    p.wait_session(count=3, tls_version="TLSv1.3")
    # without StartTLS: the root DSE, and 13 for all else
    c = tcp(p.port)
    c.sendall(bytes.fromhex("3025020102632004000a01000a0100020100020100010100870b") + b"objectClass\x30\x00")
    assert OID in hear(c, bytes.fromhex("300c02010265070a010004000400"))
    c.close()
    refused = ldap(p, pki, "-b", "dc=example,dc=org", check=False)
    assert refused.returncode == 13 and "Confidentiality required" in refused.stderr + refused.stdout
    refused = ldap(p, pki, "-D", "cn=admin,dc=example,dc=org", "-w", "secret", "-b", "", check=False)
    assert refused.returncode == 13
    p.wait_failure("starttls_quit")


# --- mail


def test_imap(parts, pki):
    p = parts.proxy(daemons.dovecot(parts, "imap"), starttls="imap")
    with imaplib.IMAP4("localhost", p.port, timeout=60) as c:
        assert "STARTTLS" in c.capabilities and "LOGINDISABLED" in c.capabilities
        c.starttls(context(pki))
        assert "LOGINDISABLED" not in c.capabilities
        c.login("me", "secret")
        c.append("INBOX", None, None, b"Subject: hello\r\n\r\nbehind tls-off\r\n")
        assert c.select("INBOX") == ("OK", [b"1"])
        assert b"behind tls-off" in c.fetch("1", "(RFC822)")[1][0][1]
    out = run("curl", "-sS", "--ssl-reqd", "--cacert", pki.ca, "-u", "me:secret", f"imap://localhost:{p.port}/INBOX;MAILINDEX=1")
    assert "behind tls-off" in out
    with imaplib.IMAP4("localhost", p.port, timeout=60) as c, pytest.raises(imaplib.IMAP4.error, match="PRIVACYREQUIRED"):
        c.login("me", "secret")
    with imaplib.IMAP4_SSL("localhost", p.port, ssl_context=context(pki), timeout=60) as c:
        c.login("me", "secret")


def test_pop3(parts, pki):
    p = parts.proxy(daemons.dovecot(parts, "pop3"), starttls="pop3")
    c = poplib.POP3("localhost", p.port, timeout=60)
    assert "STLS" in c.capa()
    with pytest.raises(poplib.error_proto, match="STLS is required"):
        c.user("me")
    c.stls(context(pki))
    assert "STLS" not in c.capa()
    c.user("me")
    c.pass_("secret")
    assert c.stat() == (0, 0)
    c.quit()
    p.wait_session(backend_end="close")


def test_lmtp(parts, pki):
    p = parts.proxy(daemons.dovecot(parts, "lmtp"), starttls="lmtp")
    out = run("swaks", "--protocol", "LMTP", "-tls", "--server", f"localhost:{p.port}", "--to", "me@example.org", "--from", "you@example.org",
              "--body", "behind tls-off")
    assert re.search(r"<~  250 2\.0\.0 <me@example.org> \S+ Saved", out), out
    mails = list((parts.directory / "dovecot" / "mail").glob("new/*"))
    assert len(mails) == 1 and "behind tls-off" in mails[0].read_text()


def test_managesieve(parts):
    p = parts.proxy(daemons.dovecot(parts, "sieve"), starttls="sieve")
    s = begin(p, "sieve")
    with context().wrap_socket(s, server_hostname="localhost") as c:
        assert b'Pigeonhole"' in hear(c, b'ready."\r\n')
        c.sendall(b'AUTHENTICATE "PLAIN" "' + base64.b64encode(b"\0me\0secret") + b'"\r\n')
        hear(c, b'OK "Logged in."\r\n')
        c.sendall(b'PUTSCRIPT "one" "keep;"\r\nLISTSCRIPTS\r\n')
        assert b'"one"' in hear(c, b'OK "Listscripts completed."\r\n')


def test_news(parts, pki):
    """INN behind it; in front a client of Python 3.11, which Debian 12 has."""
    nntplib = pytest.importorskip("nntplib")
    p = parts.proxy(daemons.inn(parts), starttls="nntp")
    c = nntplib.NNTP("localhost", p.port, timeout=60)
    assert "STARTTLS" in c.getcapabilities() and "READER" not in c.getcapabilities()
    with pytest.raises(nntplib.NNTPTemporaryError, match="483"):
        c.group("tls.off")
    c.starttls(context(pki))
    assert "READER" in c.getcapabilities() and "INN" in c.nntp_implementation
    assert c.descriptions("*")[1] == {"tls.off": "behind tls-off"}
    assert c.group("tls.off")[4] == "tls.off"
    assert c.quit().startswith("205")
    p.wait_session(tls_version="TLSv1.3", sni="localhost")
    c = nntplib.NNTP_SSL("localhost", p.port, ssl_context=context(pki), timeout=60)
    assert c.getwelcome().startswith("20") and "INN" in c.getwelcome()
    c.quit()


@pytest.mark.skipif(os.getuid() != 0, reason="Postfix is started by root alone")
def test_submission(parts, pki):
    backend, log = daemons.postfix(parts)
    p = parts.proxy(backend, starttls="smtp")
    out = run("swaks", "-tls", "--tls-verify", "--tls-ca-path", pki.ca, "--server", f"localhost:{p.port}", "--to", "you@example.net",
              "--from", "me@example.org", "--helo", "client.example.org", deadline=60)
    assert re.search(r"<~  250 2\.0\.0 Ok: queued", out), out
    until(lambda: "relay=none, delay" in log.read_text(), "a mail that is thrown away")
    with smtplib.SMTP("localhost", p.port, timeout=60) as c:
        assert c.ehlo()[0] == 250 and c.has_extn("starttls") and not c.has_extn("size")
        assert c.docmd("MAIL FROM:<me@example.org>")[0] == 530
        c.starttls(context=context(pki))
        assert c.ehlo()[0] == 250 and c.has_extn("size") and not c.has_extn("starttls")
        c.sendmail("me@example.org", ["you@example.net"], "Subject: hello\r\n\r\nx" * 1000)


def test_a_backend_that_refuses(parts):
    """Its words are the first that the client hears within TLS, and the last."""

    def refuses(s):
        s.sendall(b"421 4.3.2 too busy\r\n")

    p = parts.proxy(parts.backend(refuses), starttls="smtp")
    with upgrade(p, "smtp") as c:
        assert receive_all(c) == b"421 4.3.2 too busy\r\n"


class Moody:
    """A backend that greets as its mood is."""

    def __init__(self, words):
        self.words = words

    def __call__(self, s):
        s.sendall(self.words)
        if self.words.startswith(b"220"):
            echo(s)


def moody_pair(parts, words, **keys):
    moody = Moody(words)
    urls = [parts.backend(moody, where="tcp").url, parts.backend(greets("smtp"), where="tcp").url]
    return moody, parts.proxy(parts.backend(), backends=urls, balance="round-robin", starttls="smtp", top={"workers": 1}, **keys)


def refusals(p, sessions):
    """How many of so many sessions, one after the other, are not welcome."""
    refused = 0
    for _ in range(sessions):
        with upgrade(p, "smtp") as c:
            try:
                says_echo(c)
            except (OSError, AssertionError):
                refused += 1
    return refused


@pytest.mark.parametrize("words", [b"421 4.3.2 too busy\r\n", b"SSH-2.0-OpenSSH\r\n", b"220", b""])
def test_a_backend_that_refuses_is_ejected(parts, words):
    """As one that takes no connection: after three in a row the other one has all, but for a trial after 1, 2, 4 ... seconds."""
    moody, p = moody_pair(parts, words)
    assert refusals(p, 30) <= 3 + 6
    p.wait_text("its greeting refuses clients, is none, or does not come; ejected for 1000 ms")
    moody.words = b"220 well again\r\n"

    def again():
        refusals(p, 1)
        return any("takes sessions again" in line for line in p.lines)

    until(again, "the backend in rotation", every=0.2)
    assert refusals(p, 6) == 0


def test_what_is_said_to_one_client_is_not_held_against_a_backend(parts):
    """A backend that knows who the client is may refuse that one: who is not welcome anywhere could take backends from the others."""
    _, p = moody_pair(parts, b"521 5.7.1 not you\r\n", proxy_protocol={"send": "v1"})
    assert refusals(p, 10) >= 4
    assert not any("ejected" in line for line in p.lines)


# --- all that openssl knows


OPENSSL = {"postgresql": "postgres", "xmpp-client": "xmpp", **{p: p for p in ("ldap", "sieve", "smtp", "lmtp", "imap", "pop3", "nntp")}}


@pytest.mark.parametrize("protocol", OPENSSL)
def test_openssl_s_client(parts, pki, protocol):
    p = parts.proxy(parts.backend(greets(protocol)), starttls=protocol)
    out = run("openssl", "s_client", "-connect", f"localhost:{p.port}", "-starttls", OPENSSL[protocol], "-xmpphost", "localhost", "-CAfile", pki.ca,
              "-servername", "localhost", "-verify_return_error", data=b"Q\n")
    assert "Verify return code: 0 (ok)" in out
    p.wait_session(sni="localhost")


def test_the_examples_of_the_docs(parts, pki, directory):
    """Each configuration of docs/starttls.md, with files that exist here."""
    text = (pathlib.Path(__file__).parents[2] / "docs" / "starttls.md").read_text()
    examples = re.findall(r"```toml\n(.*?)```", text, re.S)
    assert len(examples) >= 4
    pair = pki.ecdsa if isinstance(pki.ecdsa, dict) else {"cert": pki.ecdsa[0], "key": pki.ecdsa[1]}
    for example in examples:
        config = re.sub(r"cert = \"[^\"]*\", key = \"[^\"]*\"", f'cert = "{pair["cert"]}", key = "{pair["key"]}"', example)
        file = directory / "example.toml"
        file.write_text(re.sub(r"0\.0\.0\.0:\d+", "127.0.0.1:0", config) if os.getuid() else config)
        done = subprocess.run([BINARY, "check", file], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr + config
