"""Certificates from ACME issuers: the first one, renewals, other issuers, faults of issuers, roles that die; with Debian's pebble."""
import functools
import http.client
import http.server
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from support import acme, memory, processes
from support.clients import connect, context, free_port, says_echo
from support.proxy import SANITIZED, command
from support.waiting import DEADLINE, until

NAMES = ["a.example.org", "b.example.org"]


class Site:
    """One service that wants certificates from pebble, and what goes with it."""

    def __init__(self, parts, issuers=1, names=None, service=None, log="info", prepare=None, eab_keys=None, section=None, **issuer):
        self.parts, self.port, self.http_port = parts, free_port(), free_port()
        self.pebbles = [acme.Pebble(parts, self.port, http_port=self.http_port, eab=eab_keys) for _ in range(issuers)]
        self.pebble, self.front = self.pebbles[0], self.pebbles[0].front
        sections = {f"p{i}": p.issuer(parts, **issuer) for i, p in enumerate(self.pebbles)}
        table = {"listen": [f"127.0.0.1:{self.port}"], "backends": [parts.backend().url],
                 "acme": {"issuers": list(sections), "names": names or NAMES}, **(service or {})}
        section = {k: v(self) if callable(v) else v for k, v in (section or {}).items()}
        self.p = parts.prepare(services={"web": table}, top={"acme": {**section, "issuer": sections}}, log={"level": log})
        self.p.allow_lost_lines = True  # of a storm's clients, resets are logged as a number
        self.state = self.p.directory / "state" / "acme"
        if prepare:
            prepare(self)

    def start(self):
        self.p.start()
        return self

    def served(self, name=NAMES[0], **options):
        """The certificate that a client gets."""
        with connect(self.port, context(**options), name=name) as c:
            return x509.load_der_x509_certificate(c.getpeercert(True))

    def trusted(self, name=NAMES[0]):
        """Whether a client of the issuer's gets a certificate that it believes."""
        try:
            with connect(self.port, self.pebble.trusts(), name=name) as c:
                says_echo(c)
            return True
        except ssl.SSLCertVerificationError:
            return False

    def wait_trusted(self, name=NAMES[0]):
        until(lambda: self.trusted(name), lambda: f"a certificate of pebble:\n{self.p.text()}")

    def installed(self, count=1):
        self.p.wait_text(r"a certificate from \w+ is installed")
        until(lambda: len([line for line in self.p.lines if "is installed" in line]) >= count, lambda: f"{count} certificates:\n{self.p.text()}")


class Storm:
    """Handshakes and echoes by several clients until ended; none may fail."""

    def __init__(self, port, threads=3):
        self.port, self.ended, self.done, self.failed = port, threading.Event(), 0, []
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(threads)]
        for t in self.threads:
            t.start()

    def run(self, i):
        while not self.ended.is_set():
            try:
                with connect(self.port, context(), name=NAMES[i % 2]) as c:
                    says_echo(c)
                self.done += 1
            except (OSError, AssertionError) as e:
                self.failed.append(repr(e))

    def wait(self, n):
        goal = self.done + n
        until(lambda: self.done >= goal or self.failed, "handshakes")

    def end(self):
        self.ended.set()
        for t in self.threads:
            t.join(DEADLINE)
        assert not self.failed, self.failed[:3]
        assert self.done


def names_of(certificate):
    san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return sorted(san.get_values_for_type(x509.DNSName)) + sorted(str(a) for a in san.get_values_for_type(x509.IPAddress))


# --- the first certificate


def test_it_serves_at_once_and_changes_over_under_load(parts):
    gate = threading.Event()

    def hold(site):
        site.front.fault = lambda method, path: gate.wait(DEADLINE) and None

    site = Site(parts, prepare=hold).start()
    first = site.served()
    assert first.issuer == first.subject, "self-signed until there is another"
    assert set(NAMES) <= set(names_of(first))
    storm = Storm(site.port)
    storm.wait(20)
    gate.set()
    site.wait_trusted()
    storm.wait(20)
    storm.end()
    assert names_of(site.served()) == NAMES
    assert len(site.front.orders) == 1
    assert not site.p.events("session", service="acme.tls-alpn-01", backend_end=lambda end: end != "close"), "validators ended well"
    files = site.state / "certificates" / "web.ecdsa-p256"
    assert os.readlink(files / "current") == "1"
    assert (files / "key.pem").stat().st_mode & 0o777 == 0o600
    assert not (files / "next.key").exists()


