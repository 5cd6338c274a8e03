"""Certificates from ACME issuers: the first one, renewals, other issuers, faults of issuers, roles that die; with Debian's pebble."""
import functools
import http.client
import http.server
import json
import os
import pwd
import re
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from support import acme, memory, processes
from support.acme_site import NAMES, Site, Storm, acme_command, names_of, watch
from support.browser import Browser
from support.clients import connect, context, free_port, says_echo
from support.proxy import BINARY, SANITIZED, Proxy, command
from support.waiting import DEADLINE, until


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


# --- without a configuration file


class Short:
    """`tls-off run` with flags alone, at an issuer that is pebble."""

    def __init__(self, parts, names=NAMES, **arguments):
        self.parts, self.port = parts, free_port()
        self.pebble = acme.Pebble(parts, self.port)
        self.front = self.pebble.front
        self.state = parts.directory / "flags-state"
        flags = {"listen": [f"127.0.0.1:{self.port}"], "backend": [parts.backend().url], "name": names,
                 "acme-directory": [f"https://127.0.0.1:{self.front.port}/dir"], "acme-ca-file": [str(parts.pki.ca)], **arguments}
        words = [word for flag, values in flags.items() for value in values for word in (f"--{flag}", value)]
        self.state.mkdir()
        self.p = Proxy(parts.directory / "flags", arguments=["run", *words, "--acme", "--acme-terms-accepted"],
                       environment={"STATE_DIRECTORY": str(self.state), "RUNTIME_DIRECTORY": str(parts.directory / "flags")})
        self.p.allow_lost_lines = True
        parts.proxies.append(self.p)

    start, served, trusted, wait_trusted = Site.start, Site.served, Site.trusted, Site.wait_trusted


def test_the_shortest_use(parts):
    gate = threading.Event()
    site = Short(parts)
    site.front.fault = lambda method, path: gate.wait(DEADLINE) and None
    site.start()
    first = site.served()
    assert first.issuer == first.subject and set(NAMES) <= set(names_of(first)), "it serves at once"
    gate.set()
    site.wait_trusted()
    assert names_of(site.served()) == NAMES
    files = site.state / "acme" / "certificates" / "default.ecdsa-p256"
    assert os.readlink(files / "current") == "1" and (files / "key.pem").stat().st_mode & 0o777 == 0o600
    site.p.signal(signal.SIGHUP)
    site.p.wait_text("reload done")
    assert site.trusted(), "the flags hold over a reload"
    site.p.stop()
    site.p.start()
    site.wait_trusted()
    assert len(site.front.orders) == 1
    assert site.p.admin.json("/acme.json")["certificates"][0]["service"] == "default"


@pytest.mark.parametrize("arguments, status, said", [
    (["--acme"], 2, "--acme: found no name, expected --name"),
    (["--acme", "--name", "a.example.org"], 2, "expected --acme-terms-accepted, which says that you accept"),
    (["--name", "a.example.org"], 2, "expected --acme beside"),
    (["--acme-terms-accepted"], 2, "expected --acme beside"),
    (["--acme", "--name", "a.example.org", "--acme-terms-accepted", "--acme-directory", "http://127.0.0.1/dir"], 2, "--acme-directory: expected the URL"),
    (["--acme", "--name"], 2, "--name: expected a value behind it"),
    (["--acme", "--cert", "x.pem"], 2, "--cert: found an unknown flag"),
    (["--acme", "--name", "*.example.org", "--acme-terms-accepted"], 1, r"--name: found \"\*.example.org\", expected no wildcard"),
    (["--acme", "--name", "localhost", "--acme-terms-accepted"], 1, r"--name: found \"localhost\", expected a host name"),
    (["--acme", "--name", "a.example.org", "--acme-terms-accepted", "--acme-ca-file", "/absent.pem"], 1, "/absent.pem: No such file or directory, expected a file of cert"),
])
def test_flags_that_do_not_fit(parts, arguments, status, said):
    got, out, err = command("run", "--listen", "127.0.0.1:0", "--backend", "unix:/x", *arguments)
    assert got == status and re.search(said, out + err), (got, out, err)


def test_flags_of_an_issuer_beside_a_file(parts):
    got, out, err = command("run", "x.toml", "--acme", "--name", "a.example.org")
    assert got == 2 and "beside a configuration file" in err, (got, out, err)


