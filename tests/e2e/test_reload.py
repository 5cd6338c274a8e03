"""Reload is upgrade: a second generation from the files on disk takes over, the first one ends, and no client notices."""
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import tomllib

import pytest

from support import backends, processes, toml
from support.clients import V12, V13, connect, context, says_echo
from support.proxy import BINARY, SANITIZED
from support.waiting import standstill, until

MANY = int(os.environ.get("E2E_RELOADS", "10" if SANITIZED else "30"))


def message(p, beginning, number=1):
    return p.wait_event("log", count=number, message=lambda m: m.startswith(beginning))["message"]


def count(p, beginning):
    return len(p.events("log", message=lambda m: m.startswith(beginning)))


def settled(p, number):
    """The NUMBER-th reload is over, and the supervisor has re-executed."""
    line = message(p, "reload done", number)
    message(p, "the supervisor runs tls-off", number)
    return line


def reload(p, number):
    p.signal(signal.SIGHUP)
    return settled(p, number)


def started(p):
    """The processes, without the config process of the start, which may be about to end."""
    until(lambda: "config" not in p.roles(), "the config process has ended")
    return p.pids()


def unchanged(p, before):
    """All processes are those of BEFORE; a config process may be about to end."""
    until(lambda: set(p.pids()) == before, lambda: f"{set(p.pids())} as {before}")


def rewrite(p, change):
    """The configuration with CHANGE(table) made to it."""
    table = tomllib.loads(p.config_file.read_text())
    change(table)
    p.config_file.write_text(toml.dumps(table))


class Caller(threading.Thread):
    """Opens sessions all the time, one after the other; any failure is kept."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.done, self.failures, self.stopping = port, 0, [], False
        self.start()

    def run(self):
        while not self.stopping:
            try:
                with connect(self.port, context(version=(V12, V13)[self.done % 2])) as c:
                    says_echo(c)
                    c.unwrap()
                self.done += 1
            except (OSError, AssertionError) as e:
                self.failures.append(repr(e))

    def stop(self):
        self.stopping = True
        self.join(30)
        assert not self.is_alive()
        assert not self.failures, f"{len(self.failures)} of {self.done}: {self.failures[:5]}"
        return self.done


def test_a_second_generation_takes_over(parts):
    p = parts.proxy(parts.backend(), top={"workers": 2})
    before = set(started(p))
    port = p.port
    line = reload(p, 1)
    assert line.startswith("reload done: generation 1 serves, tls-off ")
    until(lambda: len(p.pids()) == len(before), lambda: f"as many as before: {p.roles()}")
    assert before & set(p.pids()) == {p.pid}, "the supervisor stays, all others are new"
    with connect(port) as c:
        says_echo(c)
        c.unwrap()
    assert processes.command_line(p.pid).startswith(f"{p.binary} run ")
    assert open(f"/proc/{p.pid}/comm").read() == "tls-off\n"


def test_live_sessions_stay(parts):
    p = parts.proxy(parts.backend(), top={"workers": 2})
    sessions = [connect(p.port, context(version=v)) for v in (V12, V13) for _ in range(8)]
    for c in sessions:
        says_echo(c)
    for number in range(1, 4):
        line = reload(p, number)
        assert "16 sessions were migrated" in line and "cut" not in line
        for c in sessions:
            says_echo(c)
    for c in sessions:
        c.unwrap().close()
    until(lambda: len(p.events("session", client_end="close")) == 16, "16 ends in good order")


def test_more_faults_than_have_room_are_reported_in_whole_lines(parts):
    p = parts.proxy(parts.backend())
    well = p.config_file.read_text()
    p.config_file.write_text("".join(f"wrokers{i} = 1\n" for i in range(100)) + well + f'["{"ö" * 1200}"]\n')
    p.signal(signal.SIGHUP)
    until(lambda: (p.admin.json("/status.json")["last_reload"] or {}).get("result") == "refused", "the reload has ended")
    lines = p.admin.json("/status.json")["last_reload"]["text"].splitlines()
    *faults, last = lines
    assert faults and all(line.endswith('"') or "expected" in line for line in faults) and "\ufffd" not in "".join(lines), lines
    omitted = int(last.removeprefix("and ").removesuffix(" more lines"))
    until(lambda: len([line for line in p.lines if "reload refused" in line]) > len(faults), "the log has them all")
    assert len(faults) + omitted >= 100
    p.config_file.write_text(well)
    reload(p, 1)


@pytest.mark.parametrize("what", ["unknown key", "no TOML", "no file", "log file"])
def test_a_refused_configuration_changes_nothing(parts, what):
    p = parts.proxy(parts.backend(), top={"workers": 2})
    well = p.config_file.read_text()
    before = set(started(p))
    c = connect(p.port)
    said = {"unknown key": "wrokers: found an unknown key, expected \"workers\"", "no TOML": "config.toml:1:", "no file": "config.toml",
            "log file": "log.target"}[what]
    if what == "no file":
        p.config_file.unlink()
    elif what == "log file":
        rewrite(p, lambda t: t["log"].update(target=str(p.directory / "missing" / "log")))
    else:
        p.config_file.write_text({"unknown key": "wrokers = 1\n" + well, "no TOML": "= =" + well}[what])
    p.signal(signal.SIGHUP)
    line = message(p, "reload refused, nothing was changed: ")
    assert said in line
    unchanged(p, before)
    says_echo(c)
    p.config_file.write_text(well)
    reload(p, 1)
    says_echo(c)
    c.unwrap().close()


@pytest.fixture
def own_binary(parts):
    """A proxy started from a copy of the binary, which a test may replace."""
    copy = parts.directory / "tls-off"
    shutil.copy(BINARY, copy)
    p = parts.prepare(parts.backend(), top={"workers": 2})
    p.binary = str(copy)
    return p.start()


def replace(p, content):
    new = p.binary + ".new"
    with open(new, "wb") as f:
        f.write(content)
    os.chmod(new, 0o755)
    os.rename(new, p.binary)


def other_version(p, version):
    """The same program by another version's name."""
    old = p.wait_event("log", message=lambda m: "starts (pid" in m)["message"].split()[1]
    assert len(old) == len(version)
    content = open(BINARY, "rb").read()
    assert old.encode() in content
    # alone, in sentences, and at the end of "tls-off/0.1.0", where the linker finds the lone one as well
    for before, after in ((b"\0", b"\0"), (b"tls-off ", b""), (b"tls-off/", b"\0")):
        content = content.replace(before + old.encode() + after, before + version.encode() + after)
    return content


