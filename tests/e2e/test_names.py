"""Services that are given names: which one a ClientHello reaches, on the wire, by `explain`, and by a reference of thirty lines."""
import getpass
import itertools
import json
import random
import re
import subprocess
import urllib.parse

import pytest

from support import clients, toml
from support.client_pki import Issuer
from support.clients import V12, V13, connect, context
from support.proxy import ROOT, command, configuration
from support.reference_route import NO_NAME_ALERT, route

ALERTS = {112: "unrecognized_name", 120: "no_application_protocol"}
NAMES = ["", "a.test", "b.test", "x.a.test", "y.x.a.test", "db.a.test", "q.db.a.test", "other"]
PATTERNS = ["", "*", "a.test", "b.test", "*.a.test", "**.a.test", "**.test", "*.test", "x.a.test", "db.a.test", "*.db.a.test", "_s.x.a.test"]
PROTOCOLS = ["p", "q", "r"]


def say(what, undecrypted):
    """Undecrypted there is a ClientHello to read first: what is left unread at the end is a reset."""
    return lambda c: (undecrypted and c.recv(65536), c.sendall(what))


def through(names, *match_alpn, **keys):
    return {"mode": "passthrough", "names": list(names), **({"match_alpn": list(match_alpn)} if match_alpn else {}), **keys}


class Address:
    """Services at one address. Each says its name: passthrough in clear, the others inside TLS."""

    def __init__(self, parts, tables, **options):
        self.port = clients.free_port()
        self.services = {}
        for name, keys in tables.items():
            backend = parts.backend(say(name.encode(), keys.get("mode") == "passthrough"))
            table = {**parts.service(backend, **keys), "listen": [f"127.0.0.1:{self.port}"]}
            if keys.get("mode") == "passthrough":
                del table["certificates"]
            self.services[name] = table
        self.proxy = parts.proxy(services=self.services, **options)

    def explain(self, name="", offered=()):
        query = urllib.parse.urlencode({"address": f"127.0.0.1:{self.port}", "name": name, "alpn": ",".join(offered)})
        return self.proxy.admin.json("/explain?" + query)

    def reached(self, name="", offered=(), version=None):
        """The service that answers a real ClientHello, or the name of the alert."""
        ctx = context(alpn=list(offered), version=version)
        with clients.tcp(self.port) as s:
            s.sendall(clients.hello_bytes(ctx, name or None))
            first = clients.receive(s, 1)
            if first == b"\x15":
                return ALERTS[clients.alert_of(first + clients.receive(s, 6))[1]]
            if first != b"\x16":
                return (first + clients.receive_all(s)).decode()
        with connect(self.port, ctx, name=name or None) as c:
            return clients.receive_all(c).decode()


# --- the reference


def drawn(rng, pki):
    """Services that may be at odds with each other."""
    tables = {}
    for i in range(rng.randint(2, 6)):
        names = rng.sample(PATTERNS, rng.randint(1, 3))
        if rng.random() < 0.7:
            tables[f"s{i}"] = through(names, *rng.sample(PROTOCOLS, rng.choice([0, 0, 1, 2])))
        else:
            demanded = rng.random() < 0.5
            spoken = rng.sample(PROTOCOLS, rng.randint(1 if demanded else 0, 2))
            tables[f"s{i}"] = {"names": names, "alpn": spoken, **({"match_alpn": spoken} if demanded else {}), "certificates": [pki.ecdsa]}
    return tables


def hellos():
    for name in NAMES:
        for offered in [(), ("p",), ("q",), ("r", "p"), ("q", "r"), ("z",), ("z", "q", "p")]:
            yield name, offered


def at_odds(tables):
    """Some hello belongs to two services: any, or only such without protocols."""
    asked = [(n, o) for n in NAMES + PATTERNS for k in range(3) for o in itertools.permutations(PROTOCOLS + ["z"], k)]
    found = [o for n, o in asked if isinstance(r := route(tables, n, o), set) and len(r) > 1]
    return any(found), bool(found)


def check(parts, tables, *arguments):
    services = {name: {"listen": ["127.0.0.1:1"], "backends": ["unix:/nowhere"], **keys} for name, keys in tables.items()}
    file = parts.directory / "checked.toml"
    file.write_text(toml.dumps(configuration(parts.directory, services)))
    return command("check", file, *arguments)