# --- the keys


@pytest.mark.skipif(os.geteuid() != 0, reason="reading other processes' memory needs root")
@pytest.mark.skipif(SANITIZED, reason="a sanitizer's shadow memory is terabytes, and it keeps what was freed")
def test_private_keys_are_in_signers_and_keymaker_only(parts):
    gate, held = threading.Event(), threading.Event()

    def hold(method, path):
        if path.startswith("/certZ/"):
            held.set()
            gate.wait(DEADLINE)

    site = Site(parts, prepare=lambda s: setattr(s.front, "fault", hold)).start()
    until(held.is_set, "the order before its download")
    holders = who_holds(site, ["certificates/web.ecdsa-p256/next.key", "accounts/p0.key"])
    assert set(holders) <= {"signer", "keymaker"}, holders  # a slow search may outlast the hold
    assert not any("accounts" in f for f in holders.get("signer", []))
    gate.set()
    site.wait_trusted()
    holders = who_holds(site, ["certificates/web.ecdsa-p256/key.pem", "accounts/p0.key"])
    assert any("key.pem" in f for f in holders["signer"]), "else this test looks in the wrong way"
    assert not any("accounts" in f for f in holders["signer"])
    assert set(holders) <= {"signer", "keymaker"}, holders


def who_holds(site, files):
    """{role: what of the keys in FILES is in its memory}; every process of the proxy is searched."""
    needles = {}
    for file in files:
        key = serialization.load_pem_private_key((site.state / file).read_bytes(), None)
        number = key.private_numbers().private_value
        needles[f"{file} big-endian"] = number.to_bytes(32, "big")
        needles[f"{file} little-endian"] = number.to_bytes(32, "little")
        needles[f"{file} text"] = (site.state / file).read_bytes().splitlines()[1]
    roles, holders = set(), {}
    for pid in site.p.pids():
        role = processes.role_of(pid) or "supervisor"
        found, looked = memory.search(pid, needles)
        assert looked > 1 << 20
        roles.add(role)
        if found:
            holders.setdefault(role, []).extend(found)
    assert {"acme", "keymaker", "signer", "relay", "handshaker", "observer", "supervisor"} <= roles
    return holders


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


@pytest.mark.parametrize("user", [pytest.param("nobody", marks=pytest.mark.skipif(os.geteuid() != 0, reason="to become another user needs root")), None])
def test_a_program_may_write_what_it_likes(parts, hook, user):
    """By every way that shells have; what is more than is logged is taken, too."""
    body = """assert os.system('set -e; echo by name >/dev/stderr; echo by number >&2; seq 1 200') == 0; print("x" * 300000, flush=True)"""
    more = {"hook_user": user} if user else {}
    site = Site(parts, names=["a.example.org"], challenges=["dns-01"], hook=hook(), prepare=lambda s: hook(s.pebble.dns_management, body=body), **more).start()
    site.wait_trusted("a.example.org")
    for line in ("by name", "by number", "1", "100", "200", "x{510}"):
        assert site.p.wait_text(f'hook present _acme-challenge.a.example.org: {line}"'), line
    assert site.p.wait_text("hook present _acme-challenge.a.example.org: [0-9]+ more bytes of its output are not logged")


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


# --- dns-persist-01


def record_of(site, name, *more):
    """(exit status, [(issuer, record, value)], what is on stderr)"""
    status, out, err = acme_command(site, "record", name, "--json", *more)
    return status, [(r["issuer"], r["record"], r["value"]) for r in json.loads(out)["records"]] if out else [], err


