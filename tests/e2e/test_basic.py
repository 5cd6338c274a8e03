"""The proxy at work: real clients, both versions, every suite, both kinds of certificate, names, protocols, resumption."""
import os
import re
import ssl

import pytest

from support import backends, clients
from support.backends import http_echo
from support.clients import V12, V13, connect, context, run, s_client, says_echo

SUITES_13 = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]
SUITES_12 = [
    ("ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    ("ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    ("ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl_posts_and_gets_it_back(parts, pki, version):
    p = parts.proxy(parts.backend(http_echo), alpn=["http/1.1"])
    data = os.urandom(300_000)
    body = parts.directory / "body"
    body.write_bytes(data)
    answer = parts.directory / "answer"
    run("curl", "-sS", "--fail", "--cacert", pki.ca, f"--tlsv{version}", "--tls-max", version, "--data-binary", f"@{body}",
        "-o", answer, "-w", "%{http_version} %{num_connects}", f"https://localhost:{p.port}/", "--ipv4")
    assert answer.read_bytes() == data
    e = p.wait_session()
    assert e["tls_version"] == "TLSv" + version and e["alpn"] == "http/1.1" and e["sni"] == "localhost"
    assert e["bytes_in"] > 300_000 and e["bytes_out"] > 300_000


def test_curl_reuses_one_connection(parts, pki):
    b = parts.backend(http_echo)
    p = parts.proxy(b, alpn=["http/1.1"])
    url = f"https://localhost:{p.port}/"
    out = run("curl", "-sS", "--ipv4", "--cacert", pki.ca, "-w", "%{num_connects} ", "-d", "a", url, "-d", "b", url, url, url)
    assert out.count("1 ") >= 1 and "0 " in out
    assert b.accepted == 1


def h2_backend(parts):
    root = parts.directory / "root"
    root.mkdir()
    (root / "page").write_bytes(b"y" * 1_000_000)
    s = parts.server("nghttpd", "--no-tls", "-a", "127.0.0.1", "-d", root, "0")
    return f"tcp:127.0.0.1:{s.wait_port()}"


def test_curl_speaks_http2(parts, pki):
    p = parts.proxy(h2_backend(parts), alpn=["h2"])
    out = run("curl", "-sS", "--ipv4", "--fail", "--http2", "--cacert", pki.ca, "-w", "%{http_version} %{size_download}", "-o",
              parts.directory / "page", f"https://localhost:{p.port}/page")
    assert out == "2 1000000"
    assert p.wait_session()["alpn"] == "h2"


def test_nghttp_with_many_streams(parts):
    p = parts.proxy(h2_backend(parts), alpn=["h2"])
    out = run("nghttp", "-nsm", "20", f"https://127.0.0.1:{p.port}/page")
    assert len(re.findall(r" 200 +\S+ /page", out)) == 20


@pytest.mark.parametrize("suite", SUITES_13)
def test_every_suite_of_tls13(parts, suite):
    p = parts.proxy(parts.backend())
    c = s_client(p.port, "-tls1_3", "-ciphersuites", suite)
    c.wait_for("Verify return code")
    c.send("hello\n")
    c.wait_for("hello\n")
    _, said = c.end()
    assert suite in said
    e = p.wait_session()
    assert (e["cipher_suite"], e["tls_version"]) == (suite, "TLSv1.3")
    assert (e["client_end"], e["bytes_in"], e["bytes_out"]) == ("close", 6, 6)


@pytest.mark.parametrize("suite,iana", SUITES_12)
def test_every_suite_of_tls12(parts, suite, iana):
    p = parts.proxy(parts.backend())
    c = s_client(p.port, "-tls1_2", "-cipher", suite)
    c.wait_for("Verify return code")
    c.send("hello\n")
    c.wait_for("hello\n")
    _, said = c.end()
    assert suite in said
    e = p.wait_session()
    assert (e["cipher_suite"], e["tls_version"]) == (iana, "TLSv1.2")


@pytest.mark.parametrize("suite", [s for s in SUITES_13] + [s for s, _ in SUITES_12])
def test_every_suite_carries_bulk(parts, suite):
    """Every length around the borders of records, both ways, over one session."""
    p = parts.proxy(parts.backend())
    if suite.startswith("TLS_"):
        c = s_client(p.port, "-tls1_3", "-ciphersuites", suite, "-quiet", "-no_ign_eof")
    else:
        c = s_client(p.port, "-tls1_2", "-cipher", suite, "-quiet", "-no_ign_eof")
    total = 0
    for n in (1, 15, 16, 17, 1399, 16383, 16384, 16385, 100_000, 300_000):
        line = (f"{n}:".encode() + b"z" * n)[:n - 1] + b"\n"
        c.send(line)
        total += len(line)
        c.wait_for(line)
    c.end()
    e = p.wait_session()
    assert e["bytes_in"] == e["bytes_out"] == total


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_both_kinds_of_certificate_are_verified(parts, pki, kind, version):
    p = parts.proxy(parts.backend(), certificates=[getattr(pki, kind)])
    with connect(p.port, context(pki, version)) as c:
        says_echo(c)
        c.unwrap()


def test_suites_as_configured_and_nothing_else(parts):
    p = parts.proxy(parts.backend(), cipher_suites=["TLS_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"])
    with connect(p.port, context(version=V13)) as c:
        assert c.cipher()[0] == "TLS_CHACHA20_POLY1305_SHA256"
        says_echo(c)
    with connect(p.port, context(version=V12)) as c:
        assert c.cipher()[0] == "ECDHE-RSA-AES128-GCM-SHA256"
        says_echo(c)


@pytest.mark.parametrize("group,name", [("X25519", "x25519"), ("P-256", "secp256r1"), ("P-384", "secp384r1"), ("P-521", "secp521r1")])
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_groups(parts, group, name, version):
    p = parts.proxy(parts.backend())
    c = s_client(p.port, "-groups", group, version)
    c.wait_for("Verify return code")
    c.end()
    assert p.wait_session()["group"].lower() == name


def test_hello_retry_request(parts):
    """The client's key share is for a group that we do not take, but it offers one that we do."""
    p = parts.proxy(parts.backend(), groups=["secp384r1"])
    c = s_client(p.port, "-groups", "X25519:P-384", "-tls1_3")
    c.wait_for("Verify return code")
    c.send("hello\n")
    c.wait_for("hello\n")
    c.end()
    assert p.wait_session()["group"] == "secp384r1"


# --- ALPN


@pytest.mark.parametrize("offer,chosen", [(["h2", "http/1.1"], "h2"), (["http/1.1", "h2"], "h2"), (["http/1.1"], "http/1.1"),
                                          (["x", "http/1.1"], "http/1.1"), (None, None)])
@pytest.mark.parametrize("version", [V12, V13])
def test_alpn_by_our_order(parts, offer, chosen, version):
    p = parts.proxy(parts.backend(), alpn=["h2", "http/1.1"])
    with connect(p.port, context(version=version, alpn=offer)) as c:
        assert c.selected_alpn_protocol() == chosen
        says_echo(c)
        c.unwrap()
    assert (p.wait_session().get("alpn") or None) == chosen


def test_alpn_offered_but_not_configured(parts):
    p = parts.proxy(parts.backend())
    with connect(p.port, context(alpn=["h2"])) as c:
        assert c.selected_alpn_protocol() is None
        says_echo(c)


# --- names


def name_of(c):
    der = c.getpeercert(binary_form=True)
    from cryptography import x509

    return x509.load_der_x509_certificate(der).subject.rfc4514_string()


@pytest.fixture
def named(pki):
    return {n: pki.leaf(n, "p256", [d]) for n, d in (("one", "one.example.test"), ("wild", "*.example.test"), ("deep", "a.b.test"))}


@pytest.mark.parametrize("asked,found", [
    ("one.example.test", "CN=one.example.test"), ("ONE.Example.test", "CN=one.example.test"), ("two.example.test", "CN=*.example.test"),
    ("a.b.test", "CN=a.b.test"), ("x.y.example.test", "CN=localhost"), ("nowhere.test", "CN=localhost"), (None, "CN=localhost")])
@pytest.mark.parametrize("version", [V12, V13])
def test_certificate_by_name(parts, pki, named, asked, found, version):
    p = parts.proxy(parts.backend(), certificates=[pki.ecdsa, *named.values()])
    with connect(p.port, context(version=version), name=asked) as c:
        assert name_of(c) == found
        says_echo(c)
        c.unwrap()
    assert (p.wait_session().get("sni") or None) == (asked.lower() if asked else None)


def test_certificates_of_a_directory(parts, pki, directory):
    certs = directory / "certs"
    certs.mkdir()
    for name, domain in (("first", "first.test"), ("second", "second.test")):
        entry = pki.leaf(name, "p256", [domain])
        (certs / f"{name}.pem").write_bytes(open(entry["cert"], "rb").read())
        (certs / f"{name}.key").write_bytes(open(entry["key"], "rb").read())
    p = parts.proxy(parts.backend(), certificates=[pki.ecdsa, str(certs) + "/"])
    for name in ("first.test", "second.test"):
        with connect(p.port, name=name) as c:
            assert name_of(c) == "CN=" + name
    with connect(p.port, name="third.test") as c:
        assert name_of(c) == "CN=localhost"


def test_rsa_only_client_gets_the_rsa_certificate(parts, pki):
    p = parts.proxy(parts.backend(), certificates=[pki.ecdsa, pki.rsa])
    c = s_client(p.port, "-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256")
    c.wait_for("Peer signature type: ")
    _, said = c.end()
    assert "Peer signature type: RSA-PSS" in said or "Peer signature type: rsa_pss_rsae_sha256" in said  # OpenSSL 3.0; 3.5


def test_strict_sni_serves_what_it_knows(parts, pki, named):
    p = parts.proxy(parts.backend(), certificates=[named["one"]], strict_sni=True)
    with connect(p.port, context(pki), name="one.example.test") as c:
        says_echo(c)


def test_two_services_on_one_listener_by_name(parts, pki, named):
    first, second = parts.backend(backend_sends(b"first")), parts.backend(backend_sends(b"second"))
    port = clients.free_port()
    here = [f"127.0.0.1:{port}"]
    p = parts.proxy(services={"first": {**parts.service(first, certificates=[named["one"]]), "listen": here},
                              "second": {**parts.service(second, certificates=[named["deep"]]), "listen": here}})
    assert p.address("first") == p.address("second") == ("127.0.0.1", port)
    for name, answer in (("one.example.test", b"first"), ("a.b.test", b"second")):
        with connect(port, context(pki), name=name) as c:
            assert clients.receive_all(c) == answer
    p.wait_session(service="first")
    p.wait_session(service="second")


def test_two_services_on_one_listener_by_alpn(parts):
    first, second = parts.backend(backend_sends(b"web")), parts.backend(backend_sends(b"mqtt"))
    port = clients.free_port()
    here = [f"127.0.0.1:{port}"]
    parts.proxy(services={"first": {**parts.service(first, alpn=["http/1.1"]), "listen": here},
                          "second": {**parts.service(second, alpn=["mqtt"]), "listen": here}})
    for protocol, answer in (("http/1.1", b"web"), ("mqtt", b"mqtt")):
        with connect(port, context(alpn=[protocol])) as c:
            assert c.selected_alpn_protocol() == protocol
            assert clients.receive_all(c) == answer


def backend_sends(what):
    def handler(c):
        c.sendall(what)

    return handler


def test_several_listeners_ipv6_included(parts):
    p = parts.proxy(parts.backend(), listen=["127.0.0.1:0", "[::1]:0"])
    m = p.wait_text(r"listening on \[::1\]:(\d+) for web")
    with connect(int(m.group(1)), host="::1") as c:
        says_echo(c)
        c.unwrap()
    assert p.wait_session()["client"].startswith("[::1]")
    m = p.wait_text(r"listening on 127\.0\.0\.1:(\d+) for web")
    with connect(int(m.group(1))) as c:
        says_echo(c)


# --- resumption


@pytest.mark.parametrize("version", [V12, V13])
def test_resumption_by_ticket_in_any_worker(parts, version):
    p = parts.proxy(parts.backend(), top={"workers": 2})
    ctx = context(version=version)
    with connect(p.port, ctx) as c:
        says_echo(c)
        assert not c.session_reused
        session = c.session
    assert session.has_ticket
    for i in range(24):
        with connect(p.port, ctx, session=session) as c:
            says_echo(c)
            assert c.session_reused, f"handshake {i} was a full one"
    p.wait_session(resumed=True, count=24)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_resumption_by_openssl(parts, version):
    p = parts.proxy(parts.backend(), top={"workers": 2})
    kept = parts.directory / "session.pem"
    for how, says in (("-sess_out", "New, TLSv1"), ("-sess_in", "Reused, TLSv1")):
        c = s_client(p.port, version, how, kept)
        c.wait_for(says)
        c.send("hello\n")
        c.wait_for("hello\n")
        c.end()


def test_one_ticket_for_a_full_handshake(parts):
    p = parts.proxy(parts.backend())
    c = s_client(p.port, "-tls1_3", "-msg")
    c.wait_for("Verify return code")
    c.send("hello\n")
    c.wait_for("hello\n")
    _, said = c.end()
    assert said.count("NewSessionTicket") == 1


def test_a_ticket_of_another_start_is_passed_over(parts):
    b = parts.backend()
    first = parts.prepare(b).start()
    ctx = context(version=V13)
    with connect(first.port, ctx) as c:
        says_echo(c)
        session = c.session
    second = parts.prepare(b).start()
    with connect(second.port, ctx, session=session) as c:
        says_echo(c)
        assert not c.session_reused


# --- the end of a session


@pytest.mark.parametrize("version", [V12, V13])
def test_close_notify_is_answered(parts, version):
    p = parts.proxy(parts.backend())
    c = connect(p.port, context(version=version))
    says_echo(c)
    raw = c.unwrap()  # raises when TCP ends without close_notify
    raw.close()
    e = p.wait_session()
    assert (e["client_end"], e["backend_end"]) == ("close", "close")


def test_a_first_message_with_the_handshake(parts):
    """Data in the same segment as the client's Finished is not lost."""
    p = parts.proxy(parts.backend())
    for version in (V12, V13):
        for _ in range(10):
            s = clients.tcp(p.port)
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            o = context(version=version).wrap_bio(incoming, outgoing, server_hostname="localhost")
            while True:
                try:
                    o.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    s.sendall(outgoing.read())
                    incoming.write(s.recv(65536))
            o.write(b"early bird" * 3000)
            s.sendall(outgoing.read())
            got = b""
            while len(got) < 30000:
                try:
                    got += o.read(65536)
                except ssl.SSLWantReadError:
                    incoming.write(s.recv(65536))
            assert got == b"early bird" * 3000
            s.close()


def test_a_backend_that_speaks_first(parts):
    p = parts.proxy(parts.backend(backend_sends(b"220 mail ready\r\n")))
    with connect(p.port) as c:
        assert clients.receive_all(c) == b"220 mail ready\r\n"


def test_small_fragments_for_a_client_that_asks(parts):
    p = parts.proxy(parts.backend(backend_sends(b"q" * 20_000)))
    for version in ("-tls1_2", "-tls1_3"):
        c = s_client(p.port, version, "-maxfraglen", "512", "-msg")
        c.wait_for("q" * 200)
        _, said = c.end()
        lengths = [int(x, 16) for x in re.findall(r"<<< .*\[length ([0-9a-f]+)\]", said)]
        assert lengths and max(lengths) <= 0x1000
        assert ":error:" not in said


def test_passthrough_is_not_touched(parts, pki):
    server = parts.server("openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", pki.ecdsa["cert"], "-key", pki.ecdsa["key"], "-www")
    service = parts.service(f"tcp:127.0.0.1:{server.wait_port()}", mode="passthrough")
    del service["certificates"]
    p = parts.proxy(services={"web": service})
    out = run("curl", "-sS", "--ipv4", "--cacert", pki.ca, f"https://localhost:{p.port}/")
    assert "s_server" in out
    e = p.wait_session()
    assert e["sni"] == "localhost"


def test_nothing_is_known_of_unused_backends(parts):
    b = backends.Backend(backends.unix_listener(parts.socket_path()), backends.echo)
    parts.add(b)
    parts.proxy(b)
    assert b.accepted == 0