def test_the_check_finds_equal_ranks_and_nothing_else(parts, pki):
    rng = random.Random(20261129)
    outcomes = set()
    for _ in range(40):
        tables = drawn(rng, pki)
        status, out, err = check(parts, tables)
        assert "with the same rank" not in err or status == 1
        hopeless, nearly = at_odds(tables)
        without_protocols = any(len(r) > 1 for n in NAMES + PATTERNS if isinstance(r := route(tables, n, ()), set))
        refused = "with the same rank" in err
        both_silent = hopeless or refused  # services without any protocol are equal for hellos without and with strange ones
        assert refused == both_silent, (tables, err)
        assert refused or without_protocols == ("belongs to service" in err), (tables, err)
        outcomes.add((refused, nearly))
    assert {o[0] for o in outcomes} == {True, False}


def test_routes_agree_with_the_reference_in_any_order(parts, pki):
    rng = random.Random(7)
    rounds = 0
    while rounds < 4:
        tables = drawn(rng, pki)
        status, _, err = check(parts, tables)
        if status != 0 or "belongs to service" in err:
            continue
        rounds += 1
        order = list(tables)
        rng.shuffle(order)
        for a in (Address(parts, tables), Address(parts, {name: tables[name] for name in order})):
            on_the_wire = rng.sample(list(hellos()), 12)
            for name, offered in hellos():
                wanted = route(tables, name, offered)
                said = a.explain(name, offered)
                assert (said["refused"] or {said["service"]}) == wanted, (tables, name, offered, said)
                if (name, offered) in on_the_wire:
                    got = a.reached(name, offered)
                    assert (got if isinstance(wanted, str) else {got}) == wanted, (tables, name, offered)


# --- what the README promises


def s_server(parts, pki, *arguments):
    return parts.server("openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", pki.ecdsa["cert"], "-key", pki.ecdsa["key"], *arguments)


def test_passthrough_beside_termination_with_real_clients_and_servers(parts, pki):
    """Two s_servers behind one port, found by name and by protocol, beside a service that ends TLS."""
    by_name, by_protocol = s_server(parts, pki, "-www"), s_server(parts, pki, "-rev", "-alpn", "postgresql")
    port = clients.free_port()
    here = {"listen": [f"127.0.0.1:{port}"]}
    web = parts.service(parts.backend(lambda c: (c.recv(4096), c.sendall(b"HTTP/1.0 200 OK\r\n\r\nfrom web\n"))), alpn=["http/1.1"])
    p = parts.proxy(services={
        "web": {**web, **here},
        "named": {**here, "mode": "passthrough", "names": ["other.test"], "backends": [f"tcp:127.0.0.1:{by_name.wait_port()}"]},
        "db": {**here, "mode": "passthrough", "names": ["db.test"], "match_alpn": ["postgresql"],
               "backends": [f"tcp:127.0.0.1:{by_protocol.wait_port()}"]},
    })
    curl = ["curl", "--silent", "--show-error", "--insecure", "--max-time", "20"]
    resolve = ["--resolve", f"other.test:{port}:127.0.0.1", "--resolve", f"unheard.test:{port}:127.0.0.1"]
    assert "s_server -accept" in clients.run(*curl, *resolve, f"https://other.test:{port}/")
    assert clients.run(*curl, *resolve, f"https://unheard.test:{port}/") == "from web\n"
    assert clients.run(*curl, "--cacert", pki.ca, f"https://localhost:{port}/") == "from web\n"
    p.wait_session(service="named", sni="other.test")
    c = clients.s_client(port, "-servername", "db.test", "-alpn", "postgresql")
    c.send(b"abc\n")
    c.wait_for(b"cba")
    c.end()
    p.wait_session(service="db", sni="db.test")
    done = subprocess.run(["gnutls-cli", "--insecure", "--sni-hostname=db.test", "--alpn=postgresql", "-p", str(port), "127.0.0.1"], input=b"xyz\n",
                          capture_output=True, timeout=30)
    assert b"zyx" in done.stdout or b"ALPN: postgresql" in done.stdout, done
    p.wait_session(service="db", count=2)
    done = subprocess.run(["gnutls-cli", "--insecure", "--sni-hostname=db.test", "-p", str(port), "127.0.0.1"], input=b"", capture_output=True, timeout=30)
    assert done.returncode != 0 and b"No supported application protocol" in done.stdout + done.stderr, done
    assert p.wait_failure("no_shared_alpn")["service"] == "db"