@pytest.mark.parametrize("draft", [1, 2])
def test_dns_persist_01_by_a_record_that_stays(parts, draft):
    site = Site(parts, names=["example.org", "*.example.org", "a.b.example.org"], challenges=["dns-persist-01"], pebble={"persist": draft}).start()
    site.p.wait_text("no certificate from p0: .*is invalid, unauthorized: no record of .* names the account .`tls-off acme record` prints")
    account = until(lambda: site.p.admin.json("/acme.json")["issuers"][0].get("account"), "an account")
    until(lambda: site.p.admin.json("/acme.json")["issuers"][0].get("account_thumbprint"), "its key's thumbprint")
    for name, wildcard in (("example.org", True), ("A.B.example.org", False)):
        status, found, err = record_of(site, name)
        assert status == 0 and len(found) == 1, (found, err)
        issuer, record, value = found[0]
        assert issuer == "p0" and record == f"_validation-persist.{name.lower()}" and value.startswith("ca.example; accounturi=https://")
        assert value.endswith("; policy=wildcard") == wildcard and (account in value) == (draft == 1)
        status, out, err = acme_command(site, "record", name)
        assert f'{record}. IN TXT "{value}"' in out.splitlines(), (out, err)
        site.pebble.publish(record, value)
    assert record_of(site, "*.example.org") == record_of(site, "example.org")
    assert acme_command(site, "renew", "web.ecdsa-p256")[0] == 0
    site.wait_trusted("www.example.org")
    assert names_of(site.served("www.example.org")) == sorted(["*.example.org", "a.b.example.org", "example.org"])
    first = site.served("www.example.org").serial_number
    site.p.stop()
    site.p.start()
    until(lambda: record_of(site, "example.org")[0] == 0, "the record is known before there is an order")
    acme_command(site, "renew", "web.ecdsa-p256")
    until(lambda: site.served("www.example.org").serial_number != first, lambda: f"a renewal by the same records:\n{site.p.text()}")


def test_an_issuer_without_dns_persist_01(parts):
    site = Site(parts, challenges=["dns-persist-01"]).start()
    site.p.wait_text("it offers no challenge for [ab].example.org that is configured, but: .*tls-alpn-01")
    status, found, err = record_of(site, "a.example.org")
    assert status == 1 and "does not offer dns-persist-01" in err and not found


def test_names_without_a_record(parts):
    site = Site(parts, names=["a.example.org", "127.0.0.1"]).start()
    site.wait_trusted()
    for name, said in (("a.example.org", "whose issuer has \"dns-persist-01\""), ("127.0.0.1", "expected the name of a host"), ("x" * 300, "expected the name")):
        status, found, err = record_of(site, name)
        assert status == 1 and said in err and not found, (name, err)
    assert acme_command(site, "record")[0] == 2 and acme_command(site, "status", "--check")[0] == 2
    assert acme_command(site, "renew", "web.ecdsa-p256", "--reason", "1")[0] == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="another name server for one process needs root")
def test_whether_a_record_is_published(parts):
    port = free_port()
    server = f"127.53.{port >> 8}.{port & 255}"
    site = Site(parts, names=["a.example.org"], challenges=["dns-persist-01"], pebble={"persist": 2, "name_server": server}).start()
    site.p.wait_text("no certificate from p0: .*names the account")
    resolv = parts.directory / "resolv.conf"
    resolv.write_text(f"nameserver {server}\n")

    def check():
        r = subprocess.run(["unshare", "-m", "sh", "-c", f"mount --bind {resolv} /etc/resolv.conf && exec \"$@\"", "sh", BINARY, "acme", "record",
                            "a.example.org", "--check", "--admin", str(site.p.admin_socket)], capture_output=True, text=True, timeout=DEADLINE)
        return r.returncode, r.stdout + r.stderr

    until(lambda: record_of(site, "a.example.org")[0] == 0, "what is in the record")
    value = record_of(site, "a.example.org")[1][0][2]
    site.pebble.publish("_validation-persist.a.example.org", value.replace("ca.example", "foreign.example"))
    status, said = check()
    assert status == 1 and "; not published: other TXT records are there" in said, said
    site.pebble.publish("_validation-persist.a.example.org", value.replace("; ", ";") + ";persistUntil=4102444800")
    status, said = check()
    assert status == 0 and "; published" in said, said


# --- alarms


