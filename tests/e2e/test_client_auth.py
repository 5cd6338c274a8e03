"""Clients with certificates: which are accepted, under which name, and which alert the others get."""
import base64
import datetime
import hashlib
import os
import socket
import ssl
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from support import proxy_header
from support.client_pki import CLIENT, SERVER, Issuer, now
from support.clients import V12, V13, connect, context, run, s_client, says_echo, tcp
from support.proxy import OWN_HANDSHAKE, command
from support.waiting import DEADLINE, until

VERSIONS = pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])


@pytest.fixture
def ca(directory):
    return Issuer(directory, "clients authority")


def service(parts, ca, mode="required", handler=None, **more):
    auth = {"mode": mode, "ca": str(ca.file)}
    auth.update({k: more.pop(k) for k in ("crl", "allow", "depth") if k in more})
    return parts.proxy(parts.backend(handler) if handler else parts.backend(), client_auth=auth, **more)


def with_cert(client, version=None):
    c = context(version=version)
    if client is not None:
        c.load_cert_chain(client.cert, client.key)
    return c


def comes_in(p, ctx, session=None, name="localhost"):
    """An echo through the proxy; info about the TLS connection."""
    with connect(p.port, ctx, name=name, session=session) as c:
        says_echo(c)
        return {"reused": c.session_reused, "session": c.session}


ALERTS = {42: "bad certificate", 43: "unsupported certificate", 44: "certificate revoked", 45: "certificate expired",
          46: "certificate unknown", 48: "unknown ca", 49: "access denied", 51: "decrypt error", 116: "certificate required", 40: "handshake failure"}


def refused(p, ctx, alert, reason, version=None):
    """The client gets an alert; the log names the reason."""
    before = len(p.events(reason=reason))
    with pytest.raises(ssl.SSLError) as e:
        with connect(p.port, ctx) as c:
            c.sendall(b"x")  # in 1.3 the client learns about its certificate only after its Finished
            c.recv(1)
    alert_text = str(e.value).lower().replace("_", " ")
    assert ALERTS[alert] in alert_text, alert_text
    event = p.wait_failure(reason, count=before + 1)
    assert event["event"] == "failed" and "client_name" not in event
    return event


# --- modes


@VERSIONS
def test_required_lets_in_who_has_a_certificate_and_nobody_else(parts, ca, version):
    p = service(parts, ca)
    comes_in(p, with_cert(ca.client("robot"), version))
    e = p.wait_session()
    assert e["client_name"] == "robot" and e["client_identity_source"] == "cn" and e["client_cn"] == "robot"
    refused(p, with_cert(None, version), 116 if version == V13 else 40, "client_cert_missing")


@VERSIONS
def test_optional_takes_both_but_no_wrong_certificate(parts, ca, version):
    p = service(parts, ca, "optional")
    comes_in(p, with_cert(None, version))
    assert "client_name" not in p.wait_session()
    comes_in(p, with_cert(ca.client("robot"), version))
    assert p.wait_session(count=2)["client_name"] == "robot"
    stranger = Issuer(parts.directory, "another authority").client("robot")
    refused(p, with_cert(stranger, version), 48, "client_cert_unknown_ca")


def test_none_asks_nobody(parts, ca):
    p = parts.proxy(parts.backend())
    comes_in(p, with_cert(ca.client("robot")))
    assert "client_name" not in p.wait_session()


# --- what is refused, and with which words


@VERSIONS
def test_certificates_that_do_not_hold(parts, ca, version):
    p = service(parts, ca)
    e = refused(p, with_cert(ca.client("old", days=-1, start=-30), version), 45, "client_cert_expired")
    assert "CN = old" in e["detail"] and "issued by CN = clients authority" in e["detail"] and "serial " in e["detail"]
    refused(p, with_cert(ca.client("early", start=2), version), 45, "client_cert_not_yet_valid")
    refused(p, with_cert(Issuer(parts.directory, "stranger").client("robot"), version), 48, "client_cert_unknown_ca")
    refused(p, with_cert(ca.client("server", usage=(SERVER,)), version), 43, "client_cert_usage")
    comes_in(p, with_cert(ca.client("both", usage=(SERVER, CLIENT)), version))
    comes_in(p, with_cert(ca.client("any", usage=None), version))  # RFC 5280 4.2.1.12: no list of usages, no restriction