def test_names_as_clients_send_them(parts, pki):
    a = Address(parts, {"umlaut": through(["bücher.test"]), "under": through(["_x.under.test"]), "upper": through(["UPPER.Test."]),
                        "none": through([""]), "deep": through(["**.deep.test"])})
    assert a.reached("xn--bcher-kva.test") == "umlaut"
    assert a.reached("_x.under.test") == "under"
    assert a.reached("upper.TEST") == "upper"
    assert a.reached("upper.test.") == "upper"
    assert a.reached("127.0.0.1") == a.reached("") == "none"
    assert a.reached("1.2.3.4.deep.test") == "deep"
    assert a.reached("deep.test") == NO_NAME_ALERT
    assert a.proxy.wait_failure("unknown_name")["sni"] == "deep.test"


@pytest.mark.parametrize("version", [V12, V13])
def test_protocols_that_are_demanded_of_a_service_that_ends_tls(parts, pki, version):
    a = Address(parts, {"web": {"names": ["a.test"], "alpn": ["h2", "http/1.1"]}, "pg": {"names": ["a.test"], "match_alpn": ["postgresql"]}})
    assert a.reached("a.test", ["postgresql"], version) == "pg"
    assert a.reached("a.test", ["postgresql", "h2"], version) == "pg"
    assert a.reached("a.test", ["h2", "postgresql"], version) == "web"
    assert a.reached("a.test", (), version) == "web"
    assert a.reached("a.test", ["smtp"], version) == "no_application_protocol"
    with connect(a.port, context(alpn=["postgresql"], version=version), name="a.test") as c:
        assert c.selected_alpn_protocol() == "postgresql"


def test_a_certificate_gives_no_name_where_names_are_given(parts, pki):
    """localhost is in the certificate; the service is not to serve it."""
    a = Address(parts, {"web": {"names": ["a.test"]}, "strict": {"names": ["b.test"], "strict_sni": True}})
    assert a.reached("a.test") == "web"
    assert a.reached("localhost") == a.reached() == NO_NAME_ALERT
    assert a.reached("b.test") == "unrecognized_name"
    assert a.explain("b.test")["refused"] == "unrecognized_name"


def test_silence_for_strangers(parts):
    a = Address(parts, {"web": {"names": ["a.test"], "unknown": "reset", "alpn": ["h2"]}, "other": {"names": ["b.test"]}})
    for name, offered in (("x.test", ()), ("", ()), ("a.test", ["smtp"])):
        with clients.tcp(a.port) as s:
            s.sendall(clients.hello_bytes(context(alpn=list(offered)), name or None))
            assert clients.until_closed(s) == (b"", True)
    a.proxy.wait_failure("unknown_name", count=2)
    a.proxy.wait_failure("no_shared_alpn")
    assert a.reached("a.test") == "web"
    with clients.tcp(a.port) as s:  # other faults have their alerts
        s.sendall(clients.hello_bytes(context(version=V12, ciphers="AES128-GCM-SHA256"), "a.test"))
        assert clients.until_closed(s)[0][0] == 21


@pytest.mark.parametrize("version", [V12, V13])
def test_a_ticket_is_for_its_service(parts, version):
    """A session resumes under its own name alone, and at its own service alone."""
    a = Address(parts, {"one": {"names": ["a.test", "b.test"]}, "two": {"names": ["c.test"]}})
    ctx = context(version=version)

    def session_of(name, session=None):
        with connect(a.port, ctx, name=name, session=session) as c:
            said = clients.receive_all(c).decode()
            return said, c.session_reused, c.session

    said, reused, session = session_of("a.test")
    assert (said, reused) == ("one", False)
    assert session_of("a.test", session)[:2] == ("one", True)
    assert session_of("b.test", session_of("a.test")[2])[:2] == ("one", False)
    assert session_of("c.test", session_of("a.test")[2])[:2] == ("two", False)
    assert session_of("a.test", session_of("c.test")[2])[:2] == ("one", False)


def test_new_certificates_bring_new_routes(parts, pki):
    """A service without names follows its certificates, without a reload; one with names does not."""
    certs = parts.directory / "certs"
    certs.mkdir()
    first, second = pki.leaf("names-first", "p256", ["first.test"]), pki.leaf("names-second", "p256", ["first.test", "second.test"])

    def put(leaf):
        for kind, suffix in (("key", ".key"), ("cert", ".crt")):
            (certs / f"new{suffix}").write_bytes(open(leaf[kind], "rb").read())
        (certs / "new.key").rename(certs / "site.key")
        (certs / "new.crt").rename(certs / "site.crt")

    put(first)
    a = Address(parts, {"follows": {"certificates": [str(certs) + "/"], "strict_sni": True}, "rest": through(["*"])})
    assert a.reached("first.test") == "follows" and a.reached("second.test") == "rest"
    put(second)
    a.proxy.wait_text("certificates changed")
    assert a.reached("second.test") == "follows"