def test_a_restart_orders_nothing(parts):
    site = Site(parts).start()
    site.wait_trusted()
    site.p.stop()
    site.p.start()
    site.wait_trusted()
    site.p.wait_text("ready: ")
    assert len(site.front.orders) == 1


def test_addresses_and_two_kinds_of_keys(parts):
    site = Site(parts, names=["a.example.org", "127.0.0.1"], keys=["ecdsa-p256", "rsa-2048"]).start()
    site.installed(2)
    ecdsa = until(lambda: (c := site.served(ciphers="ECDHE+ECDSA", version=ssl.TLSVersion.TLSv1_2)).issuer != c.subject and c, "an ECDSA certificate")
    rsa = until(lambda: (c := site.served(ciphers="ECDHE+aRSA", version=ssl.TLSVersion.TLSv1_2)).issuer != c.subject and c, "an RSA certificate")
    assert names_of(ecdsa) == names_of(rsa) == ["a.example.org", "127.0.0.1"]
    assert rsa.public_key().key_size == 2048 and ecdsa.public_key().key_size == 256


def test_external_account_binding(parts):
    key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    file = parts.directory / "eab.key"
    file.write_text(key + "\n")
    site = Site(parts, eab_keys={"kid-1": key}, eab={"kid": "kid-1", "key_file": str(file)}).start()
    site.wait_trusted()


# --- the keys


@pytest.mark.skipif(os.geteuid() != 0, reason="reading other processes' memory needs root")
@pytest.mark.skipif(SANITIZED, reason="a sanitizer's shadow memory is terabytes, and it keeps what was freed")
def test_private_keys_are_in_signers_and_keymaker_only(parts):
    site = Site(parts).start()
    site.wait_trusted()
    needles = {}
    for file in ["certificates/web.ecdsa-p256/key.pem", "accounts/p0.key"]:
        key = serialization.load_pem_private_key((site.state / file).read_bytes(), None)
        number = key.private_numbers().private_value
        needles[f"{file} big-endian"] = number.to_bytes(32, "big")
        needles[f"{file} little-endian"] = number.to_bytes(32, "little")
        needles[f"{file} text"] = (site.state / file).read_bytes().splitlines()[1]
    roles = set()
    for pid in site.p.pids():
        role = processes.role_of(pid) or "supervisor"
        found, looked = memory.search(pid, needles)
        assert looked > 1 << 20
        roles.add(role)
        if role == "signer":
            assert any("key.pem" in f for f in found), "else this test looks in the wrong way"
            assert not any("accounts" in f for f in found)
        elif role != "keymaker":
            assert not found, f"{role} holds {found}"
    assert {"acme", "keymaker", "signer", "relay", "handshaker", "observer", "supervisor"} <= roles


def test_who_may_read_the_keys(parts):
    site = Site(parts).start()
    site.wait_trusted()
    for pid in site.p.roles()["acme"] + site.p.roles()["keymaker"]:
        names = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        assert not [n for n in names if ".key" in n or "key.pem" in n], names
    for pid in site.p.roles()["keymaker"]:
        inodes = processes.socket_inodes(pid)
        internet = "".join(open(f"/proc/{pid}/net/{kind}").read() for kind in ("tcp", "tcp6", "udp", "udp6"))
        assert not [i for i in inodes if re.search(rf"\b{i}\b", internet)]


# --- validators


def alpn_alert(port, name, protocols):
    ctx = context(alpn=protocols)
    with pytest.raises(ssl.SSLError) as e:
        connect(port, ctx, name=name).close()
    return str(e.value)


def test_nobody_is_validated_who_was_not_asked_for(parts):
    site = Site(parts).start()
    site.wait_trusted()
    assert "ALERT_NO_APPLICATION_PROTOCOL" in alpn_alert(site.port, NAMES[0], ["acme-tls/1"]).upper().replace(" ", "_")
    with connect(site.port, context(alpn=["acme-tls/1", "http/1.1"]), name=NAMES[0]) as c:  # an ordinary client
        says_echo(c)


def test_the_door_for_another_client(parts):
    door = parts.backend()
    p = parts.proxy(parts.backend(), top={"acme_tls": door.url})
    with socket.create_connection(("127.0.0.1", p.port)) as s:  # undecrypted: what comes back is what was sent
        hello = client_hello(["acme-tls/1"], "localhost")
        s.sendall(hello)
        s.settimeout(DEADLINE)
        got = b""
        while len(got) < len(hello):
            got += s.recv(65536)
    assert got == hello
    with connect(p.port) as c:
        says_echo(c)


