"""tls-off trace: the events of one client, live, over reloads, for as long and as many as asked."""
import json
import os
import select
import signal
import subprocess
import threading

import pytest

from support import clients
from support.client_pki import Issuer
from support.clients import V12, V13, connect, says_echo
from support.proxy import BINARY, command
from support.waiting import DEADLINE, until


class Trace:
    """`tls-off trace` under way: what it has printed."""

    def __init__(self, p, *arguments, json_too=True):
        self.lines = []
        self.process = subprocess.Popen([BINARY, "trace", *arguments, "--admin", p.admin_socket, *(["--json"] if json_too else [])],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        until(lambda: traced(p) or self.process.poll() is not None, "the tracer is known")

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def events(self, **fields):
        parsed = [json.loads(line) for line in list(self.lines)]
        return [e for e in parsed if all(e.get(k) == v for k, v in fields.items())]

    def wait(self, count=1, **fields):
        return until(lambda: self.events(**fields) if len(self.events(**fields)) >= count else None, lambda: f"{fields} in {self.lines}")

    def end(self, how=signal.SIGINT):
        """(status, what it said to standard error)."""
        if how and self.process.poll() is None:
            self.process.send_signal(how)
        status = self.process.wait(DEADLINE)
        self.reader.join(DEADLINE)
        said = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        return status, said


def traced(p):
    """How many streams the observer has."""
    status = p.admin.json("/status.json")
    return status["clients"]["traced"]


def talk(p, source="127.0.0.2", version=V13, **options):
    with connect(p.port, clients.context(version=version, **options), source=source) as c:
        says_echo(c)
        c.unwrap()


def steps(events):
    return [e["event"] for e in events]


STEPS = ["accept", "hello", "handshake", "taken", "connect", "first_byte", "session"]


@pytest.mark.parametrize("version", [V12, V13])
def test_the_life_of_a_session(parts, version):
    p = parts.proxy(parts.backend(), alpn=["http/1.1"])
    t = Trace(p, "127.0.0.2/32")
    talk(p, "127.0.0.1")
    talk(p, version=version, alpn=["http/1.1"])
    t.wait(event="session")
    talk(p, "127.0.0.3")
    p.wait_session(count=3)
    assert steps(t.events()) == STEPS, t.lines
    events = {e["event"]: e for e in t.events()}
    assert len({e["unique_id"] for e in t.events()}) == 1
    assert events["hello"]["sni"] == "localhost" and events["hello"]["ja4"].startswith("t")
    h = events["handshake"]
    assert h["alpn"] == "http/1.1" and h["tls_version"] == ("TLSv1.2" if version == V12 else "TLSv1.3")
    assert h["certificate"].endswith(".pem") and h["cipher_suite"] and h["role"] == "handshaker.0"
    assert events["connect"]["backend"].startswith("unix:") and events["connect"]["role"] == "relay.0"
    times = [e["since_accept_ms"] for e in t.events() if "since_accept_ms" in e]
    assert times == sorted(times)
    assert events["session"]["bytes_in"] == events["session"]["bytes_out"] == 12
    assert not [e for e in p.events() if e["event"] in STEPS[:-1]], "the log has none of it"
    assert t.end() == (-signal.SIGINT, "")
    until(lambda: not traced(p), "its place is free")


def test_as_people_read_it(parts):
    p = parts.proxy(parts.backend())
    t = Trace(p, "127.0.0.0/24", "--sessions", "2", json_too=False)
    talk(p)
    until(lambda: any(" session " in line for line in t.lines), "its end")
    with clients.tcp(p.port, source="127.0.0.5") as c:
        c.sendall(b"GET / HTTP/1.0\r\n\r\n")
        clients.until_closed(c)
    assert t.end(None) == (0, "")
    assert " accept " in t.lines[0] and "client=127.0.0.2:" in t.lines[0]
    assert " failed " in t.lines[-1] and "reason=plain_http" in t.lines[-1]
    assert not [line for line in t.lines if line.startswith("#")]


def test_a_verified_name(parts, directory):
    ca = Issuer(directory, "clients")
    robot, other = ca.client("robot"), ca.client("other")
    p = parts.proxy(parts.backend(), client_auth={"mode": "required", "ca": str(ca.file), "allow": ["cn:robot", "cn:other"]})
    t = Trace(p, "robot")
    for who in (other, robot):
        context = clients.context()
        context.load_cert_chain(who.cert, who.key)
        with connect(p.port, context) as c:
            says_echo(c)
            c.unwrap()
    t.wait(event="session")
    assert {e["client_name"] for e in t.events()} == {"robot"}
    assert steps(t.events()) == STEPS[2:], "before it the name is not known"
    t.end()


def test_failed_connects_and_limits(parts):
    backend = parts.backend()
    gone = parts.socket_path()
    p = parts.proxy([f"unix:{gone}", backend], balance="round-robin", limits={"bytes_per_second_per_client": 65536})
    t = Trace(p, "127.0.0.2", "--for", "10m")
    for _ in range(2):
        talk(p)
    assert t.wait(event="connect_failed")[0]["backend"] == f"unix:{gone}" and t.events(event="connect_failed")[0]["detail"]
    with connect(p.port, source="127.0.0.2") as c:
        for _ in range(10):
            says_echo(c, os.urandom(20_000))
    assert t.wait(event="throttled")[0]["detail"] == "bytes_per_second_per_client"
    t.end()


def test_the_client_of_a_proxy_header(parts):
    p = parts.proxy(parts.backend(), proxy_protocol={"accept": "required", "trust": ["127.0.0.0/8"]})
    t = Trace(p, "2001:db8::7", "--sessions", "1")
    for client in ("2001:db8::8", "2001:db8::7"):
        s = clients.tcp(p.port)
        s.sendall(f"PROXY TCP6 {client} 2001:db8::1 1000 443\r\n".encode())
        with clients.context().wrap_socket(s, server_hostname="localhost") as c:
            says_echo(c)
    assert t.end(None)[0] == 0
    assert {e["client"] for e in t.events()} == {"[2001:db8::7]:1000"}


def test_over_reloads(parts):
    p = parts.proxy(parts.backend())
    t = Trace(p, "127.0.0.2")
    with connect(p.port, source="127.0.0.2") as c:
        says_echo(c)
        for number in (1, 2):
            t.wait(event="first_byte")
            assert command("reload", "--admin", p.admin_socket)[0] == 0
            says_echo(c)
            talk(p)
            t.wait(event="exported", count=number)
            t.wait(event="imported", count=number)
            t.wait(event="session", count=number)
        c.unwrap()
    t.wait(event="session", count=3)
    ids = {e["unique_id"] for e in t.events()}
    moved = next(e["unique_id"] for e in t.events(event="exported"))
    assert len(ids) == 3
    names = steps(t.events(unique_id=moved))
    assert names[:6] + names[-1:] == STEPS and len(names) == 11
    assert set(names[6:8]) == set(names[8:10]) == {"exported", "imported"}, "which of two relays says it first is theirs"
    for other in ids - {moved}:
        assert steps(t.events(unique_id=other)) == STEPS
    assert t.end() == (-signal.SIGINT, "")


def test_the_time_is_over(parts):
    p = parts.proxy(parts.backend())
    t = Trace(p, "127.0.0.2", "--for", "1s")
    assert t.end(None) == (0, "") and not t.lines
    until(lambda: not traced(p), "its place is free")


def test_an_observer_that_dies(parts):
    p = parts.proxy(parts.backend())
    p.allow_killed_roles = p.allow_lost_lines = True
    t = Trace(p, "127.0.0.2", "--sessions", "1")
    os.kill(p.roles()["observer"][0], signal.SIGKILL)
    p.wait_text(r"observer\.0 .*killed by signal 9")
    talk(p)
    status, said = t.end(None)
    assert status == 0 and steps(t.events()) == STEPS, (t.lines, said)


def test_a_proxy_that_ends(parts):
    p = parts.proxy(parts.backend())
    t = Trace(p, "127.0.0.2")
    p.signal(signal.SIGTERM)
    p.wait_exit()
    status, said = t.end(None)
    assert status == 3 and "the trace has ended" in said


def test_too_many(parts):
    p = parts.proxy(parts.backend())
    many = [Trace(p, f"127.0.0.{i}") for i in range(2, 10)]
    until(lambda: traced(p) == 8, "eight")
    status, out, err = command("trace", "127.0.0.99", "--admin", p.admin_socket)
    assert status == 1 and "8 clients are traced already" in err
    many[0].end()
    until(lambda: traced(p) == 7, "a free place")
    t = Trace(p, "127.0.0.99", "--sessions", "1")
    until(lambda: traced(p) == 8, "it is taken")
    talk(p, "127.0.0.99")
    assert t.end(None)[0] == 0 and t.events(event="session")
    for other in many[1:]:
        other.end()


def come(p, n):
    for _ in range(n):
        try:
            with clients.tcp(p.port, source="127.0.0.2") as s:
                s.sendall(b"x" * 5)
        except OSError:
            pass


def test_a_reader_that_does_not_read(parts):
    p = parts.proxy(parts.backend())
    with p.admin.connect() as c:
        c.settimeout(DEADLINE)
        c.sendall(b"GET /trace?client=127.0.0.2&format=json HTTP/1.0\r\nHost: localhost\r\n\r\n")
        until(lambda: traced(p), "it is known")
        come(p, 3000)
        body = bytearray()
        while b'"event":"dropped"' not in body:
            if not select.select([c], [], [], 1)[0]:  # a slow observer writes only while we read already
                come(p, 3000)
                continue
            piece = c.recv(1 << 20)
            assert piece, bytes(body[-500:])
            body += piece
    until(lambda: not traced(p), "its place is free")


@pytest.mark.parametrize("arguments,status,words", [
    (["10.0.0.0/33"], 1, "10.0.0.0/33"), (["10.0.0.1/8"], 1, "10.0.0.1/8"), (["x" * 600], 1, "expected an address, a network or a verified name"),
    ([], 2, "usage:"), (["a", "b"], 2, "usage:"), (["127.0.0.1", "--for", "none"], 2, '--for: found "none"'), (["127.0.0.1", "--sessions", "0"], 2, '--sessions: found "0"'),
    (["127.0.0.1", "--for", "48h"], 1, "for_ms: expected a number"), (["127.0.0.1", "--wrong=1"], 2, "--wrong: found an unknown flag")])
def test_wrong_arguments(parts, arguments, status, words):
    p = parts.proxy(parts.backend())
    got, out, err = command("trace", *arguments, "--admin", p.admin_socket)
    assert got == status and words in err, err


def test_nobody_there(directory):
    status, out, err = command("trace", "127.0.0.1", "--admin", directory / "none.sock")
    assert status == 3 and "no tls-off answers there" in err


def test_not_by_tcp(parts):
    p = parts.proxy(parts.backend(), top={"admin": {"listen": "127.0.0.1:0"}})
    answer = p.admin.ask("/trace?client=127.0.0.1", tcp=True)
    assert answer.status == 403