@VERSIONS
def test_the_key_must_be_for_signatures(parts, ca, version):
    p = service(parts, ca)
    for use in ("key_agreement", "key_encipherment", "content_commitment"):
        refused(p, with_cert(ca.client(use, key_usage=use), version), 43, "client_cert_usage")
    comes_in(p, with_cert(ca.client("signs", key_usage="digital_signature"), version))


@VERSIONS
def test_a_certificate_of_no_use_in_the_chain(parts, ca, version):
    """RFC 8446 4.4.2: extraneous certificates are no fault, whatever key they are of."""
    client = ca.client("robot")
    stranger = Issuer(parts.directory, "stranger").certificate.public_bytes(serialization.Encoding.DER)
    ec_key = bytes.fromhex("06072a8648ce3d0201")
    assert stranger.count(ec_key) == 1
    unknown = stranger.replace(ec_key, ec_key[:-1] + b"\x7f")
    rest = parts.directory / "rest.pem"
    rest.write_bytes(b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(unknown) + b"-----END CERTIFICATE-----\n")
    p = service(parts, ca)
    subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{p.port}", "-tls1_2" if version == V12 else "-tls1_3", "-cipher", "ALL:@SECLEVEL=0",
                    "-cert", client.cert, "-key", client.key, "-cert_chain", rest], input=b"", capture_output=True, timeout=60)
    assert p.wait_session()["client_name"] == "robot"


@pytest.mark.parametrize("n", [64, 65])
def test_names_of_authorities_are_sent_all_or_none(parts, ca, n):
    """A client that finds its authority not among them would send no certificate. Certificates of one name count once."""
    others = [Issuer(parts.directory, f"authority {i}") for i in range(n - 1)]
    again = Issuer(parts.directory, "authority 0")
    file = parts.directory / "all.pem"
    file.write_bytes(b"".join(i.file.read_bytes() for i in [ca, again, *others]))
    p = parts.prepare(parts.backend(), client_auth={"mode": "required", "ca": str(file)})
    status, out, err = command("check", p.config_file)
    assert status == 0 and ("all.pem: the names of its CAs are more than 64" in out + err) == (n > 64)
    p.start()
    last = others[-1].client("robot")
    for version in ("-tls1_2", "-tls1_3"):
        said = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{p.port}", version, "-cert", last.cert, "-key", last.key], input=b"", capture_output=True, timeout=60).stdout.decode()
        names = said.partition("Acceptable client certificate CA names")[2].replace(" = ", "=")  # as OpenSSL 3.2 and later write it
        assert (f"CN=authority {n - 2}" in names) == (n <= 64), said
        assert ("No client certificate CA names sent" in said) == (n > 64)
    comes_in(p, with_cert(last))


@VERSIONS
def test_revoked_and_crl_out_of_date(parts, ca, version):
    good, bad = ca.client("good"), ca.client("bad")
    p = service(parts, ca, crl=str(ca.crl([bad])))
    comes_in(p, with_cert(good, version))
    refused(p, with_cert(bad, version), 44, "client_cert_revoked")

    stale = service(parts, ca, crl=str(ca.crl([], days=-1, start=-10, name="stale.crl")))
    stale.wait_text("stale.crl: CRL 1 was due to be replaced on .* clients of that CA are refused until it is")
    assert refused(stale, with_cert(good, version), 46, "client_crl_out_of_date")["level"] == "warning"

    other = Issuer(parts.directory, "other authority")
    missing = service(parts, ca, crl=str(other.crl([], name="other.crl")))
    assert refused(missing, with_cert(good, version), 46, "client_crl_missing")["level"] == "warning"