def client_hello(protocols, name):
    ctx = context(alpn=protocols)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ctx.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def test_a_passthrough_service_keeps_its_own_validators(parts):
    own = parts.backend()
    site = Site(parts, service={}).start()
    site.wait_trusted()
    site.p.stop()
    text = site.p.config_file.read_text()
    site.p.config_file.write_text(text + f'[service.other]\nlisten = ["127.0.0.1:{site.port}"]\nbackends = ["{own.url}"]\nmode = "passthrough"\n'
                                  'names = ["own.example.org"]\n')
    site.p.start()
    hello = client_hello(["acme-tls/1"], "own.example.org")
    with socket.create_connection(("127.0.0.1", site.port)) as s:
        s.sendall(hello)
        s.settimeout(DEADLINE)
        assert s.recv(len(hello)) == hello[:len(hello)]


# --- http-01


HTTP = {"http": lambda site: [f"127.0.0.1:{site.http_port}"]}


def http_get(port, path, method="GET", host="a.example.org"):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    c.request(method, path, headers={"Host": host})
    r = c.getresponse()
    return r.status, r.getheader("Location"), r.read()


def test_http_01_by_an_address_of_our_own(parts):
    site = Site(parts, section=HTTP, challenges=["http-01"]).start()
    idle = [socket.create_connection(("127.0.0.1", site.http_port)) for _ in range(100)]
    for s in idle:
        s.sendall(b"G")  # says no more: keeps nobody out
    site.wait_trusted()
    assert len(site.front.orders) == 1 and site.p.wait_session(service="acme.http-01", client_end="close")
    assert not site.p.events("session", service="acme.tls-alpn-01")
    for s in idle:
        s.close()
    assert http_get(site.http_port, "/")[0] == 404
    assert http_get(site.http_port, "/.well-known/acme-challenge/unknown")[0] == 404
    assert http_get(site.http_port, "/", method="POST")[0] == 400
    with pytest.raises(OSError):
        connect(site.http_port, context(), name=NAMES[0])


def test_what_is_no_challenge_goes_to_https(parts):
    site = Site(parts, section={**HTTP, "redirect_http": True}, challenges=["http-01"], names=["a.example.org", "127.0.0.1"]).start()
    site.wait_trusted()
    assert http_get(site.http_port, "/x?y=%20z") == (308, "https://a.example.org/x?y=%20z", b"")
    assert http_get(site.http_port, "/.well-known/acme-challenge/unknown")[0] == 404
    assert http_get(site.http_port, "/", host="a<b")[0] == 404


class Directory(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def web_server(parts):
    """Another program's: a directory at a port."""
    root = parts.directory / "www"
    root.mkdir()
    servers = []

    def serve(port):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), functools.partial(Directory, directory=str(root)))
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return str(root)

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_http_01_by_files_of_a_web_server(parts, web_server):
    site = Site(parts, section={"webroot": lambda site: web_server(site.http_port)}, challenges=["http-01"]).start()
    site.wait_trusted()
    place = parts.directory / "www" / ".well-known" / "acme-challenge"
    assert place.stat().st_mode & 0o777 == 0o755
    assert not list(place.iterdir()), "they are removed when they have served"


def test_files_that_cannot_be_written(parts):
    root = parts.directory / "www"
    root.mkdir()
    (root / ".well-known").write_text("in the way")
    site = Site(parts, section={"webroot": str(root)}, challenges=["http-01"]).start()
    site.p.wait_text("the answer for [ab].example.org cannot be written below .*/www: Not a directory")


# --- dns-01


HOOK = """#!/usr/bin/python3
import json, os, sys, urllib.request
verb, name, value = sys.argv[1:]
print(verb, name, value, os.getuid(), sorted(os.environ.items()), sorted(os.listdir("/proc/self/fd")), os.getcwd(), flush=True)
BODY
path, body = ("set-txt", {"host": name + ".", "value": value}) if verb == "present" else ("clear-txt", {"host": name + "."})
urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:PORT/" + path, json.dumps(body).encode()), timeout=10).read()
"""


