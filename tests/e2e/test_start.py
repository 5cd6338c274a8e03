"""The first start: what is missing is reported once, and the process ends; what the machine allows is logged before it is used up."""
import os
import re
import resource
import signal
import subprocess

import pytest

from support import toml
from support.clients import connect, says_echo
from support.proxy import BINARY, SANITIZED, Proxy, configuration
from support.waiting import DEADLINE

WITHOUT_PROC = "mount -t tmpfs none /proc && exec \"$0\" \"$@\""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a mount namespace")
def test_a_start_without_proc_ends_and_names_it(parts):
    config = parts.directory / "config.toml"
    config.write_text(toml.dumps(configuration(parts.directory, {"web": parts.service("unix:/nowhere/app.sock")})))
    r = subprocess.run(["unshare", "-m", "sh", "-c", WITHOUT_PROC, BINARY, "run", str(config)], stdin=subprocess.DEVNULL,
                       capture_output=True, text=True, timeout=DEADLINE)
    assert r.returncode == 1, r.stderr
    assert r.stderr.count("cannot be started") == 1 and "/proc" in r.stderr, r.stderr


@pytest.mark.parametrize("descriptors", range(10 if SANITIZED else 6, 46, 4))  # LeakSanitizer needs some at the end
def test_a_start_with_few_descriptors_ends_with_a_word_or_serves(parts, descriptors):
    """Each step of the start meets the end of its descriptors once."""
    p = Proxy(parts.directory / "p", configuration(parts.directory / "p", {"web": parts.service(parts.backend())}), ready=False,
              limits={resource.RLIMIT_NOFILE: descriptors})
    p.start()
    try:
        first = p.wait_text(r"listening on|Too many open files|out of descriptors|could not|cannot|refused|is gone")
        if "listening" in first.string:
            p.signal(signal.SIGTERM)
            assert p.wait_exit() == 0
        else:
            assert p.wait_exit() == 1
        assert len(p.lines) < 50, p.text()
    finally:
        if p.running():
            p.process.kill()
            p.wait_exit()


@pytest.mark.parametrize("limit, n", [("RLIMIT_FSIZE", 0), ("RLIMIT_FSIZE", 300_000), ("RLIMIT_NOFILE", 20)])
def test_a_start_that_meets_a_limit_names_it(parts, limit, n):
    """Memory that processes share is a file, too: SIGXFSZ ended the supervisor without a word."""
    p = parts.prepare(parts.backend(), limits_of_process={getattr(resource, limit): n})
    p.wants_ready = False
    p.expected_status = 1
    p.start()
    assert p.wait_exit() == 1, p.text()
    assert p.text().count(limit) == 1, p.text()


def test_the_room_for_sessions_is_reported_at_start(parts):
    p = parts.proxy(parts.backend(), limits_of_process={resource.RLIMIT_NOFILE: 400}, top={"workers": 1})
    found = p.wait_text(r"room for (\d+) sessions: 1 relays with 400 descriptors")
    room = int(found.group(1))
    assert '"warning"' in found.string
    held = []
    try:
        for _ in range(room):
            held.append(connect(p.port))
            says_echo(held[-1])
        assert not any(re.search("full: no session", line) for line in p.lines)
    finally:
        for c in held:
            c.close()


def test_ample_room_is_no_warning(parts):
    p = parts.proxy(parts.backend(), limits_of_process={resource.RLIMIT_NOFILE: 8192})
    assert '"info"' in p.wait_text(r"room for \d+ sessions").string