def test_upgrade_to_another_binary(own_binary):
    p = own_binary
    c = connect(p.port)
    says_echo(c)
    replace(p, other_version(p, "9.8.7"))
    assert "generation 1 serves, tls-off 9.8.7" in reload(p, 1)
    message(p, f"the supervisor runs tls-off 9.8.7 (pid {p.pid})")
    says_echo(c)
    assert os.readlink(f"/proc/{p.pid}/exe") == p.binary
    replace(p, open(BINARY, "rb").read())
    reload(p, 2)
    says_echo(c)
    c.unwrap().close()


def with_keys(content, renamed):
    """The same program with other names for some keys: a build that lacks the one and has the other."""
    for old, new in renamed.items():
        assert len(old) == len(new) and content.count(b"\0" + old.encode() + b"\0")
        content = content.replace(b"\0" + old.encode() + b"\0", b"\0" + new.encode() + b"\0")
    return content


def test_upgrade_and_back_across_other_keys(own_binary):
    """Keys that only one of the builds knows, at the top, of a listener and of a service: nothing is lost either way."""
    p = own_binary
    c = connect(p.port)
    says_echo(c)
    replace(
        p,
        with_keys(
            other_version(p, "9.8.7"),
            {
                "busy_poll_us": "busy_poll_uz",
                "listener.*.v6only": "listener.*.v6onlz",
                "service.*.timeouts.linger": "service.*.timeouts.lingez",
            },
        ),
    )
    assert "generation 1 serves, tls-off 9.8.7" in reload(p, 1)
    says_echo(c)
    replace(p, open(BINARY, "rb").read())
    assert "generation 2 serves" in reload(p, 2)
    says_echo(c)
    with connect(p.port) as new:
        says_echo(new)
        new.unwrap()
    c.unwrap().close()