@pytest.fixture
def hook():
    """A program that everybody may run."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="hook."))
    directory.chmod(0o755)
    file = directory / "hook"

    def write(port=0, body=""):
        file.write_text(HOOK.replace("PORT", str(port)).replace("BODY", body))
        file.chmod(0o755)
        return str(file)

    yield write
    shutil.rmtree(directory)


def dns_site(parts, hook, names, **more):
    """The program is there before the port of the name server is known."""
    return Site(parts, names=names, challenges=["dns-01"], hook=hook(), prepare=lambda s: hook(s.pebble.dns_management, **more))


def test_dns_01_by_a_program(parts, hook):
    names = ["*.example.org", "example.org", "a.b.example.org"]
    site = dns_site(parts, hook, names).start()
    site.wait_trusted("www.example.org")
    assert names_of(site.served("www.example.org")) == sorted(names)
    said = until(lambda: len(found := re.findall(r": (present|cleanup) (\S+) (\S{43}) (\d+) (.*?) (\[.*?\]) /\"", "\n".join(site.p.lines))) >= 6 and found,
                 lambda: f"records removed:\n{site.p.text()}")
    assert sorted((verb, name) for verb, name, *_ in said) == sorted(
        (verb, f"_acme-challenge.{name}") for verb in ("present", "cleanup") for name in ("example.org", "example.org", "a.b.example.org"))
    values = {(name, value) for verb, name, value, *_ in said if verb == "present"}
    assert len(values) == 3 and values == {(name, value) for verb, name, value, *_ in said if verb == "cleanup"}
    for *_, uid, environment, descriptors in said:
        assert uid == str(os.getuid())
        assert "'ACME_ISSUER', 'p0'" in environment and "LD_" not in environment and "HOME" not in environment
        assert descriptors == "['0', '1', '2', '3']", "3 is the listing itself"


@pytest.mark.skipif(os.geteuid() != 0, reason="to become another user needs root")
def test_a_program_has_a_user_of_its_own(parts, hook):
    site = Site(parts, challenges=["dns-01"], hook=hook(), hook_user="nobody", prepare=lambda s: hook(s.pebble.dns_management)).start()
    site.wait_trusted()
    uid = pwd.getpwnam("nobody").pw_uid
    assert site.p.wait_text(rf"present _acme-challenge.a.example.org \S+ {uid} ")


@pytest.mark.parametrize("body, said", [("sys.exit(3)", "ended with status 3"), ("os.kill(os.getpid(), 9)", r"killed by signal 9 \(Killed\)"),
                                        ("print('no such zone'); sys.exit(1)", "ended with status 1")])
def test_a_program_that_fails(parts, hook, body, said):
    site = dns_site(parts, hook, ["a.example.org"], body=body).start()
    site.p.wait_text(f"no certificate from p0: the hook for a.example.org: {said}")
    if "zone" in body:
        site.p.wait_text("hook present _acme-challenge.a.example.org: no such zone")


def test_a_program_that_hangs_ends_with_who_asked(parts, hook):
    site = dns_site(parts, hook, ["a.example.org"], body="import time; time.sleep(1000)").start()
    child = until(lambda: [p for p in processes.descendants(site.p.pid) if "present" in processes.command_line(p)], "the program")
    until(lambda: site.p.admin.json("/acme.json")["certificates"][0].get("state") == "record", lambda: repr(site.p.admin.json("/acme.json")))
    site.p.stop()
    until(lambda: not [p for p in child if os.path.exists(f"/proc/{p}") and processes.state(p) != "Z"], "the program's end")


# --- renewals


def test_the_issuer_says_when_to_renew(parts):
    site = Site(parts, prepare=lambda s: setattr(s.front, "window", acme.window(24 * 30, 24 * 31)))
    site.start()
    site.wait_trusted()
    first = site.served()
    until(lambda: [r for r in site.front.requests if r[1].startswith("/renewal-info/")], "a question about renewal")
    assert len(site.front.orders) == 1 and "replaces" not in site.front.orders[0]
    site.p.stop()
    site.front.window = acme.window(-2, -1)  # now; and the clock of the question is set back, as a day would do
    order = next((site.state / "run").glob("order.*.json"))
    order.write_text(re.sub(r'"(ask|installed)": \d+', r'"\1": 0', order.read_text()))
    site.p.start()
    storm = Storm(site.port)
    until(lambda: len(site.front.orders) == 2, lambda: "a renewal:\n" + "\n".join(line for line in site.p.lines if "acme.0" in line) + repr(site.front.requests[-8:]) + next((site.state / "run").glob("order.*.json")).read_text())
    until(lambda: site.served().serial_number != first.serial_number, "the next certificate")
    storm.wait(20)
    storm.end()
    ari = site.front.orders[1]["replaces"]
    aki = first.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    serial = first.serial_number.to_bytes((first.serial_number.bit_length() + 8) // 8, "big")
    assert ari == f"{b64(aki)}.{b64(serial)}"
    assert site.p.wait_text("earlier than before")
    assert len(site.front.orders) == 2, "the next one is wanted at once, too, and is too young"


def b64(data):
    return acme.base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_other_names_are_ordered_at_a_reload(parts):
    site = Site(parts).start()
    site.wait_trusted()
    text = site.p.config_file.read_text()
    site.p.config_file.write_text(text.replace('"b.example.org"', '"c.example.org"'))
    storm = Storm(site.port)
    site.p.signal(signal.SIGHUP)
    site.wait_trusted("c.example.org")
    storm.end()
    assert names_of(site.served("c.example.org")) == ["a.example.org", "c.example.org"]
    assert len(site.front.orders) == 2


# --- commands


def acme_command(site, *arguments):
    return command("acme", *arguments, "--admin", site.p.admin_socket)


def the_certificate(site):
    return site.p.admin.json("/acme.json")["certificates"][0]


def test_status_and_renew_and_rollover(parts):
    site = Site(parts).start()
    site.wait_trusted()
    until(lambda: the_certificate(site).get("state") == "idle", lambda: repr(the_certificate(site)))
    one = the_certificate(site)
    assert one["issued"] == 1 and one["names_right"] and not one["alarm"] and one["names"] == NAMES
    assert one["not_before"] < one["renew_at"] < one["not_after"]
    status, out, err = acme_command(site, "status")
    assert status == 0 and "web.ecdsa-p256" in out and "p0" in out, (out, err)
    first = site.served().serial_number
    assert acme_command(site, "renew", "web.ecdsa-p256")[0] == 0
    until(lambda: site.served().serial_number != first, lambda: site.p.text())
    key = (site.state / "accounts" / "p0.key").read_bytes()
    assert acme_command(site, "rollover", "p0")[0] == 0
    site.p.wait_text("the account at the issuer p0 has a new key")
    assert (site.state / "accounts" / "p0.key").read_bytes() != key
    second = site.served().serial_number
    assert acme_command(site, "renew", "web.ecdsa-p256")[0] == 0, "with the new key"
    until(lambda: site.served().serial_number != second, lambda: site.p.text())


def test_revoke(parts):
    site = Site(parts).start()
    site.wait_trusted()
    first = site.served().serial_number
    until(lambda: the_certificate(site).get("state") == "idle", lambda: repr(the_certificate(site)))
    assert acme_command(site, "revoke", "web.ecdsa-p256", "--reason", "4")[0] == 0
    site.p.wait_text("the certificate in use is revoked, another one is ordered")
    until(lambda: site.served().serial_number != first, lambda: site.p.text())
    found = json.loads(site.pebble.get(site.pebble.management, f"/cert-status-by-serial/{first:x}"))
    assert found["Status"] == "Revoked"


def test_commands_that_name_nothing(parts):
    site = Site(parts).start()
    site.wait_trusted()
    for arguments in (["renew", "web"], ["revoke", "x.ecdsa-p256"], ["rollover", "p9"]):
        status, _, err = acme_command(site, *arguments)
        assert status == 1 and "expected" in err, (arguments, err)


# --- issuers that fail


FAULTS = {
    "server error": (500, b"{}", [("Content-Type", "application/problem+json")]),
    "rate limit": (429, b'{"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many"}',
                   [("Content-Type", "application/problem+json"), ("Retry-After", "7200")]),
    "redirect": (302, b"", [("Location", "https://127.0.0.1:1/")]),
    "giant answer": (200, b"x" * (1 << 20), [("Content-Type", "application/json")]),
    "nonsense": (200, b"{]", [("Content-Type", "application/json")]),
    "empty": (200, b"", []),
}


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("where", ["/dir", "/order-plz", "/finalize-order/", "/certZ/"])
def test_another_issuer_is_asked(parts, kind, where):
    def break_it(site):
        site.front.fault = lambda method, path: FAULTS[kind] if path.startswith(where) else None

    site = Site(parts, issuers=2, prepare=break_it).start()
    site.installed()
    site.pebble = site.pebbles[1]
    site.wait_trusted()
    assert len(site.pebbles[1].front.orders) == 1
    assert site.p.wait_text(r"no certificate from p0")


def test_a_wrong_chain_is_not_used(parts):
    other = parts.pki.leaf("other", "p256", NAMES)

    def lie(site):
        site.front.change = lambda path, body: open(other["cert"], "rb").read() if path.startswith("/certZ/") else body

    site = Site(parts, prepare=lie).start()
    site.p.wait_text("found a certificate for another key, expected ours")
    first = site.served()
    assert first.issuer == first.subject


def test_an_issuer_that_is_not_trusted(parts):
    site = Site(parts, prepare=None)
    text = site.p.config_file.read_text()
    site.p.config_file.write_text(re.sub(r"ca_file = .*\n", "", text))
    site.start()
    site.p.wait_text("no certificate from p0: .*certificate")
    assert not site.front.orders


def test_a_failure_is_remembered(parts):
    """So that neither a crash loop nor restarts burn the issuer's limits."""
    site = Site(parts, prepare=lambda s: setattr(s.front, "fault", lambda m, p: FAULTS["rate limit"] if p == "/order-plz" else None))
    site.start()
    site.p.wait_text("too many")
    site.p.stop()
    asked = len([r for r in site.front.requests if r[1] == "/order-plz"])
    site.p.start()
    site.p.wait_text("ready: ")
    state = (site.state / "run" / "order.web.ecdsa-p256.json").read_text()
    assert int(re.search(r'"next": (\d+)', state)[1]) > time.time() + 3600
    assert len([r for r in site.front.requests if r[1] == "/order-plz"]) == asked


