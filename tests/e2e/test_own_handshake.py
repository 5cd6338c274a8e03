"""handshake = "auto": TLS 1.3 by our own code, TLS 1.2 by libssl; who made it is counted. The other files run with either by
E2E_HANDSHAKE."""
import re
import signal
import ssl
import subprocess

import pytest

from support.browser import CHROMIUM, QUIET
from support.clients import V12, V13, connect, context, s_client, says_echo, tcp, until_closed
from support.proxy import command
from support.waiting import DEADLINE, until


def paths(p):
    totals = p.admin.json("/status.json")["totals"]
    return totals["own_handshakes_total"], totals["libssl_handshakes_total"]


def compressed(p):
    found = re.findall(r'^tls_off_process_certificates_compressed_total\{role="handshaker"[^}]*\} (\d+)$', p.admin.ask("/metrics").text, re.M)
    return sum(map(int, found))


def answer(c):
    if c.recv(65536):
        c.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<p>it is read</p>")


def proxy_with(parts, handshake):
    return parts.proxy(parts.backend(), top={"handshake": handshake})


@pytest.mark.parametrize("handshake, own", [("auto", 1), ("libssl", 0)])
def test_the_version_alone_chooses_the_path(parts, handshake, own):
    p = proxy_with(parts, handshake)
    for version in (V13, V12):
        with connect(p.port, context(version=version), name="localhost") as c:
            says_echo(c)
            s, = until(lambda: p.admin.json("/sessions.json")["sessions"], "the session")
            assert s["handshake"] == ("own" if own and version == V13 else "libssl")
        assert p.wait_session(unique_id=s["id"])["handshake"] == s["handshake"]
    until(lambda: paths(p) == (own, 2 - own), "handshakes counted by path")


@pytest.mark.parametrize("handshake, own", [("auto", "own"), ("libssl", "libssl")])
def test_who_made_it_is_known_after_a_reload_and_of_what_failed(parts, handshake, own):
    p = proxy_with(parts, handshake)
    with connect(p.port, context(version=V13), name="localhost") as c:
        says_echo(c)
        p.signal(signal.SIGHUP)
        p.wait_text(r"reload done: .*; 1 ")
        says_echo(c)
    assert p.wait_session()["handshake"] == own
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(p.port, ssl.create_default_context(), name="localhost")
    assert p.wait_failure("peer_alert")["handshake"] == own
    with tcp(p.port) as c:
        c.sendall(b"GET / HTTP/1.0\r\n\r\n")
        until_closed(c)
    assert "handshake" not in p.wait_failure("plain_http")


@pytest.mark.parametrize("handshake, own", [("auto", "own"), ("libssl", "libssl")])
def test_status_says_who_makes_them(parts, handshake, own):
    p = proxy_with(parts, handshake)
    status = p.admin.json("/status.json")
    assert (status["tls13_handshakes"], status["degraded"]) == (own, [])
    said = command("status", "--admin", p.admin_socket)
    assert said[0] == 0 and f"\nTLS 1.3 handshakes: {own}\n" in said[1], said
    assert "own TLS 1.3 handshake: self-test passed\n" in command("version")[1]


def test_full_resumed_and_retried(parts):
    p = proxy_with(parts, "auto")
    ctx = context(version=V13)
    session = None
    for resumed in (False, True, True):
        with connect(p.port, ctx, name="localhost", session=session) as c:
            says_echo(c)
            assert c.session_reused == resumed
            session = c.session
    c = s_client(p.port, "-tls1_3", "-groups", "X448:P-384", "-servername", "localhost")
    c.send(b"hi\n")
    c.wait_for(b"hi\n")
    c.end()
    p.wait_session(count=4)
    assert p.wait_session(resumed=False, group="secp384r1")
    until(lambda: paths(p) == (4, 0), "handshakes counted by path")


def test_tickets_of_the_other_path_mean_a_full_handshake(parts):
    """A fleet that changes from one to the other: no client is turned away."""
    secret = parts.directory / "ticket.secret"
    assert command("ticket-secret", "new", secret)[0] == 0
    both = [parts.proxy(parts.backend(), top={"handshake": h, "tickets": {"secret_file": str(secret)}}) for h in ("auto", "libssl")]
    ctx = context(version=V13)
    for first, second in (both, both[::-1]):
        with connect(first.port, ctx, name="localhost") as c:
            says_echo(c)
            session = c.session
        for p, resumed in ((second, False), (first, True)):
            with connect(p.port, ctx, name="localhost", session=session) as c:
                says_echo(c)
                assert c.session_reused == resumed


def test_a_browser_reads_a_compressed_certificate(parts, directory):
    """The other ways of compression are read in tests/unit/test_hs13_compress.c."""
    p = parts.proxy(parts.backend(answer), top={"handshake": "auto"})
    said = subprocess.run([CHROMIUM, *QUIET, "--no-sandbox", f"--user-data-dir={directory}/chromium", "--ignore-certificate-errors",
                           "--dump-dom", f"https://localhost:{p.port}/"], capture_output=True, timeout=DEADLINE, check=False)
    assert b"it is read" in said.stdout, said.stdout + said.stderr
    until(lambda: compressed(p) > 0, "certificates that were compressed")
    assert paths(p)[1] == 0


def test_gnutls_full_and_resumed(parts, pki):
    p = proxy_with(parts, "auto")
    c = subprocess.run(["gnutls-cli", "--x509cafile", str(pki.ca), "--resume", "--waitresumption", "-p", str(p.port), "localhost"],
                       input=b"hi\n", capture_output=True, timeout=DEADLINE)
    assert b"This is a resumed session" in c.stdout, c.stdout.decode() + c.stderr.decode()
    until(lambda: paths(p) == (2, 0), "handshakes counted by path")
