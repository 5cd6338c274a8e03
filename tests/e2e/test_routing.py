"""Which service of an address a client reaches, and what `check` reports about unreachable services."""
import ssl

import pytest

from support import clients, toml
from support.client_pki import Issuer
from support.clients import V12, V13, connect, context, says_echo
from support.proxy import command, configuration

NO_ALPN, UNRECOGNIZED = 120, 112
ADMIN, PUBLIC = "admin.example.org", "www.example.org"


def say(what):
    return lambda c: c.sendall(what)


@pytest.fixture
def certificates(pki):
    return {"exact": pki.leaf("route-exact", "p256", [ADMIN]), "wild": pki.leaf("route-wild", "p256", ["*.example.org"]),
            "other": pki.leaf("route-other", "p256", ["other.test"])}


class Address:
    """Services of one address; each of them sends its name to the client."""

    def __init__(self, parts, tables):
        self.port = clients.free_port()
        services = {}
        for name, keys in tables.items():
            services[name] = {**parts.service(parts.backend(say(name.encode())), **keys), "listen": [f"127.0.0.1:{self.port}"]}
        self.proxy = parts.proxy(services=services)

    def reached(self, name, alpn=None, version=None):
        """The service that a client reaches, or the number of the alert that refuses it at its ClientHello."""
        ctx = context(version=version, alpn=alpn and [alpn])
        with clients.tcp(self.port) as s:
            s.sendall(clients.hello_bytes(ctx, name))
            first = clients.receive(s, 7)
            if clients.alert_of(first):
                return clients.alert_of(first)[1]
        try:
            with connect(self.port, ctx, name=name) as c:
                return clients.receive_all(c).decode()
        except ssl.SSLError as e:
            return str(e)


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize("order", [("public", "admin"), ("admin", "public")])
def test_a_protocol_leads_around_nobody(parts, certificates, order, version):
    """The name belongs to a service that wants certificates; the client asks for what only the wildcard's service speaks."""
    ca = Issuer(parts.directory, "people")
    tables = {"public": {"certificates": [certificates["wild"]], "alpn": ["http/1.1"]},
              "admin": {"certificates": [certificates["exact"]], "alpn": ["h2"], "client_auth": {"mode": "required", "ca": str(ca.file)}}}
    a = Address(parts, {name: tables[name] for name in order})
    assert a.reached(ADMIN, "http/1.1", version) == NO_ALPN
    assert a.proxy.wait_failure("no_shared_alpn")["service"] == "admin"
    assert a.reached(ADMIN, "h2", version) not in order
    assert a.reached(ADMIN, None, version) not in order
    assert a.proxy.wait_failure("client_cert_missing", count=2)["service"] == "admin"
    assert a.reached(PUBLIC, "http/1.1", version) == "public"
    assert a.reached(PUBLIC, "h2", version) == NO_ALPN
    assert a.proxy.wait_failure("no_shared_alpn", count=2)["service"] == "public"


@pytest.mark.parametrize("order", [("named", "wild", "rest"), ("rest", "wild", "named"), ("wild", "named", "rest")])
def test_exact_then_wildcard_then_default(parts, certificates, order):
    """The service with the default certificate for strangers is strict about nothing; the others take their own names only."""
    tables = {"named": {"certificates": [certificates["exact"]], "strict_sni": True},
              "wild": {"certificates": [certificates["wild"]], "strict_sni": True},
              "rest": {"certificates": [certificates["other"]]}}
    a = Address(parts, {name: tables[name] for name in order})
    assert a.reached(ADMIN) == "named"
    assert a.reached(PUBLIC) == "wild"
    assert a.reached("nobody.test") == a.reached(None) == a.reached("other.test") == "rest"


def test_passthrough_takes_the_rest_of_strict_services(parts, pki, certificates):
    server = parts.server("openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", pki.ecdsa["cert"], "-key", pki.ecdsa["key"], "-rev")
    tables = {"through": {"mode": "passthrough", "backends": [f"tcp:127.0.0.1:{server.wait_port()}"], "certificates": []},
              "named": {"certificates": [certificates["exact"]], "strict_sni": True, "alpn": ["h2"]}}
    a = Address(parts, tables)
    assert a.reached(ADMIN, "h2") == "named"
    assert a.reached(ADMIN, "http/1.1") == NO_ALPN
    for name in ("nobody.test", None):
        with connect(a.port, name=name) as c:
            c.sendall(b"abc\n")
            assert clients.receive(c, 4) == b"cba\n"
        a.proxy.wait_session(service="through", count=1 if name else 2)


