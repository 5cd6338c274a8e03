"""What processes inherit from the starter of the proxy: nothing but what is meant for them. Each role against a list."""
import os
import pathlib
import re
import signal
import stat

import pytest

from support import processes
from support.clients import connect, says_echo
from support.proxy import BINARY, SANITIZED, command
from support.waiting import until

SECRETS = {"DATABASE_PASSWORD": "marked", "OPENSSL_CONF": "/nowhere/marked.cnf", "HOSTALIASES": "/nowhere", "PATH": os.environ["PATH"]}
ENVIRONMENT = {  # names that a role may have
    None: {"LD_LIBRARY_PATH", "LD_PRELOAD", "ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS"},
    "observer": {"TZ"},
    "resolver": {"RES_OPTIONS", "LOCALDOMAIN"},
}
# /dev/null: a descriptor in reserve, with which a message is taken when there are no others
ANY = r"socket:\[\d+\]|anon_inode:\[eventpoll\]|/proc/\d+/statm|/dev/null"
DESCRIPTORS = {  # what is behind those from 3 on
    "observer": ANY + r"|anon_inode:\[eventfd\]|/dev/u?random|.*/log\.json",
    "resolver": ANY,
    "relay": ANY + r"|pipe:\[\d+\]",
    "handshaker": ANY,
    "signer": ANY,
}
QUIET = r"/dev/null|/memfd:tls-off-words.*"


def script(directory, lines):
    """In the place of the binary: does LINES, and becomes it."""
    file = directory / "start"
    file.write_text("#!/bin/bash\n" + lines + f'\nexec "{BINARY}" "$@"\n')
    file.chmod(0o755)
    return str(file)


def behind(pid):
    directory = f"/proc/{pid}/fd"
    return {int(fd): os.readlink(f"{directory}/{fd}") for fd in os.listdir(directory)}


def streams(pid):
    """The standard ones alone: others come and go."""
    return {fd: os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)}


def names(pid):
    entries = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return {e.split(b"=", 1)[0].decode() for e in entries if e}


def check_roles(p, error=QUIET):
    roles = {role: pids for role, pids in p.roles().items() if role in DESCRIPTORS}
    assert set(roles) == set(DESCRIPTORS)
    for role, pids in roles.items():
        for pid in pids:
            assert not names(pid) - ENVIRONMENT[None] - ENVIRONMENT.get(role, set()), (role, names(pid))
            for fd, target in behind(pid).items():
                allowed = QUIET if fd < 3 else DESCRIPTORS[role]
                if role == "observer" and fd >= 2:  # where the log goes, and that opened once more
                    allowed = error if fd == 2 else allowed + "|" + error
                assert re.fullmatch(allowed, target), (role, fd, target)
            assert {0, 1, 2, 3} <= set(behind(pid)), role


def started(parts, lines, log=None):
    """With a resolver too, and with secrets around."""
    b = parts.backend(where="tcp")
    p = parts.prepare(f"tcp:localhost:{b.port}", log=log, environment={**SECRETS, "TZ": "UTC", "RES_OPTIONS": "timeout:2"})
    p.binary = script(parts.directory, lines)
    return p


def supervisors_own(p):
    return [t for t in behind(p.pid).values() if "marked" in t]


def reloaded(p, number=1):
    p.signal(signal.SIGHUP)
    until(lambda: len([line for line in p.lines if "the supervisor runs tls-off" in line]) == number, "the supervisor's new code")


def test_nothing_of_the_starter_is_in_a_role(parts):
    """At the start, of a role that was started again, after a reload and the supervisor's exec, and after one more."""
    secret = parts.directory / "marked.txt"
    secret.write_text("")
    p = started(parts, f"exec 9<{secret} 77<{secret} 251<{secret}")
    p.allow_killed_roles = True
    p.start()
    stderr = os.readlink(f"/proc/{p.pid}/fd/2")
    check_roles(p, re.escape(stderr))
    assert not supervisors_own(p)
    old = p.roles()["relay"][0]
    os.kill(old, signal.SIGKILL)
    until(lambda: p.roles().get("relay", [old]) != [old], "another relay")
    p.wait_text("relay.0 serves again")
    check_roles(p, re.escape(stderr))
    for n in (1, 2):
        reloaded(p, n)
        check_roles(p, re.escape(stderr))
        assert not supervisors_own(p)
        assert not names(p.pid) & (set(SECRETS) - {"PATH"})
    with connect(p.port) as c:
        says_echo(c)