@VERSIONS
def test_the_key_must_be_its_own(parts, ca, version):
    """A client shows a certificate without its key: openssl does so with files that do not match."""
    p = service(parts, ca)
    robot, other = ca.client("robot"), ca.client("other")
    with pytest.raises(ssl.SSLError):
        with_cert(type("Mixed", (), {"cert": robot.cert, "key": other.key}))
    comes_in(p, with_cert(robot, version))


@VERSIONS
def test_chains_and_depth(parts, ca, version):
    middle = Issuer(parts.directory, "middle", parent=ca)
    low = Issuer(parts.directory, "low", parent=middle)
    near, far = middle.client("near", chain=[middle]), low.client("far", chain=[low, middle])
    p = service(parts, ca)
    for c in (near, far):
        comes_in(p, with_cert(c, version))
    shallow = service(parts, ca, depth=1)
    comes_in(shallow, with_cert(near, version))
    refused(shallow, with_cert(far, version), 42, "client_cert_depth")
    refused(p, with_cert(low.client("alone"), version), 48, "client_cert_unknown_ca")  # its chain is not sent

    # an intermediate in the CA file is trusted as it stands, and its siblings are not
    narrow = service(parts, middle)
    comes_in(narrow, with_cert(near, version))
    refused(narrow, with_cert(ca.client("beside"), version), 48, "client_cert_unknown_ca")


@VERSIONS
def test_every_certificate_below_the_ca_is_covered_by_a_crl(parts, ca, version):
    middle = Issuer(parts.directory, "middle", parent=ca)
    client = middle.client("robot", chain=[middle])
    own, above = ca.crl([], name="ca.crl").read_bytes(), middle.crl([], name="middle.crl").read_bytes()
    both = parts.directory / "both.crl"
    both.write_bytes(own + above)
    comes_in(service(parts, ca, crl=str(both)), with_cert(client, version))
    half = service(parts, ca, crl=str(parts.directory / "ca.crl"))
    refused(half, with_cert(client, version), 46, "client_crl_missing")

    revoking = parts.directory / "revoking.crl"
    revoking.write_bytes(ca.crl([type("M", (), {"certificate": middle.certificate})], name="x.crl").read_bytes() + above)
    refused(service(parts, ca, crl=str(revoking)), with_cert(client, version), 44, "client_cert_revoked")

    # what is trusted as it stands needs no CRL
    comes_in(service(parts, middle, crl=str(parts.directory / "middle.crl")), with_cert(client, version))


@VERSIONS
def test_ten_thousand_names(parts, ca, version):
    p = service(parts, ca)
    large = ca.client("large", dns=[f"n{i}.example.org" for i in range(10000)])
    refused(p, with_cert(large, version), 42, "client_cert_too_large")
    many = ca.client("many", dns=[f"{i}" for i in range(257)])
    refused(p, with_cert(many, version), 42, "client_cert_too_large")
    comes_in(p, with_cert(ca.client("most", dns=[f"{i}" for i in range(256)]), version))
    assert p.wait_session()["client_name"] == "0"


# --- rules


def pin(client):
    return "spki-sha256:" + hashlib.sha256(client.spki).hexdigest()


@VERSIONS
def test_rules_let_in_by_each_kind_of_name(parts, ca, version):
    key = ca.client("by key")
    rules = ["dns:*.svc.example.org", "uri:spiffe://example.org/ns/*", "cn:robot", "ou:ops", pin(key)]
    p = service(parts, ca, allow=rules)
    for client, name, by in ((ca.client("x", dns=["other.org", "a.svc.example.org"]), "a.svc.example.org", "dns"),
                             (ca.client("x", uri=["spiffe://example.org/ns/prod/sa/web"]), "spiffe://example.org/ns/prod/sa/web", "uri"),
                             (ca.client("robot"), "robot", "cn"),
                             (ca.client("x", ou=["dev", "ops"]), "ops", "ou"),
                             (key, pin(key)[12:], "spki-sha256")):
        comes_in(p, with_cert(client, version))
        e = p.wait_session(client_fingerprint=hashlib.sha256(client.der).hexdigest())
        assert (e["client_name"], e["client_identity_source"]) == (name, by)
        assert int(e["client_serial"], 16) == client.certificate.serial_number
    for client in (ca.client("robot2"), ca.client("x", dns=["a.b.svc.example.org"]), ca.client("x", dns=["*.svc.example.org"]),
                   ca.client("x", uri=["spiffe://example.org.evil.net/ns/a"]), ca.client("x", ou="op"), ca.client(None),
                   ca.client("a.svc.example.org")):
        e = refused(p, with_cert(client, version), 49, "client_not_allowed")
        assert "issued by CN = clients authority" in e["detail"]


