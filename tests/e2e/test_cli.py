"""The commands that connect to a running tls-off: what they print, in 80 columns, and their exit status."""
import fcntl
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import termios
import threading

import pytest

from support.clients import connect, says_echo
from support.proxy import BINARY, command
from support.waiting import until


@pytest.fixture
def p(parts):
    return parts.proxy(parts.backend())


def tls_off(p, *arguments, **options):
    return command(*arguments, "--admin", p.admin_socket, **options)


def in_terminal(p, columns, *arguments):
    """What a command prints to a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    try:
        subprocess.run([BINARY, *arguments, "--admin", p.admin_socket], stdout=theirs, check=True)
        return os.read(ours, 65536).decode().replace("\r", "")
    finally:
        os.close(ours)
        os.close(theirs)


def refuses(port):
    try:
        connect(port).close()
    except OSError:
        return True
    return False


def fits(text, width=80):
    return all(len(line) <= width for line in text.splitlines())


@pytest.mark.parametrize("name", ["status", "clients", "sessions", "reload", "drain", "stop"])
def test_help_and_wrong_usage(name):
    status, out, err = command(name, "--help")
    assert status == 0 and out.startswith(f"usage: tls-off {name}") and not err and "Exit status" in out
    for wrong in (["--no-such"], ["--admin"], ["surplus"], ["--admin", ""], ["--admin", "x" * 200]):
        status, out, err = command(name, *wrong)
        assert status == 2 and not out and f"usage: tls-off {name}" in err


@pytest.mark.parametrize("arguments", [["acme", "renew"], ["acme", "revoke", "x"], ["acme", "rollover"], ["acme", "record"], ["acme", "status"], ["run"], ["run", "x.toml"],
                                       ["convert", "hitch"], ["ticket-secret", "new"], ["completion", "bash"], ["init", "x.toml"], ["check", "x.toml"], ["doctor"],
                                       ["explain", "x"], ["trace", "x"], ["version"], ["top"]])
def test_help_wherever_it_stands(directory, arguments):
    for flag in ("--help", "-h"):
        status, out, err = command(*arguments, flag, cwd=directory)
        assert status == 0 and out.startswith(f"usage: tls-off {arguments[0]}") and not err
    assert not list(directory.iterdir())


@pytest.mark.parametrize("arguments,said", [
    (["acme", "renew", "x", "--foo"], "tls-off acme: --foo: found an unknown flag"),
    (["acme", "status", "--foo"], "tls-off acme: --foo: found an unknown flag"),
    (["run", "--foo"], "tls-off run: --foo: found an unknown flag"),
    (["run", "--foo", "x"], "tls-off run: --foo: found an unknown flag"),
    (["run", "--listen"], "tls-off run: --listen: expected a value behind it"),
    (["run", "--config", "a", "b"], "tls-off run: configuration file: found twice"),
    (["run", "--listen", ":1", "--backend", "unix:/x", "--acme", "--acme-directory", "a", "--acme-directory", "b"], "tls-off run: --acme-directory: found twice"),
    (["check"], "tls-off check: expected FILE"),
    (["check", "--jsno", "x"], "tls-off check: --jsno: found an unknown flag, expected --json"),
    (["check", ""], "tls-off check: found an empty name, expected FILE"),
    (["check", "--config=", "--json"], "tls-off check: found an empty name, expected FILE"),
    (["check", "a", "b"], 'tls-off check: found "b", expected nothing more'),
    (["check", "a", "--explain"], "tls-off check: --explain: expected ADDRESS"),
    (["check", "--explain", "1.2.3.4:443"], "tls-off check: --explain: expected ADDRESS"),
    (["check", "-c", "a", "--explain", "1", "2", "3", "4"], 'tls-off check: found "4", expected nothing more'),
    (["doctor", "--config", "a", "b"], 'tls-off doctor: found "b" beside --config'),
    (["init", "-"], 'tls-off init: found "-", expected the name of a file'),
    (["ticket-secret", "new", ""], 'tls-off ticket-secret: found "", expected the name of a file'),
    (["convert", "hitch", ""], "tls-off convert: found an empty name"),
    (["drain", "--timeout", "10"], 'tls-off drain: --timeout: found "10", expected a duration above 0'),
    (["clients", "--over", "rate=10XB"], 'tls-off clients: --over: found "rate=10XB", expected a measure and a bound'),
    (["clients", "--format=nft"], "tls-off clients: --format: expected --over beside it"),
    (["clients", "--over", "rate=1", "--limit", "2"], "tls-off clients: --over: found --limit beside it"),
    (["acme", "renew"], "tls-off acme: renew: expected CERTIFICATE"),
    (["acme", "status", "x"], 'tls-off acme: status: found "x", expected nothing more'),
    (["acme", "revoke", "x", "--reason=11"], 'tls-off acme: --reason: found "11", expected a number from 0 to 10'),
    (["acme", "renew", "x", "--check"], "tls-off acme: renew: found --check, which belongs to record"),
    (["version", "x"], 'tls-off version: found "x", expected nothing more'),
])
def test_what_is_wrong_is_named(arguments, said):
    status, out, err = command(*arguments)
    assert status == 2 and not out and err.startswith(said), err


@pytest.mark.parametrize("name", ["status", "clients", "sessions", "reload", "drain", "stop"])
def test_nobody_there(directory, name):
    status, out, err = command(name, "--admin", directory / "none.sock")
    assert status == 3 and not out and "no tls-off answers there" in err
    s = socket.socket(socket.AF_UNIX)  # a socket file without a listener
    s.bind(str(directory / "stale.sock"))
    s.close()
    status, out, err = command(name, "--admin", directory / "stale.sock")
    (directory / "stale.sock").unlink()
    assert status == 3 and not out and "no tls-off answers there" in err


@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{", b"HTTP/1.1 200 OK\r\n\r\nno json", b""])
def test_somebody_else_there(directory, answer):
    listener = socket.socket(socket.AF_UNIX)
    path = directory / "other.sock"
    listener.bind(str(path))
    listener.listen()

    def serve():
        c, _ = listener.accept()
        with c:
            c.recv(4096)
            c.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    status, out, err = command("status", "--admin", path)
    thread.join()
    listener.close()
    path.unlink()
    assert status == 3 and not out and str(path) in err


def into_full(*arguments):
    """A command whose output finds no room; (status, stderr)."""
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([BINARY, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, text=True)
    return done.returncode, done.stderr


def closing(stream, *arguments):
    """A command with a stream closed by its starter; (status, stdout, stderr)."""
    done = subprocess.run(["sh", "-c", f'exec "$@" {stream}', "sh", BINARY, *map(str, arguments)], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_output_that_is_lost_is_an_error(p):
    admin = ["--admin", p.admin_socket]
    with connect(p.port) as c:
        says_echo(c)
        until(lambda: p.admin.json("/clients.json"), "the client is listed")
        for arguments in (["--help"], ["help"], ["version"], ["--version"], ["version", "--help"], ["run", "--help"], ["doctor"], ["doctor", "--json"],
                          ["doctor", "--help"], ["check", p.config_file], ["check", p.config_file, "--json"], ["completion", "bash"], ["init"],
                          ["acme", "--help"], ["acme", "status", *admin], ["status", *admin], ["status", "--json", *admin], ["clients", *admin],
                          ["clients", "--json", *admin], ["clients", "--over", "bytes=0", "--format", "nft", *admin], ["sessions", *admin],
                          ["sessions", "--json", *admin], ["explain", "127.0.0.1:0", *admin], ["reload", "--json", *admin], ["trace", "--help"]):
            status, err = into_full(*arguments)
            assert status == 1 and "standard output cannot be written" in err, (arguments, status, err)


def test_output_to_a_closed_stream_is_an_error(p):
    for arguments in (["--help"], ["version"], ["completion", "zsh"], ["check", p.config_file], ["check", p.config_file, "--json"], ["init"], ["doctor"],
                      ["status", "--admin", p.admin_socket], ["clients", "--json", "--admin", p.admin_socket]):
        status, out, err = closing(">&-", *arguments)
        assert status == 1 and not out and "standard output cannot be written: Bad file descriptor" in err, arguments


def test_input_from_a_closed_stream_is_an_error():
    for arguments in (["check", "-"], ["convert", "hitch", "-"]):
        status, out, err = closing("<&-", *arguments)
        assert status == 1 and not out and "Bad file descriptor" in err, arguments


def test_a_closed_stream_for_messages_changes_no_status(p):
    assert closing("2>&-", "check", p.config_file)[0] == 0
    assert closing("2>&-", "check", "/no/such/file")[0] == 1
    assert closing("2>&-", "status", "--no-such")[0] == 2


def test_the_socket_is_found_by_the_environment(p):
    status, out, _ = command("status", environment={"TLS_OFF_ADMIN": str(p.admin_socket)})
    assert status == 0 and "serving" in out


def test_status(p):
    with connect(p.port) as c:
        says_echo(c, b"x" * 5000)
        until(lambda: p.admin.json("/status.json")["totals"]["bytes_in_total"] >= 5000, "bytes are counted")
        status, out, err = tls_off(p, "status")
        assert status == 0 and not err
        assert re.match(rf"tls-off \S+ on \S+: serving, up [^,]+, pid {p.pid}, generation 0\n", out), out
        assert re.search(r"^sessions +1 ", out, re.M) and re.search(r"^web +terminate +1 +1 ", out, re.M), out
        assert re.search(r"^bytes in .* 5\.00 kB$", out, re.M), out
        for role in ("observer.0", "relay.0", "handshaker.0"):
            assert re.search(rf"^{role} +\d+ +ready ", out, re.M), out
        assert fits(in_terminal(p, 80, "status"))
    status, out, _ = tls_off(p, "status", "--json")
    assert status == 0 and json.loads(out)["services"][0]["name"] == "web" and out.count("\n") == 1


def test_nothing_is_cut_for_a_pipe(parts):
    """grep finds every name; a terminal of 80 columns shows both ends of it."""
    urls = [f"unix:{parts.directory}/{'a' * 40}-{i}.sock" for i in (1, 2)]
    p = parts.proxy(urls)
    out = tls_off(p, "status")[1]
    assert all(re.search(rf"^  {re.escape(url)} +up ", out, re.M) for url in urls), out
    out = in_terminal(p, 80, "status")
    assert fits(out) and len(set(re.findall(r"^  unix\S*~\S*-[12]\.sock", out, re.M))) == 2, out


def test_every_fault_of_a_refused_reload_is_a_line(p):
    """Errors before warnings, one a line, wherever they are shown."""
    good = p.config_file.read_text()
    p.config_file.write_text(good.replace("workers = 1", "workers = -1\nwokers = 1").replace("[log]", "[log]\nformt = 1"))
    assert p.config_file.read_text().count("\n") >= good.count("\n") + 2
    status, out, err = tls_off(p, "reload")
    head, *lines = err.splitlines()
    assert (status, out, head) == (1, "", "tls-off: refused:"), err
    assert len(lines) >= 3 and all(re.match(r"  \S+config.toml:\d+:\d+: \S", line) for line in lines), err
    wanted = [line[2:] for line in lines]
    assert json.loads(tls_off(p, "reload", "--json")[1])["text"].splitlines() == wanted
    reload = p.admin.json("/status.json")["last_reload"]
    assert reload["text"].splitlines() == wanted
    shown = tls_off(p, "status")[1].splitlines()
    at = next(i for i, line in enumerate(shown) if line.endswith(": refused:"))
    assert shown[at + 1:at + 1 + len(lines)] == lines, shown


def test_values_behind_an_equals_sign(p):
    """As long options are given elsewhere, and as fish completes them."""
    assert tls_off(p, "clients", "--sort=rate", "--client=nobody") == (0, "no client like that\n", "")
    assert "web" in command("status", f"--admin={p.admin_socket}")[1]
    for arguments in ([f"--config={p.config_file}"], ["-c", p.config_file], ["--", p.config_file]):
        assert command("check", *arguments)[1].endswith(": ok\n")


def test_clients(p):
    assert tls_off(p, "clients") == (0, "no client has been seen yet\n", "")
    with connect(p.port) as c:
        says_echo(c, b"x" * 7000)
        until(lambda: sum(x["bytes_out"] for x in p.admin.json("/clients.json")) >= 7000, "bytes are counted")
        status, out, err = tls_off(p, "clients", "--sort", "rate", "--limit", "5")
        assert status == 0 and not err
        assert re.search(r"^127\.0\.0\.1 +1 +7\.00 kB +7\.00 kB ", out, re.M), out
        with connect(p.port, c.context, session=c.session) as again:
            says_echo(again)
    until(lambda: p.admin.json("/clients.json")[0]["handshakes_resumed_total"] == 1, "one was resumed")
    for columns in (80, 99, 100, 140):
        out = in_terminal(p, columns, "clients")
        wide = columns >= 100
        assert fits(out, columns) and ("resumed" in out) == wide, out
        assert re.search(r" 1 +1 +0$" if wide else r"B/s +0$", out, re.M), out
    until(lambda: [(c["bytes_in"], c["bytes_out"]) for c in p.admin.json("/clients.json")] == [(7012, 7012)], "all bytes are counted")
    status, out, _ = tls_off(p, "clients", "--json", "--client", "127.0.0.1")
    client, = json.loads(out)
    assert status == 0 and client["client"] == "127.0.0.1" and (client["bytes_in"], client["bytes_out"]) == (7012, 7012)
    assert json.loads(tls_off(p, "clients", "--json", "--client", "192.0.2.1")[1]) == []
    assert tls_off(p, "clients", "--sort", "size")[0] == 2
    assert tls_off(p, "clients", "--limit", "-1")[0] == 1


def test_reload_of_a_broken_file_is_refused_with_the_reason(p):
    good = p.config_file.read_text()
    with connect(p.port) as c:
        says_echo(c)
        p.config_file.write_text(good.replace("workers", "wrokers"))
        status, out, err = tls_off(p, "reload")
        assert status == 1 and not out and "wrokers" in err and '"workers"' in err
        says_echo(c)
        status, out, err = tls_off(p, "reload", "--json")
        assert status == 1 and json.loads(out)["state"] == "refused"
        p.config_file.write_text(good)
        assert tls_off(p, "reload")[0] == 0
        says_echo(c)
    assert "last reload" in tls_off(p, "status")[1]


def test_reloads_keep_sessions_and_the_socket(p):
    with connect(p.port) as c:
        for i in range(3):
            says_echo(c)
            inode = os.stat(p.admin_socket).st_ino
            status, out, err = tls_off(p, "reload")
            assert status == 0 and not err, (out, err)
            assert re.search(rf"generation {i + 1} serves", out), out
            assert os.stat(p.admin_socket).st_ino == inode
            for _ in range(30):  # also while the supervisor re-execs
                now = p.admin.json("/status.json")
                assert now["generation"] == i + 1 and now["pid"] == p.pid and len(now["processes"]) >= 4, now
        says_echo(c)


def test_a_reload_changes_the_admin_sockets(parts):
    """The mode in place, the path and the address by new ones; what is not available refuses the reload."""
    p = parts.proxy(parts.backend(), top={"admin": {"socket": "admin.sock", "listen": "127.0.0.1:0"}})
    good = p.config_file.read_text()
    p.config_file.write_text(good.replace('[admin]', '[admin]\nsocket_mode = "0660"'))
    inode = os.stat(p.admin_socket).st_ino
    assert tls_off(p, "reload")[0] == 0
    assert os.stat(p.admin_socket).st_mode & 0o777 == 0o660 and os.stat(p.admin_socket).st_ino == inode
    assert p.admin.ask("/healthz", tcp=True).status == 200

    p.config_file.write_text(good.replace("admin.sock", "no/such/directory.sock"))
    status, _, err = tls_off(p, "reload")
    assert status == 1 and "no/such/directory.sock" in err
    assert p.admin.ask("/healthz").status == 200

    moved = p.directory / "moved.sock"
    p.config_file.write_text(good.replace("admin.sock", "moved.sock"))
    tls_off(p, "reload")  # may lose sight of it
    until(lambda: moved.exists() and not p.admin_socket.exists(), "the socket has moved")
    old, p.admin_socket = p.admin_socket, moved
    until(lambda: p.admin.json("/status.json")["state"] == "serving", "it serves there")
    p.config_file.write_text(good)
    tls_off(p, "reload")
    until(lambda: old.exists() and not moved.exists(), "and back")  # the old one goes when the new one listens
    p.admin_socket = old
    assert p.admin.ask("/readyz").status in (200, 503)


def test_stop(p):
    status, out, err = tls_off(p, "stop")
    assert status == 0 and not err
    assert p.wait_exit() == 0
    assert not p.admin_socket.exists()
    assert tls_off(p, "stop")[0] == 3


def test_an_announced_drain_serves_and_is_not_ready(p):
    assert p.admin.ask("/readyz").status == 200
    assert tls_off(p, "drain", "--delay", "soon")[0] == 2
    assert tls_off(p, "reload", "--delay", "1s")[0] == 2
    done = []
    thread = threading.Thread(target=lambda: done.append(tls_off(p, "drain", "--delay", "3s", "--timeout", "1m", deadline=50)))
    thread.start()
    until(lambda: p.admin.ask("/readyz").status == 503, "the drain is announced")
    assert p.admin.json("/status.json")["state"] == "draining" and p.admin.ask("/healthz").status == 200
    status, _, error = tls_off(p, "reload")
    assert status == 1 and "stopping" in error
    with connect(p.port) as c:  # comes in after the announcement, and may finish after the drain has begun
        says_echo(c)
        p.wait_text("draining: no new sessions")
        says_echo(c)
        assert not done
    thread.join()
    assert done[0][0] == 0


def test_a_drain_after_a_while_stays_ready_until_then(p):
    assert tls_off(p, "drain", "--after", "soon")[0] == 2 and tls_off(p, "reload", "--after", "1s")[0] == 2
    draining = subprocess.Popen([BINARY, "drain", "--after", "2s", "--timeout", "1m", "--admin", p.admin_socket])
    ready = 0
    with connect(p.port) as c:
        while p.admin.json("/status.json")["state"] == "serving":
            ready += p.admin.ask("/readyz").status == 200
        p.wait_text("draining: no new sessions")
        assert ready > 3, "it was ready for a while"
        assert not p.events("log", message=lambda m: "not ready, and still serving" in m), "no delay was announced"
        says_echo(c)
    assert draining.wait(60) == 0 and p.wait_exit() == 0


def test_a_signal_ends_an_announced_drain(p):
    thread = threading.Thread(target=lambda: tls_off(p, "drain", "--delay", "1h", deadline=50))
    thread.start()
    until(lambda: p.admin.ask("/readyz").status == 503, "the drain is announced")
    p.signal(signal.SIGTERM)
    assert p.wait_exit() == 0
    thread.join()


def test_drain_waits_for_the_last_session(p):
    done = []
    with connect(p.port) as c:
        says_echo(c)
        thread = threading.Thread(target=lambda: done.append(tls_off(p, "drain", "--timeout", "1m", deadline=50)))
        thread.start()
        until(lambda: p.admin.json("/status.json")["state"] == "draining", "the drain begins")
        until(lambda: refuses(p.port), "no new sessions")
        says_echo(c)
        assert p.admin.ask("/readyz").status == 503
        assert not done
    thread.join()
    assert done[0][0] == 0, done
    assert tls_off(p, "drain", "--timeout", "soon")[0] == 2


def test_an_empty_list_says_of_whom(parts):
    p = parts.proxy(parts.backend())
    assert "no client has been seen yet" in tls_off(p, "clients")[1]
    with connect(p.port) as c:
        says_echo(c)
        until(lambda: p.admin.json("/clients.json"), "the client is listed")
        for selection in (["--client", "192.0.2.1"], ["--limit", "0"], ["--over", "bytes=1GB"]):
            status, out, _ = tls_off(p, "clients", *selection)
            assert status == 0 and "no client like that" in out and "seen" not in out, out


def test_sessions_in_json_say_whether_they_are_all(parts):
    p = parts.proxy(parts.backend())
    with connect(p.port) as a, connect(p.port) as b:
        for c in (a, b):
            says_echo(c)
        until(lambda: len(json.loads(tls_off(p, "sessions", "--json")[1])["sessions"]) == 2, "both are listed")
        whole, part = (json.loads(tls_off(p, "sessions", "--json", *limit)[1]) for limit in ([], ["--limit", "1"]))
    assert set(whole) == {"sessions", "next", "missing"} and whole["next"] is None and whole["missing"] == []
    assert len(part["sessions"]) == 1 and part["next"]
