"""What the operator reads: one event per session with all its info, in every format and to every target; a flood cannot fill a disk."""
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from support import clients
from support.clients import V13, connect, context, says_echo, tcp, until_closed
from support.waiting import DEADLINE, until, whole_lines
from test_reload import reload

FIELDS = ["time", "service", "unique_id", "client", "tls_version", "cipher_suite", "group", "resumed", "handshake", "sni", "alpn", "ja4", "backend", "bytes_in",
          "bytes_out", "handshake_ms", "connect_ms", "first_byte_ms", "duration_ms", "client_end", "backend_end"]


def one_session(p, service="web"):
    with connect(p.address(service)[1], context(version=V13, alpn=["http/1.1"])) as c:
        says_echo(c)
        c.unwrap()


def test_json_has_every_field(parts):
    b = parts.backend()
    p = parts.proxy(b, alpn=["http/1.1"])
    one_session(p)
    e = p.wait_session()
    assert [f for f in FIELDS if f not in e] == []
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", e["time"])
    assert (e["service"], e["sni"], e["alpn"], e["tls_version"]) == ("web", "localhost", "http/1.1", "TLSv1.3")
    assert e["backend"] == b.url and e["resumed"] is False
    assert re.fullmatch(r"t13d\d{4}\w\w_[0-9a-f]{12}_[0-9a-f]{12}", e["ja4"])
    assert e["cipher_suite"].startswith("TLS_")
    assert 0 <= e["connect_ms"] < e["first_byte_ms"] <= e["duration_ms"] + 1 and 0 < e["handshake_ms"] < 10_000
    assert (e["bytes_in"], e["bytes_out"]) == (12, 12)
    assert e["client"].startswith("127.0.0.1:")


def test_the_time_to_the_first_byte_outlives_a_move(parts):
    """It counts from when the relay began to connect, whichever relay sees the byte."""
    answers = threading.Event()

    def slow(connection):
        data = connection.recv(100)
        assert answers.wait(DEADLINE)
        connection.sendall(data)
        connection.recv(100)

    p = parts.proxy(parts.backend(slow))
    with connect(p.port, context()) as early, connect(p.port, context()) as silent:
        began = time.monotonic()
        early.sendall(b"early")
        silent.sendall(b"silent")
        reload(p, 1)
        least_ms = (time.monotonic() - began) * 1000
        silent.close()
        e = p.wait_session(bytes_out=0)
        assert "first_byte_ms" not in e
        answers.set()
        assert early.recv(100) == b"early"
        most_ms = (time.monotonic() - began) * 1000
        reload(p, 2)
    e = p.wait_session(bytes_out=5)
    assert least_ms < e["first_byte_ms"] <= e["duration_ms"] and e["first_byte_ms"] < most_ms + 2000, (least_ms, most_ms, e)


def test_every_line_is_json(parts):
    p = parts.proxy(parts.backend())
    one_session(p)
    p.wait_session()
    p.stop()
    for line in p.lines:
        assert "event" in json.loads(line), line


def words(line):
    """A logfmt line as a dictionary."""
    return {k: v[1:-1] if v.startswith('"') else v for k, v in re.findall(r'(\w+)=("(?:\\.|[^"])*"|\S*)', line)}


def test_logfmt_has_the_same_names(parts):
    p = parts.proxy(parts.backend(), log={"format": "logfmt"}, alpn=["http/1.1"])
    one_session(p)
    p.wait_text(r"event=session")
    e = words(next(line for line in p.lines if "event=session" in line))
    assert [f for f in FIELDS if f not in e] == []
    assert e["sni"] == "localhost" and e["bytes_in"] == "12"


def test_text_is_for_people(parts):
    p = parts.proxy(parts.backend(), log={"format": "text"})
    one_session(p)
    p.wait_text(r"127\.0\.0\.1:\d+.*localhost|localhost.*127\.0\.0\.1:\d+")


