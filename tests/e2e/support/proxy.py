"""tls-off as the tests see it: a configuration, a process with its roles, log lines, and an end that is checked."""
import getpass
import json
import os
import pathlib
import re
import resource
import select
import signal
import subprocess
import sys
import threading
import time

from . import processes, toml
from .admin import Admin
from .waiting import DEADLINE, TooLate, until

ROOT = pathlib.Path(__file__).resolve().parents[3]
BINARY = os.environ.get("TLS_OFF_BIN", str(ROOT / "build" / "tls-off"))
SANITIZED = bool(os.environ.get("E2E_SANITIZED"))
OWN_HANDSHAKE = os.environ.get("E2E_HANDSHAKE", "auto") == "auto"  # who makes TLS 1.3 where a test does not say
KILLED = re.compile(r"killed by signal (4|6|7|8|11|31) ")
SANITIZER = re.compile(r"AddressSanitizer|LeakSanitizer|UndefinedBehavior|runtime error:|SUMMARY: ")
LISTENING = re.compile(r"listening on (\S+):(\d+) for (\S+)")


class Fault(AssertionError):
    """What no load on the machine excuses."""


# In the place of the process to be: puts the sockets where systemd puts them, then becomes the program.
PASS_SOCKETS = """
import json, os, sys
numbers, ready = json.loads(sys.argv[1])
high = [os.dup2(n, 200 + i) for i, n in enumerate(numbers)]
os.dup2(ready, 199)
for i, n in enumerate(high):
    os.dup2(n, 3 + i)
for n in high:
    os.close(n)
if ready >= 3 + len(high):
    os.close(ready)
os.environ["LISTEN_PID"] = str(os.getpid())
arguments = ["199" if before == "--ready-fd" else a for before, a in zip([""] + sys.argv[2:], sys.argv[2:])]
os.execv(arguments[0], arguments)
"""