# --- explain


@pytest.mark.parametrize("listener,shown", [
    ({}, "refused"),
    ({"fallback": "ssh"}, "passed to service ssh"),
    ({"redirect_http": True}, "plain HTTP is redirected to https; the rest is refused"),
    ({"fallback": "ssh", "redirect_http": True}, "plain HTTP is redirected to https; the rest is passed to service ssh"),
])
def test_explain_says_who_may_come_in_and_what_becomes_of_others(parts, listener, shown):
    """The same of the running proxy and of its file."""
    lists = parts.directory / "bad.txt"
    lists.write_text("192.0.2.0/24\n")
    access = {"allow": ["10.0.0.0/8", "127.0.0.0/8"], "deny": [str(lists), "10.1.0.0/16"], "deny_ja4": ["t00*_*_*"]}
    services = {"web": parts.service(parts.backend(), access=access),
                "ssh": {"mode": "passthrough", "backends": ["tcp:127.0.0.1:22"]}}
    if "fallback" not in listener:
        del services["ssh"]
    p = parts.proxy(services=services, top={"listener": {"127.0.0.1:0": listener}} if listener else {})
    answers = [command("explain", "127.0.0.1:0", "localhost", "--admin", p.admin_socket),
            command("check", p.config_file, "--explain", "127.0.0.1:0", "localhost")]
    for status, out, err in answers:
        assert status == 0, err
        assert f"not TLS:            {shown}\n" in out, out
        assert "access, allowed:    10.0.0.0/8, 127.0.0.0/8\n" in out, out
        assert f"access, denied:     {lists}, 10.1.0.0/16\n" in out, out
        assert "denied by JA4:      t00*_*_*\n" in out, out
    said = p.admin.json("/explain?address=127.0.0.1:0&name=localhost")
    assert said["access"] == access
    assert said["not_tls"] == {"starttls": None, "redirect_http": listener.get("redirect_http", False),
                               "fallback": listener.get("fallback")}


def test_explain_says_starttls_and_everybody(parts):
    p = parts.proxy(parts.backend(), starttls="ldap")
    status, out, err = command("explain", "127.0.0.1:0", "localhost", "--admin", p.admin_socket)
    assert status == 0 and "not TLS:            ldap up to its STARTTLS\n" in out and "access:             everybody\n" in out, out + err


def test_explain_names_everything(parts, pki):
    a = Address(parts, {"web": {"names": ["*"], "alpn": ["h2"], "limits": {"sessions": 9}},
                        "db": through(["db.test"], "postgresql"), "all": through(["**.test"])})
    address = f"127.0.0.1:{a.port}"
    status, out, err = command("explain", address, "DB.test.", "postgresql", "--admin", a.proxy.admin_socket)
    assert status == 0, err
    assert "service:            db (passthrough)" in out and '"db.test" is in "names" of service "db"' in out
    assert "demands" in out and "certificate:        none" in out
    assert 'service "all", but "db.test" is more specific' in out and 'service "web", but "db.test" is more specific' in out
    assert ": up" in out
    status, out, err = command("explain", address, "--admin", a.proxy.admin_socket, "--json")
    said = json.loads(out)
    assert status == 0 and said["service"] == "web" and said["why"] and said["certificate"] == str(pki.ecdsa["cert"])
    assert said["limits"]["sessions"] == 9 and said["backends"][0]["state"] == "up" and said["client_auth"] == {"mode": "none"}
    status, offline, err = command("check", a.proxy.config_file, "--explain", address, "--json")
    assert status == 0, err
    offline = json.loads(offline)
    assert offline["backends"][0].pop("state") is None and said["backends"][0].pop("state") == "up"
    assert offline == said
    status, out, err = command("check", "--explain", address, "db.test", a.proxy.config_file)
    assert status == 0 and "none: refused with no_application_protocol" in out