def test_a_pin_in_base64(parts, ca):
    client = ca.client("x")
    p = service(parts, ca, allow=["spki-sha256:" + base64.b64encode(hashlib.sha256(client.spki).digest()).decode()])
    comes_in(p, with_cert(client))
    refused(p, with_cert(ca.client("x")), 49, "client_not_allowed")


# --- what the backend receives


def header_of(parts, ca, ctx, session=None, allow=(), **more):
    headers = []

    def handler(c, _=None):
        headers.append(proxy_header.read_v2(c))
        while True:
            data = c.recv(65536)
            if not data:
                return
            c.sendall(data)

    p = service(parts, ca, handler=handler, proxy_protocol={"send": "v2", **more}, **({"allow": allow} if allow else {}))
    info = comes_in(p, ctx)
    comes_in(p, ctx, session=info["session"])
    return headers


@VERSIONS
def test_the_proxy_header_names_the_client(parts, ca, version):
    client = ca.client("robot", uri=["spiffe://example.org/ns/a"])
    first, second = header_of(parts, ca, with_cert(client, version))
    assert first["ssl"]["client"] == 7 and first["ssl"]["verify"] == 0
    assert first["ssl"]["tlvs"][proxy_header.SSL_CN] == b"robot"
    assert proxy_header.SSL_CLIENT_CERT not in first["ssl"]["tlvs"]
    assert second["ssl"]["client"] == 5 and second["ssl"]["verify"] == 0  # the certificate came in an earlier connection
    assert second["ssl"]["tlvs"][proxy_header.SSL_CN] == b"robot"


@VERSIONS
def test_the_backend_gets_the_name_that_the_rule_took(parts, ca, version):
    """The client chooses its own common names, two of them; a backend that uses the name must not be deceived."""
    client = ca.client("admin", uri=["spiffe://example.org/low"])
    for h in header_of(parts, ca, with_cert(client, version), allow=["uri:spiffe://example.org/*"]):
        assert h["tlvs"][proxy_header.CLIENT] == b"uri:spiffe://example.org/low"
        assert proxy_header.SSL_CN not in h["ssl"]["tlvs"]
    for h in header_of(parts, ca, with_cert(ca.client(["robot", "admin"]), version), allow=["cn:robot"]):
        assert h["tlvs"][proxy_header.CLIENT] == b"cn:robot" and h["ssl"]["tlvs"][proxy_header.SSL_CN] == b"robot"


def test_of_two_common_names_one_is_used_everywhere(parts, ca):
    for allow, name in ((["cn:robot"], "robot"), ([], "admin")):
        p = service(parts, ca, **({"allow": allow} if allow else {}))
        comes_in(p, with_cert(ca.client(["robot", "admin"])))
        e = p.wait_session()
        assert (e["client_name"], e["client_cn"], e["client_identity_source"]) == (name, name, "cn")


def test_the_name_is_not_sent_when_it_is_not_wanted(parts, ca):
    for h in header_of(parts, ca, with_cert(ca.client("robot")), tlvs=["ssl"]):
        assert proxy_header.CLIENT not in h["tlvs"]


@VERSIONS
def test_the_certificate_itself_is_sent_when_wanted(parts, ca, version):
    client = ca.client("robot")
    first, second = header_of(parts, ca, with_cert(client, version), tlvs=["ssl", "client-cert", "crc32c"])
    for h in (first, second):
        assert h["ssl"]["tlvs"][proxy_header.SSL_CLIENT_CERT] == client.der


# --- resumption


