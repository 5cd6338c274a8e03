"""What is counted is what happened: over processes, over their deaths, over reloads; by label and by client."""
import os
import re
import signal
import ssl

import pytest

from support.client_pki import Issuer
from support.clients import V12, V13, connect, context, receive, reset, says_echo, tcp
from support.raw import RawSession
from support.waiting import until

SIZES = [1, 100, 16384, 16385, 70_000, 300_000]


def metric(p, family, **labels):
    """The sum of a metric's samples with these labels."""
    total, found = 0, False
    for line in p.admin.ask("/metrics").text.splitlines():
        m = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
        if m and m.group(1) == family:
            has = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', m.group(2) or ""))
            if all(has.get(k) == v for k, v in labels.items()):
                total += float(m.group(3))
                found = True
    return total if found else None


def says(c, n):
    c.sendall(bytes(n))
    assert len(receive(c, n)) == n


def counted(p, **fields):
    """Waits until the totals have these values (readings are a second apart)."""
    def there():
        totals = p.admin.json("/status.json")["totals"]
        return all(totals[k] == v for k, v in fields.items())
    until(there, f"totals {fields}")


@pytest.mark.parametrize("workers", [1, 2])
def test_sums_are_those_of_the_log(parts, workers):
    p = parts.proxy(parts.backend(), top={"workers": workers})
    for i, n in enumerate(SIZES):
        with connect(p.port, context(version=(V12, V13)[i % 2])) as c:
            says(c, n)
            c.unwrap()
    sessions = p.wait_session(count=len(SIZES)) and p.events("session")
    counted(p, sessions=0, sessions_total=len(SIZES), bytes_in_total=sum(SIZES), bytes_out_total=sum(SIZES))
    for way in ("bytes_in", "bytes_out"):
        assert sum(e[way] for e in sessions) == sum(SIZES)
    status = p.admin.json("/status.json")
    assert status["totals"]["handshakes"]["full"] == len(SIZES)
    assert status["services"][0]["backends"][0]["bytes_in_total"] == sum(SIZES)
    for version in ("TLSv1.2", "TLSv1.3"):
        assert metric(p, "tls_off_suite_received_bytes_total", version=version) == sum(
            e["bytes_in"] for e in sessions if e["tls_version"] == version)
    assert metric(p, "tls_off_server_name_sent_bytes_total", name="localhost") == sum(SIZES)
    assert metric(p, "tls_off_certificate_handshakes_total", kind="full") == len(SIZES)
    for name in ("handshake", "connect", "first_byte"):
        assert metric(p, f"tls_off_service_{name}_seconds_count", service="web") == len(SIZES)
    (client,) = p.admin.json("/clients.json")
    assert (client["client"], client["bytes_in"], client["bytes_out"]) == ("127.0.0.1", sum(SIZES), sum(SIZES))


def test_bytes_count_while_the_session_lives(parts):
    p = parts.proxy(parts.backend())
    with connect(p.port) as c:
        says(c, 5000)
        counted(p, sessions=1, bytes_in_total=5000, bytes_out_total=5000)
        says(c, 7)
        counted(p, sessions=1, bytes_in_total=5007, bytes_out_total=5007)


