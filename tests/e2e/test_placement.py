"""Workers keep to CPUs of their own, but not while others fill one CPU and leave another idle."""
import contextlib
import os
import subprocess
import threading
import time

import pytest

from support import processes
from support.clients import connect, says_echo
from support.proxy import BINARY, command
from support.waiting import until

ALL = sorted(os.sched_getaffinity(0))
WORKER = ("handshaker", "relay", "signer")

# The kernel's times of the real CPUs depend on what else runs here: the proxy sees a file of the test instead.
WRAPPER = """#!/bin/sh
exec unshare -m sh -c 'mount --bind "{stat}" /proc/stat && exec "{binary}" "$@"' tls-off "$@"
"""


def can_mount():
    return subprocess.run(["unshare", "-m", "sh", "-c", "mount --bind /proc/stat /proc/stat"], capture_output=True, check=False).returncode == 0


class Figures:
    """/proc/stat of a machine whose first CPU is as idle as given, and whose others idle."""

    def __init__(self, file):
        self.file, self.first_idles = file, True
        self.idle = dict.fromkeys(ALL, 1000.0)
        self.last = time.monotonic()
        self.over = threading.Event()
        self.write()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def write(self):
        now = time.monotonic()
        for cpu in ALL:
            if cpu != ALL[0] or self.first_idles:
                self.idle[cpu] += (now - self.last) * os.sysconf("SC_CLK_TCK")
        self.last = now
        text = "cpu  1 1 1 1 1\n" + "".join(f"cpu{cpu} 1 0 1 {int(idle)} 0 0 0\n" for cpu, idle in self.idle.items())
        with open(self.file, "r+" if self.file.exists() else "w", encoding="ascii") as f:  # the mount is of this file
            f.write(text)

    def run(self):
        while not self.over.wait(0.05):
            self.write()

    def close(self):
        self.over.set()
        self.thread.join()


@pytest.fixture
def figures(parts):
    f = Figures(parts.directory / "stat")
    yield f
    f.close()


def cpus(p):
    """Role -> the CPUs of its processes, in the order of their numbers."""
    found = {}
    for pid in p.pids():
        with contextlib.suppress(ProcessLookupError):  # one that a reload ends meanwhile
            own = sorted(os.sched_getaffinity(pid))
            found.setdefault(processes.role_of(pid), []).append((processes.command_line(pid), own))
    return {role: [cpus for _, cpus in sorted(those)] for role, those in found.items()}


@pytest.mark.skipif(len(ALL) < 2, reason="needs two CPUs")
@pytest.mark.skipif(not can_mount(), reason="may not mount")
def test_workers_leave_a_full_cpu(parts, figures):
    p = parts.prepare(parts.backend(), top={"workers": 2})
    wrapper = parts.directory / "wrapper"
    wrapper.write_text(WRAPPER.format(stat=figures.file, binary=BINARY))
    wrapper.chmod(0o755)
    p.binary = str(wrapper)
    p.start()
    kept, free = [[ALL[0]], [ALL[1]]], [ALL, ALL]
    assert all(cpus(p)[role] == kept for role in WORKER) and cpus(p)["observer"] == [ALL]
    with connect(p.port) as c:
        figures.first_idles = False
        until(lambda: all(cpus(p)[role] == free for role in WORKER), lambda: cpus(p))
        p.wait_text("a CPU is full .* workers run where there is room")
        says_echo(c)
        # also processes that begin then
        assert command("reload", "--admin", p.admin_socket)[0] == 0
        until(lambda: all(cpus(p).get(role) == free for role in WORKER), lambda: cpus(p))
        says_echo(c)
        c.unwrap()
    p.wait_session()
