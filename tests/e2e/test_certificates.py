"""Certificates while the proxy runs: files change in every usual way, and whatever is wrong is logged and not used."""
import contextlib
import ctypes
import datetime
import os
import re
import resource
import shutil
import signal
import socket
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID

from support.backends import http_echo
from support.clients import V12, V13, connect, context, s_client, says_echo
from support.pki import new_key, pem_of
from support.proxy import command
from support.storm import Storm
from support.waiting import DEADLINE, until

CHANGED = r"certificates changed: .* set (\d+)"
KEYS_REFUSED = 33  # wire/control.h
REFUSED = "certificates refused, those in use stay: "


def name_of(c):
    return x509.load_der_x509_certificate(c.getpeercert(binary_form=True)).subject.rfc4514_string()


def served(p, name="localhost", version=None):
    """The subject of the certificate that a client gets."""
    with connect(p.port, context(version=version), name=name) as c:
        found = name_of(c)
        says_echo(c)
        c.unwrap()
    return found


def changed(p, number=2):
    """Set NUMBER is in use (1 is what the proxy was started with)."""
    p.wait_text(rf"certificates changed: .* set {number}\b")


def refused(p, phrase):
    p.wait_text(REFUSED + ".*" + phrase)


def lasting(p):
    """{role: [pids]} without the short-lived config role."""
    return {role: pids for role, pids in p.roles().items() if role not in (None, "config")}


def borrowed_control_socket(pid):
    """What code in the role PID could use: its socket to the supervisor."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(pid)
    fd = libc.syscall(438, pidfd, 3, 0)  # pidfd_getfd
    os.close(pidfd)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    return socket.socket(fileno=fd)


class Files:
    """A directory of the test's own, and the authority that signs its certificates."""

    def __init__(self, directory, pki):
        self.directory = directory / "certs"
        self.directory.mkdir()
        self.pki = pki

    def __truediv__(self, name):
        return self.directory / name

    def make(self, cn, kind="p256", **options):
        """(chain, key) as bytes: the leaf and its authority."""
        entry = self.pki.leaf("made", kind, [cn], **options)
        chain = open(entry["cert"], "rb").read() + self.pki.ca.read_bytes()
        return chain, open(entry["key"], "rb").read()

    def put(self, name, content):
        """Written beside and renamed over, as deployment tools do."""
        new = self.directory / (name + ".new~")
        new.write_bytes(content)
        new.chmod(0o600)
        os.replace(new, self.directory / name)

    def put_pair(self, cn, stem="a", **options):
        chain, key = self.make(cn, **options)
        self.put(stem + ".pem", chain)
        self.put(stem + ".key", key)
        return chain, key

    def entry(self, stem="a"):
        return {"cert": str(self.directory / (stem + ".pem")), "key": str(self.directory / (stem + ".key"))}


@pytest.fixture
def files(directory, pki):
    return Files(directory, pki)


@pytest.fixture
def web(parts, files):
    """A proxy with the pair "a", named "old"."""
    files.put_pair("old")
    return parts.proxy(parts.backend(), certificates=[files.entry()])


# --- ways in which files change


def test_renewal_touches_no_process_and_no_session(parts, files):
    files.put_pair("old")
    p = parts.proxy(parts.backend(), certificates=[files.entry()], top={"workers": 2})
    pids = lasting(p)
    with connect(p.port) as live:
        assert name_of(live) == "CN=old"
        says_echo(live)
        files.put_pair("new")
        changed(p)
        says_echo(live)
        assert served(p) == served(p, version=V12) == "CN=new"
        assert lasting(p) == pids
        says_echo(live)
        live.unwrap()
    assert not p.events(level="error")


def test_written_in_place(web, files):
    chain, key = files.make("new")
    (files / "a.key").write_bytes(key)
    (files / "a.pem").write_bytes(chain)
    changed(web)
    assert served(web) == "CN=new"