@VERSIONS
def test_a_resumed_session_keeps_the_name(parts, ca, version):
    p = service(parts, ca, allow=["uri:spiffe://example.org/*"])
    ctx = with_cert(ca.client("robot", uri=["spiffe://example.org/ns/a"]), version)
    session = comes_in(p, ctx)["session"]
    without = with_cert(None, version)
    assert comes_in(p, ctx, session)["reused"]
    first, second = p.wait_session(resumed=False), p.wait_session(resumed=True)
    for name in ("client_name", "client_identity_source", "client_cn", "client_serial", "client_fingerprint"):
        assert first[name] == second[name]
    refused(p, without, 116 if version == V13 else 40, "client_cert_missing")


@VERSIONS
def test_a_ticket_without_a_name_does_not_pass_where_one_is_required(parts, ca, version):
    """nginx CVE-2025-23419: a session of a service that asks for no certificate, resumed at one that requires one."""
    secret = parts.directory / "t.secret"
    assert command("ticket-secret", "new", secret)[0] == 0
    top = {"tickets": {"secret_file": str(secret)}}
    open_, strict, optional = (parts.proxy(parts.backend(), top=top, client_auth=auth)
                               for auth in ({"mode": "none"}, {"mode": "required", "ca": str(ca.file)}, {"mode": "optional", "ca": str(ca.file)}))
    ctx = with_cert(None, version)
    for p in (open_, optional):
        session = comes_in(p, ctx)["session"]
        with pytest.raises(ssl.SSLError):
            comes_in(strict, ctx, session)
    known = with_cert(ca.client("robot"), version)
    session = comes_in(strict, known)["session"]
    assert comes_in(strict, known, session)["reused"]
    assert not comes_in(open_, known, session)["reused"]


@VERSIONS
def test_other_rules_mean_a_full_handshake(parts, ca, version):
    secret = parts.directory / "t.secret"
    assert command("ticket-secret", "new", secret)[0] == 0
    top = {"tickets": {"secret_file": str(secret)}}
    client = ca.client("robot")
    ctx = with_cert(client, version)
    loose = service(parts, ca, top=top)
    same = service(parts, ca, top=top)
    narrow = service(parts, ca, allow=["cn:somebody"], top=top)
    revoking = service(parts, ca, crl=str(ca.crl([client])), top=top)
    session = comes_in(loose, ctx)["session"]
    assert comes_in(same, ctx, session)["reused"]
    for p, reason in ((narrow, "client_not_allowed"), (revoking, "client_cert_revoked")):
        with pytest.raises(ssl.SSLError):
            comes_in(p, ctx, session)
        p.wait_failure(reason)


@VERSIONS
def test_a_ticket_without_the_certificate_that_backends_now_get(parts, ca, version):
    secret = parts.directory / "t.secret"
    assert command("ticket-secret", "new", secret)[0] == 0
    headers = []

    def handler(c, _=None):
        headers.append(proxy_header.read_v2(c))
        while data := c.recv(65536):
            c.sendall(data)

    client = ca.client("robot")
    ctx = with_cert(client, version)
    before, after = (service(parts, ca, handler=handler, top={"tickets": {"secret_file": str(secret)}}, proxy_protocol={"send": "v2", "tlvs": tlvs})
                     for tlvs in (["ssl"], ["ssl", "client-cert"]))
    session = comes_in(before, ctx)["session"]
    assert comes_in(before, ctx, session)["reused"]
    full = comes_in(after, ctx, session)
    assert not full["reused"] and comes_in(after, ctx, full["session"])["reused"]
    assert [proxy_header.SSL_CLIENT_CERT in h["ssl"]["tlvs"] for h in headers] == [False, False, True, True]


@VERSIONS
def test_a_certificate_too_large_for_a_ticket_still_comes_in(parts, ca, version):
    p = service(parts, ca)
    ctx = with_cert(ca.client("wide", dns=["a" * 60 + f".{i}.example.org" for i in range(120)]), version)
    session = comes_in(p, ctx)["session"]
    if OWN_HANDSHAKE and version == V13:  # its tickets have no certificates in them
        assert session.has_ticket
    else:
        assert not (session and session.has_ticket)
    comes_in(p, ctx)
    p.wait_session(count=2, resumed=False)


