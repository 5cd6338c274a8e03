"""/sessions.json and `tls-off sessions`: each live session with the same unique id as in the log, by pages, filters and generations."""
import json
import os
import re
import signal

import pytest

from support.clients import connect, says_echo
from support.proxy import command
from support.waiting import until


@pytest.fixture
def p(parts):
    return parts.proxy(parts.backend(), top={"workers": 2})


def sessions(p, query=""):
    return p.admin.json("/sessions.json" + query)


def all_open(p, n, query=""):
    """All N sessions, once they have arrived at their relays."""

    def all_of_them():
        found = sessions(p, query)
        return found if len(found["sessions"]) == n and all(s["state"] == "open" for s in found["sessions"]) else None

    return until(all_of_them, lambda: f"{n} sessions: {sessions(p, query)}")


def test_no_session(p):
    assert sessions(p) == {"sessions": [], "next": None, "missing": []}
    assert command("sessions", "--admin", p.admin_socket) == (0, "no session\n", "")


def test_a_session_is_reported_whole(p):
    with connect(p.port) as c:
        says_echo(c, b"x" * 5000)
        s, = until(lambda: [s for s in sessions(p)["sessions"] if s["bytes_out"] == 5000], "the session")
        assert s["client"] == "%s:%d" % c.getsockname()[:2]
        assert (s["service"], s["state"], s["bytes_in"], s["bytes_out"]) == ("web", "open", 5000, 5000)
        assert s["version"] == c.version() and s["suite"] == c.cipher()[0] and s["sni"] == "localhost" and s["resumed"] is False
        assert s["backend"].startswith("unix:") and s["waiting_in"] == s["waiting_out"] == 0
        assert 0 <= s["idle_seconds"] <= s["age_seconds"] < 60 and s["client_name"] is None
        status, out, err = command("sessions", "--admin", p.admin_socket)
        assert status == 0 and not err and s["id"][:12] in out
    logged = p.wait_session()
    assert logged["unique_id"] == s["id"], "the log knows it by the same name"


def test_pages_hold_each_session_once(p):
    many = [connect(p.port) for _ in range(150)]
    try:
        for c in many:
            says_echo(c)  # ends of sessions that moved bytes are never sampled in the log
        everything = {s["id"] for s in all_open(p, 150)["sessions"]}
        for limit in (1, 7, 64, 149, 150, 151):
            found, after, pages = [], "", 0
            while True:
                page = sessions(p, f"?limit={limit}{after}")
                assert len(page["sessions"]) <= limit and not page["missing"]
                found += [s["id"] for s in page["sessions"]]
                pages += 1
                if page["next"] is None:
                    break
                after = f"&after={page['next']}"
            assert len(found) == 150 and set(found) == everything, limit
            assert pages <= -(-150 // limit) + 1
        assert "and more" in command("sessions", "--limit", "3", "--admin", p.admin_socket)[1]
        assert len(json.loads(command("sessions", "--json", "--admin", p.admin_socket)[1])["sessions"]) == 150
    finally:
        for c in many:
            c.close()


def test_filters(parts):
    backend = parts.backend()
    p = parts.proxy(services={"web": parts.service(backend), "api": parts.service(backend)})
    with connect(p.address("web")[1]) as a, connect(p.address("api")[1]) as b:
        says_echo(a)
        says_echo(b)
        all_open(p, 2)
        for name in ("web", "api"):
            assert [s["service"] for s in sessions(p, f"?service={name}")["sessions"]] == [name]
        assert len(sessions(p, "?client=127.0.0.1")["sessions"]) == 2
        for nobody in ("client=127.0.0.2", "client=::1", "client=2001:db8::/64", "client=cn%3Arobot", "service=other"):
            assert sessions(p, "?" + nobody)["sessions"] == []
    for wrong in ("limit=0", "limit=10001", "limit=x", "after=1", "after=1.2", "after=1.2.3.4", "after=x", "client=", "service=" + "x" * 300):
        assert p.admin.ask("/sessions.json?" + wrong).status == 400, wrong


def test_a_stopped_relay_is_named_and_waited_for_a_moment_only(p):
    p.allow_killed_roles = True
    relay = sorted(p.roles()["relay"])[0]
    os.kill(relay, signal.SIGSTOP)
    try:
        found = sessions(p)
        assert len(found["missing"]) == 1 and re.fullmatch(r"relay\.[01]", found["missing"][0])
        assert p.admin.ask("/healthz").status == 200
    finally:
        os.kill(relay, signal.SIGCONT)
    until(lambda: sessions(p)["missing"] == [], "it answers again")


def test_a_killed_relay_and_observer_are_linked_again(p):
    p.allow_killed_roles = True
    for role in ("relay", "observer"):
        before = p.roles()[role][0]
        os.kill(before, signal.SIGKILL)
        until(lambda: before not in p.roles().get(role, []) and len(p.roles().get(role, [])) == (2 if role == "relay" else 1), "a new one")

        def works():
            try:
                with connect(p.port) as c:
                    says_echo(c)
                    return len(sessions(p)["sessions"]) == 1 and not sessions(p)["missing"]
            except (OSError, AssertionError):
                return False

        until(works, f"sessions are listed after the {role}'s end")


def test_ids_stay_over_a_reload(p):
    with connect(p.port) as c:
        says_echo(c)
        before = all_open(p, 1)["sessions"][0]
        assert command("reload", "--admin", p.admin_socket)[0] == 0
        says_echo(c)
        after = all_open(p, 1)["sessions"][0]
        assert after["id"] == before["id"] and after["generation"] == before["generation"] + 1
        assert after["bytes_in"] > before["bytes_in"]