def test_questions_that_make_no_sense(parts):
    p = parts.proxy(parts.backend())
    admin = ["--admin", p.admin_socket]
    for question in (["127.0.0.1:1"], ["localhost:443"], ["[::1]:443", "x"]):
        status, out, err = command("explain", *question, *admin)
        assert status == 1 and "nothing listens on" in err and "expected 127.0.0.1:" in err, (question, err)
    assert command("explain", *admin)[0] == 2
    assert command("explain", "a", "b", "c", "d", *admin)[0] == 2
    assert command("check", p.config_file, "--explain")[0] == 2
    assert command("explain", "127.0.0.1:1", "--admin", parts.directory / "none")[0] == 3
    for query in ("address=127.0.0.1:0&name=A", "address=127.0.0.1:0&name=a%20b", "address=127.0.0.1:0&alpn=,", "", "address=" + "1" * 3000,
                  "address=127.0.0.1:0&alpn=" + "p," * 3000):
        assert p.admin.ask("/explain?" + query).status == 400, query


def test_the_example_of_the_manual(parts, pki):
    """docs/routing.md: its configuration passes the check, and each row of its table is what `explain` says."""
    page = (ROOT / "docs" / "routing.md").read_text()
    text = re.search(r"```toml\n(.*?)```", page, re.S)[1]
    certs = parts.directory / "certs"
    certs.mkdir()
    leaf = pki.leaf("names-manual", "p256", ["example.org", "*.example.org"])
    for kind, suffix in (("key", ".key"), ("cert", ".crt")):
        (certs / f"site{suffix}").write_bytes(open(leaf[kind], "rb").read())
    ca = Issuer(parts.directory, "people")
    port = clients.free_port()
    for old, new in (("/etc/tls-off/certs/", str(certs)), ("/etc/tls-off/people-ca.pem", str(ca.file)), ("[::]:443", "[::1]:443"), (":443", f":{port}")):
        text = text.replace(old, new)
    file = parts.directory / "manual.toml"
    file.write_text(f'state_dir = "{parts.directory}/state"\nuser = "{getpass.getuser()}"\n' + text)
    rows = [line.split("|")[1:4] for line in page.split("## Which one")[0].splitlines() if line.startswith("|")][2:]
    assert len(rows) == 7
    for asked, offers, gets in rows:
        wanted = re.match(r" (\w+)", gets)[1]
        name, offered = (re.findall(r"`(.*?)`", cell) or [""] for cell in (asked, offers))
        status, out, err = command("check", file, "--explain", f"192.0.2.1:{port}", name[0], offered[0], "--json")
        assert status == 0 and "error" not in err, err
        assert (json.loads(out)["service"] or "nobody") == wanted, (name, offered, out)


def test_as_many_services_as_there_may_be(parts):
    """4,096 services with a hundred names each start, are distinguished, and one more is refused."""
    port = clients.free_port()
    seen = parts.backend(say(b"here", True))

    def text(services):
        head = toml.dumps(configuration(parts.directory, {}))
        return head + "".join(f'\n[service.s{s}]\nlisten = ["127.0.0.1:{port}"]\nmode = "passthrough"\nbackends = ["{seen.url}"]\nnames = ['
                              + ", ".join(f'"n{n}.s{s}.test"' for n in range(99)) + f', "*.s{s}.test"]\n' for s in range(services))

    p = parts.prepare(seen)
    p.config_file.write_text(text(4097))
    status, out, err = command("check", p.config_file)
    assert status == 1 and "found 4097 services, expected at most 4096" in err
    p.config_file.write_text(text(4096).replace(str(parts.directory / "admin.sock"), str(p.admin_socket)))
    p.start()
    for name, wanted in (("n0.s0.test", "s0"), ("n98.s4095.test", "s4095"), ("other.s2048.test", "s2048")):
        with clients.tcp(port) as s:
            s.sendall(clients.hello_bytes(context(), name))
            assert clients.receive_all(s) == b"here"
        p.wait_session(sni=name, service=wanted)
    answer = p.admin.ask(f"/explain?address=127.0.0.1:{port}&name=n5.s77.test")
    assert answer.json["service"] == "s77" and answer.json["others"] == []


# --- what is no TLS


def plain(parts, services, listener, **options):
    port = clients.free_port()
    tables = {}
    for name, keys in services.items():
        tables[name] = {**parts.service(parts.backend(), **keys), **({} if keys.get("listen") == [] else {"listen": [f"127.0.0.1:{port}"]})}
        if keys.get("mode") == "passthrough":
            del tables[name]["certificates"]
        if keys.get("listen") == []:
            del tables[name]["listen"]
    return port, parts.proxy(services=tables, top={"listener": {f"127.0.0.1:{port}": listener}, **options.get("top", {})})


