"""Keys and certificates in every form: what `check` takes is served in both versions, what it refuses never comes into use."""
import os
import pathlib
import ssl
import subprocess

import pytest

from support.clients import V12, V13, connect, context, says_echo
from support.proxy import command

REFUSED = "certificates refused, those in use stay: "


class Openssl:
    """Keys and self-signed certificates in a directory of the test's own, by the command line."""

    def __init__(self, directory):
        self.directory = directory / "keys"
        self.directory.mkdir()

    def __truediv__(self, name):
        return self.directory / name

    def __call__(self, *arguments):
        done = subprocess.run(["openssl", *map(str, arguments)], cwd=self.directory, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()

    def key(self, name, *options):
        self("genpkey", *options, "-out", name)

    def ec(self, name, curve, *form):
        """A key of CURVE; FORM as `openssl ec` takes it."""
        self("ecparam", "-name", curve, "-genkey", "-noout", "-out", "plain.key")
        self("ec", "-in", "plain.key", *form, "-out", name)

    def pair(self, key="a.key", cert="a.pem", new=None, **options):
        """A self-signed certificate of KEY; NEW replaces KEY as the file that the proxy reads."""
        self("req", "-x509", "-new", "-key", key, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "90",
             "-out", cert)
        (self / (new or key)).chmod(0o600)
        return {"cert": str(self / cert), "key": str(self / (new or key)), **options}


@pytest.fixture
def openssl(directory):
    return Openssl(directory)


def ec_form(curve, *form, key_too=True):
    def make(o):
        o.ec("a.key", curve, *form)
        return o.pair(new=None if key_too else "plain.key")
    return make


def wanted_second(o):
    """Two keys in one file."""
    o.ec("a.key", "prime256v1")
    o.ec("other.key", "prime256v1")
    (o / "both.key").write_bytes((o / "other.key").read_bytes() + (o / "a.key").read_bytes())
    return o.pair(new="both.key")


def wanted_behind_one_that_cannot_be_read(o):
    entry = wanted_second(o)
    (o / "both.key").write_bytes(b"-----BEGIN PRIVATE KEY-----\nMIIBAAAA\n-----END PRIVATE KEY-----\n" + (o / "a.key").read_bytes())
    return entry


def several_and_encrypted(o):
    entry = wanted_second(o)
    o("pkcs8", "-topk8", "-in", "a.key", "-passout", "pass:secret", "-out", "locked.key")
    (o / "both.key").write_bytes((o / "other.key").read_bytes() + (o / "locked.key").read_bytes())
    (o / "pass").write_text("secret\n")
    return {**entry, "passphrase": str(o / "pass")}


def rsa(*options):
    def make(o):
        o.key("a.key", "-algorithm", "RSA", *(x for option in options for x in ("-pkeyopt", option)))
        return o.pair()
    return make


def simple(algorithm, *options):
    def make(o):
        o.key("a.key", "-algorithm", algorithm, *(x for option in options for x in ("-pkeyopt", option)))
        return o.pair()
    return make


def cr_alone(o):
    entry = simple("ED25519")(o)
    for file in entry.values():
        data = pathlib.Path(file).read_bytes()
        pathlib.Path(file).write_bytes(data.replace(b"\n", b"\r"))
    return entry


def trusted(o):
    entry = simple("ED25519")(o)
    o("x509", "-in", "a.pem", "-trustout", "-addtrust", "serverAuth", "-out", "t.pem")
    return {**entry, "cert": str(o / "t.pem")}


SERVED = {
    **{f"{curve} {form}": ec_form(curve, "-conv_form", form) for curve in ("prime256v1", "secp384r1") for form in ("compressed", "hybrid")},
    "compressed certificate, plain key": ec_form("prime256v1", "-conv_form", "compressed", key_too=False),
    "curve spelt out": ec_form("prime256v1", "-param_enc", "explicit"),
    "wanted key second": wanted_second,
    "wanted key behind a broken one": wanted_behind_one_that_cannot_be_read,
    "wanted key second and encrypted": several_and_encrypted,
    "exponent of 64 bits": rsa("rsa_keygen_bits:2048", "rsa_keygen_pubexp:18446744073709551557"),
    "ed25519": simple("ED25519"),
    "lines that end by CR": cr_alone,
    "trusted certificate": trusted,
}


@pytest.mark.parametrize("what", SERVED)
def test_what_is_taken_is_served(parts, openssl, what):
    entry = SERVED[what](openssl)
    p = parts.proxy(parts.backend(), certificates=[entry])
    status, out, err = command("check", p.config_file)
    assert status == 0, out + err
    for version in (V12, V13):
        with connect(p.port, context(version=version)) as c:
            if what != "trusted certificate":
                assert c.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(pathlib.Path(entry["cert"]).read_text().replace("\r", "\n"))
            says_echo(c)


def mismatch(o):
    simple("ED25519")(o)
    o.key("other.key", "-algorithm", "ED25519")
    return {"cert": str(o / "a.pem"), "key": str(o / "other.key")}


def none_of_two(o):
    entry = wanted_second(o)
    o.ec("third.key", "prime256v1")
    (o / "both.key").write_bytes((o / "other.key").read_bytes() + (o / "third.key").read_bytes())
    return entry


def with_passphrase(o):
    entry = simple("ED25519")(o)
    o("pkcs8", "-topk8", "-in", "a.key", "-passout", "pass:secret", "-out", "locked.key")
    return {**entry, "key": str(o / "locked.key")}


NOT_SERVED = {
    "P-521": (ec_form("secp521r1"), "found an EC key on the curve secp521r1"),
    "P-521 compressed": (ec_form("secp521r1", "-conv_form", "compressed"), "found an EC key on the curve secp521r1"),
    "exponent of 65 bits": (rsa("rsa_keygen_bits:2048", "rsa_keygen_pubexp:18446744073709551629"), "public exponent of 65 bits, expected 2 to 64"),
    "three primes": (rsa("rsa_keygen_bits:2048", "rsa_keygen_primes:3"), "more than two primes"),
    "too small": (rsa("rsa_keygen_bits:1024"), "found an RSA key of 1024 bits"),
    "RSA-PSS": (simple("RSA-PSS", "rsa_keygen_bits:2048"), "found a key of type RSA-PSS"),
    "Ed448": (simple("ED448"), "found a key of type ED448"),
    "of another": (mismatch, "does not match"),
    "none of two": (none_of_two, "does not match"),
    "passphrase": (with_passphrase, "the key is encrypted, expected passphrase"),
}


@pytest.mark.parametrize("what", NOT_SERVED)
def test_what_is_not_served_is_refused_when_it_is_loaded(parts, openssl, pki, what):
    make, says = NOT_SERVED[what]
    entry = make(openssl)
    live = {"cert": openssl / "live.pem", "key": openssl / "live.key"}
    for k in live:
        live[k].write_bytes(pathlib.Path(pki.ecdsa[k]).read_bytes())
        live[k].chmod(0o600)
    p = parts.proxy(parts.backend(), certificates=[{k: str(f) for k, f in live.items()}])
    for k in live:  # half of it is refused, too, if it is seen before the other half is there
        pathlib.Path(entry[k]).chmod(0o600)
        os.replace(entry[k], live[k])
    p.wait_text(REFUSED + ".*" + says)
    status, out, err = command("check", p.config_file)
    assert status == 1 and says in out + err, out + err
    for version in (V12, V13):
        with connect(p.port, context(pki, version=version)) as c:
            says_echo(c)


# --- PEM blocks


def spoil(text, n, begin):
    """TEXT with the n-th begin of a block replaced."""
    at = -1
    for _ in range(n):
        at = text.index(b"-----BEGIN", at + 1)
    end = text.index(b"\n", at)
    return text[:at] + begin + text[end:]


NEAR = {
    "no-break space": b"\xc2\xa0-----BEGIN CERTIFICATE-----",
    "dash lost": b"----BEGIN CERTIFICATE-----",
    "dash lost behind": b"-----BEGIN CERTIFICATE----",
    "lower case": b"-----begin certificate-----",
    "dashes of an editor": "—BEGIN CERTIFICATE—".encode(),
}


@pytest.mark.parametrize("what", NEAR)
@pytest.mark.parametrize("where", ["chain", "ca"])
def test_what_looks_like_a_certificate_is_not_passed_over(parts, pki, directory, where, what):
    """The second block of two: the first alone would have been taken."""
    first = pathlib.Path(pki.ecdsa["cert"] if where == "chain" else pki.ca).read_bytes()
    file = directory / "two.pem"
    file.write_bytes(spoil(first + pki.ca.read_bytes(), 2, NEAR[what]))
    keys = {"certificates": [{"cert": str(file), "key": pki.ecdsa["key"]}]}
    if where == "ca":
        keys = {"client_auth": {"mode": "required", "ca": str(file)}}
    p = parts.prepare(parts.backend(), **keys)
    status, out, err = command("check", p.config_file)
    line = first.count(b"\n") + 1
    assert status == 1 and f"two.pem: block 2 (line {line}) cannot be read" in out + err, out + err


def test_an_intermediate_with_settings_of_trust_goes_out_with_its_leaf(parts, pki, directory):
    done = subprocess.run(["openssl", "x509", "-in", pki.ca, "-trustout"], capture_output=True, check=True)
    assert b"BEGIN TRUSTED CERTIFICATE" in done.stdout
    file = directory / "chain.pem"
    file.write_bytes(pathlib.Path(pki.ecdsa["cert"]).read_bytes() + done.stdout)
    p = parts.proxy(parts.backend(), certificates=[{"cert": str(file), "key": pki.ecdsa["key"]}])
    shown = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{p.port}", "-showcerts"], stdin=subprocess.DEVNULL,
                           capture_output=True).stdout
    assert shown.count(b"BEGIN CERTIFICATE") >= 2 and b"test authority" in shown


def test_blocks_that_nobody_takes_are_reported(parts, pki, directory):
    request = b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"
    file = directory / "chain.pem"
    file.write_bytes(pathlib.Path(pki.ecdsa["cert"]).read_bytes() + request)
    ca = directory / "ca.pem"
    ca.write_bytes(pki.ca.read_bytes() + request)
    p = parts.proxy(parts.backend(), certificates=[{"cert": str(file), "key": pki.ecdsa["key"]}],
                    client_auth={"mode": "optional", "ca": str(ca)})
    for name in ("chain.pem", "ca.pem"):
        assert p.wait_event(level="warning", message=lambda t: name + ": block 2 (line " in t and '"CERTIFICATE REQUEST", is not used' in t)
    status, out, err = command("check", p.config_file)
    assert status == 0 and (out + err).count('"CERTIFICATE REQUEST", is not used') == 2, out + err
