"""The log and its process in trouble: traffic continues, nothing waits, and what is lost is counted to the last line and reported afterwards."""
import json
import os
import re
import signal
import socket
import threading

import pytest

from support.clients import connect, reset, says_echo, tcp
from support.proxy import SANITIZED, command
from support.waiting import DEADLINE, until, whole_lines


def parsed(text):
    return [json.loads(line) for line in whole_lines(text) if line.startswith("{")]


def sessions(port, n):
    for _ in range(n):
        with connect(port) as c:
            says_echo(c)
            c.unwrap()


def port_of(p):
    """When the log is not where the tests look for it: what the supervisor listens on, as the status says."""
    from support.processes import listening_port
    return until(lambda: listening_port(p.pid), "a listening port")


def counter(p, name):
    return int(re.search(rf"^tls_off_{name} (\d+)$", p.admin.ask("/metrics").text, re.M).group(1))


@pytest.mark.skipif(os.geteuid() != 0, reason="a log file of others may be no link")
def test_a_full_disk(parts):
    """/dev/full under the name of the log file; then there is room again."""
    file = parts.directory / "tls-off.log"
    file.symlink_to("/dev/full")
    p = parts.prepare(parts.backend(), log={"target": str(file)}).start()
    port = port_of(p)
    sessions(port, 50)
    until(lambda: p.admin.json("/status.json")["totals"]["sessions_total"] == 50, "the admin sockets answer all the while")
    until(lambda: counter(p, "log_lines_lost_total") >= 50, "lost lines are counted while the disk is full")
    assert any("losing lines" in x and "No space left" in x for x in p.admin.json("/status.json")["degraded"])
    file.unlink()
    p.signal(signal.SIGUSR1)
    until(file.exists, "the new file")
    sessions(port, 5)

    def accounted():
        """Sessions that are written, and lines reported as lost."""
        events = parsed(file.read_text())
        lost = [e["message"] for e in events if "log lines lost" in e.get("message", "")]
        return (sum(e["event"] == "session" for e in events),
                sum(int(re.match(r"(\d+) log lines lost: No space left on device", m).group(1)) for m in lost))

    until(lambda: accounted()[0] >= 5 and sum(accounted()) >= 55, lambda: f"{accounted()} of 55 sessions")
    p.stop()
    assert accounted()[1] > 0


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_a_disk_that_runs_full_and_is_cleared(parts):
    """Each session is in the log, or counted as lost; a line cut by the full disk is not taken for two."""
    with parts.disk("64k") as disk:
        file = disk / "tls-off.log"
        p = parts.prepare(parts.backend(), log={"target": str(file)}).start()
        port = port_of(p)
        sessions(port, 200)
        until(lambda: p.admin.json("/status.json")["totals"]["sessions_total"] == 200, "all are counted")
        until(lambda: os.statvfs(disk).f_bavail == 0, "the disk is full")
        before = file.read_text()
        os.truncate(file, 0)
        sessions(port, 20)

        def written_and_lost():
            events = [json.loads(x) for x in before.splitlines()[:-1] + file.read_text().splitlines() if is_json(x)]
            lost = [int(e["message"].split()[0]) for e in events if "log lines lost" in e.get("message", "")]
            return sum(e["event"] == "session" for e in events) + sum(lost) if lost else 0

        until(lambda: written_and_lost() >= 220, lambda: f"{written_and_lost()} of 220 sessions are written or reported as lost")
        assert counter(p, "log_lines_lost_total") > 0
        p.stop()
        torn = [x for x in file.read_text().splitlines() if x and not is_json(x)]
        assert len(torn) <= 2, torn


def test_a_log_that_nobody_reads(parts):
    """A container's log driver that hangs: admin sockets, traffic and reloads do not. Lines wait; what is lost is counted."""
    p = parts.proxy(parts.backend())
    p.allow_lost_lines = True
    port, admin = p.port, p.admin
    p.reading.clear()
    n = 0

    def stands_still():
        return [x for x in admin.json("/status.json")["degraded"] if "takes no lines" in x and "does not read" in x]

    try:
        while not stands_still():
            sessions(port, 100)
            n += 100
            assert n < 10000, "the log takes all there is"
        for resource in ("/readyz", "/healthz"):
            assert admin.ask(resource).status == 200
        assert not any(x["state"] == "hung" for x in admin.json("/status.json")["processes"])
        assert command("reload", "--admin", p.admin_socket)[0] == 0
        while not stands_still():  # the new observer says the same; the test's reader may have read once more
            sessions(port, 1)
            n += 1
            assert n < 20000, "the log takes all there is"
    finally:
        p.reading.set()

    def accounted():
        """Written, and reported as lost (at the end of the first observer); some of the lost lines may not be of sessions."""
        reported = sum(int(re.match(r"\d+", e["message"]).group()) for e in p.events() if "log lines lost" in e.get("message", ""))
        return len(p.events("session")), reported

    until(lambda: n <= sum(accounted()) <= n + 20, lambda: f"{accounted()} of {n} sessions")
    until(lambda: not p.admin.json("/status.json")["degraded"], "no trouble any more")


def is_json(line):
    try:
        json.loads(line)
        return True
    except ValueError:
        return False