def test_both_in_one_file(parts, files):
    chain, key = files.make("old")
    files.put("a.pem", key + chain)
    p = parts.proxy(parts.backend(), certificates=[str(files.directory)])
    assert served(p) == "CN=old"
    chain, key = files.make("new", kind="rsa")
    files.put("a.pem", chain + key)
    changed(p)
    assert served(p) == "CN=new"


def kubernetes_version(files, number, cn):
    """A mounted secret's files of one version; only the link ..data says which one counts."""
    version = files / f"..version_{number}"
    version.mkdir()
    chain, key = files.make(cn)
    (version / "tls.crt").write_bytes(chain)
    (version / "tls.key").write_bytes(key)
    (files / "..data_tmp").symlink_to(version.name)
    os.replace(files / "..data_tmp", files / "..data")


@pytest.mark.parametrize("by_directory", [False, True])
def test_symlink_swap_as_kubernetes_does(parts, files, by_directory):
    kubernetes_version(files, 1, "old")
    for name in ("tls.crt", "tls.key"):
        (files / name).symlink_to("..data/" + name)
    entry = str(files.directory) if by_directory else {"cert": str(files / "tls.crt"), "key": str(files / "tls.key")}
    p = parts.proxy(parts.backend(), certificates=[entry])
    assert served(p) == "CN=old"
    kubernetes_version(files, 2, "new")
    shutil.rmtree(files / "..version_1")
    changed(p)
    assert served(p) == "CN=new"


def test_without_an_event_it_is_looked_at(parts, files, directory):
    """Through another hard link, in a directory that is not watched: the file's own directory has no event."""
    files.put_pair("old")
    other = directory / "elsewhere"
    other.mkdir()
    for name in ("a.pem", "a.key"):
        os.link(files / name, other / name)
    p = parts.proxy(parts.backend(), certificates=[files.entry()], top={"watch_interval": "1s"})
    chain, key = files.make("new")
    (other / "a.key").write_bytes(key)
    (other / "a.pem").write_bytes(chain)
    changed(p)
    assert served(p) == "CN=new"


def test_a_directory_grows_and_shrinks(parts, files):
    files.put_pair("first.test", "a")
    p = parts.proxy(parts.backend(), certificates=[str(files.directory) + "/"])
    assert served(p, "second.test") == "CN=first.test"
    files.put_pair("second.test", "b")
    changed(p)
    assert served(p, "second.test") == "CN=second.test"
    (files / "b.key").unlink()
    changed(p, 3)
    assert served(p, "second.test") == "CN=first.test"


def certbot_keeps(files, cn, number):
    """What certbot leaves: versions in archive/NAME, links to the newest in live/NAME, replaced one after the other."""
    archive, live = files / f"archive/{cn}", files / f"live/{cn}"
    archive.mkdir(parents=True, exist_ok=True)
    live.mkdir(parents=True, exist_ok=True)
    chain, key = files.make(cn)
    leaf, rest = chain.split(b"-----END CERTIFICATE-----\n", 1)
    leaf += b"-----END CERTIFICATE-----\n"
    for stem, content in (("cert", leaf), ("privkey", key), ("chain", rest), ("fullchain", chain)):
        (archive / f"{stem}{number}.pem").write_bytes(content)
        (archive / f"{stem}{number}.pem").chmod(0o600)
        (live / "link~").symlink_to(f"../../archive/{cn}/{stem}{number}.pem")
        os.replace(live / "link~", live / f"{stem}.pem")


def serial_of(p, name):
    with connect(p.port, context(), name=name) as c:
        found = x509.load_der_x509_certificate(c.getpeercert(binary_form=True))
        c.unwrap()
    return found.subject.rfc4514_string(), found.serial_number