# --- roles that die


STATES = ["directory", "account", "new order", "authorization", "challenge", "validation", "order", "finalize", "issuance", "download", "install"]


@pytest.mark.parametrize("role", ["acme", "keymaker"])
@pytest.mark.parametrize("state", STATES)
def test_a_role_that_is_killed_at_any_state(parts, role, state):
    site = Site(parts, log="debug")
    site.p.allow_killed_roles = True
    killed = threading.Event()

    def kill_once(line):
        if not killed.is_set() and f'web.ecdsa-p256: {state}"' in line:
            killed.set()
            for pid in site.p.roles().get(role, []):
                os.kill(pid, signal.SIGKILL)

    watch(site.p, kill_once)
    site.start()
    until(killed.is_set, lambda: f"the state {state}:\n{site.p.text()}")
    order = site.state / "run" / "order.web.ecdsa-p256.json"
    # what a failure makes wait a minute is not waited for here
    def again():
        if site.trusted():
            return True
        waits = order.exists() and re.search(r'"error": "[^"]|"order": ""', order.read_text())
        if waits and not again.done:
            again.done = True
            site.p.stop()
            order.write_text(re.sub(r'"next": \d+', '"next": 0', order.read_text()))
            site.p.start()
        return False

    again.done = False
    until(again, lambda: f"a certificate:\n{site.p.text()}", deadline=2 * DEADLINE)
    assert len(site.front.orders) <= 2