@pytest.mark.parametrize("own", [True, False])
def test_what_is_no_tls_goes_to_the_fallback(parts, own):
    """Undecrypted, beside TLS at the same port; the service of the fallback needs no address of its own."""
    other = {"mode": "passthrough", "listen": []} if own else {"mode": "passthrough"}
    port, p = plain(parts, {"web": {}, "other": other}, {"fallback": "other"})
    for said in (b"SSH-2.0-x\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00\x00\x08\x04\xd2\x16\x2f", b"\x80\x2e\x01\x00\x02", b"x" * 40000):
        with clients.tcp(port) as s:
            s.sendall(said)
            assert clients.receive(s, len(said)) == said
    p.wait_session(service="other", count=5)
    with connect(port) as c:
        clients.says_echo(c)
    p.wait_session(service="web")
    with clients.tcp(port) as s:  # what begins like TLS and is none is not for the fallback
        s.sendall(b"\x16GET / HTTP/1.1\r\n\r\n")
        clients.until_closed(s)
    p.wait_failure("not_tls")


def test_the_fallback_comes_after_the_proxy_header(parts):
    trusted = {"proxy_protocol": {"accept": "required", "trust": ["127.0.0.1"]}}
    port, p = plain(parts, {"web": trusted, "other": {**trusted, "mode": "passthrough"}}, {"fallback": "other"})
    with clients.tcp(port) as s:
        s.sendall(b"SSH-2.0-x\r\n")
        clients.until_closed(s)
    p.wait_failure("proxy_missing")
    with clients.tcp(port) as s:
        s.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.1 1000 22\r\nSSH-2.0-x\r\n")
        assert clients.receive(s, 11) == b"SSH-2.0-x\r\n"
    assert p.wait_session(service="other")["client"].startswith("192.0.2.7:")


def test_plain_http_is_sent_to_https(parts, pki):
    port, p = plain(parts, {"web": {"alpn": ["http/1.1"]}, "other": {"mode": "passthrough", "listen": []}},
                    {"redirect_http": True, "fallback": "other"})
    url = f"http://localhost:{port}/a/b?c=d%20e"
    said = clients.run("curl", "--silent", "--include", "--resolve", f"localhost:{port}:127.0.0.1", url)
    assert said.startswith("HTTP/1.1 308 ") and f"\r\nLocation: https://localhost:{port}/a/b?c=d%20e\r\n" in said.replace("\r\r", "\r")
    said = clients.run("curl", "--silent", "--head", "--http1.0", "-H", "Host: example.org", f"http://127.0.0.1:{port}/x")
    assert "\nLocation: https://example.org/x\r\n" in said.replace("\r\r", "\r")
    for request in (b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\tb\r\n\r\n",
                    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /" + b"x" * 9000):
        with clients.tcp(port) as s:
            s.sendall(request)
            assert clients.until_closed(s)[0].startswith(b"HTTP/1.1 400 "), request
    with clients.tcp(port) as s:  # byte by byte
        for byte in b"GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n":
            s.sendall(bytes([byte]))
        assert b"Location: https://a.test/slow\r\n" in clients.until_closed(s)[0]
    with clients.tcp(port) as s:
        s.sendall(b"SSH-2.0-x\r\n")
        assert clients.receive(s, 11) == b"SSH-2.0-x\r\n"
    p.wait_failure("plain_http", count=8)
    with connect(port) as c:
        clients.says_echo(c)


def test_without_keys_plain_http_gets_an_answer_as_before(parts):
    port, p = plain(parts, {"web": {}}, {"backlog": 100})
    with clients.tcp(port) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert clients.until_closed(s)[0].startswith(b"HTTP/1.1 400 ")


def test_a_fallback_that_cannot_be(parts):
    def faults(fallback, **services):
        file = parts.directory / "fallback.toml"
        tables = {name: {"backends": ["unix:/nowhere"], **keys} for name, keys in services.items()}
        file.write_text(toml.dumps(configuration(parts.directory, tables, listener={"127.0.0.1:1": {"fallback": fallback}})))
        return command("check", file)

    here = {"listen": ["127.0.0.1:1"]}
    through = {"mode": "passthrough"}
    status, _, err = faults("ohter", web=here, other=through)
    assert status == 1 and '"ohter", expected the name of a service, perhaps "other"' in err
    assert 'service.other.listen: found none, expected at least one' in err
    status, _, err = faults("web", web=here)
    assert status == 1 and 'found "web", which ends TLS, expected a service in mode "passthrough"' in err
    assert faults("other", web=here, other=through)[0] == 0
    assert faults("other", web=here, other={**through, **here})[0] == 0
