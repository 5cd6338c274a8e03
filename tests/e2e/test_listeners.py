"""What an address may be besides IP and port: both families at once, MPTCP, an interface, a backlog; and changes of these."""
import ipaddress
import os
import pathlib
import signal
import socket
import subprocess

import pytest

from support import toml
from support.clients import connect, context, receive, says_echo
from support.proxy import command, configuration
from support.waiting import DEADLINE, until
from test_reload import message, reload, rewrite

MPTCP = 262
SOL_MPTCP, MPTCP_INFO, FALLBACK = 284, 1, 1


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


def mptcp_socket():
    try:
        return socket.socket(socket.AF_INET, socket.SOCK_STREAM, MPTCP)
    except OSError as e:
        pytest.skip(f"this kernel has no MPTCP: {e}")


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="needs IPv6")


def port_of(p, pattern):
    return int(p.wait_text(rf"listening on {pattern}:(\d+) for web").group(1))


def at_loopback(family, ip, port):
    s = socket.socket(family)
    s.connect((ip, port))
    return context().wrap_socket(s, server_hostname="localhost", suppress_ragged_eofs=False)


@needs_ipv6
@pytest.mark.parametrize("written", [":0", "*:0"])
def test_a_port_alone_is_both_families(parts, written):
    p = parts.proxy(parts.backend(), listen=[written])
    port = port_of(p, r"\*")
    for family, ip in (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"):
        with at_loopback(family, ip, port) as c:
            says_echo(c)
            c.unwrap()
        p.wait_session(client=lambda a, ip=ip: ip in a and "ffff" not in a)
    assert p.admin.json("/status.json")["services"][0]["listen"] == ["*:0"]


def port_of_both():
    """A port that nobody has on any address, of either family."""
    with socket.socket(socket.AF_INET6) as s:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        s.bind(("::", 0))
        return s.getsockname()[1]


@needs_ipv6
def test_an_address_changes_and_its_sessions_stay(parts):
    """One family, both, an interface, MPTCP, one family again: always the same port, which we hold ourselves."""
    port = port_of_both()
    p = parts.proxy(parts.backend(), listen=[f"127.0.0.1:{port}"])
    steps = [([f":{port}"], {}), ([f":{port}"], {"device": "lo"}), ([f":{port}"], {"mptcp": True}),
             ([f"[::]:{port}"], {"v6only": False}), ([f"127.0.0.1:{port}"], {"backlog": 7})]
    sessions = [connect(port)]
    for number, (listen, keys) in enumerate(steps, 1):
        def change(t, listen=listen, keys=keys):
            t["service"]["web"]["listen"] = listen
            t["listener"] = {listen[0]: keys} if keys else {}
        rewrite(p, change)
        reload(p, number)
        assert not p.events("log", message=lambda m: m.startswith("reload refused"))
        sessions.append(connect(port))
        for c in sessions:
            says_echo(c)
    with pytest.raises(ConnectionRefusedError):
        at_loopback(socket.AF_INET6, "::1", port)
    for c in sessions:
        c.unwrap().close()


@needs_ipv6
def test_an_address_changes_and_new_clients_are_served_at_once(parts):
    """However long the old handshakers need: those of the new generation have the port to themselves."""
    port = port_of_both()
    p = parts.proxy(parts.backend(), listen=[f"127.0.0.1:{port}"], timeouts={"handshake": "50s"})
    slow = socket.create_connection(("127.0.0.1", port))
    slow.sendall(bytes.fromhex("16030102000100"))  # half a hello keeps the old generation
    until(lambda: p.admin.json("/status.json")["totals"]["connections_accepted_total"] == 1, "the slow client")
    rewrite(p, lambda t: t["service"]["web"].update(listen=[f":{port}"]))
    p.signal(signal.SIGHUP)
    message(p, "generation 1 serves")
    for _ in range(20):
        with connect(port) as c:
            says_echo(c)
            c.unwrap()
    assert not p.events("log", message=lambda m: m.startswith("reload done"))
    slow.close()
    message(p, "reload done")


def test_an_mptcp_client_is_served_by_mptcp(parts):
    s = mptcp_socket()
    p = parts.proxy(parts.backend(), top={"listener": {"127.0.0.1:0": {"mptcp": True}}})
    s.connect(("127.0.0.1", p.port))
    flags = int.from_bytes(s.getsockopt(SOL_MPTCP, MPTCP_INFO, 64)[8:12], "little")
    assert not flags & FALLBACK
    data = os.urandom(1 << 18)
    with context().wrap_socket(s, server_hostname="localhost", suppress_ragged_eofs=False) as c:
        c.settimeout(60)
        for _ in range(4):
            c.sendall(data[:1 << 16])
            assert receive(c, 1 << 16) == data[:1 << 16]
        c.unwrap()
    with connect(p.port) as c:  # and plain TCP
        says_echo(c)
        c.unwrap()
    assert p.wait_session(count=2)


def backlog_of(port):
    r = subprocess.run(["ss", "-Hltn", f"sport = :{port}"], capture_output=True, text=True, check=True)
    return {int(line.split()[2]) for line in r.stdout.splitlines()}


def test_a_backlog_is_set_and_changed(parts):
    limit = int(pathlib.Path("/proc/sys/net/core/somaxconn").read_text())
    p = parts.proxy(parts.backend(), top={"listener": {"127.0.0.1:0": {"backlog": 5}}})
    assert backlog_of(p.port) == {5}
    rewrite(p, lambda t: t.pop("listener"))
    reload(p, 1)
    assert backlog_of(p.port) == {min(limit, 4096)}


@pytest.mark.parametrize("listen,section,expected", [
    (["127.0.0.1:0"], {"127.0.0.1:0": {"device": "no-such-if"}}, "expected an interface that this machine has"),
    ([":7", "[::]:7"], {}, 'expected no address that overlaps with "*:7"'),
    ([":7"], {":8": {}}, 'found an address where no service listens, expected "*:7"'),
])
def test_check_says_what_is_wrong(parts, listen, section, expected):
    where = parts.directory / "c"
    where.mkdir()
    file = where / "config.toml"
    services = {"web": parts.service("unix:/nowhere/app.sock", listen=listen)}
    file.write_text(toml.dumps(configuration(where, services, listener=section)))
    status, stdout, stderr = command("check", file)
    assert status == 1
    assert expected in stdout + stderr and f"{file}:" in stdout + stderr, stdout + stderr


def test_an_interface_that_is_gone_refuses_the_reload(parts):
    p = parts.proxy(parts.backend())
    rewrite(p, lambda t: t.update(listener={"127.0.0.1:0": {"device": "no-such-if"}}))
    p.signal(signal.SIGHUP)
    assert "no-such-if" in message(p, "reload refused") or "No such device" in p.text()
    with connect(p.port) as c:
        says_echo(c)
        c.unwrap()


# --- scopes


def link_local():
    """(address, interface) of this machine's."""
    for line in pathlib.Path("/proc/net/if_inet6").read_text().splitlines():
        address, _, _, _, flags, name = line.split()
        if address.startswith("fe80") and not int(flags, 16) & 0x40:  # tentative
            return str(ipaddress.ip_address(int(address, 16))), name
    pytest.skip("this machine has no link-local address")


@needs_ipv6
def test_a_link_local_address_has_its_interface(parts):
    """Listening, and towards a backend; kept over a reload, which changes nothing about it."""
    ip, name = link_local()
    with socket.socket(socket.AF_INET6) as app:
        app.bind(socket.getaddrinfo(f"{ip}%{name}", 0, type=socket.SOCK_STREAM)[0][4])
        app.listen()
        there = app.getsockname()
        p = parts.proxy(f"tcp:[{ip}%{name}]:{there[1]}", listen=[f"[{ip}%{name}]:0"], top={"workers": 2})
        port = int(p.wait_text(rf"listening on \[{ip}%{name}\]:(\d+) for web").group(1))
        for number in range(2):
            with socket.create_connection((f"{ip}%{name}", port), timeout=DEADLINE) as s, \
                    context().wrap_socket(s, server_hostname="localhost", suppress_ragged_eofs=False) as c:
                c.sendall(b"hello")
                backend, peer = app.accept()
                assert backend.recv(5) == b"hello" and peer[3] == there[3]
                backend.sendall(b"world")
                assert receive(c, 5) == b"world"
                backend.close()
                c.recv(1)
                c.unwrap()
            p.wait_session(count=number + 1, client=lambda a: ip in a and "%" not in a, local=f"[{ip}]:{port}")
            if number == 0:
                reload(p, 1)
    assert p.admin.json("/status.json")["services"][0]["listen"] == [f"[{ip}%{name}]:0"]


@needs_ipv6
@pytest.mark.parametrize("keys", [{"listen": ["[fe80::1%no-such-if]:0"]}, {"backends": ["tcp:[fe80::1%no-such-if]:80"]}])
def test_an_unknown_interface_refuses(parts, keys):
    p = parts.proxy(parts.backend())
    rewrite(p, lambda t: t["service"]["web"].update(keys))
    p.signal(signal.SIGHUP)
    assert 'expected an interface behind \'%\' that this machine has, with IPv6 (it has no "no-such-if")' in message(p, "reload refused")
    with connect(p.port) as c:
        says_echo(c)
        c.unwrap()