def doors(site):
    return [p.name for p in (site.state / "run").iterdir() if p.is_socket()]


@pytest.mark.parametrize("end", ["stop", "reload"])
def test_no_sockets_stay_behind_of_a_role_that_does_not_stop(parts, end):
    site = Site(parts).start()
    site.wait_trusted()
    assert sorted(doors(site)) == ["http", "tls"]
    for pid in site.p.roles()["acme"]:
        os.kill(pid, signal.SIGSTOP)
    if end == "reload":
        text = site.p.config_file.read_text()
        pair = parts.pki.leaf("own", "p256", NAMES)
        text = re.sub(r"\[service\.web\.acme\]\n.*\n.*\n", "", text)
        site.p.config_file.write_text(text.replace("[service.web]\n", f'[service.web]\ncertificates = [{{ cert = "{pair["cert"]}", key = "{pair["key"]}" }}]\n'))
        site.p.signal(signal.SIGHUP)
        until(lambda: not doors(site), lambda: f"no sockets: {doors(site)}\n{site.p.text()}")
    site.p.signal(signal.SIGTERM)
    site.p.wait_exit()
    site.p.check_after()
    assert not doors(site)


def watch(p, fn):
    """Calls FN for every line of the log, as it comes."""
    class Lines(list):
        def append(self, line):
            super().append(line)
            fn(line)

    p.lines = Lines()