def test_a_refused_certificate_counts_twice_against_the_clients_rate(parts, ca):
    """Three of four handshakes a second would be within the limit, but for the certificates they showed."""
    stranger = with_cert(Issuer(parts.directory, "stranger").client("robot"))
    p = service(parts, ca, limits={"handshakes_per_client_per_second": 4})
    for _ in range(3):
        with pytest.raises(OSError):
            comes_in(p, stranger)
    with pytest.raises(OSError):
        comes_in(p, with_cert(ca.client("robot")))
    p.wait_failure("client_rate")


def test_a_refused_certificate_of_a_load_balancer_counts_for_nobody(parts, ca):
    """Its health checks are no client's, so they take nothing from what its address has at another service."""
    rate = {"limits": {"handshakes_per_client_per_second": 4}}
    strict = {"client_auth": {"mode": "required", "ca": str(ca.file)}, "proxy_protocol": {"accept": "required", "trust": ["127.0.0.0/8"]}}
    p = parts.proxy(services={"strict": {**parts.service(parts.backend()), **strict, **rate}, "free": {**parts.service(parts.backend()), **rate}})
    stranger = with_cert(Issuer(parts.directory, "stranger").client("robot"))
    for _ in range(4):
        s = tcp(p.address("strict")[1], source="127.0.0.5")
        s.sendall(proxy_header.v2(command=0))
        with pytest.raises(OSError), stranger.wrap_socket(s, server_hostname="localhost", suppress_ragged_eofs=False) as c:
            says_echo(c)
    p.wait_failure("client_cert_unknown_ca", count=4)
    for _ in range(3):
        with connect(p.address("free")[1], source="127.0.0.5") as c:
            says_echo(c)


@VERSIONS
def test_a_chain_of_strangers_is_not_decoded(parts, ca, version):
    """70 unsolicited certificates; the log has their number."""
    many = Issuer(parts.directory, "somebody")
    p = service(parts, ca)
    e = refused(p, with_cert(many.client("robot", chain=[many] * 70), version), 42, "client_cert_depth")
    assert "found 71 certificates, expected at most 7" in e["detail"]


# --- files


TAKEN_UP = r"certificates changed: \d+ in use, set \d+"


def set_file(path, data):
    """As a careful tool would: written beside it, then renamed."""
    new = path.with_suffix(".new")
    new.write_bytes(data)
    new.rename(path)


@VERSIONS
def test_a_crl_that_is_replaced_counts_without_a_reload(parts, ca, version):
    good, bad = ca.client("good"), ca.client("bad")
    crl = ca.crl([])
    p = service(parts, ca, crl=str(crl))
    known = with_cert(bad, version)
    pids = p.roles()
    session = comes_in(p, known)["session"]
    assert comes_in(p, known, session)["reused"]

    set_file(crl, ca.crl([bad], name="newer.crl").read_bytes())
    p.wait_text(TAKEN_UP)
    refused(p, known, 44, "client_cert_revoked")
    with pytest.raises(ssl.SSLError):  # nor by the ticket of better days
        comes_in(p, known, session)
    comes_in(p, with_cert(good, version))

    set_file(crl, b"no CRL at all")
    p.wait_text("clients.crl: found no CRL, expected")
    refused(p, known, 44, "client_cert_revoked")
    comes_in(p, with_cert(good, version))
    assert {r: n for r, n in p.roles().items() if r in ("handshaker", "relay")} == {r: n for r, n in pids.items() if r in ("handshaker", "relay")}


