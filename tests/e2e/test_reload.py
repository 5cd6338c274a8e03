"""Reload is upgrade: a second generation from the files on disk, the first one goes, and nobody notices but the operator."""
import os
import signal

import pytest

from support import processes
from support.clients import connect, says_echo
from support.waiting import until


def reload(p, number, outcome="reload done"):
    p.signal(signal.SIGHUP)
    return p.wait_event("log", count=number, message=lambda m: m.startswith(outcome), deadline=40)["message"]


def test_reload_makes_a_second_generation(parts):
    p = parts.proxy(parts.backend(), top={"workers": 2, "drain_timeout": "1s"})
    before = set(p.pids())
    with connect(p.port) as c:
        says_echo(c)
        c.unwrap()
    print(reload(p, 1))
    after = set(p.pids())
    assert before & after == {p.pid}
    with connect(p.port) as c:
        says_echo(c)
        c.unwrap()
