"""Trace points: they are in the binary, and the scripts of contrib/bpftrace see the same connection as the log."""
import os
import pathlib
import re
import subprocess
import threading

import pytest

from support.clients import connect, says_echo
from support.proxy import BINARY
from support.waiting import until

SCRIPTS = sorted((pathlib.Path(__file__).parents[2] / "contrib/bpftrace").glob("*.bt.in"))
POINTS = {"accept", "hello", "handshake", "failed", "handoff", "connect", "first_byte", "end"}
UPROBES = "/sys/kernel/tracing/uprobe_events"


def points():
    notes = subprocess.run(["readelf", "-n", BINARY], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"Provider: tls_off\n\s+Name: (\w+)", notes))


@pytest.fixture(autouse=True)
def traced():
    if not points() and not os.path.exists("/usr/include/x86_64-linux-gnu/sys/sdt.h"):
        pytest.skip("built without sys/sdt.h")


def test_points_are_in_the_binary():
    assert points() == POINTS


def script(path):
    return path.read_text().replace("@tls_off@", os.path.realpath(BINARY))


def bpftrace(*arguments, program):
    p = subprocess.Popen(["bpftrace", "-B", "line", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True)
    p.stdin.write(program)
    p.stdin.close()
    p.stdin = None
    return p


@pytest.mark.skipif(os.geteuid() != 0, reason="bpftrace is for root")
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_scripts_are_understood(path):
    """Without the kernel: every script names points and arguments that are there."""
    can = subprocess.run(["bpftrace", "--help"], capture_output=True, text=True)
    stop_early = "--dry-run" if "--dry-run" in can.stdout + can.stderr else "-d"  # what -d did up to 0.17
    p = bpftrace(stop_early, "-", program=script(path))
    said, _ = p.communicate(timeout=60)
    assert set(re.findall(r"tls_off:(\w+)", path.read_text())) <= POINTS
    assert p.returncode == 0 and not re.search(r"stdin:\d+:\d+(-\d+)?: ERROR", said), said[-2000:]


@pytest.mark.skipif(not os.path.exists(UPROBES), reason="no uprobes: not in this kernel, or tracefs is not mounted")
def test_a_connection_is_followed(parts):
    p = parts.proxy(parts.backend())
    life = bpftrace("-", "127.0.0.1", program=script(next(s for s in SCRIPTS if s.name == "life.bt.in")))
    said = []
    reader = threading.Thread(target=lambda: said.extend(iter(life.stdout.readline, "")))
    reader.start()
    try:
        def followed():
            with connect(p.port) as c:
                says_echo(c)
                c.unwrap()
            return next((line.split()[0] for line in list(said) if " accept, from port " in line), None)

        traced = until(followed, lambda: f"a connection in the trace: {said}", every=0.5)
        until(lambda: any(line.startswith(traced) and " end after" in line for line in list(said)), lambda: f"its end: {said}")
    finally:
        life.kill()
        life.wait()
        reader.join()
        life.stdout.close()
    seen = [line for line in said if line.startswith(traced)]
    for what in ("hello for", "handshake done", "to relay", "took it", "first byte", "end after"):
        assert any(what in line for line in seen), (what, seen)
    p.wait_session(unique_id=traced)