@VERSIONS
@pytest.mark.parametrize("resumed", [False, True], ids=["full", "resumed"])
def test_a_crl_counts_for_handshakes_that_began_before_it(parts, ca, version, resumed):
    """The client has received our flight when the CRL arrives; its answer is checked against the new one."""
    client = ca.client("robot")
    file = ca.crl([])
    p = service(parts, ca, crl=str(file))
    ctx = with_cert(client, version)
    session = comes_in(p, ctx)["session"] if resumed else None
    before = p.wait_session(count=1) if resumed else None
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ctx.wrap_bio(incoming, outgoing, server_hostname="localhost", session=session)
    with socket.create_connection(("127.0.0.1", p.port)) as c:
        c.settimeout(DEADLINE)
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        c.sendall(outgoing.read())
        while not outgoing.pending:  # until the client has its answer ready
            incoming.write(c.recv(65536))
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                pass
        set_file(file, ca.crl([client], name="next.crl").read_bytes())
        p.wait_text(TAKEN_UP)
        c.sendall(outgoing.read())
        # a ticket of our own handshake has no certificate that could be looked up in the list
        unknown = resumed and version == V13 and OWN_HANDSHAKE
        p.wait_failure("client_cert_unknown_ca" if unknown else "client_cert_revoked")
        with pytest.raises(ssl.SSLError) as e:
            while True:
                incoming.write(c.recv(65536))
                try:
                    tls.do_handshake()
                    tls.read(1)
                except ssl.SSLWantReadError:
                    pass
        assert ("UNKNOWN_CA" if unknown else "REVOKED") in str(e.value)
    assert len(p.events(event="session")) == (1 if before else 0)


def test_a_ca_that_is_replaced_counts_without_a_reload(parts, ca):
    other = Issuer(parts.directory, "other authority")
    p = service(parts, ca)
    comes_in(p, with_cert(ca.client("robot")))
    set_file(ca.file, other.file.read_bytes())
    p.wait_text(TAKEN_UP)
    refused(p, with_cert(ca.client("robot")), 48, "client_cert_unknown_ca")
    comes_in(p, with_cert(other.client("robot")))


@pytest.mark.parametrize("key,make,says", [
    ("ca", lambda f: f.write_bytes(b""), "the file is empty, expected a file of certificates"),
    ("ca", lambda f: f.write_text("hello\n"), 'found no certificate, expected "-----BEGIN CERTIFICATE-----"'),
    ("ca", lambda f: f.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "certificate 1 of the file cannot be read"),
    ("ca", lambda f: None, "cannot be opened: No such file or directory"),
    ("ca", lambda f: f.mkdir(), "found a directory, expected a file of certificates"),
    ("crl", lambda f: f.write_bytes(b""), "the file is empty, expected a file of CRLs"),
    ("crl", lambda f: f.write_text("x"), 'found no CRL, expected "-----BEGIN X509 CRL-----"'),
], ids=["empty", "no-pem", "broken", "missing", "directory", "empty-crl", "no-crl"])
def test_bad_files_are_refused_with_a_plain_message(parts, ca, key, make, says):
    file = parts.directory / "bad"
    make(file)
    auth = {"mode": "required", "ca": str(ca.file), key: str(file)}
    p = parts.prepare(parts.backend(), client_auth=auth)
    status, _, said = command("check", p.config_file)
    assert status == 1 and says in said and f"service.web.client_auth.{key}" in said, said
    p.wants_ready, p.expected_status = False, 1
    p.start()
    p.wait_exit()
    assert says in p.text()