def test_closed_streams_are_null_everywhere(parts):
    log = parts.directory / "log.json"
    p = started(parts, "exec 0<&- 1>&- 2>&-", log={"target": str(log)})
    p.start()
    for pid in p.pids():
        assert all(re.fullmatch(QUIET, behind(pid).get(fd, "closed")) for fd in range(3)), behind(pid)
    check_roles(p)
    listening = until(lambda: re.search(r"listening on 127\.0\.0\.1:(\d+) ", log.read_text()), "the log's line")
    with connect(int(listening[1])) as c:
        says_echo(c)


def test_signals_that_the_starter_ignores(parts):
    """Ends of children are not reported to one that ignores SIGCHLD: nothing was restarted, and neither a reload nor a stop ended."""
    p = parts.prepare(parts.backend())
    p.binary = script(parts.directory, f'exec env --ignore-signal "{BINARY}" "$@"')
    p.allow_killed_roles = True
    p.start()
    os.kill(p.roles()["signer"][0], signal.SIGKILL)
    p.wait_text("signer.0 serves again")
    reloaded(p)
    with connect(p.port) as c:
        says_echo(c)


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "0<&- 1>&-"])
def test_some_closed_streams(parts, closed):
    p = started(parts, f"exec {closed}", log={"target": str(parts.directory / "log.json")})
    p.start()
    check_roles(p)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_standard_stream_that_hears_when_all_is_ready(parts, number):
    """It gets its line, and stays open: nothing else takes its number."""
    p = parts.prepare(parts.backend(), log={"target": "stdout"})
    file = parts.directory / "stream"
    file.touch()
    p.binary = script(parts.directory, f"exec {number}<>{file}")
    p.wants_ready = False
    p.arguments += ["--ready-fd", str(number)]
    p.start()
    until(lambda: "" in file.read_text().splitlines(), "an empty line")
    before = streams(p.pid)
    assert before[number] == str(file)
    status, _, err = command("reload", "--admin", p.admin_socket)
    assert status == 0, err
    assert streams(p.pid) == before
    assert streams(p.roles()["observer"][0])[1] == before[1]


def test_the_log_on_standard_output(parts):
    """Its observer has that stream and no other."""
    p = started(parts, "exec 2>/dev/null", log={"target": "stdout"})
    p.start()
    observer = behind(p.roles()["observer"][0])
    assert observer[1] == os.readlink(f"/proc/{p.pid}/fd/1") and re.fullmatch(QUIET, observer[2])
    for role in ("relay", "handshaker", "signer", "resolver"):
        assert all(re.fullmatch(QUIET, behind(pid)[fd]) for pid in p.roles()[role] for fd in range(3)), role


@pytest.mark.skipif(SANITIZED, reason="sanitizers have files of their own for what they say")
def test_last_words_are_in_the_log(parts):
    """What a role writes to its standard error is logged when it has ended: here by a descriptor borrowed from it."""
    p = parts.proxy(parts.backend())
    p.allow_killed_roles = True
    relay = p.roles()["relay"][0]
    assert re.fullmatch(r"/memfd:tls-off-words.*", behind(relay)[2])
    with open(f"/proc/{relay}/fd/2", "r+b", buffering=0) as words:
        assert stat.S_ISREG(os.fstat(words.fileno()).st_mode)
        words.write(b"tls-off: broken invariant: x (y.c:1)\nsecond line\n")
        with pytest.raises(OSError):
            words.seek(4096)
            words.write(b"more than there is room for")
    os.kill(relay, signal.SIGKILL)
    p.wait_text(rf"relay\.0 \(pid {relay}\) said: tls-off: broken invariant: x \(y\.c:1\)")
    p.wait_text(rf"relay\.0 \(pid {relay}\) said: second line")
    assert processes.role_of(relay) is None