class Proxy:
    """Started by Proxy.start(); ended, and checked, by Proxy.stop()."""

    def __init__(self, directory, config=None, arguments=None, environment=None, limits=None, ready=True):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.config_file = self.directory / "config.toml"
        if config is not None:
            self.config_file.write_text(config if isinstance(config, str) else toml.dumps(config))
        self.binary = BINARY
        self.passed = []  # sockets passed as by a service manager: descriptors from 3 on
        self.arguments = arguments or ["run", str(self.config_file)]
        self.environment = environment or {}
        self.limits = limits or {}
        self.lines = []  # every line of stderr, as it came
        self.reading = threading.Event()  # cleared: stderr is not read
        self.reading.set()
        self.changed = threading.Condition()
        self.process = None
        self.status = None
        self.allow_killed_roles = False
        self.allow_lost_lines = False  # not every session is in the log
        self.expected_status = 0
        self.is_ready = False
        self.wants_ready = ready
        self.admin_socket = self.directory / "admin.sock"

    # --- start

    def start(self):
        environment = dict(os.environ, **self.environment)
        if SANITIZED:
            logs = self.directory / "sanitizer"
            for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
                environment[name] = environment.get(name, "") + f":log_path={logs}"
        ready_read, ready_write = os.pipe()
        arguments = [self.binary, *self.arguments]
        if self.wants_ready:
            arguments += ["--ready-fd", str(ready_write)]

        def set_limits():
            for name, n in self.limits.items():
                resource.setrlimit(name, (n, n))

        if self.passed:
            numbers = [s.fileno() for s in self.passed]
            arguments = [sys.executable, "-c", PASS_SOCKETS, json.dumps([numbers, ready_write]), *arguments]
        self.process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment,
            pass_fds=[ready_write, *(s.fileno() for s in self.passed)], start_new_session=True,
            preexec_fn=set_limits if self.limits else None, cwd=self.directory)
        os.close(ready_write)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        try:
            if self.wants_ready:
                self._wait_ready(ready_read)
        finally:
            os.close(ready_read)
        return self

    def _wait_ready(self, fd):
        readable, _, _ = select.select([fd], [], [], DEADLINE)
        if not readable:
            raise TooLate("not ready:\n" + self.text())
        if os.read(fd, 10) != b"\n":
            raise AssertionError("ended before it was ready:\n" + self.text())
        self.is_ready = True

    def _read(self):
        for line in self.process.stdout:
            self.reading.wait()
            with self.changed:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self.changed.notify_all()

    # --- log

    def text(self):
        with self.changed:
            return "\n".join(self.lines)

    def events(self, event=None, **fields):
        """Log lines that are JSON, and whose fields have these values (or satisfy them, when they are functions)."""
        with self.changed:
            lines = list(self.lines)
        return [e for e in map(parsed, lines) if e is not None and matches(e, event, fields)]

    def wait_event(self, event=None, count=1, deadline=DEADLINE, **fields):
        """The COUNT-th such event (from 1), waited for."""
        end = time.monotonic() + deadline
        found, seen = [], 0
        with self.changed:
            while True:
                for line in self.lines[seen:]:
                    e = parsed(line)
                    if e is not None and matches(e, event, fields):
                        found.append(e)
                seen = len(self.lines)
                if len(found) >= count:
                    return found[count - 1]
                left = end - time.monotonic()
                if left <= 0:
                    raise TooLate(f"no log event {event} {fields} (number {count}) in:\n" + "\n".join(self.lines[-60:]))
                self.changed.wait(left)

    def wait_session(self, count=1, **fields):
        return self.wait_event("session", count=count, **fields)

    def wait_failure(self, reason, count=1, **fields):
        """A handshake that failed, for this reason."""
        return self.wait_event(count=count, reason=reason, **fields)

    def wait_text(self, pattern, deadline=DEADLINE):
        """The first match of PATTERN in any line, JSON or not."""
        end = time.monotonic() + deadline
        with self.changed:
            while True:
                for line in self.lines:
                    m = re.search(pattern, line)
                    if m:
                        return m
                left = end - time.monotonic()
                if left <= 0:
                    raise TooLate(f"no line like {pattern!r} in:\n" + "\n".join(self.lines[-60:]))
                self.changed.wait(left)

    def address(self, service="web"):
        def find():
            with self.changed:
                for line in self.lines:
                    m = LISTENING.search(line)
                    if m and service in m.group(3).rstrip('"}').split(","):
                        return m.group(1), int(m.group(2))
            return None

        return until(find, lambda: f"listening line of {service} in\n{self.text()}")

    @property
    def port(self):
        return self.address()[1]

    @property
    def admin(self):
        return Admin(self)

    # --- processes

    @property
    def pid(self):
        return self.process.pid

    def pids(self):
        return [self.pid] + processes.descendants(self.pid)

    def roles(self):
        """{role: [pids]} of the children alive."""
        found = {}
        for pid in processes.descendants(self.pid):
            found.setdefault(processes.role_of(pid), []).append(pid)
        return found

    def memory(self):
        """What all processes hold together of their own making, in bytes."""
        return sum(processes.held(pid) for pid in self.pids())

    def role_memory(self, role):
        return sum(processes.pss(pid) for pid in self.roles().get(role, []))

    def signal(self, number):
        self.process.send_signal(number)

    # --- end

    def running(self):
        return self.process is not None and self.process.poll() is None

    def wait_exit(self, deadline=DEADLINE):
        try:
            self.status = self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            raise TooLate("did not end:\n" + self.text()) from None
        self.reader.join(DEADLINE)
        self.process.stdout.close()
        return self.status

    def stop(self):
        """TERM, and everything that must hold after it."""
        if self.process is None or self.process.stdout.closed:
            return
        if self.running():
            if self.is_ready:
                pids = [pid for pid in self.pids() if processes.readable(pid)]
                until(lambda: not processes.traffic_sockets(pids), lambda: f"sockets left open: {processes.traffic_sockets(pids)}")
            self.signal(signal.SIGTERM)
        self.wait_exit()
        self.check_after()

    def check_after(self):
        assert self.status == self.expected_status, f"exit status {self.status}:\n{self.text()}"
        self.check_faults()

    def check_faults(self):
        """What no load on the machine excuses, also of a test that has failed."""
        for line in self.lines:
            if SANITIZER.search(line):
                raise Fault("sanitizer report:\n" + self.text())
            if KILLED.search(line) and not self.allow_killed_roles:
                raise Fault(line)
        for report in self.directory.glob("sanitizer.*"):
            text = report.read_text()
            if SANITIZER.search(text):  # others are remarks: of a thread that ended while leaks were looked for
                raise Fault(text[:10000])

    def kill(self):
        """Ends all at once, without checks, for a failed test."""
        if self.process is None:
            return
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        self.reader.join(5)
        for path in self.directory.rglob("*"):
            if path.is_socket():
                path.unlink()  # no process was left to remove it


def parsed(line):
    if not line.startswith("{"):
        return None
    try:
        return json.loads(line)
    except ValueError:
        return None


def matches(e, event, fields):
    if event is not None and e.get("event") != event:
        return False
    for name, wanted in fields.items():
        if callable(wanted):
            if name not in e or not wanted(e[name]):
                return False
        elif e.get(name) != wanted:
            return False
    return True


def configuration(directory, services, log=None, **top):
    """The usual configuration: JSON to stderr, one worker, everything in DIRECTORY."""
    table = {"workers": 1, "user": getpass.getuser(), "state_dir": str(directory / "state"), "admin": {"socket": str(directory / "admin.sock")}}
    if os.environ.get("E2E_HANDSHAKE"):
        table["handshake"] = os.environ["E2E_HANDSHAKE"]
    table.update(top)
    table["log"] = {"target": "stderr", "format": "json", "level": "info", **(log or {})}
    table["service"] = services
    return table


def passes_check(file):
    """Asserts that `check` finds no fault in FILE; for an ordinary user none but what takes root."""
    status, _, err = command("check", file)
    may_not = re.compile(": warning: |which this user may not|but nothing can be written")
    assert status == 0 or os.geteuid() != 0 and all(may_not.search(line) for line in err.splitlines()), err + file.read_text()


def command(*arguments, cwd=None, deadline=DEADLINE, environment=None):
    """Runs a subcommand that ends on its own; (status, stdout, stderr)."""
    done = subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=deadline, cwd=cwd,
                          stdin=subprocess.DEVNULL, env=dict(os.environ, **(environment or {})))
    if SANITIZER.search(done.stderr):
        raise Fault(done.stderr)
    return done.returncode, done.stdout, done.stderr
