"""What scanners report about the defaults: testssl.sh and sslscan find no fault; and what must hold is tested directly."""
import json
import re
import signal
import ssl
import subprocess
import xml.etree.ElementTree

import pytest

from support.clients import V12, V13, connect, context, says_echo
from support.proxy import SANITIZED

SCAN_SECONDS = 1500  # testssl.sh makes some thousand connections, and other things run on the machine, too

# Findings of testssl.sh that are no fault of ours; every other one that is not OK or INFO is.
ACCEPTED = {
    "engine_problem": "of the openssl program that testssl.sh uses, not of the server",
    "cert_revocation": "certificates of the tests' authority name no CRL and no OCSP responder",
    "DNS_CAArecord": "localhost has no CAA record; DNS is not the proxy's",
    "scanTime": "how long it took",
}
# What a scan could not look at on a busy machine; only this text is accepted.
NOT_SEEN = {
    "sessionresumption_ticket": "check failed because of connect problem",  # its client may leave before a 1.3 ticket comes: test_tickets.py
}
HARMLESS = ("OK", "INFO", "DEBUG")

# Mozilla's "intermediate" for 1.2 without its DHE suites, and "modern" for 1.3 (guidelines 5.7), in our order.
SUITES_13 = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]
SUITES_12 = ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
             "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"]


@pytest.fixture
def patience():
    """A scan takes longer than a test may."""
    signal.setitimer(signal.ITIMER_REAL, SCAN_SECONDS)


@pytest.fixture
def proxy(parts):
    p = parts.proxy(parts.backend())
    p.allow_killed_roles = True  # a scanner's connections are not counted
    return p


@pytest.mark.skipif(SANITIZED, reason="hellos of all kinds are in tests that run under sanitizers")
def test_testssl_finds_nothing_at_fault(parts, pki, proxy, patience):
    found = parts.directory / "testssl.json"
    done = subprocess.run(
        ["testssl", "--quiet", "--color", "0", "--warnings", "off", "--protocols", "--std", "--fs", "--server-preference", "--server-defaults",
         "--vulnerable", "--add-ca", str(pki.ca), "--jsonfile", str(found), f"localhost:{proxy.port}"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=SCAN_SECONDS)
    findings = json.loads(found.read_text())
    ids = {f["id"].split(" ")[0] for f in findings}
    # it has looked, and at all of it
    assert {"SSLv3", "TLS1", "TLS1_2", "TLS1_3", "cert_chain_of_trust", "secure_renego", "secure_client_renego", "CRIME_TLS", "heartbleed",
            "ticketbleed", "ROBOT", "SWEET32", "LOGJAM", "BEAST", "LUCKY13", "RC4", "fallback_SCSV"} <= ids, sorted(ids) + [done.stdout[-2000:]]
    bad = [f for f in findings if f["severity"] not in HARMLESS and f["id"].split(" ")[0] not in ACCEPTED
           and NOT_SEEN.get(f["id"]) != f["finding"]]
    assert not bad, json.dumps(bad, indent=1)


def test_sslscan_finds_what_we_offer_and_no_more(parts, proxy, patience):
    found = parts.directory / "sslscan.xml"
    done = subprocess.run(["sslscan", "--no-colour", f"--xml={found}", f"localhost:{proxy.port}"], capture_output=True, text=True, check=True,
                          timeout=SCAN_SECONDS)
    test = xml.etree.ElementTree.parse(found).getroot().find("ssltest")
    enabled = {f"{p.get('type')} {p.get('version')}" for p in test.findall("protocol") if p.get("enabled") == "1"}
    assert enabled == {"tls 1.2", "tls 1.3"}
    offered = [(c.get("sslversion"), c.get("cipher")) for c in test.findall("cipher")]
    assert [c for v, c in offered if v == "TLSv1.3"] == SUITES_13
    assert [c for v, c in offered if v == "TLSv1.2"] == SUITES_12
    groups = {(g.get("sslversion"), g.get("name").split(" ")[0]) for g in test.findall("group")}
    assert groups == {(v, g) for v in ("TLSv1.2", "TLSv1.3") for g in ("x25519", "secp256r1", "secp384r1", "secp521r1")}
    renegotiation = test.find("renegotiation")
    assert renegotiation.get("supported") == "0"
    assert all(h.get("vulnerable") == "0" for h in test.findall("heartbleed"))
    assert "Server supports TLS Fallback SCSV" in done.stdout  # the XML does not contain it


# --- asked for directly


def s_client(port, *arguments):
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *arguments], input=b"Q\n", capture_output=True)
    return (done.stdout + done.stderr).decode(errors="replace")


