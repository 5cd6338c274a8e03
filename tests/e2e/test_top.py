"""`tls-off top` in a real terminal (tmux): what it shows, its keys, sizes, reloads, and the terminal it leaves."""
import os
import re
import shlex
import signal
import subprocess

import pytest

from support import processes
from support.clients import connect, says_echo, tcp
from support.proxy import BINARY, command
from support.waiting import DEADLINE, until


class Terminal:
    """A tmux server of its own with one pane, in which a shell runs `top` and prints what it left."""

    def __init__(self, directory, proxy, width=80, height=24, environment=None):
        self.directory, self.socket = directory, directory / "tmux.sock"
        script = directory / "top.sh"
        script.write_text(f"stty -g > {directory}/before\n{shlex.quote(BINARY)} top --admin {proxy.admin_socket}\n"
                          f"echo EXIT $?\nstty -g > {directory}/after\nexec cat\n")
        self.tmux("-f", "/dev/null", "-u", "new-session", "-d", "-x", str(width), "-y", str(height), f"exec sh {script}",
                  environment={"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TERM": "xterm-256color", **(environment or {})})

    def tmux(self, *arguments, environment=None):
        inherited = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}  # ncurses would take them for the size
        done = subprocess.run(["tmux", "-S", str(self.socket), *arguments], capture_output=True, text=True, timeout=DEADLINE,
                              env=dict(inherited, **(environment or {})))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def keys(self, *keys):
        self.tmux("send-keys", *keys)

    def screen(self, *options):
        return self.tmux("capture-pane", "-p", *options)

    def shows(self, pattern):
        """Waits for it; the match."""
        return until(lambda: re.search(pattern, self.screen(), re.M), lambda: f"{pattern!r} in:\n{self.screen()}")

    def hides(self, pattern):
        until(lambda: not re.search(pattern, self.screen(), re.M), lambda: f"no {pattern!r} in:\n{self.screen()}")

    def resize(self, width, height):
        self.tmux("resize-window", "-x", str(width), "-y", str(height))

    def left_as_it_was(self, status=0):
        """After the end of `top`."""
        self.shows(rf"^EXIT {status}$")
        until((self.directory / "after").exists, "the shell has looked")
        until(lambda: (self.directory / "after").read_text(), "the shell has written it down")
        assert (self.directory / "before").read_text() == (self.directory / "after").read_text()
        assert self.tmux("display-message", "-p", "#{alternate_on} #{cursor_flag}").split() == ["0", "1"]

    def children(self):
        shell = int(self.tmux("display-message", "-p", "#{pane_pid}"))
        return [int(p) for p in open(f"/proc/{shell}/task/{shell}/children").read().split()]

    def top_pid(self):
        return until(self.children, "top runs")[0]

    def end(self):
        subprocess.run(["tmux", "-S", str(self.socket), "kill-server"], capture_output=True, timeout=DEADLINE)
        until(lambda: not self.socket.exists() or self.socket.unlink() is None, "tmux has ended")

    def close(self):
        """`top` goes before its terminal: LeakSanitizer, at the end, would lose the stop that it waits for to the SIGCONT of a hangup."""
        if self.socket.exists():
            for pid in self.children():
                os.kill(pid, signal.SIGTERM)
            until(lambda: not self.children(), "top has ended")
        self.end()


@pytest.fixture
def p(parts):
    return parts.proxy(parts.backend())


@pytest.fixture
def terminal(directory, p):
    terminals = []

    def open_terminal(proxy=p, **options):
        terminals.append(Terminal(directory, proxy, **options))
        return terminals[-1]

    yield open_terminal
    for t in terminals:
        t.close()


def fail_one(p):
    with tcp(p.port) as c:
        c.sendall(b"GET / HTTP/1.0\r\n\r\n")
        while c.recv(4096):
            pass


def test_the_overview_says_it_all_in_80_by_24(p, terminal):
    fail_one(p)
    with connect(p.port) as c:
        says_echo(c, b"x" * 5000)
        t = terminal()
        t.shows(r"^tls-off \S+ .* up .* generation 0  serving +\d\d:\d\d:\d\d$")
        t.shows(r"^127\.0\.0\.1 +1 .* 5\.00 kB +5\.00 kB +1$")
        t.shows(r"^web +terminate +1 ")
        t.shows(r"^  unix\S*~\S*/app1.sock +up +1 ")
        t.shows(r"^ +1  plain_http$")
        t.shows(r"^sessions +1 +1 in all  failed 1 of 2  p50 \S+ \S+ p99 \S+ m?s$")
        screen = t.screen()
        assert all(len(line) <= 80 for line in screen.splitlines())
        assert screen.splitlines()[-1].startswith("order: rate")
        says_echo(c, b"x" * 9000)
        t.shows("[\u2581-\u2588]$")  # the bars
        t.keys("q")
        t.left_as_it_was()


def test_every_backend_can_be_reached(parts, terminal):
    """More rows than lines: they scroll, and names that differ only at their end are distinguished."""
    p = parts.proxy([f"tcp:127.0.0.1:{port}" for port in range(18081, 18121)])
    t = terminal(p)
    t.keys("3")
    t.shows(r"^  tcp\S*~\S*:18081 ")
    assert "18120" not in t.screen()
    t.keys(*["Down"] * 60)
    t.shows(r"^  tcp\S*~\S*:18120 ")
    assert "18081" not in t.screen()
    t.keys("Up")
    t.hides(":18120 ")
    t.keys("PPage", "PPage", "PPage", "PPage", "PPage")
    t.shows(r"^  tcp\S*~\S*:18081 ")
    t.keys("q")
    t.left_as_it_was()