@pytest.mark.parametrize("form", ["json", "logfmt", "text"])
def test_hostile_names_cannot_forge_lines(parts, form):
    """What a client chooses (ALPN here) is escaped."""
    evil = 'x"\n{"event":"forged"}\x1b[31m'
    p = parts.proxy(parts.backend(), log={"format": form})
    with connect(p.port, context(alpn=[evil])) as c:
        says_echo(c)
        c.unwrap()
    p.wait_text(r"localhost")
    p.stop()
    assert not p.events("forged")
    assert not any("\x1b" in line for line in p.lines)
    assert not any(line.startswith('{"event":"forged"') for line in p.lines)


def lines_of(path):
    return whole_lines(path.read_text()) if path.exists() else []


@pytest.mark.parametrize("name", [signal.SIGUSR1])
def test_file_is_reopened(parts, name):
    file, moved = parts.directory / "tls-off.log", parts.directory / "tls-off.log.1"
    p = parts.prepare(parts.backend(), log={"target": str(file)}).start()

    def port():
        m = re.search(r"listening on 127\.0\.0\.1:(\d+)", "\n".join(lines_of(file)))
        return m and int(m.group(1))

    at = until(port, "the listening line")

    def session():
        with connect(at) as c:
            says_echo(c)
            c.unwrap()

    def sessions(path):
        return sum('"event":"session"' in line.replace(" ", "") for line in lines_of(path))

    session()
    until(lambda: sessions(file) == 1, "a session in the file")
    file.rename(moved)
    session()
    until(lambda: sessions(moved) == 2, "a session in the moved file")
    p.signal(name)
    until(file.exists, "a new file")
    session()
    until(lambda: sessions(file) == 1, "a session in the new file")
    assert sessions(moved) == 2


def test_stdout(parts):
    p = parts.proxy(parts.backend(), log={"target": "stdout"})
    one_session(p)
    p.wait_session()


def test_flood_of_bad_clients_is_sampled(parts):
    n = 3000
    p = parts.proxy(parts.backend())
    for _ in range(n):
        s = tcp(p.port)
        s.sendall(b"nonsense, many times over\r\n\r\n")
        clients.reset(s)
    s = tcp(p.port)
    s.sendall(b"SSH-2.0-end\r\n")
    until_closed(s)
    s.close()
    p.wait_failure("plain_ssh")
    one_session(p)
    p.wait_session()
    p.stop()
    lines = [line for line in p.lines if "not_tls" in line or "handshake_reset" in line or "handshake_closed" in line]
    assert 0 < len(lines) < n // 10, f"{len(lines)} lines for {n} failures"
    counted = sum(sum(int(v) for k, v in json.loads(line).items() if k in ("count", "suppressed", "repeated")) for line in lines)
    assert counted >= n // 2, f"{counted} of {n} failures are counted in {lines[-3:]}"


def test_a_log_that_nobody_reads_stops_no_traffic(parts):
    """stderr is a pipe that is full: sessions continue."""
    b = parts.backend()
    p = parts.prepare(b)
    ready_read, ready_write = os.pipe()
    from support.proxy import BINARY

    port_file = parts.directory / "port"
    process = subprocess.Popen([BINARY, "run", str(p.config_file), "--ready-fd", str(ready_write)], stderr=subprocess.PIPE,
                               stdout=subprocess.DEVNULL, pass_fds=[ready_write])
    os.close(ready_write)
    try:
        assert os.read(ready_read, 1) == b"\n"
        text = b""
        while not re.search(rb"listening on 127\.0\.0\.1:(\d+) for web", text):
            text += os.read(process.stderr.fileno(), 4096)
        port = int(re.search(rb"listening on 127\.0\.0\.1:(\d+) for web", text).group(1))
        port_file.write_text(str(port))
        for _ in range(400):
            with connect(port) as c:
                says_echo(c)
                c.unwrap()
    finally:
        os.close(ready_read)
        process.stderr.close()
        process.terminate()
        assert process.wait(DEADLINE) == 0
    parts.proxies.clear()


def test_level(parts):
    p = parts.proxy(parts.backend(), log={"level": "warning"}, limits_of_process={})
    assert not any("listening on" in line for line in p.lines)