def test_a_key_that_the_running_supervisor_would_have_to_act_on(own_binary):
    """Set to something else, it waits until the supervisor knows it, too."""
    p = own_binary
    c = connect(p.port)
    before = set(started(p))
    plain = p.config_file.read_text()
    replace(p, with_keys(other_version(p, "9.8.7"), {"listener.*.backlog": "listener.*.backlob"}))

    def ask_for_more(table):
        (service,) = table["service"].values()
        table["listener"] = {service["listen"][0]: {"backlob": 77}}

    rewrite(p, ask_for_more)
    p.signal(signal.SIGHUP)
    line = message(p, "reload refused, nothing was changed: ")
    assert 'tls-off 9.8.7: the running version does not understand "listener.backlob" of the configuration' in line
    unchanged(p, before)
    says_echo(c)
    p.config_file.write_text(plain)
    assert "generation 1 serves, tls-off 9.8.7" in reload(p, 1)
    rewrite(p, ask_for_more)
    assert "generation 2 serves" in reload(p, 2)
    says_echo(c)
    c.unwrap().close()


def test_a_link_pointed_elsewhere_is_followed(parts):
    one, two, link = (parts.directory / n for n in ("one", "two", "tls-off"))
    shutil.copy(BINARY, one)
    link.symlink_to(one)
    p = parts.prepare(parts.backend())
    p.binary = str(link)
    p.start()
    shutil.copy(BINARY, two)
    other = parts.directory / "other"
    other.symlink_to(two)
    other.rename(link)
    reload(p, 1)
    assert os.readlink(f"/proc/{p.pid}/exe") == str(two)


@pytest.mark.parametrize("what", ["gone", "no program", "another program"])
def test_a_binary_that_does_not_serve_is_refused(own_binary, what):
    p = own_binary
    before = set(started(p))
    if what == "gone":
        os.unlink(p.binary)
    else:
        replace(p, b"rubbish" if what == "no program" else open("/bin/true", "rb").read())
    p.signal(signal.SIGHUP)
    line = message(p, "reload refused, nothing was changed: ")
    assert p.binary in line and (what == "gone" or "config process" in line)
    unchanged(p, before)
    with connect(p.port) as c:
        says_echo(c)
        c.unwrap()


def test_a_supervisor_that_cannot_be_taken_over_stays(own_binary):
    """A new binary with another layout of the supervisor's state: the reload is done, by the old supervisor."""
    p = own_binary
    c = connect(p.port)
    content = open(BINARY, "rb").read()
    assert content.count(b"usot")  # the mark in front of the state
    replace(p, content.replace(b"usot", b"usOt"))
    p.signal(signal.SIGHUP)
    message(p, "reload done: generation 1 serves")
    assert "cannot be read" in message(p, "the supervisor keeps its old code until it is restarted: ")
    says_echo(c)
    assert os.readlink(f"/proc/{p.pid}/exe") == p.binary + " (deleted)"
    replace(p, content)
    p.signal(signal.SIGHUP)
    message(p, "reload done: generation 2 serves")
    message(p, "the supervisor runs tls-off")
    says_echo(c)
    c.unwrap().close()


def test_roles_are_restarted_from_their_own_binary(own_binary):
    """A file replaced on disk is nothing to processes of before, until a reload."""
    p = own_binary
    p.allow_killed_roles = True
    replace(p, open("/bin/true", "rb").read())
    old = p.roles()["relay"]
    os.kill(old[0], signal.SIGKILL)
    message(p, "relay.")
    until(lambda: len(p.roles().get("relay", [])) == 2 and old[0] not in p.roles()["relay"], "a new relay")
    p.wait_event("log", message=lambda m: "serves again" in m)
    with connect(p.port) as c:
        says_echo(c)
        c.unwrap()


def test_no_connect_is_refused_meanwhile(parts):
    p = parts.proxy(parts.backend(), top={"workers": 2})
    callers = [Caller(p.port) for _ in range(2)]
    for number in range(1, 9):
        reload(p, number)
    assert sum(c.stop() for c in callers) > 0


def test_workers_change(parts):
    p = parts.proxy(parts.backend(), top={"workers": 1})
    caller = Caller(p.port)
    sessions = [connect(p.port) for _ in range(6)]
    for number, workers in enumerate((3, 2, 4, 1), 1):
        rewrite(p, lambda t: t.update(workers=workers))
        reload(p, number)
        assert len(p.roles()["relay"]) == len(p.roles()["handshaker"]) == workers  # the old ones have ended when it is done
        for c in sessions:
            says_echo(c)
    caller.stop()
    for c in sessions:
        c.unwrap().close()


