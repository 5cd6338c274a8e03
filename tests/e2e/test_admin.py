"""The admin sockets: what is served where, by which methods; malformed, giant, slow and many requests do no harm."""
import grp
import os
import re
import socket
import stat
import subprocess
import time

import pytest

from support import processes
from support.admin import read_all, status_of
from support.clients import connect, says_echo
from support.proxy import BINARY, command
from support.waiting import DEADLINE
from test_placement import can_mount


@pytest.fixture
def p(parts, directory):
    return parts.proxy(parts.backend(), top={"admin": {"socket": "admin.sock", "listen": "127.0.0.1:0"}})


def observer(p):
    return p.roles()["observer"][0]


@pytest.mark.parametrize("tcp", [False, True])
def test_health_and_readiness(p, tcp):
    for path in ("/healthz", "/readyz"):
        answer = p.admin.ask(path, tcp=tcp)
        assert answer.status == 200
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        head = p.admin.ask(path, method="HEAD", tcp=tcp)
        assert head.status == 200 and head.body == b"" and head.headers["Content-Length"] == answer.headers["Content-Length"]


def test_nothing_is_changed_over_tcp(p):
    for path in ("/stop", "/drain", "/reload", "/healthz"):
        assert p.admin.ask(path, method="POST", tcp=True).status == 403
    for method in ("PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"):
        assert p.admin.ask("/healthz", method=method, tcp=True).status == 405
        assert p.admin.ask("/healthz", method=method).status == 405
    assert p.running()


def test_health_scope(parts):
    """Over TCP health and metrics alone, at any address of the machine; the Unix socket answers for all."""
    p = parts.proxy(parts.backend(), top={"admin": {"socket": "admin.sock", "listen": "0.0.0.0:0", "scope": "health"}})
    for path in ("/healthz", "/readyz", "/metrics"):
        assert p.admin.ask(path, tcp=True).status == 200
    for path in ("/", "/status.json", "/clients.json", "/certificates.json", "/sessions.json", "/live", "/resources", "/app.js", "/reload/1"):
        assert p.admin.ask(path, tcp=True).status == 404
    for path in ("/", "/status.json", "/certificates.json"):
        assert p.admin.ask(path).status == 200
    assert p.admin.ask("/drain", method="POST", tcp=True).status == 403


def test_metrics_pass_promtool_in_both_formats(p):
    with connect(p.port) as c:
        says_echo(c)
    plain = p.admin.ask("/metrics")
    assert plain.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    checked = subprocess.run(["promtool", "check", "metrics"], input=plain.body, capture_output=True)
    assert checked.returncode == 0 and not checked.stdout + checked.stderr, checked.stdout + checked.stderr
    new = p.admin.ask("/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"})
    assert new.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert new.text.endswith("\n# EOF\n")
    families = re.findall(r"^# TYPE (\S+) (\S+)$", new.text, re.M)
    assert len(families) == len({name for name, _ in families}) > 50
    for name, kind in families:
        for sample in re.findall(rf"^({name}(?:_[a-z]+)?)(?:{{.*?}})? \S+$", new.text, re.M):
            if kind == "counter" and sample in (name, name + "_total"):
                assert sample == name + "_total"


def test_what_the_admin_server_counts_is_shown(p):
    def count(name):
        return int(re.search(rf"^tls_off_admin_{name}_total (\d+)$", p.admin.ask("/metrics").text, re.M).group(1))

    accepted, requests, refused = count("connections_accepted"), count("requests"), count("requests_refused")
    assert p.admin.ask("/metrics", method="DELETE").status == 405
    assert count("connections_accepted") > accepted and count("requests") > requests
    assert count("connections_timed_out") == 0 and count("requests_refused") >= refused