@pytest.mark.parametrize("version,sigalgs", [
    ("-tls1_2", "RSA+SHA1:ECDSA+SHA1"), ("-tls1_2", "RSA+SHA224:ECDSA+SHA224"), ("-tls1_3", "ECDSA+SHA1")])
def test_no_weak_hash_signs_a_handshake(parts, version, sigalgs):
    p = parts.proxy(parts.backend())
    said = s_client(p.port, version, "-sigalgs", sigalgs, "-cipher", "ALL:@SECLEVEL=0")
    assert "Cipher is (NONE)" in said or "handshake failure" in said or "no suitable signature algorithm" in said, said
    if "no suitable" not in said:
        p.wait_failure("no_shared_sigalg")


@pytest.mark.parametrize("suite", ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256", "ECDHE-RSA-AES256-SHA", "DHE-RSA-AES128-GCM-SHA256", "AES256-SHA",
                                   "ECDHE-ECDSA-AES128-CCM", "PSK-AES128-GCM-SHA256"])
def test_no_suite_without_forward_secrecy_or_aead(parts, suite):
    p = parts.proxy(parts.backend())
    said = s_client(p.port, "-tls1_2", "-cipher", suite + ":@SECLEVEL=0", "-psk", "aabb")
    assert "Cipher is (NONE)" in said, said
    p.wait_failure("no_shared_suite")


def test_no_renegotiation_no_compression_extended_master_secret(parts):
    p = parts.proxy(parts.backend())
    said = s_client(p.port, "-tls1_2", "-comp", "-legacy_renegotiation")
    assert "Compression: NONE" in said and "Secure Renegotiation IS supported" in said and "Extended master secret: yes" in said, said
    c = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{p.port}", "-tls1_2"], input=b"R\n", capture_output=True)
    assert b"no renegotiation" in (c.stdout + c.stderr).lower(), c


def test_our_order_decides(parts):
    p = parts.proxy(parts.backend())
    said = s_client(p.port, "-tls1_2", "-cipher", ":".join(reversed(SUITES_12)))
    assert f"Cipher is {SUITES_12[0]}" in said
    said = s_client(p.port, "-tls1_3", "-ciphersuites", ":".join(reversed(SUITES_13)))
    assert f"Cipher is {SUITES_13[0]}" in said
    said = s_client(p.port, "-tls1_2", "-groups", "P-384:P-256:X25519")
    assert re.search("(Server|Peer) Temp Key: X25519", said), said


def test_names_of_the_registry_decide(parts):
    p = parts.proxy(parts.backend(), cipher_suites=["TLS_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"], groups=["secp384r1"])
    with connect(p.port, context(version=V13)) as c:
        says_echo(c)
        assert c.cipher()[0] == "TLS_CHACHA20_POLY1305_SHA256"
    with connect(p.port, context(version=V12)) as c:
        says_echo(c)
        assert c.cipher()[0] == "ECDHE-RSA-AES256-GCM-SHA384"
    assert {e["group"] for e in (p.wait_session(count=n) for n in (1, 2))} == {"secp384r1"}
    refused = context(version=V12, ciphers="ECDHE-ECDSA-AES128-GCM-SHA256")
    with pytest.raises(ssl.SSLError):
        connect(p.port, refused)
    p.wait_failure("no_shared_suite")


def openssl_has_mlkem():
    done = subprocess.run(["openssl", "list", "-kem-algorithms"], capture_output=True, text=True)
    return "X25519MLKEM768" in done.stdout


if openssl_has_mlkem():  # tools/test-openssl35 runs it with one that has

    @pytest.mark.parametrize("ours,theirs,group,hellos", [
        ([], "*X25519:*X25519MLKEM768", "X25519MLKEM768", 1),  # '*': with a key share
        ([], "*X25519:X25519MLKEM768", "X25519MLKEM768", 2),
        ([], "*X25519:P-256", "x25519", 1),
        ([], "*P-256:X25519", "secp256r1", 1),
        (["x25519", "X25519MLKEM768"], "*X25519MLKEM768:*X25519", "x25519", 1),
        (["x25519", "X25519MLKEM768"], "*X25519MLKEM768:X25519", "X25519MLKEM768", 1),
    ])
    def test_our_order_of_hybrid_and_other_groups_decides(parts, ours, theirs, group, hellos):
        p = parts.proxy(parts.backend(), groups=ours)
        said = s_client(p.port, "-tls1_3", "-groups", theirs, "-msg")
        assert p.wait_session()["group"] == group
        assert len(re.findall(r"^>>> .*ClientHello", said, re.M)) == hellos, said