@pytest.mark.parametrize("item", ["live", "live/", "live/*", "l?ve/[a-z]*/"])
def test_the_directory_of_certbot(parts, files, item):
    certbot_keeps(files, "a.test", 1)
    (files / "live/README").write_text("This directory contains your keys and certificates.\n")
    p = parts.proxy(parts.backend(), certificates=[str(files / item)])
    first = serial_of(p, "a.test")
    assert first[0] == "CN=a.test"
    certbot_keeps(files, "b.test", 1)  # another name
    until(lambda: served(p, "b.test") == "CN=b.test", "a certificate of a new directory")
    certbot_keeps(files, "a.test", 2)  # renewed
    until(lambda: serial_of(p, "a.test")[1] != first[1], "the renewed certificate")
    shutil.rmtree(files / "live/b.test")
    until(lambda: served(p, "b.test") == "CN=a.test", "a certificate taken away")


def test_the_directory_of_acme_sh(parts, files):
    """NAME_ecc/fullchain.cer and NAME.key, with NAME.cer and ca.cer beside them."""
    home = files / "www.test_ecc"
    home.mkdir()
    chain, key = files.make("www.test")
    for name, content in (("fullchain.cer", chain), ("www.test.cer", chain), ("ca.cer", chain), ("www.test.key", key)):
        (home / name).write_bytes(content)
    p = parts.proxy(parts.backend(), certificates=[str(files.directory)])
    assert served(p) == "CN=www.test"
    chain, key = files.make("new.test")
    (home / "www.test.key").write_bytes(key)
    (home / "fullchain.cer").write_bytes(chain)
    until(lambda: served(p) == "CN=new.test", "the renewed certificate")


def test_a_pattern_of_files(parts, files):
    files.put_pair("first.test", "a")
    chain, key = files.make("second.test")
    p = parts.proxy(parts.backend(), certificates=[str(files / "*.pem")])
    files.put("b.pem", chain + key)
    until(lambda: served(p, "second.test") == "CN=second.test", "one more file")
    (files / "a.pem").unlink()
    until(lambda: served(p, "first.test") == "CN=second.test", "one file less")
    (files / "b.pem").unlink()
    refused(p, "nothing matches this pattern")
    assert served(p) == "CN=second.test"


def test_what_did_not_change_is_not_reported(web, files):
    for name in ("a.pem", "a.key"):
        files.put(name, (files / name).read_bytes())
    (files / "unrelated").write_text("x")
    files.put_pair("new")
    web.wait_text(CHANGED)
    assert served(web) == "CN=new"
    assert not web.events(level="error")


# --- what is wrong


def mismatch(files):
    files.put("a.key", files.make("new")[1])


def broken_pem(files):
    files.put("a.pem", b"-----BEGIN CERTIFICATE-----\nMIIBAAAA\n-----END CERTIFICATE-----\n")


def broken_key(files):
    files.put("a.key", b"-----BEGIN PRIVATE KEY-----\nMIIBAAAA\n-----END PRIVATE KEY-----\n")


def empty_certificate(files):
    files.put("a.pem", b"")


def empty_key(files):
    files.put("a.key", b"")


def missing_certificate(files):
    (files / "a.pem").unlink()


def missing_key(files):
    (files / "a.key").unlink()


def a_directory(files):
    (files / "a.key").unlink()
    (files / "a.key").mkdir()


def unreadable(files):
    (files / "a.key").unlink()
    os.mkfifo(files / "a.key")


def weak_key(files):
    files.put_pair("new", kind="weak")


def swapped(files):
    chain, key = files.make("new")
    files.put("a.pem", key)
    files.put("a.key", chain)


FAULTS = [
    (mismatch, r"a\.key: the key does not match the certificate|a\.key: .*expected"),
    (broken_pem, r"a\.pem: certificate 1 of the file cannot be read"),
    (broken_key, r"a\.key: the private key cannot be read"),
    (empty_certificate, r"a\.pem: the file is empty"),
    (empty_key, r"a\.key: the file is empty"),
    (missing_certificate, r"a\.pem: cannot be opened: No such file"),
    (missing_key, r"a\.key: cannot be opened: No such file"),
    (a_directory, r"a\.key: found a directory"),
    (unreadable, r"a\.key: found a FIFO"),
    (weak_key, r"a\.pem: found an RSA key of 1024 bits, expected 2048 or more"),
    (swapped, r"a\.pem: found no certificate"),
]