def sessions_by_relay(p, generation):
    return [x["sessions"] for x in p.admin.json("/status.json")["processes"]
            if x["role"] == "relay" and x["generation"] == generation]


@pytest.mark.parametrize("steps", [(2, 1, 2), (1, 3), (3, 2)])
def test_sessions_are_spread_over_another_number_of_workers(parts, steps):
    """At once, by the reload itself: balance would need three intervals."""
    p = parts.proxy(parts.backend(), top={"workers": steps[0]})
    sessions = [connect(p.port) for _ in range(60)]
    for number, workers in enumerate(steps[1:], 1):
        rewrite(p, lambda t: t.update(workers=workers))
        reload(p, number)
        until(lambda: sum(sessions_by_relay(p, number)) == len(sessions), "figures are published")
        share = len(sessions) / workers
        assert all(share - 8 <= n <= share + 8 for n in sessions_by_relay(p, number)), sessions_by_relay(p, number)
    assert not p.events("log", message=lambda m: m.startswith("balance:"))
    for c in sessions:
        says_echo(c)
        c.unwrap().close()


def test_addresses_come_and_go(parts):
    p = parts.proxy(parts.backend())
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    rewrite(p, lambda t: t["service"]["web"]["listen"].append(f"127.0.0.1:{port}"))
    reload(p, 1)
    message(p, f"listening on 127.0.0.1:{port} for web")
    c = connect(port)
    rewrite(p, lambda t: t["service"]["web"]["listen"].pop())
    reload(p, 2)
    message(p, f"no longer listening on 127.0.0.1:{port}")
    with socket.socket() as s:
        assert s.connect_ex(("127.0.0.1", port)) != 0
    says_echo(c)  # its session no longer counts for the address
    c.unwrap().close()
    with connect(p.port) as c:
        says_echo(c)
        c.unwrap()


def test_an_address_that_is_taken_refuses(parts):
    p = parts.proxy(parts.backend())
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        rewrite(p, lambda t: t["service"]["web"]["listen"].append("127.0.0.1:%d" % s.getsockname()[1]))
        p.signal(signal.SIGHUP)
        assert "in use" in message(p, "reload refused")
    reload(p, 1)


def test_reloads_that_come_together(parts):
    """Requests that arrive while one runs cause one more, not more."""
    p = parts.proxy(parts.backend())
    for number in range(1, 4):
        (relay,) = p.roles()["relay"]
        os.kill(relay, signal.SIGSTOP)  # the reload does not end without it
        p.signal(signal.SIGHUP)
        message(p, "reload: starting", 2 * number - 1)
        for _ in range(5):
            p.signal(signal.SIGHUP)
            time.sleep(0.001)  # signals that wait are one
        os.kill(relay, signal.SIGCONT)
        settled(p, 2 * number)
    with connect(p.port) as c:
        says_echo(c)
        c.unwrap()
    assert count(p, "reload done") == 6


def test_many_leave_nothing(parts):
    p = parts.proxy(parts.backend(), top={"workers": 2})
    processes_before = len(started(p))
    for number in range(1, 6):
        reload(p, number)

    def held():
        return len(p.pids()), sorted(processes.descriptors(pid) for pid in p.pids())

    until(lambda: len(p.pids()) == processes_before, lambda: p.roles())
    before, memory = standstill(held, "descriptors"), processes.held(p.pid)
    for number in range(6, 6 + MANY):
        reload(p, number)
    until(lambda: held() == before, lambda: f"{held()} as {before}")
    if not SANITIZED:
        assert processes.held(p.pid) < memory + 256 * 1024
    assert p.events("log", message=lambda m: "takes too long" in m) == []


def test_stop_in_the_middle(parts):
    """TERM at many moments of a reload: all ends, in order."""
    for i in range(12):
        p = parts.proxy(parts.backend(), top={"drain_timeout": "5s"})
        c = connect(p.port)
        says_echo(c)
        p.signal(signal.SIGHUP)
        time.sleep(i * 0.004)  # the point in time is what is tested
        p.signal(signal.SIGTERM)
        assert p.wait_exit() == 0, p.text()
        assert count(p, "stopped: 0 sessions were cut") == 1
        c.close()
        p.check_after()