def test_where_all_are_strict_strangers_are_refused(parts, certificates):
    a = Address(parts, {"named": {"certificates": [certificates["exact"]], "strict_sni": True},
                        "wild": {"certificates": [certificates["wild"]], "strict_sni": True}})
    assert a.reached("nobody.test") == a.reached(None) == UNRECOGNIZED
    a.proxy.wait_failure("unknown_name", count=2)


def test_services_that_share_a_certificate_are_distinguished_by_protocol(parts, certificates):
    shared = [certificates["wild"]]
    a = Address(parts, {"web": {"certificates": shared, "alpn": ["h2", "http/1.1"]}, "mqtt": {"certificates": shared, "alpn": ["mqtt"]}})
    assert a.reached(PUBLIC, "mqtt") == "mqtt"
    assert a.reached(PUBLIC, "h2") == a.reached(PUBLIC) == "web"
    assert a.reached("nobody.test", "mqtt") == "mqtt"


# --- check


def check(parts, tables):
    """(status, output) for services that all listen on one address unless they set another."""
    port = clients.free_port()
    services = {name: {"listen": [f"127.0.0.1:{port}"], "backends": ["unix:/nowhere/app.sock"], **keys} for name, keys in tables.items()}
    file = parts.directory / "config.toml"
    file.write_text(toml.dumps(configuration(parts.directory, services)))
    status, out, err = command("check", file)
    return status, out + err


@pytest.mark.parametrize("order", [("web", "through"), ("through", "web")])
def test_passthrough_beside_termination_is_refused(parts, certificates, order):
    tables = {"web": {"certificates": [certificates["exact"]]}, "through": {"mode": "passthrough"}}
    status, said = check(parts, {name: tables[name] for name in order})
    assert status == 1
    assert 'service "through" can never be chosen' in said and 'service "web" takes every client' in said
    assert "config.toml:" in said and "service.through.listen:" in said


def test_equal_services_are_refused(parts, certificates):
    same = {"certificates": [certificates["exact"], certificates["wild"]], "alpn": ["h2"]}
    status, said = check(parts, {"one": same, "two": same})
    assert status == 1 and 'service "two" can never be chosen' in said and 'service "one" has its names and protocols' in said
    status, said = check(parts, {"one": same, "two": {**same, "certificates": [certificates["exact"]]}})
    assert status == 1 and 'service "two" can never be chosen' in said
    status, said = check(parts, {"one": same, "two": {**same, "alpn": ["http/1.1"]}})
    assert status == 0, said
    status, said = check(parts, {"one": same, "two": {**same, "listen": ["[::1]:1"]}})
    assert "can never be chosen" not in said


def test_a_name_of_two_services_is_warned_of(parts, pki, certificates):
    more = pki.leaf("route-more", "p256", ["more.test", ADMIN])
    status, said = check(parts, {"one": {"certificates": [certificates["exact"]]}, "two": {"certificates": [more]}})
    assert status == 0
    assert f'ask for "{ADMIN}" always reach service "one", never "two"' in said


def test_a_start_with_what_nobody_reaches_is_refused(parts, certificates):
    tables = {"web": {"certificates": [certificates["exact"]]}, "through": {"mode": "passthrough"}}
    here = {"listen": [f"127.0.0.1:{clients.free_port()}"], "backends": ["unix:/nowhere/app.sock"]}
    p = parts.prepare(services={name: {**here, **keys} for name, keys in tables.items()})
    p.wants_ready = False
    p.start()
    assert p.wait_exit() == 1
    p.expected_status = 1
    p.wait_text('service "through" can never be chosen')


def test_a_reload_to_what_nobody_reaches_changes_nothing(parts, certificates):
    p = parts.proxy(parts.backend())
    config = p.config_file.read_text()
    p.config_file.write_text(config + '\n[service.through]\nlisten = ["127.0.0.1:%d"]\nmode = "passthrough"\n'
                             'backends = ["unix:/x"]\n[service.again]\nlisten = ["127.0.0.1:%d"]\nmode = "passthrough"\nbackends = ["unix:/x"]\n'
                             % ((clients.free_port(),) * 2))
    status, out, err = command("reload", "--admin", p.admin_socket)
    assert status == 1 and "can never be chosen" in out + err
    with connect(p.port) as c:
        says_echo(c)