def test_an_alarm_until_there_is_a_certificate(parts):
    site = Site(parts, prepare=lambda s: setattr(s.front, "fault", lambda m, p: FAULTS["rate limit"] if p == "/order-plz" else None))
    site.start()
    site.p.wait_text("too many")
    site.p.stop()
    order = site.state / "run" / "order.web.ecdsa-p256.json"
    order.write_text(re.sub(r'"failures": \d+', '"failures": 4', re.sub(r'"next": \d+', '"next": 0', order.read_text())))
    site.p.start()
    site.p.wait_text("web.ecdsa-p256: ALARM: there is still none from an issuer; failed attempts in a row: [45], the last: .*too many; when that is mended")
    wanted = re.compile("certificate web.ecdsa-p256: none from an issuer after [45] failed attempts: .*too many")
    status = until(lambda: [s for s in [site.p.admin.json("/status.json")] if any(map(wanted.match, s["degraded"]))], "degraded")[0]
    assert status["state"] == "serving" and site.p.admin.ask("/readyz").status == 200, "it serves"
    assert 'tls_off_acme_alarm{certificate="web.ecdsa-p256"} 1' in site.p.admin.ask("/metrics").text
    assert "  ALARM" in acme_command(site, "status")[1]
    site.front.fault = lambda method, path: None
    assert acme_command(site, "renew", "web.ecdsa-p256")[0] == 0
    site.wait_trusted()
    site.p.wait_text("web.ecdsa-p256: the alarm is over")
    until(lambda: not [d for d in site.p.admin.json("/status.json")["degraded"] if "certificate" in d], "no alarm")
    managed = site.p.admin.json("/certificates.json")["certificates"][0]["acme"]
    assert managed["certificate"] == "web.ecdsa-p256" and managed["issued_by_issuer"] and managed["state"] == "idle" and not managed["alarm"]


def test_the_dashboard_shows_orders(parts):
    site = Site(parts, top={"admin": {"socket": "admin.sock", "listen": "127.0.0.1:0"}},
                prepare=lambda s: setattr(s.front, "fault", lambda m, p: FAULTS["rate limit"] if p == "/order-plz" else None))
    site.start()
    site.p.wait_text("too many")
    browser = Browser(parts.directory / "chromium")
    try:
        browser.open("http://%s:%d/" % site.p.admin.address)
        row = "document.querySelector('#order-rows li')"
        browser.until(f"{row} && {row}.querySelector('.error').textContent.includes('too many')", "the last failure")
        assert browser.js(f"return {row}.dataset.level") == "warn"
        assert "next attempt in" in browser.js(f"return {row}.querySelector('.next').textContent")
        assert "self-signed" in browser.js(f"return {row}.querySelector('small').textContent")
        site.front.fault = lambda method, path: None
        assert acme_command(site, "renew", "web.ecdsa-p256")[0] == 0
        browser.until(f"{row}.dataset.level === 'good' && {row}.querySelector('.next').textContent.startsWith('renewal in')", "the certificate", deadline=2 * DEADLINE)
        assert browser.js(f"return {row}.querySelector('.names span').textContent") == "a.example.org +1"
        assert browser.js(f"return {row}.querySelector('.error').hidden")
    finally:
        browser.end()


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


def test_a_preferred_chain(parts):
    """It is offered behind another link, in one field of the answer (RFC 8288 3)."""
    site = Site(parts, pebble={"environment": {"PEBBLE_ALTERNATE_ROOTS": "1"}})
    root = x509.load_pem_x509_certificate(site.pebble.get(site.pebble.management, "/roots/1")).subject

    def join_links(path, status, body, fields):
        links = [v for k, v in fields if k.lower() == "link"]
        return status, body, [(k, v) for k, v in fields if k.lower() != "link"] + [("Link", ", ".join(links))]

    site.front.revise = join_links
    text = site.p.config_file.read_text()
    site.p.config_file.write_text(text.replace("terms_accepted", f'preferred_chain = "{root.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value}"\nterms_accepted', 1))
    site.start()
    site.installed()
    chain = (site.state / "certificates/web.ecdsa-p256/fullchain.pem").read_bytes()
    assert x509.load_pem_x509_certificate(chain[chain.rindex(b"-----BEGIN"):]).issuer == root


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


STATES = ["directory", "account key", "account", "new order", "authorization", "challenge", "validation", "validation check", "order", "finalize",
          "issuance", "download", "install"]


@pytest.mark.skipif(SANITIZED, reason="one that is killed leaves sanitizers nothing to say, and orders run under them elsewhere")
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
    # Nobody knows whether the issuer has heard of the order; or the kill, which comes behind the line in the log, hits its validation.
    may_be_two = role == "acme" and STATES.index(state) <= STATES.index("validation check")
    assert len(site.front.orders) in ((1, 2) if may_be_two else (1,))
    assert not (site.state / "certificates" / "web.ecdsa-p256" / "next.key").exists()


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
