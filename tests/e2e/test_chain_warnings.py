"""Chains that are served although some clients fail with them: `check` and the log warn of them, and not of good ones."""
import datetime

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from support.clients import connect, context, says_echo
from support.client_pki import CLIENT, SERVER, now, pem
from support.pki import new_key, pem_of
from support.proxy import command


class Issuer:
    """Certificates of it; its own is in CERTIFICATE."""

    def __init__(self, name, parent=None, key=None, **options):
        self.key = key or new_key("p256")
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = (parent or self).sign(self.name, self.key.public_key(), is_ca=True, **options)

    def sign(self, subject, public_key, is_ca=False, days=(-30, 300), extensions=(), hash=hashes.SHA256()):
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(public_key)
                   .serial_number(x509.random_serial_number())
                   .not_valid_before(now() + datetime.timedelta(days=days[0])).not_valid_after(now() + datetime.timedelta(days=days[1]))
                   .add_extension(x509.BasicConstraints(is_ca, None), critical=True))
        for e in extensions:
            builder = builder.add_extension(e, critical=False)
        return builder.sign(self.key, hash)

    def leaf(self, *extensions, **options):
        """(certificate, key)"""
        key = new_key("p256")
        names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        return self.sign(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf")]), key.public_key(), extensions=[names, *extensions], **options), key


ROOT = Issuer("the root")
MIDDLE = Issuer("the middle", ROOT)
LOW = Issuer("the lower one", MIDDLE)
OTHER = Issuer("another root")
CROSS = Issuer("the root", OTHER, key=ROOT.key)  # ROOT, signed by OTHER


def key_usage(**what):
    every = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign",
             "encipher_only", "decipher_only")
    return x509.KeyUsage(**{name: what.get(name, False) for name in every})


def chain(issuer, *others, extensions=(), **options):
    certificate, key = issuer.leaf(*extensions, **options)
    return [certificate, *(o.certificate for o in others)], key


def selfsigned():
    key = new_key("p256")
    own = Issuer("localhost", key=key, extensions=[x509.SubjectAlternativeName([x509.DNSName("localhost")])])
    return [own.certificate], key


GOOD = {
    "whole": lambda: chain(MIDDLE, MIDDLE, ROOT),
    "root omitted": lambda: chain(MIDDLE, MIDDLE),
    "two intermediates": lambda: chain(LOW, LOW, MIDDLE),
    "directly under its root": lambda: chain(ROOT, ROOT),
    "cross-signed": lambda: chain(MIDDLE, MIDDLE, CROSS),
    "cross-signed, both roots": lambda: chain(MIDDLE, MIDDLE, CROSS, OTHER),
    "both forms of the root": lambda: chain(MIDDLE, MIDDLE, CROSS, ROOT),
    "self-signed": selfsigned,
    "any usage that has serverAuth": lambda: chain(ROOT, ROOT, extensions=[x509.ExtendedKeyUsage([CLIENT, SERVER])]),
    "signing": lambda: chain(ROOT, ROOT, extensions=[key_usage(digital_signature=True)]),
}
ODD = {
    "no intermediate": (lambda: chain(MIDDLE), 'the certificate of the issuer of certificate 1, "CN = the middle", is missing'),
    "no intermediate, but the root": (lambda: chain(MIDDLE, ROOT), 'the certificate of the issuer of certificate 1, "CN = the middle", is missing'),
    "a gap": (lambda: chain(LOW, LOW, ROOT), 'the certificate of the issuer of certificate 2, "CN = the middle", is missing'),
    "order": (lambda: chain(MIDDLE, ROOT, MIDDLE), 'certificate 2 of the file ("CN = the root") stands before the one that it issued'),
    "a stranger": (lambda: chain(MIDDLE, MIDDLE, ROOT, OTHER), 'certificate 4 of the file ("CN = another root") issued none of the others'),
    "leaf twice": (lambda: (lambda c: ([c[0][0], c[0][0], *c[0][1:]], c[1]))(chain(MIDDLE, MIDDLE)), 'certificate 2 of the file ("CN = leaf") issued none'),
    "must-staple": (lambda: chain(ROOT, ROOT, extensions=[x509.TLSFeature([x509.TLSFeatureType.status_request])]), "must-staple"),
    "for clients": (lambda: chain(ROOT, ROOT, extensions=[x509.ExtendedKeyUsage([CLIENT])]), "extendedKeyUsage without serverAuth"),
    "no signatures": (lambda: chain(ROOT, ROOT, extensions=[key_usage(key_encipherment=True)]), "keyUsage without digitalSignature"),
    "old intermediate": (lambda: chain(*[Issuer("old", ROOT, days=(-300, -1))] * 2), "certificate 2 of the chain expired on"),
    "early intermediate": (lambda: chain(*[Issuer("early", ROOT, days=(1, 300))] * 2), "certificate 2 of the chain is not valid before"),
}


def put(directory, made):
    certificates, key = made
    cert, key_file = directory / "leaf.pem", directory / "leaf.key"
    cert.write_bytes(b"".join(map(pem, certificates)))
    key_file.write_bytes(pem_of(key))
    key_file.chmod(0o600)
    return {"cert": str(cert), "key": str(key_file)}


def check(p, **options):
    status, out, err = command("check", p.config_file, **options)
    assert status == 0, out + err
    return [line for line in (out + err).splitlines() if "leaf.pem" in line]


@pytest.mark.parametrize("what", GOOD)
def test_nothing_is_said_of_good_chains(parts, directory, what):
    p = parts.prepare(parts.backend(), certificates=[put(directory, GOOD[what]())])
    assert check(p) == []


@pytest.mark.parametrize("what", ODD)
def test_odd_chains_are_reported_and_served(parts, directory, what):
    make, says = ODD[what]
    p = parts.proxy(parts.backend(), certificates=[put(directory, make())])
    assert any(says in line for line in check(p)), check(p)
    assert p.wait_event(level="warning", message=lambda t: "leaf.pem" in t and says in t)
    with connect(p.port, context()) as c:
        says_echo(c)


def test_they_are_reported_when_a_file_changes(parts, directory):
    p = parts.proxy(parts.backend(), certificates=[put(directory, GOOD["whole"]())])
    put(directory, ODD["no intermediate"][0]())
    assert p.wait_event(level="warning", message=lambda t: ODD["no intermediate"][1] in t)


def test_a_root_that_the_system_has_is_not_missed(parts, directory):
    (directory / "roots.pem").write_bytes(pem(ROOT.certificate))
    p = parts.prepare(parts.backend(), certificates=[put(directory, chain(ROOT))])
    assert any("is missing" in line for line in check(p, environment={"SSL_CERT_FILE": "/dev/null", "SSL_CERT_DIR": "/dev/null"}))
    assert check(p, environment={"SSL_CERT_FILE": str(directory / "roots.pem")}) == []


def test_an_intermediate_signed_by_sha1_is_refused(parts, directory):
    try:
        weak = Issuer("weak", ROOT, hash=hashes.SHA1())
    except UnsupportedAlgorithm as e:
        pytest.skip(f"cryptography signs no such certificate here: {e}")
    p = parts.prepare(parts.backend(), certificates=[put(directory, chain(weak, weak))])
    status, out, err = command("check", p.config_file)
    assert status == 1 and "leaf.pem: libssl refuses the certificate: ca md too weak" in out + err