def crl_with(ca, file, *extensions):
    """A CRL of CA with extensions of its own."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(ca.name)
    builder = builder.last_update(now() - datetime.timedelta(days=1)).next_update(now() + datetime.timedelta(days=1))
    for e in extensions:
        builder = builder.add_extension(e, critical=True)
    file.write_bytes(builder.sign(ca.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return str(file)


def scope(**what):
    given = {"full_name": None, "relative_name": None, "only_contains_user_certs": False, "only_contains_ca_certs": False,
             "only_some_reasons": None, "indirect_crl": False, "only_contains_attribute_certs": False}
    return x509.IssuingDistributionPoint(**{**given, **what})


@VERSIONS
def test_a_crl_for_users_only_says_nothing_of_the_ca(parts, ca, version):
    p = service(parts, ca, crl=crl_with(ca, parts.directory / "users.crl", scope(only_contains_user_certs=True)))
    comes_in(p, with_cert(ca.client("robot"), version))


def test_a_delta_crl_is_refused(parts, ca):
    """Taken for the complete CRL, it would accept clients that the complete one revokes."""
    p = parts.prepare(parts.backend(), client_auth={"mode": "required", "ca": str(ca.file), "crl": crl_with(
        ca, parts.directory / "delta.crl", x509.DeltaCRLIndicator(1))})
    status, out, err = command("check", p.config_file)
    assert status == 1 and "delta.crl: CRL 1 is a delta CRL" in out + err


def test_a_crl_in_parts_is_reported(parts, ca):
    file = crl_with(ca, parts.directory / "some.crl", scope(only_some_reasons=frozenset([x509.ReasonFlags.key_compromise])))
    p = service(parts, ca, crl=file)
    p.wait_text("some.crl: CRL 1 is indirect or for some reasons only")
    refused(p, with_cert(ca.client("robot")), 46, "client_crl_missing")


def test_a_leaf_is_no_ca(parts, ca):
    leaf = ca.client("robot")
    p = parts.prepare(parts.backend(), client_auth={"mode": "required", "ca": str(leaf.cert)})
    status, _, said = command("check", p.config_file)
    assert status == 1 and "certificate 1 is of no CA" in said


@pytest.mark.parametrize("auth,says", [
    ({"mode": "required"}, 'without "ca"'),
    ({"mode": "required", "ca": "x", "allow": []}, "expected at least one rule"),
    ({"mode": "required", "ca": "x", "allow": ["robot"]}, 'a rule that begins with "dns:"'),
    ({"mode": "required", "ca": "x", "allow": ["uri:spiffe://*/x"]}, "none before the path"),
    ({"mode": "must"}, '"none", "optional" or "required"'),
    ({"mode": "required", "ca": "x", "depth": 17}, "from 0 to 16"),
])
def test_keys_that_make_no_sense(parts, auth, says):
    p = parts.prepare(parts.backend(), client_auth=auth)
    status, _, said = command("check", p.config_file)
    assert status == 1 and says in said, said


def test_a_crl_in_der(parts, ca):
    bad = ca.client("bad")
    der = parts.directory / "der.crl"
    subprocess.run(["openssl", "crl", "-in", ca.crl([bad]), "-outform", "DER", "-out", der], check=True)
    p = service(parts, ca, crl=str(der))
    refused(p, with_cert(bad), 44, "client_cert_revoked")


# --- real clients


def test_curl_openssl_and_gnutls(parts, pki, ca):
    client = ca.client("robot")

    def http(c, _=None):
        c.recv(65536)
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nwell!\n")

    p = service(parts, ca, handler=http)
    url = f"https://localhost:{p.port}/"
    said = run("curl", "-sS", "--cacert", pki.ca, "--cert", client.cert, "--key", client.key, url)
    assert said == "well!\n"
    refusal = subprocess.run(["curl", "-sS", "--cacert", pki.ca, url], capture_output=True, text=True)
    assert refusal.returncode != 0 and "certificate required" in refusal.stderr, refusal.stderr
    p.wait_failure("client_cert_missing")

    echo = service(parts, ca)
    for version in ("-tls1_2", "-tls1_3"):
        c = s_client(echo.port, version, "-cert", client.cert, "-key", client.key)
        c.wait_for("Acceptable client certificate CA names")
        c.wait_for("clients authority")
        c.wait_for("Verify return code")
        c.send("hello\n")
        c.wait_for("hello\n")
        c.end()
    said = run("gnutls-cli", "--x509cafile", pki.ca, "--x509certfile", client.cert, "--x509keyfile", client.key, "-p", echo.port, "localhost",
               data=b"hello gnutls\n")
    assert "hello gnutls" in said
    until(lambda: len(echo.events("session", client_name="robot")) == 3, "three sessions of the robot")


@pytest.mark.parametrize("kind", ["rsa", "p256", "p384", "ed25519"])
def test_keys_of_all_kinds(parts, ca, kind):
    p = service(parts, ca)
    for version in (V12, V13):
        comes_in(p, with_cert(ca.client("robot", kind=kind), version))
    assert p.wait_session(count=2)["client_name"] == "robot"