def test_keys(p, terminal):
    with connect(p.port) as c:
        says_echo(c, b"x" * 5000)
        t = terminal()
        t.shows(r"^127\.0\.0\.1 ")
        for order in ("bytes", "sessions", "failed", "client", "rate"):
            t.keys("s")
            t.shows(f"^order: {order} ")
        for key, head in (("2", "CLIENTS"), ("3", "SERVICES"), ("4", "FAILED"), ("5", "PROCESS"), ("1", "CLIENTS")):
            t.keys(key)
            t.shows(f"^{head}")
        t.keys("5")
        t.shows(r"^relay\.0 +0 +\d+  ready ")
        t.keys("1", "?")
        t.shows("^KEYS")
        t.keys("?")
        t.hides("^KEYS")
        t.keys("/", "1", "9", "2")
        t.shows(r"^filter: 192_")
        t.shows("no client fits the filter")
        t.keys("BSpace", "BSpace", "BSpace", "1", "2", "7", "Enter")
        t.shows(r"^127\.0\.0\.1 ")
        t.shows("filter: 127 ")
        t.keys("Down", "Enter")
        t.shows(r"^client 127\.0\.0\.1")
        t.shows(r"handshakes \d+ full, \d+ resumed, \d+ failed$")
        unique_id = t.shows(r"^([0-9a-f]{12}) +web +open ").group(1)
        t.keys("Escape")
        t.hides("^client ")
        t.keys("q")
        t.left_as_it_was()
    assert p.wait_session()["unique_id"].startswith(unique_id)


def test_pause(p, terminal):
    t = terminal()
    t.shows("  serving  ")
    t.shows("no client yet")
    t.keys("p")
    before = t.shows(r"serving  PAUSED +(\d\d:\d\d:\d\d)").group(1)
    with connect(p.port) as c:
        says_echo(c)
        until(lambda: p.admin.json("/clients.json"), "the client is known")
        t.keys("2", "1")
        assert t.shows(r"PAUSED +(\d\d:\d\d:\d\d)").group(1) == before and "no client yet" in t.screen()
        t.keys("p")
        t.shows(r"^127\.0\.0\.1 ")


@pytest.mark.parametrize("width,height", [(200, 60), (60, 16), (40, 10), (20, 5), (5, 2), (1, 1)])
def test_sizes(p, terminal, width, height):
    t = terminal()
    t.shows("^CLIENTS")
    t.resize(width, height)
    if height > 4:
        t.shows("^tls-off ")
    until(lambda: len(t.screen().splitlines()) <= height, "drawn again")
    t.resize(80, 24)
    t.shows("^SERVICES, BACKENDS")
    t.keys("q")
    t.left_as_it_was()


def test_it_survives_reloads_and_a_silent_observer(p, terminal):
    p.allow_killed_roles = True
    with connect(p.port) as c:
        says_echo(c)
        t = terminal()
        t.shows("generation 0  serving")
        for generation in (1, 2):
            assert command("reload", "--admin", p.admin_socket)[0] == 0
            t.shows(f"generation {generation}  serving")
        says_echo(c)
        observer, = p.roles()["observer"]
        os.kill(observer, signal.SIGSTOP)
        t.shows(r"^no answer for \d+ s, trying")
        t.shows(r"^127\.0\.0\.1 ")  # the last data stays
        os.kill(observer, signal.SIGCONT)
        t.hides("no answer")
        t.keys("q")
        t.left_as_it_was()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_the_terminal_is_restored_on_signals(p, terminal, number):
    t = terminal()
    t.shows("^CLIENTS")
    os.kill(t.top_pid(), number)
    t.left_as_it_was()


def test_it_ends_with_its_terminal(p, terminal):
    """What LeakSanitizer would make of the hangup (see close()) is not of interest here."""
    t = terminal(environment={"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"})
    t.shows("^CLIENTS")
    pid = t.top_pid()
    t.end()
    until(lambda: pid not in processes.descendants(os.getpid()), "top has ended")


def test_colour_only_with_meaning_and_not_at_all_when_not_wanted(p, terminal, directory):
    t = terminal()
    t.shows("^CLIENTS")
    colours = r"\x1b\[[0-9;]*\b3[0-7]m"
    assert not re.search(colours, t.screen("-e")), "all is well: no colour"
    fail_one(p)
    until(lambda: re.search(r"\x1b\[[0-9;]*33m", t.screen("-e")), "a client with failures is marked")
    t.keys("q")
    t.left_as_it_was()
    t.close()
    for name in ("before", "after"):
        (directory / name).unlink()
    t = terminal(environment={"NO_COLOR": "1"})
    t.shows(r"^127\.0\.0\.1 .* 1$")
    assert not re.search(colours, t.screen("-e"))
    t.keys("q")
    t.left_as_it_was()


def test_without_utf8_the_bars_are_ascii(p, terminal):
    with connect(p.port) as c:
        t = terminal(environment={"LANG": "C", "LC_ALL": "C"})
        t.shows("^CLIENTS")
        says_echo(c, b"x" * 5000)
        t.shows("@")
        assert t.screen().isascii()


def test_what_cannot_be(p, directory):
    status, _, err = command("top", "--admin", p.admin_socket)
    assert status == 2 and "needs a terminal" in err
    assert command("top", "--help")[0] == 0
    assert command("top", "--nonsense", "x")[0] == 2


def test_nobody_there_leaves_the_terminal_alone(directory, p, terminal):
    p.admin_socket.rename(directory / "aside.sock")
    t = terminal()
    t.shows(r"no tls-off answers there")
    t.left_as_it_was(status=3)
    (directory / "aside.sock").rename(p.admin_socket)