def test_status_is_whole(p):
    status = p.admin.json("/status.json")
    assert status["version"] and abs(status["time"] - time.time()) < 60
    assert [s["name"] for s in status["services"]] == ["web"]
    assert status["services"][0]["backends"][0]["state"] == "up"
    for span in ("1s", "10s", "60s"):
        assert status["rates"]["bytes_in"][span] >= 0
    assert p.admin.json("/clients.json?limit=0") == []
    for wrong in ("limit=x", "limit=-1", "limit=99999999999", "sort=size"):
        assert p.admin.ask("/clients.json?" + wrong).status == 400


@pytest.mark.parametrize("host,status", [("localhost", 200), ("localhost:1", 200), ("127.0.0.1", 200), ("127.0.0.1:9901", 200), ("[::1]:80", 200),
                                         ("[::1]", 200), ("evil.example", 421), ("evil.example:9901", 421), ("localhost.evil.example", 421),
                                         ("127.0.0.1.evil.example", 421), ("[::1", 421), ("[::1]x", 421), ("127.0.0.1:8:8", 421), ("", 421)])
def test_a_strangers_name_for_our_address_gets_nothing(p, host, status):
    """DNS rebinding: a page of evil.example whose name has become 127.0.0.1."""
    assert p.admin.ask("/healthz", tcp=True, headers={"Host": host}).status == status


def test_the_socket_is_closed_to_others(p):
    assert stat.S_IMODE(os.stat(p.admin_socket).st_mode) == 0o600


def test_mode_and_group_of_the_socket(parts):
    group = "daemon" if os.geteuid() == 0 else grp.getgrgid(os.getgid()).gr_name
    p = parts.proxy(parts.backend(), top={"admin": {"socket": "admin.sock", "socket_mode": "0660", "socket_group": group}})
    st = os.stat(p.admin_socket)
    assert stat.S_IMODE(st.st_mode) == 0o660
    assert st.st_gid == grp.getgrnam(group).gr_gid


def test_a_socket_file_left_behind_is_replaced(parts):
    q = parts.prepare(parts.backend())
    s = socket.socket(socket.AF_UNIX)
    s.bind(str(q.admin_socket))
    s.close()
    q.start()
    assert q.admin.ask("/healthz").status == 200


def test_a_socket_in_use_is_an_error(parts, p):
    path = str(p.admin_socket)
    q = parts.prepare(parts.backend(), top={"admin": {"socket": path}})
    q.wants_ready, q.expected_status = False, 1
    q.start()
    q.wait_text(rf"admin socket {path}: another process serves there")
    q.wait_exit()
    assert p.admin.ask("/healthz").status == 200, "the other one still has its socket"


def test_no_socket_at_all(parts):
    p = parts.proxy(parts.backend(), top={"admin": {"socket": ""}})
    assert not p.admin_socket.exists()
    with connect(p.port) as c:
        says_echo(c)


@pytest.mark.parametrize("path", ["/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/healthz/", "/healthz%00", "/healthz%2f..", "/.",
                                  "/" + "a" * 8000, "/%", "/%zz", "/\xff", "*", "http://evil.example/healthz", "/healthz/../status.json"])
@pytest.mark.parametrize("tcp", [False, True])
def test_path_tricks(p, path, tcp):
    answer = p.admin.raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode("latin-1"), tcp=tcp)
    assert b"root:" not in answer
    assert status_of(answer) in (200, 400, 404, 414, None)
    if path not in ("/healthz%00",):
        assert status_of(answer) != 200
    assert p.admin.ask("/healthz", tcp=tcp).status == 200


MALFORMED = {
    "nothing": b"",
    "one line feed": b"\n",
    "no version": b"GET /healthz\r\n\r\n",
    "a version of its own": b"GET /healthz HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "TLS": bytes.fromhex("16030100050100000100"),
    "binary": bytes(range(256)) * 8,
    "a header without a colon": b"GET /healthz HTTP/1.1\r\nHost localhost\r\n\r\n",
    "two lengths": b"POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "a negative length": b"POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    "a huge length": b"POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "a bad chunk": b"POST /reload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "an endless line": b"GET /" + b"a" * 200_000,
    "an endless header": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000,
    "many headers": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"a: b\r\n" * 50_000 + b"\r\n",
    "a zero byte": b"GET /healthz HTTP/1.1\r\nHost: local\0host\r\n\r\n",
}