@pytest.fixture
def weak_keys(monkeypatch):
    from support import pki

    real = pki.new_key
    monkeypatch.setattr(pki, "new_key", lambda kind: rsa.generate_private_key(65537, 1024) if kind == "weak" else real(kind))


@pytest.mark.parametrize("spoil,phrase", FAULTS, ids=[f.__name__ for f, _ in FAULTS])
def test_a_bad_set_is_refused_and_the_last_good_stays(web, files, weak_keys, spoil, phrase):
    pids = lasting(web)
    spoil(files)
    refused(web, phrase)
    assert served(web) == "CN=old"
    for name in ("a.pem", "a.key"):
        if (files / name).is_dir():
            (files / name).rmdir()
        (files / name).unlink(missing_ok=True)
    files.put_pair("new")
    changed(web)
    assert served(web) == "CN=new"
    assert lasting(web) == pids


@pytest.mark.parametrize("spoil,phrase", FAULTS, ids=[f.__name__ for f, _ in FAULTS])
def test_a_bad_set_at_the_start(parts, files, weak_keys, spoil, phrase):
    """`check` reports it, and the proxy does not start."""
    files.put_pair("old")
    spoil(files)
    p = parts.prepare(parts.backend(), certificates=[files.entry()])
    status, _, said = command("check", p.config_file)
    assert status == 1
    assert "config.toml:" in said and "service.web.certificates" in said
    assert re.search(phrase, said), said
    p.wants_ready = False
    p.expected_status = 1
    p.start()
    assert p.wait_exit() == 1
    assert re.search(phrase, p.text()), p.text()


def test_a_directory_vanishes_and_comes_back(parts, files):
    files.put_pair("old")
    p = parts.proxy(parts.backend(), certificates=[str(files.directory)])
    away = files.directory.with_name("away")
    files.directory.rename(away)
    refused(p, "certs: the directory cannot be read: No such file")
    assert served(p) == "CN=old"
    away.rename(files.directory)
    files.put_pair("new")
    changed(p)
    assert served(p) == "CN=new"


def test_half_a_renewal_waits_for_the_other_half(web, files):
    """A certificate whose key arrives much later: logged, and used once the key is there."""
    chain, key = files.make("new")
    files.put("a.pem", chain)
    refused(web, r"a\.key")
    assert served(web) == "CN=old"
    files.put("a.key", key)
    changed(web)
    assert served(web) == "CN=new"


def test_one_bad_pair_of_many_refuses_them_all(parts, files):
    files.put_pair("first.test", "a")
    files.put_pair("second.test", "b")
    p = parts.proxy(parts.backend(), certificates=[str(files.directory)])
    files.put("a.key", b"")
    files.put_pair("changed.test", "b")
    refused(p, r"a\.key: the file is empty")
    assert served(p, "second.test") == "CN=second.test"
    assert served(p, "changed.test") == "CN=first.test"


# --- what is used, with a warning