def test_rotation_by_reload(parts):
    """Old events to the old file, whatever its name is now; those of after the reload to a new one; none lost, none twice."""
    file, moved = parts.directory / "tls-off.log", parts.directory / "tls-off.log.1"
    p = parts.prepare(parts.backend(), log={"target": str(file)}).start()
    port = port_of(p)

    def ids(path):
        return [e["unique_id"] for e in parsed(path.read_text()) if e["event"] == "session"]

    with connect(port) as kept:
        says_echo(kept)
        sessions(port, 10)
        until(lambda: len(ids(file)) == 10, "the sessions of before are written")
        file.rename(moved)
        assert command("reload", "--admin", p.admin_socket)[0] == 0
        sessions(port, 10)
        says_echo(kept)
    until(lambda: len(ids(file)) == 11, lambda: f"{len(ids(moved))} and {len(ids(file))} sessions")
    p.stop()
    assert len(ids(moved)) == 10 and len(set(ids(moved) + ids(file))) == 21


def test_a_stopped_observer_under_load(parts):
    """Rings overflow; nothing waits; every event that was dropped is counted."""
    p = parts.proxy(parts.backend())
    p.allow_killed_roles = True
    observer, = p.roles()["observer"]
    port, failures = p.port, 12000
    os.kill(observer, signal.SIGSTOP)
    try:
        with connect(port) as c:
            says_echo(c)
            for i in range(failures):
                s = tcp(port)
                s.sendall(b"SSH-2.0-x\r\n")
                s.close()
                if i % 1000 == 0:
                    says_echo(c)
                    sessions(port, 1)
            says_echo(c)
    finally:
        try:
            os.kill(observer, signal.SIGCONT)
        except ProcessLookupError:
            pass  # found hung and replaced: its successor reads the rings

    def accounted():
        events = p.events()
        dropped = sum(int(e["message"].split()[0]) for e in events if "log events dropped: the ring was full" in e.get("message", ""))
        sampled = sum(e["count"] for e in events if e["event"] == "sampled")
        lines = sum(e["event"] == "failed" for e in events)
        return dropped, dropped + sampled + lines

    p.wait_text(r"\d+ log events dropped: the ring was full")
    until(lambda: accounted()[1] >= failures, lambda: f"{accounted()} of {failures}", deadline=DEADLINE + 15)
    dropped, all_of_them = accounted()
    assert dropped > 0
    assert all_of_them == failures, "neither more nor less"
    until(lambda: counter(p, "log_events_dropped_total") == dropped, "the metric says the same")


def test_a_silent_observer_keeps_nobody_waiting_at_the_admin_socket(parts):
    p = parts.proxy(parts.backend())
    observer, = p.roles()["observer"]
    port = p.port
    os.kill(observer, signal.SIGSTOP)
    s = p.admin.connect()
    s.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    with connect(port) as c:
        says_echo(c)
    os.kill(observer, signal.SIGCONT)
    assert s.recv(4096).startswith(b"HTTP/1.1 200 "), "asked while it was silent, answered afterwards"
    s.close()


@pytest.mark.skipif(os.geteuid() != 0 or os.path.exists("/dev/log"), reason="needs /dev/log for itself")
def test_a_dead_and_a_silent_syslog(parts):
    """No daemon, a daemon that does not read, a daemon that dies and returns: no traffic waits, losses are reported."""
    def daemon():
        log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        log.bind("/dev/log")
        log.settimeout(DEADLINE)
        return log

    def wait_for(log, pattern):
        found = []
        until(lambda: found.append(log.recv(65536)) or re.search(pattern, found[-1]), f"{pattern} at syslog")
        return re.search(pattern, found[-1])

    try:
        p = parts.prepare(parts.backend(), log={"target": "syslog"}).start()  # no daemon
        port = port_of(p)
        sessions(port, 20)
        with daemon() as log:
            sessions(port, 1)
            assert int(wait_for(log, rb"(\d+) log lines lost: ").group(1)) > 0
            sessions(port, 600)  # the daemon does not read: its queue fills up
            assert p.admin.ask("/healthz").status == 200
            missing = 600
            while missing:  # they waited where they were
                missing -= b"session" in log.recv(65536)
        os.unlink("/dev/log")  # it dies
        before = counter(p, "log_lines_lost_total")
        sessions(port, 20)
        until(lambda: counter(p, "log_lines_lost_total") >= before + 20, "the lines of these are lost")
        with daemon() as log:
            sessions(port, 1)
            wait_for(log, rb"\d+ log lines lost: ")
            sessions(port, 1)
            wait_for(log, rb" relay\.0 |\"session\"")
            p.stop()
    finally:
        if os.path.exists("/dev/log"):
            os.unlink("/dev/log")


@pytest.mark.skipif(SANITIZED, reason="sanitizers hold memory of their own")
def test_answers_to_slow_readers_are_bounded(parts):
    """Many who ask for all there is and read nothing: others are served, and memory stays within its bound."""
    from support import processes
    p = parts.proxy(parts.backend())
    sessions(p.port, 20)
    observer, = p.roles()["observer"]
    before = processes.held(observer)
    readers = []
    try:
        for _ in range(300):
            s = p.admin.connect()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5)
            readers.append(s)
        assert p.admin.ask("/healthz").status == 200
        sessions(p.port, 5)
        assert processes.held(observer) - before < 48 << 20
    finally:
        for s in readers:
            s.close()


def test_a_thousand_scrapes_delay_no_ring(parts):
    """HTTP without pause, and yet every event reaches the log."""
    p = parts.proxy(parts.backend())
    stop = threading.Event()

    def scrape():
        while not stop.is_set():
            p.admin.ask("/metrics")
            p.admin.ask("/clients.json")

    threads = [threading.Thread(target=scrape) for _ in range(4)]
    for t in threads:
        t.start()
    try:
        n = 3000
        for _ in range(n):
            s = tcp(p.port)
            s.sendall(b"nonsense, many times over\r\n\r\n")
            reset(s)
        sessions(p.port, 20)
        p.wait_session(count=20)
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert counter(p, "log_events_dropped_total") == 0