@pytest.mark.parametrize("what", MALFORMED)
@pytest.mark.parametrize("tcp", [False, True])
def test_malformed_and_giant_requests(p, what, tcp):
    before = observer(p)
    with p.admin.connect(tcp) as s:
        try:
            s.sendall(MALFORMED[what])
            s.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass
        except OSError as e:
            if e.errno != 107:  # the other side was quicker: not connected any more
                raise
        answer = read_all(s)
    assert status_of(answer) != 202
    assert p.admin.ask("/healthz", tcp=tcp).status == 200
    assert observer(p) == before, "the observer did not die of it"
    assert p.running()


def test_a_body_is_bounded(p):
    head = b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n"
    with p.admin.connect() as s:
        s.sendall(head)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for _ in range(100_000_000 // 65536):
                s.sendall(b"x" * 65536)


@pytest.mark.parametrize("tcp", [False, True])
def test_a_thousand_silent_connections(p, tcp):
    """Neither a scraper nor a session notices, and it costs no memory to speak of."""
    assert p.admin.ask("/healthz", tcp=tcp).status == 200
    before = processes.held(observer(p))
    many = []
    try:
        for i in range(1000):
            s = p.admin.connect(tcp)
            s.sendall(b"GET /heal" if i % 2 else b"")
            many.append(s)
            if i % 100 == 0:
                assert p.admin.ask("/healthz", tcp=tcp).status == 200
        for _ in range(10):
            assert p.admin.ask("/readyz", tcp=tcp).status == 200
        with connect(p.port) as c:
            says_echo(c)
        assert processes.held(observer(p)) - before < 24 << 20
        assert processes.descriptors(observer(p)) < 400
    finally:
        for s in many:
            s.close()


def test_late_requests_are_ended(p):
    """A client that sends a byte now and then does not keep a connection forever."""
    with p.admin.connect() as s:
        s.sendall(b"GET /healthz HTTP/1.1\r\n")
        begin = time.monotonic()
        end = begin + DEADLINE + 20
        s.settimeout(0.5)
        while time.monotonic() < end:
            try:
                s.sendall(b"a")
                if s.recv(100) == b"":
                    break
            except socket.timeout:
                continue
            except (BrokenPipeError, ConnectionResetError):
                break
        else:
            raise AssertionError("the connection is still there")
    assert time.monotonic() - begin > 5, "an honest slow client has some seconds"


WITHOUT_LIBRARY = """#!/bin/sh
exec unshare -m sh -c 'mount --bind /dev/null "{library}" && exec "{binary}" "$@"' tls-off "$@"
"""


@pytest.mark.skipif(not can_mount(), reason="may not mount")
def test_without_the_library_every_request_is_answered(parts):
    listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    library = re.search(r"libmicrohttpd\.so\.12 .*=> (\S+)", listed).group(1)
    p = parts.prepare(parts.backend(), top={"admin": {"socket": "admin.sock", "listen": "127.0.0.1:0"}})
    wrapper = parts.directory / "wrapper"
    wrapper.write_text(WITHOUT_LIBRARY.format(library=os.path.realpath(library), binary=BINARY))
    wrapper.chmod(0o755)
    p.binary = str(wrapper)
    p.start()
    p.wait_event("log", message=lambda m: m.startswith("an admin socket is not served: ") and "libmicrohttpd" in m)
    for tcp in (False, True):
        for method, path in ("GET", "/status.json"), ("GET", "/readyz"), ("POST", "/reload"):
            answer = p.admin.ask(path, method=method, tcp=tcp)
            assert answer.status == 503 and b"libmicrohttpd" in answer.body
    status, _, err = command("status", "--admin", p.admin_socket)
    assert status == 1 and "libmicrohttpd" in err
    with connect(p.port) as c:  # and traffic goes on
        says_echo(c)
        c.unwrap()
    p.wait_session()