def test_expired_and_not_yet_valid_are_taken_with_a_warning(parts, files):
    files.put_pair("old", days=-1)
    p = parts.proxy(parts.backend(), certificates=[files.entry()])
    assert p.wait_text(r"a\.pem: certificate 1 of the chain expired on ")
    assert served(p) == "CN=old"

    key, now = new_key("p256"), datetime.datetime.utcnow()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "new")])
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=subject, public_key=key.public_key(), serial_number=7)
    builder = builder.not_valid_before(now + datetime.timedelta(days=2)).not_valid_after(now + datetime.timedelta(days=90))
    files.put("a.pem", builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    files.put("a.key", pem_of(key))
    p.wait_text(r"a\.pem: certificate 1 of the chain is not valid before ")
    changed(p)
    assert served(p) == "CN=new"


def test_soon_to_expire_is_reported_at_the_start_and_at_a_change(parts, files):
    files.put_pair("old", days=3)
    p = parts.proxy(parts.backend(), certificates=[files.entry()])
    assert p.wait_event(level="warning", message=lambda t: "a.pem: certificate 1 of the chain expires on " in t and re.search("in [23] days", t))
    files.put_pair("new", days=8)
    assert p.wait_event(level="warning", message=lambda t: "a.pem: certificate 1 of the chain expires on " in t and re.search("in [78] days", t))


def test_a_name_of_two_certificates_is_reported(parts, files):
    files.put_pair("same.test", "a")
    files.put_pair("same.test", "b")
    files.put_pair("same.test", "c", kind="rsa")  # another kind of key: both serve the name
    p = parts.prepare(parts.backend(), certificates=[str(files.directory)])
    status, _, said = command("check", p.config_file)
    assert status == 0
    assert "b.pem: the name same.test is served by" in said and "a.pem, which comes first" in said
    assert "c.pem" not in said
    p.start()
    assert served(p, "same.test") == "CN=same.test"


# --- choosing


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_the_kind_of_key_follows_what_the_client_offers(parts, files, version):
    for stem, kind in (("a", "p256"), ("b", "rsa"), ("c", "ed25519")):
        files.put_pair("same.test", stem, kind=kind)
    p = parts.proxy(parts.backend(), certificates=[str(files.directory)])
    for sigalgs, kind in (("ecdsa_secp256r1_sha256", "ECDSA"), ("rsa_pss_rsae_sha256", "RSA-PSS"), ("ed25519", "ed25519")):
        c = s_client(p.port, version, "-servername", "same.test", "-sigalgs", sigalgs)
        c.wait_for("Peer signature type: ")
        _, said = c.end()
        assert any(f"Peer signature type: {name}" in said for name in (kind, sigalgs))  # OpenSSL 3.0; 3.5


def test_names_beyond_ascii(parts, files):
    files.put_pair("first.test", "a")
    key = new_key("p256")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bücher.test")])  # no alternative names: this one counts
    certificate = files.pki._sign(subject, key.public_key(), [], 30)
    files.put("b.pem", certificate.public_bytes(serialization.Encoding.PEM))
    files.put("b.key", pem_of(key))
    files.put_pair("xn--fa-hia.test", "c")
    p = parts.proxy(parts.backend(), certificates=[str(files.directory)], strict_sni=True)
    assert served(p, "xn--bcher-kva.test") == "CN=bücher.test"
    assert served(p, "xn--fa-hia.test") == "CN=xn--fa-hia.test"


def test_the_chain_goes_out_as_configured(web, files):
    c = s_client(web.port, "-showcerts")
    c.wait_for("test authority")
    status, said = c.end()
    chain = (files / "a.pem").read_text()
    sent = said if isinstance(said, str) else said.decode()
    for block in chain.split("-----END CERTIFICATE-----")[:2]:
        assert block.split("-----BEGIN CERTIFICATE-----")[1].strip() in sent


# --- processes that start and end


@pytest.mark.parametrize("role", ["handshaker", "signer"])
def test_a_process_started_again_has_the_present_set(web, files, role):
    web.allow_killed_roles = True
    files.put_pair("new")
    changed(web)
    (pid,) = web.roles()[role]
    os.kill(pid, signal.SIGKILL)
    until(lambda: web.roles().get(role, [pid]) != [pid], f"another {role}")
    web.wait_text(rf"{role}\.0 serves again")
    assert served(web) == "CN=new"
    files.put_pair("newer")
    changed(web, 3)
    assert served(web) == "CN=newer"


def die_often(p, times):
    """The signer, until it is not started again for a while."""
    for i in range(times):
        (pid,) = until(lambda: p.roles().get("signer"), "a signer")
        until(lambda: served(p) == "CN=old", "that it signs")
        os.kill(pid, signal.SIGKILL)
        until(lambda: pid not in p.roles().get("signer", []), "its end")
    p.wait_text(r"signer.0 .* restarting it in (400|800|1600) ms")


def test_a_change_while_the_signer_is_gone(web, files):
    """It comes back to files with other keys than those of the set in use: it takes the new set, and is not stuck with the old one."""
    web.allow_killed_roles = True
    die_often(web, 4)
    files.put_pair("new")
    changed(web)
    until(lambda: served(web) == "CN=new", "the new pair")
    files.put_pair("newer")
    changed(web, 3)
    assert served(web) == "CN=newer"


def stores(p):
    """How many sets the supervisor holds: two while signers take one."""
    return len([fd for fd in os.listdir(f"/proc/{p.pid}/fd") if "tls-off-creds" in os.readlink(f"/proc/{p.pid}/fd/{fd}")])


def stopped_while_a_set_is_taken(p, change):
    """The pids of the signers, the last of which is stopped, so that the set that CHANGE makes is not in use yet."""
    pids = p.roles()["signer"]
    before = stores(p)
    os.kill(pids[-1], signal.SIGSTOP)
    change()
    until(lambda: stores(p) == before + 1 and "config" not in p.roles(), "a set that is being taken")
    return pids


def killed(p, pid):
    """Until there is another signer for it."""
    n = len(p.roles()["signer"])
    os.kill(pid, signal.SIGKILL)
    until(lambda: pid not in p.roles().get("signer", [pid]) and len(p.roles()["signer"]) == n, "another signer")


@pytest.mark.parametrize("workers", [1, 2])
def test_signers_that_die_while_a_set_is_taken(parts, files, workers):
    """The keys in use are still on disk: those that come back have them, and no handshake fails."""
    files.put_pair("first.test", "a")
    p = parts.proxy(parts.backend(), certificates=[str(files.directory) + "/"], top={"workers": workers})
    p.allow_killed_roles = True
    storm = Storm(p.port, [context(version=V12), context(version=V13)])
    try:
        storm.wait(20)
        pids = stopped_while_a_set_is_taken(p, lambda: files.put_pair("second.test", "b"))
        killed(p, pids[0])
        if workers == 2:
            storm.wait(40)
            (again,) = set(p.roles()["signer"]) - set(pids)
            killed(p, again)
            storm.wait(40)
            assert served(p, "second.test") == "CN=first.test"  # that set is still in use
            os.kill(pids[1], signal.SIGCONT)
        changed(p)
        assert served(p, "second.test") == "CN=second.test"
        storm.wait(40)
    finally:
        storm.end()
    assert not storm.failed, storm.failed[:3]
    assert "cannot serve" not in p.text()


def test_a_signer_that_comes_back_to_other_keys_while_a_set_is_taken(parts, files):
    """It has the next set only: what began with the one in use goes to the other signer, and waits while that one is stopped."""
    files.put_pair("old")
    p = parts.proxy(parts.backend(), certificates=[files.entry()], top={"workers": 2})
    p.allow_killed_roles = True
    storm = Storm(p.port, [context(version=V12), context(version=V13)])
    try:
        storm.wait(20)
        pids = stopped_while_a_set_is_taken(p, lambda: files.put_pair("new"))
        os.kill(pids[0], signal.SIGKILL)
        p.wait_text(r"signer\.\d cannot serve: .*a\.key")
        p.wait_text(r"signer\.\d does not have the keys in use yet: full handshakes")
        os.kill(pids[1], signal.SIGCONT)
        changed(p)
        storm.wait(40)
        assert served(p) == "CN=new"
    finally:
        storm.end()
    assert not storm.failed, storm.failed[:3]


def test_a_bad_change_while_the_signer_is_gone(web, files):
    """The new set is refused by the one signer that there is: it is given the old one again."""
    web.allow_killed_roles = True
    die_often(web, 4)
    chain, _ = files.make("new")
    files.put("a.pem", chain)  # without its key
    refused(web, r"a\.key")
    until(lambda: served(web) == "CN=old", "the old pair")
    assert web.roles()["signer"]


def test_changes_before_and_after_a_reload(web, files):
    files.put_pair("new")
    changed(web)
    web.signal(signal.SIGHUP)
    web.wait_text("reload done")
    assert served(web) == "CN=new"
    files.put_pair("newer")
    changed(web)  # a new generation counts from 1
    until(lambda: served(web) == "CN=newer", "the newer certificate")


# --- OCSP


def response(files, chain, status=ocsp.OCSPCertStatus.GOOD, seconds=3600):
    """A response of the authority about a chain's leaf, as DER."""
    leaf, issuer = (x509.load_pem_x509_certificate(b + b"-----END CERTIFICATE-----\n")
                    for b in chain.split(b"-----END CERTIFICATE-----\n")[:2])
    now = datetime.datetime.utcnow()
    revoked = now - datetime.timedelta(days=1) if status == ocsp.OCSPCertStatus.REVOKED else None
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=leaf, issuer=issuer, algorithm=hashes.SHA1(), cert_status=status, this_update=now - datetime.timedelta(hours=1),
        next_update=now + datetime.timedelta(seconds=seconds), revocation_time=revoked, revocation_reason=None)
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, issuer)
    return builder.sign(files.pki.ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def stapled(p, version="-tls1_3"):
    c = s_client(p.port, version, "-status", "-servername", "localhost")
    c.wait_for("OCSP response:")
    _, said = c.end()
    said = said if isinstance(said, str) else said.decode(errors="replace")
    assert ("Cert Status: good" in said) != ("OCSP response: no response sent" in said), said
    return "Cert Status: good" in said


@pytest.mark.parametrize("name", ["a.ocsp", "a.pem.ocsp"])
def test_a_response_is_stapled_for_who_asks(parts, files, name):
    chain, _ = files.put_pair("localhost")
    files.put(name, response(files, chain))
    p = parts.proxy(parts.backend(), certificates=[files.entry()])
    for version in ("-tls1_2", "-tls1_3"):
        assert stapled(p, version)
        c = s_client(p.port, version, "-servername", "localhost")
        c.wait_for("Verify return code")
        _, said = c.end()
        assert "OCSP Response" not in (said if isinstance(said, str) else said.decode(errors="replace"))
    assert not p.events(level="warning", message=lambda t: "ocsp" in t)


def test_curl_and_gnutls_believe_the_response(parts, files):
    chain, _ = files.put_pair("localhost")
    files.put("a.ocsp", response(files, chain))
    p = parts.proxy(parts.backend(http_echo), certificates=[files.entry()])
    done = subprocess.run(["curl", "-sv", "--cacert", files.pki.ca, "--cert-status", f"https://localhost:{p.port}/"],
                          capture_output=True, text=True, timeout=DEADLINE)
    assert "SSL certificate status: good (0)" in done.stderr, done.stderr
    done = subprocess.run(["gnutls-cli", "--x509cafile", files.pki.ca, "-p", str(p.port), "--sni-hostname=localhost", "localhost"],
                          input="", capture_output=True, text=True, timeout=DEADLINE)
    assert "OCSP" in done.stdout and "Status: The certificate is trusted" in done.stdout, done.stdout


def revoked_response(files, chain):
    return response(files, chain, ocsp.OCSPCertStatus.REVOKED)


def old_response(files, chain):
    return response(files, chain, seconds=-60)


def response_of_another(files, chain):
    return response(files, files.make("localhost")[0])


def junk(files, chain):
    return b"no response at all"


WRONG = [(revoked_response, 'found status "revoked", expected "good"'), (old_response, "the response ended on "),
         (response_of_another, "is not about the certificate in"), (junk, "found no OCSP response")]


@pytest.mark.parametrize("make,phrase", WRONG, ids=[m.__name__ for m, _ in WRONG])
def test_a_wrong_response_is_reported_once_and_not_stapled(parts, files, make, phrase):
    chain, _ = files.put_pair("localhost")
    files.put("a.ocsp", make(files, chain))
    p = parts.proxy(parts.backend(), certificates=[files.entry()], top={"watch_interval": "1s"})
    warning = {"level": "warning", "message": lambda t: "a.ocsp: " in t and phrase in t and "it is not stapled" in t}
    assert p.wait_event(**warning)
    assert not stapled(p) and not stapled(p, "-tls1_2")
    files.put("a.ocsp", response(files, chain))
    changed(p)
    assert stapled(p)
    assert len(p.events(**warning)) == 1


def test_a_response_that_ends_is_not_stapled_any_more(parts, files):
    chain, _ = files.put_pair("localhost")
    files.put("a.ocsp", response(files, chain, seconds=15))
    p = parts.proxy(parts.backend(), certificates=[files.entry()], top={"watch_interval": "1s"})
    assert stapled(p)
    p.wait_text(r"a\.pem: the OCSP response for it has ended; it is not stapled any more", deadline=DEADLINE + 15)
    assert not stapled(p)


# --- which role may report them, and what is tried again


def test_a_refusal_by_another_role_than_the_signer_ends_that_role(parts, files):
    """A compromised relay reports that keys are refused; the certificates change all the same."""
    files.put_pair("old")
    p = parts.proxy(parts.backend(), certificates=[files.entry()])
    p.allow_killed_roles = True
    relay = p.roles()["relay"][0]
    with borrowed_control_socket(relay) as control, contextlib.suppress(BrokenPipeError):  # it is killed for the first one
        for number in range(2, 6):
            control.send(KEYS_REFUSED.to_bytes(2, "big") + number.to_bytes(4, "big") + b"no")
    files.put_pair("new")
    changed(p)
    p.wait_text(rf"relay\.0 \(pid {relay}\) broke the rules with a message \(KEYS_REFUSED\)")
    p.wait_text(r"relay\.0 serves again")
    assert served(p) == "CN=new"
    assert not any(REFUSED in line for line in p.lines)


def test_a_refused_set_is_tried_again_though_no_file_changes(parts, files):
    files.put_pair("old")
    p = parts.proxy(parts.backend(), certificates=[files.entry()], top={"watch_interval": "1s"})
    soft, hard = resource.prlimit(p.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(p.pid, resource.RLIMIT_NOFILE, (3, hard))  # the supervisor cannot open files
    files.put_pair("new")
    refused(p, "Too many open files")
    resource.prlimit(p.pid, resource.RLIMIT_NOFILE, (soft, hard))
    p.wait_text("certificates changed")
    assert served(p) == "CN=new"


# --- whose files


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
@pytest.mark.parametrize("what", ["key", "passphrase", "secret"])
def test_secrets_of_another_user_are_refused(parts, files, what):
    """By check, by a start, and by a renewal, which leaves what is in use."""
    chain, key = files.make("old")
    phrase, secret = files / "phrase", files / "ticket.secret"
    phrase.write_text("open\n")
    secret.write_bytes(os.urandom(48))
    secret.chmod(0o600)
    key = serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"open"))
    files.put("a.pem", chain)
    files.put("a.key", key)
    victim = {"key": files / "a.key", "passphrase": phrase, "secret": secret}[what]
    entry = {**files.entry(), "passphrase": str(phrase)}
    p = parts.prepare(parts.backend(), certificates=[entry], top={"tickets": {"secret_file": str(secret)}})
    status, out, err = command("check", p.config_file)
    assert status == 0, out + err
    os.chown(victim, 65534, 65534)
    wanted = rf"{re.escape(str(victim))}\"?:? .*owned by user 65534, expected root"
    status, out, err = command("check", p.config_file)
    assert status == 1 and re.search(wanted, out + err), out + err
    status, out, err = command("run", p.config_file)
    assert status == 1 and re.search(wanted, out + err), out + err
    os.chown(victim, 0, 0)
    p.start()
    os.chown(victim, 65534, 65534)
    p.signal(signal.SIGHUP)
    p.wait_text("reload refused.*owned by user 65534")
    if what == "key":
        files.put("a.key", key)
        os.chown(files / "a.key", 65534, 65534)
        refused(p, "owned by user 65534")
    assert served(p) == "CN=old"