@pytest.mark.skipif(SANITIZED, reason="sanitizers hold much more memory")
def test_memory_goes_back_after_a_peak_that_moved(parts):
    b = parts.backend()
    p = parts.proxy(b, top={"workers": 2})
    ctx = context()

    def wave(n):
        sessions = [connect(p.port, ctx) for _ in range(n)]
        for c in sessions:
            says_echo(c)
        return sessions

    def close(sessions):
        ended = len(p.events("session")) + len(sessions)
        for c in sessions:
            c.close()
        until(lambda: len(p.events("session")) >= ended, "their ends")

    def held():
        """By those whose memory sessions are: the others touch pages of theirs when they first do something."""
        return sum(processes.held(pid) for role in ("relay", "handshaker") for pid in p.roles()[role])

    few = wave(50)
    reload(p, 1)  # so that what moving needs at all has been made
    close(few)
    before = held()
    peak = wave(600)
    reload(p, 2)
    for c in peak:
        says_echo(c)
    at_peak = held()
    close(peak)
    assert at_peak > before + 100 * 1024, "they are there"
    until(lambda: held() < (before + at_peak) / 2, lambda: f"{held()} near {before}, {at_peak} at the peak")


class Talker(threading.Thread):
    """A session that never rests: sends a block, wants it back, sends the next one."""

    def __init__(self, port, version):
        super().__init__(daemon=True)
        self.c, self.done, self.fault, self.stopping = connect(port, context(version=version)), 0, None, False
        self.start()

    def run(self):
        try:
            while not self.stopping:
                block = self.done.to_bytes(8, "big") * 4096
                self.c.sendall(block)
                got = b""
                while len(got) < len(block):
                    data = self.c.recv(len(block) - len(got))
                    assert data, "the end came too early"
                    got += data
                assert got == block
                self.done += 1
            self.c.unwrap().close()
        except (OSError, AssertionError) as e:
            self.fault = repr(e)


def test_busy_sessions_survive(parts):
    p = parts.proxy(parts.backend(backends.echo), top={"workers": 2})
    talkers = [Talker(p.port, v) for v in (V12, V13) for _ in range(2)]
    for number in range(1, 6):
        reload(p, number)
    before = [t.done for t in talkers]
    until(lambda: all(t.done > n for t, n in zip(talkers, before)) or any(t.fault for t in talkers), "all go on")
    for t in talkers:
        t.stopping = True
        t.join(30)
        assert t.fault is None and not t.is_alive()


def test_log_lines_are_not_lost(parts):
    """The guard of all tests counts sessions in the log; here they end all the time while observers change."""
    p = parts.proxy(parts.backend(), top={"workers": 2}, log={"level": "debug"})
    callers = [Caller(p.port) for _ in range(3)]
    for number in range(1, 7):
        reload(p, number)
    done = sum(c.stop() for c in callers)
    until(lambda: len(p.events("session")) == done, lambda: f"{len(p.events('session'))} of {done} sessions in the log")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_on_a_file_system_that_has_become_read_only(parts):
    """As after a fault of the disk. What is there stays as it is: the pair without a name, the sockets' files and their rights."""
    with parts.disk("1m") as disk:
        web = {"listen": ["127.0.0.1:0", f"unix:{disk}/web.sock"], "backends": [parts.backend().url]}
        p = parts.prepare(services={"web": web}, top={"state_dir": str(disk / "state"), "admin": {"socket": str(disk / "admin.sock")}})
        p.admin_socket = disk / "admin.sock"
        p.start()
        with connect(p.port) as c:
            says_echo(c)
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
            reload(p, 1)
            says_echo(c)
            c.unwrap()
        assert p.admin.json("/status.json")["generation"] == 1
        p.stop()


def test_log_file_is_opened_again(parts):
    log = parts.directory / "log"
    p = parts.proxy(parts.backend(), log={"target": str(log), "format": "logfmt"})
    until(lambda: "listening on" in log.read_text(), "the log")
    log.rename(parts.directory / "log.1")
    p.signal(signal.SIGHUP)
    until(lambda: log.exists() and "the supervisor runs" in log.read_text(), "the new log")