def test_failures_have_their_reason(parts):
    p = parts.proxy(parts.backend())
    for hello in (b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n", b"GET / HTTP/1.0\r\n\r\n"):
        with tcp(p.port) as s:
            s.sendall(hello)
            while s.recv(1000):
                pass
    p.wait_failure("plain_http", count=2)
    p.wait_failure("plain_ssh")
    until(lambda: p.admin.json("/status.json")["totals"]["handshakes"]["failed"] == {"plain_http": 2, "plain_ssh": 1}, "reasons")


def test_truncation_is_counted(parts):
    p = parts.proxy(parts.backend())
    r = RawSession(p.port)
    r.says_echo()
    r.socket.close()
    p.wait_session(client_end="truncated")
    counted(p, sessions=0, truncations_total=1)


@pytest.mark.parametrize("role", ["relay", "handshaker"])
def test_a_death_takes_nothing_but_what_is_now(parts, role):
    p = parts.proxy(parts.backend(), top={"workers": 1})
    c = connect(p.port)
    says(c, 1000)
    counted(p, sessions=1, sessions_total=1, bytes_in_total=1000)
    p.allow_killed_roles = True
    os.kill(p.roles()[role][0], signal.SIGKILL)
    p.wait_event("log", message=lambda m: m.startswith(f"{role}.0 serves again"))
    alive = role != "relay"
    counted(p, sessions=int(alive), sessions_total=1, bytes_in_total=1000)
    if alive:
        says(c, 500)
    c.close()
    with connect(p.port) as other:
        says(other, 2000)
    counted(p, sessions=0, sessions_total=2, bytes_in_total=3000 + 500 * alive)


def test_a_reload_repeats_nothing(parts):
    """A session that moves is one session; its bytes before and after are added up."""
    p = parts.proxy(parts.backend(), top={"workers": 2})
    held = [connect(p.port) for _ in range(6)]
    for c in held:
        says(c, 1000)
    counted(p, sessions=6, sessions_total=6, bytes_in_total=6000)
    for number in (1, 2):
        p.signal(signal.SIGHUP)
        p.wait_event("log", count=number, message=lambda m: m.startswith("reload done"))
        for c in held:
            says(c, 1000)
        counted(p, sessions=6, sessions_total=6, bytes_in_total=6000 * (number + 1), bytes_out_total=6000 * (number + 1))
    (client,) = p.admin.json("/clients.json")
    assert client["bytes_in"] == 18000 and client["sessions"] == 6 and client["sessions_total"] == 6
    assert p.admin.json("/status.json")["totals"]["handshakes"]["full"] == 6
    for c in held:
        c.unwrap()
        c.close()
    counted(p, sessions=0, sessions_total=6)


def test_clients_are_distinguished(parts):
    """By address, IPv6 by /64."""
    p = parts.proxy(parts.backend(), proxy_protocol={"accept": "required", "trust": ["127.0.0.0/8"]})

    def from_(address, n):
        family = "TCP6" if ":" in address else "TCP4"
        s = tcp(p.port)
        s.sendall(f"PROXY {family} {address} {address} 1000 443\r\n".encode())
        with context().wrap_socket(s, server_hostname="localhost") as c:
            says(c, n)
            c.unwrap()

    for i in range(40):
        from_(f"192.0.2.{i}", 100 + i)
    from_("2001:db8::1", 1000)
    from_("2001:db8::2", 1000)
    from_("2001:db8:0:1::2", 300)
    counted(p, sessions=0, sessions_total=43)
    clients = {c["client"]: c["bytes_in"] for c in p.admin.json("/clients.json?limit=1000")}
    assert clients == {**{f"192.0.2.{i}": 100 + i for i in range(40)}, "2001:db8::/64": 2000, "2001:db8:0:1::/64": 300}


def test_verified_names_are_clients_too(parts, directory):
    """One address, two certificates: each name has its own bytes."""
    ca = Issuer(directory, "clients authority")
    p = parts.proxy(parts.backend(), client_auth={"mode": "required", "ca": str(ca.file)})
    for client, n in ((ca.client("robot", dns=["robot.example"]), 3000), (ca.client("other", uri=["spiffe://example.org/other"]), 500)):
        ctx = context()
        ctx.load_cert_chain(client.cert, client.key)
        for _ in range(2):
            with connect(p.port, ctx) as c:
                says(c, n)
                c.unwrap()
    names = {e["client_name"] for e in p.wait_session(count=4) and p.events("session")}
    counted(p, sessions=0, sessions_total=4)
    clients = {(c["client"], c["verified"]): c["bytes_in"] for c in p.admin.json("/clients.json")}
    assert clients.pop(("127.0.0.1", False)) == 7000
    assert {name for name, verified in clients if verified} == names
    assert sorted(clients.values()) == [1000, 6000]


def with_cert(client, version=None):
    ctx = context(version=version)
    if client:
        ctx.load_cert_chain(client.cert, client.key)
    return ctx


def handshakes(p):
    """Of each client, by its name: begun, full, resumed, failed. None of them is uncertain."""
    clients = p.admin.json("/clients.json")
    assert all(c["error_handshakes"] == 0 for c in clients)
    return {c["client"]: tuple(c[k] for k in ("handshakes_total", "handshakes_full_total", "handshakes_resumed_total", "failed_total")) for c in clients}


@pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])
def test_handshakes_count_for_the_name_they_prove(parts, directory, version):
    """Full and resumed, over handshakers and reloads. A client that proves none, or is refused, counts for the address alone."""
    ca = Issuer(directory, "clients authority")
    p = parts.proxy(parts.backend(), top={"workers": 2}, client_auth={
        "mode": "optional", "ca": str(ca.file), "allow": ["dns:*.example", "uri:spiffe://example.org/*"]})
    robot = with_cert(ca.client("robot", dns=["robot.example"]), version)
    long_name = "spiffe://example.org/" + "long/" * 40  # longer than an entry of the counters keeps
    other = with_cert(ca.client("other", uri=[long_name]), version)
    barred = with_cert(ca.client("barred", dns=["barred.invalid"]), version)
    nobody = with_cert(None, version)

    def comes_in(ctx, session=None):
        with connect(p.port, ctx, session=session) as c:
            says_echo(c)
            assert c.session_reused == (session is not None)
            return c.session

    for round_ in (1, 2):
        sessions = [comes_in(ctx) for ctx in (robot, robot, other, nobody)]
        for ctx, session in ((robot, 0), (robot, 1), (robot, 1), (other, 2), (nobody, 3)):
            comes_in(ctx, sessions[session])
        with pytest.raises(ssl.SSLError):
            comes_in(barred)
        p.wait_failure("client_not_allowed", count=round_)
        p.wait_session(count=9 * round_)
        expected = {"127.0.0.1": (10, 4, 5, 1), "robot.example": (5, 2, 3, 0), long_name[:87]: (2, 1, 1, 0)}
        expected = {name: tuple(n * round_ for n in numbers) for name, numbers in expected.items()}
        until(lambda: {name[:87]: n for name, n in handshakes(p).items()} == expected, lambda: f"{expected}, not {handshakes(p)}")
        p.signal(signal.SIGHUP)
        p.wait_event("log", count=round_, message=lambda m: m.startswith("reload done"))

    def verified():
        return sorted(c["sessions_total"] for c in p.admin.json("/clients.json") if c["verified"])

    until(lambda: verified() == [4, 10], verified)  # long names are cut the same in every process


def test_a_client_lost_after_its_handshake_failed_by_name(parts, directory):
    """It proves its name, and disconnects before its session begins."""
    ca = Issuer(directory, "clients authority")
    p = parts.proxy(parts.backend(), top={"workers": 1}, client_auth={"mode": "required", "ca": str(ca.file)})
    s = tcp(p.port)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = with_cert(ca.client("robot"), V13).wrap_bio(incoming, outgoing, server_hostname="localhost")
    while True:
        try:
            client.do_handshake()
            break
        except ssl.SSLWantReadError:
            s.sendall(outgoing.read())
            incoming.write(s.recv(65536))
    handshaker = p.roles()["handshaker"][0]
    os.kill(handshaker, signal.SIGSTOP)  # so that it finds the last message and the reset together
    try:
        s.sendall(outgoing.read())
        reset(s)
    finally:
        os.kill(handshaker, signal.SIGCONT)
    assert p.wait_failure("handshake_reset")["client_name"] == "robot"
    until(lambda: handshakes(p) == {name: (1, 1, 0, 1) for name in ("127.0.0.1", "robot")}, lambda: handshakes(p))