def test_syslog(parts):
    if os.path.exists("/dev/log") or os.geteuid() != 0:
        pytest.skip("needs /dev/log for itself")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind("/dev/log")
        try:
            log.settimeout(DEADLINE)
            p = parts.prepare(parts.backend(), log={"target": "syslog"}).start()
            port = None
            while port is None:
                m = re.search(rb"^<(\d+)>.*listening on 127\.0\.0\.1:(\d+) for web", log.recv(65536))
                port = m and int(m.group(2))
            with connect(port) as c:
                says_echo(c)
                c.unwrap()
            while b"session" not in log.recv(65536):
                pass
            p.stop()
        finally:
            os.unlink("/dev/log")


# --- started as root, with a user: whose rights open the log

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs two users")


def shared(parts, owner):
    """A directory for the log, owned by root or by the user nobody, and a proxy for nobody that logs there."""
    parts.directory.chmod(0o755)
    directory = parts.directory / "logs"
    directory.mkdir(mode=0o755)
    os.chown(directory, owner, owner)
    b = parts.backend()
    os.chmod(b.url.removeprefix("unix:"), 0o666)
    return directory / "tls-off.log", parts.prepare(b, log={"target": str(directory / "tls-off.log")}, top={"user": "nobody"})


def said(file, what):
    until(lambda: any(what in line for line in lines_of(file)), f"{what} in {file}")


@needs_root
@pytest.mark.parametrize("owner", [0, NOBODY])
@pytest.mark.parametrize("create", [None, 0, NOBODY])
def test_rotation_where_the_user_has_no_right(parts, owner, create):
    """logrotate without "create" and with it, in a directory of root's and in one of the user's; twice, and after a reload."""
    file, p = shared(parts, owner)
    if create == 0 and owner == NOBODY:
        pytest.skip("a file of root's that the user may not write")
    p.start()
    said(file, "ready: ")
    for n in range(3):
        moved = file.with_suffix(f".{n}")
        file.rename(moved)
        if create is not None:
            file.touch(mode=0o640)
            os.chown(file, create, create)
        if n == 1:
            p.signal(signal.SIGHUP)
            said(file, "reload done")
            continue
        p.signal(signal.SIGUSR1)
        until(file.exists, "a new file")
        one_session_at(p, moved, file)
        assert file.stat().st_uid == (NOBODY if create is None else create)


def one_session_at(p, *files):
    text = "\n".join(line for f in files[0].parent.iterdir() for line in lines_of(f))
    before = sum('"event":"session"' in line for line in lines_of(files[-1]))
    port = int(re.search(r"listening on 127\.0\.0\.1:(\d+)", text)[1])

    def is_there():
        """A file that was there before the signal does not show when it is in use: sessions until then go to the old one."""
        with connect(port) as c:
            says_echo(c)
            c.unwrap()
        return sum('"event":"session"' in line for line in lines_of(files[-1])) > before

    until(is_there, "a session in the new file", every=0.1)


@needs_root
@pytest.mark.parametrize("what", ["link", "hard link", "fifo"])
def test_what_the_user_puts_in_the_place_of_the_log_is_not_used(parts, what):
    """At a rotation and at a reload: root neither writes there nor gives it away, and the old file stays in use."""
    file, p = shared(parts, NOBODY)
    victim = parts.directory / "victim"
    victim.write_text("of root\n")
    victim.chmod(0o600)
    p.start()
    said(file, "ready: ")
    moved = file.with_suffix(".1")
    file.rename(moved)
    if what == "link":
        file.symlink_to(victim)
    elif what == "hard link":
        os.link(victim, file)
    else:
        os.mkfifo(file, 0o666)
        os.chown(file, NOBODY, NOBODY)
    p.signal(signal.SIGUSR1)
    said(moved, "could not be reopened")
    p.signal(signal.SIGHUP)
    said(moved, "reload refused")
    assert victim.read_text() == "of root\n"
    assert victim.stat().st_uid == 0 and victim.stat().st_mode & 0o7777 == 0o600
    file.unlink()
    p.signal(signal.SIGHUP)
    said(file, "reload done")
    assert file.stat().st_uid == NOBODY
