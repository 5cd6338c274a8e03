"""systemd: notifications to the service manager, its watchdog, sockets it has opened, its unit files."""
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

import pytest

from support import processes
from support.clients import connect, says_echo
from support.proxy import BINARY
from support.waiting import DEADLINE, TooLate, until

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Manager:
    """The socket that the service manager listens on."""

    def __init__(self, directory, abstract=False):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.path = f"\0tls-off-test-{os.getpid()}" if abstract else str(directory / "notify")
        self.socket.bind(self.path)
        self.said = []  # (time, {name: value})

    @property
    def name(self):
        return self.path.replace("\0", "@")

    def wait_for(self, seconds=DEADLINE):
        self.socket.settimeout(seconds)
        try:
            text = self.socket.recv(4096).decode()
        except TimeoutError:
            return None
        self.said.append((time.monotonic(), dict(line.split("=", 1) for line in text.splitlines())))
        return self.said[-1][1]

    def wait(self, name, value=None):
        """The next message with NAME (and VALUE)."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            m = self.wait_for(end - time.monotonic())
            if m and name in m and (value is None or m[name] == value):
                return m
        raise TooLate(f"no {name}={value} in {self.said}")

    def close(self):
        self.socket.close()
        if self.path[0] != "\0":
            os.unlink(self.path)


@pytest.fixture
def manager(parts):
    m = Manager(parts.directory)
    yield m
    m.close()


def test_start_reload_stop(parts, manager):
    p = parts.proxy(parts.backend(), environment={"NOTIFY_SOCKET": manager.name})
    assert manager.wait("READY", "1")["STATUS"] == "serving"
    before = time.monotonic_ns() // 1000
    p.signal(signal.SIGHUP)
    m = manager.wait("RELOADING", "1")
    assert before <= int(m["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    manager.wait("READY", "1")
    message = p.wait_event("log", message=lambda m: m.startswith("the supervisor runs"))
    p.config_file.write_text("nonsense")
    p.signal(signal.SIGHUP)  # the supervisor's new code has kept the socket
    manager.wait("RELOADING", "1")
    assert "refused" in manager.wait("READY", "1")["STATUS"]
    p.signal(signal.SIGTERM)
    manager.wait("STOPPING", "1")
    assert p.wait_exit() == 0 and message


def test_abstract_socket(parts):
    m = Manager(parts.directory, abstract=True)
    parts.proxy(parts.backend(), environment={"NOTIFY_SOCKET": m.name})
    m.wait("READY", "1")
    m.close()


def test_roles_know_nothing_of_the_manager(parts, manager):
    p = parts.proxy(parts.backend(), environment={"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "60000000"})
    looked_at = 0
    for pid in p.pids()[1:]:
        try:
            environment = open(f"/proc/{pid}/environ", "rb").read()
        except (FileNotFoundError, ProcessLookupError):  # the config role ends
            continue
        assert b"NOTIFY_SOCKET" not in environment and b"WATCHDOG" not in environment
        looked_at += 1
    assert looked_at >= 4


def test_degraded_service_is_said(parts, manager):
    p = parts.proxy(parts.backend(), environment={"NOTIFY_SOCKET": manager.name})
    p.allow_killed_roles = True
    manager.wait("READY", "1")
    os.kill(p.roles()["relay"][0], signal.SIGKILL)
    assert "degraded: 1 processes" in manager.wait("STATUS")["STATUS"]
    assert manager.wait("STATUS")["STATUS"] == "serving"


def watched(parts, manager, seconds):
    p = parts.proxy(parts.backend(), environment={"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": str(seconds * 1000000)},
                    top={"workers": 2})
    p.allow_killed_roles = True
    manager.wait("READY", "1")
    return p


def test_watchdog_is_fed(parts, manager):
    watched(parts, manager, 8)
    for _ in range(4):
        manager.wait("WATCHDOG", "1")
    times = [t for t, m in manager.said if "WATCHDOG" in m]
    assert max(b - a for a, b in zip(times, times[1:])) < 8


def test_watchdog_is_fed_by_the_new_code_too(parts, manager):
    p = watched(parts, manager, 2)
    p.signal(signal.SIGHUP)
    p.wait_event("log", message=lambda m: m.startswith("the supervisor runs"))
    manager.said.clear()
    for _ in range(3):
        manager.wait("WATCHDOG", "1")


@pytest.mark.parametrize("role", ["relay", "handshaker", "observer"])
def test_a_role_that_hangs_is_killed_before_the_watchdog_ends_all(parts, manager, role):
    p = watched(parts, manager, 8)
    manager.wait("WATCHDOG", "1")
    stopped = sorted(p.roles()[role])[0]
    os.kill(stopped, signal.SIGSTOP)
    assert "degraded" in manager.wait("STATUS")["STATUS"]
    until(lambda: stopped not in p.pids(), "the end of the stopped one")
    for _ in range(3):
        manager.wait("WATCHDOG", "1")
    times = [t for t, m in manager.said if "WATCHDOG" in m]
    assert max(b - a for a, b in zip(times, times[1:])) < 8, "the manager would have ended all"
    p.wait_event("log", role="supervisor.0", message=lambda m: m.startswith(f"{role}.") and "does not answer" in m)
    p.wait_event("log", role="supervisor.0", message=lambda m: m.startswith(f"{role}.") and "is killed: it has not answered" in m)
    with connect(p.port) as c:
        says_echo(c)


def test_a_hung_supervisor_does_not_feed(parts, manager):
    p = watched(parts, manager, 1)
    manager.wait("WATCHDOG", "1")
    p.signal(signal.SIGSTOP)
    while manager.wait_for(0.3):
        pass
    assert manager.wait_for(1) is None
    p.signal(signal.SIGCONT)
    manager.wait("WATCHDOG", "1")


def asks_for_more(manager, times=2):
    for _ in range(times):
        assert int(manager.wait("EXTEND_TIMEOUT_USEC")["EXTEND_TIMEOUT_USEC"]) == 30_000_000


def asks_for_nothing(manager):
    manager.said.clear()
    for _ in range(4):
        manager.wait("WATCHDOG", "1")
    assert not [m for _, m in manager.said if "EXTEND_TIMEOUT_USEC" in m]


def test_a_long_reload_asks_for_more_time(parts, manager):
    p = watched(parts, manager, 2)
    asks_for_nothing(manager)
    waits = socket.create_connection(("127.0.0.1", p.port))
    waits.sendall(b"\x16\x03\x01")  # a hello that has begun: the old handshaker waits for its rest
    until(lambda: p.admin.json("/status.json")["limits"]["handshake_bytes"], "the handshake")
    p.signal(signal.SIGHUP)
    assert manager.wait("RELOADING", "1")["EXTEND_TIMEOUT_USEC"] == "30000000"
    asks_for_more(manager)
    waits.close()
    manager.wait("READY", "1")
    p.wait_event("log", message=lambda m: m.startswith("the supervisor runs"))  # with that it ends
    while manager.wait_for(0.1):  # what was said before
        pass
    asks_for_nothing(manager)


def test_a_long_drain_asks_for_more_time(parts, manager):
    p = watched(parts, manager, 2)
    with connect(p.port) as c:
        says_echo(c)
        subprocess.Popen([BINARY, "drain", "--admin", p.admin_socket, "--timeout", "1h"])
        assert manager.wait("STOPPING", "1")["EXTEND_TIMEOUT_USEC"] == "30000000"
        asks_for_more(manager)
        says_echo(c)
        c.unwrap()
    assert p.wait_exit() == 0


# --- sockets passed


def listener(address=("127.0.0.1", 0), listens=True, kind=socket.SOCK_STREAM):
    s = socket.socket(socket.AF_INET, kind)
    s.bind(address)
    if listens:
        s.listen()
    return s


def activated(parts, sockets, listen, workers=2, names=None, **keys):
    """A proxy to which SOCKETS are passed as a service manager does."""
    p = parts.prepare(parts.backend(), listen=listen, top={"workers": workers}, **keys)
    p.passed = sockets
    p.environment = {"LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": ":".join(names or ["web"] * len(sockets))}
    return p


def text_of(s):
    return "%s:%d" % s.getsockname()


def test_a_passed_socket_is_used(parts):
    s = listener()
    early = socket.create_connection(s.getsockname())  # waits in the queue from before the start
    p = activated(parts, [s], [text_of(s)]).start()
    early.close()
    for _ in range(8):
        with connect(s.getsockname()[1]) as c:
            says_echo(c)
            c.unwrap()
    inodes = [processes.socket_inodes(pid) & {os.readlink(f"/proc/self/fd/{s.fileno()}")[8:-1]} for pid in p.roles()["handshaker"]]
    assert all(inodes), "every handshaker has it"
    p.signal(signal.SIGHUP)
    p.wait_event("log", message=lambda m: m.startswith("the supervisor runs"))
    with connect(s.getsockname()[1]) as c:
        says_echo(c)
        c.unwrap()
    p.stop()
    waits = socket.create_connection(s.getsockname())  # the manager's copy still listens
    waits.close()
    s.close()


def test_sockets_of_one_address_are_shared_out(parts):
    first = socket.socket()
    first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    first.bind(("127.0.0.1", 0))
    second = socket.socket()
    second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    second.bind(first.getsockname())
    for s in (first, second):
        s.listen()
    activated(parts, [first, second], [text_of(first)]).start()
    for _ in range(16):
        with connect(first.getsockname()[1]) as c:
            says_echo(c)
            c.unwrap()
    first.close()
    second.close()


def test_a_socket_nobody_wants_is_an_error(parts):
    s, other = listener(), listener()
    p = activated(parts, [s, other], [text_of(s)])
    with pytest.raises(AssertionError, match="ended before it was ready"):
        p.start()
    p.wait_text(re.escape(f'the service manager passed a socket of {text_of(other)}, but no service has "{text_of(other)}" in its listen'))
    p.expected_status = p.wait_exit()
    assert p.status == 1


@pytest.mark.parametrize("what", ["not listening", "datagram", "file"])
def test_what_is_no_listening_socket_is_an_error(parts, what):
    if what == "file":
        passed = open("/dev/null")
    else:
        passed = listener(listens=False, kind=socket.SOCK_DGRAM if what == "datagram" else socket.SOCK_STREAM)
    p = activated(parts, [passed], ["127.0.0.1:0"], names=["strange"])
    with pytest.raises(AssertionError, match="ended before it was ready"):
        p.start()
    p.wait_text(r"\(strange\), passed by the service manager: expected a listening TCP socket")
    p.expected_status = p.wait_exit()
    passed.close()


def test_sockets_for_another_process_are_left_alone(parts):
    p = parts.prepare(parts.backend())
    p.environment = {"LISTEN_FDS": "7", "LISTEN_PID": "1"}
    p.start()


# --- unit files


def unit(name):
    text = (ROOT / "contrib/systemd" / name).read_text()
    return [line.split("=", 1) for line in text.splitlines() if re.match(r"\w+=", line)]


def test_the_unit_fits_the_program():
    service = unit("tls-off.service.in")
    keys = dict(service)
    assert keys["Type"] == "notify" and keys["NotifyAccess"] == "main" and keys["KillMode"] == "mixed"
    for key in ("ExecStart", "ExecReload"):
        command = keys[key].split()
        assert command[0] == "@sbindir@/tls-off"
        assert subprocess.run([BINARY, command[1], "--help"], capture_output=True).returncode == 0
    kept = " ".join(v for k, v in service if k == "CapabilityBoundingSet").split()
    sandbox = (ROOT / "src/process/sandbox.c").read_text()
    wanted = re.search(r"#define SUPERVISOR_CAPS(.*?)\n\n", sandbox, re.S).group(1)
    assert sorted(kept) == sorted("CAP_" + n for n in re.findall(r"CAP\((\w+)\)", wanted))


def test_units_are_what_systemd_knows(parts):
    if subprocess.run(["sh", "-c", "command -v systemd-analyze"], capture_output=True).returncode:
        pytest.skip("systemd-analyze is not here")
    text = (ROOT / "contrib/systemd/tls-off.service.in").read_text().replace("@sbindir@/tls-off", BINARY)
    (parts.directory / "tls-off.service").write_text(text)
    (parts.directory / "tls-off.socket").write_text((ROOT / "contrib/systemd/tls-off.socket").read_text())
    done = subprocess.run(["systemd-analyze", "verify", *map(str, parts.directory.glob("tls-off.*"))], capture_output=True, text=True)
    assert not re.search(r"Unknown|Failed to parse|Invalid", done.stderr), done.stderr
