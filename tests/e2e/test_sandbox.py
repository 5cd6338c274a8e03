"""The running roles have entered their sandboxes; what a sandbox denies is tested call by call in tests/unit/test_sandbox.c."""
import errno
import json
import os
import pathlib
import platform
import re
import select
import shutil
import subprocess

import pytest

from support.clients import connect, says_echo
from support.proxy import BINARY, SANITIZED
from support.waiting import DEADLINE

NOBODY = 65534
SECCOMP, PRCTL = {"x86_64": (317, 157), "aarch64": (277, 167)}.get(platform.machine(), (None, None))  # numbers of these calls
ANY, SET_MODE_FILTER, PR_SET_SECCOMP = None, 1, 22  # first arguments

# In the place of the process to be: a filter fails system calls as another kernel would; then the program.
OTHER_KERNEL = """
import ctypes, json, os, struct, sys
program = b""
for number, first, error in json.loads(sys.argv[1]):
    fails = [(0x06, 0, 0, 0x50000 | error)]
    if first is not None:
        fails = [(0x20, 0, 0, 16), (0x15, 0, 1, first), *fails]
    for step in [(0x20, 0, 0, 0), (0x15, 0, len(fails), number), *fails]:
        program += struct.pack("HBBI", *step)
program = ctypes.create_string_buffer(program + struct.pack("HBBI", 0x06, 0, 0, 0x7fff0000))
whole = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(program))
prctl, zero = ctypes.CDLL(None).prctl, ctypes.c_ulong(0)
assert prctl(38, ctypes.c_ulong(1), zero, zero, zero) == 0
assert prctl(22, ctypes.c_ulong(2), ctypes.c_char_p(whole), zero, zero) == 0
os.execv(sys.argv[2], sys.argv[2:])
"""


def status(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def core_limit(pid):
    return re.search(r"Max core file size\s+(\S+)\s+(\S+)", pathlib.Path(f"/proc/{pid}/limits").read_text()).groups()


def all_roles(parts, **top):
    """A proxy with every role that serves, the resolver included."""
    b = parts.backend(where="tcp")
    return parts.proxy(f"tcp:localhost:{b.port}", top=top)


def test_every_role_is_walled_in(parts):
    p = all_roles(parts, workers=2)
    roles = p.roles()
    assert {"relay", "handshaker", "observer", "resolver"} <= set(roles)
    for role, pids in roles.items():
        for pid in pids:
            s = status(pid)
            assert s["NoNewPrivs"] == "1", role
            assert core_limit(pid) == ("0", "0"), role
            assert int(s["CapEff"], 16) == int(s["CapPrm"], 16) == int(s["CapAmb"], 16) == int(s["CapInh"], 16) == 0, role
            assert int(s["CapBnd"], 16) == 0 or os.geteuid() != 0, role  # to take from it needs CAP_SETPCAP
            if not SANITIZED:  # sanitizers make calls of their own: that build has no filter
                assert s["Seccomp"] == "2", role


def test_the_supervisor_keeps_only_what_it_needs(parts):
    p = parts.proxy(parts.backend())
    s = status(p.pid)
    assert s["NoNewPrivs"] == "1" and core_limit(p.pid) == ("0", "0")
    kept = int(s["CapEff"], 16)
    sys_admin, sys_ptrace, net_raw, sys_module = 21, 19, 13, 16
    for forbidden in (sys_admin, sys_ptrace, net_raw, sys_module):
        assert not kept >> forbidden & 1
        assert os.geteuid() != 0 or not int(s["CapBnd"], 16) >> forbidden & 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.skipif(SANITIZED, reason="sanitizers look at their own process from outside")
def test_roles_of_one_user_cannot_look_at_each_other(parts):
    p = all_roles(parts, user="nobody")
    pids = [pid for pids in p.roles().values() for pid in pids]
    assert all(status(pid)["Uid"].split() == [str(NOBODY)] * 4 for pid in pids)
    look = ("import os, sys\nfor pid in sys.argv[1:]:\n for what in ('mem', 'environ', 'maps', 'fd'):\n"
            "  try: (os.listdir if what == 'fd' else open)(f'/proc/{pid}/{what}')\n"
            "  except PermissionError: continue\n  sys.exit(f'{what} of {pid} is open to others of the same user')\n")
    subprocess.run(["/usr/bin/python3", "-c", look, *map(str, pids)], user=NOBODY, group=NOBODY, extra_groups=[], cwd="/",
                   check=True, timeout=DEADLINE)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs two users")
def test_an_ordinary_user_gets_what_is_possible_and_hears_what_is_missing(parts, directory):
    b = parts.backend()
    os.chmod(b.url.removeprefix("unix:"), 0o666)
    os.chmod(directory, 0o755)
    home = directory / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    binary = home / "tls-off-copy"
    shutil.copy(BINARY, binary)
    os.chmod(binary, 0o755)
    read, write = os.pipe()
    with subprocess.Popen([binary, "run", "--listen", "127.0.0.1:0", "--backend", b.url, "--ready-fd", str(write)],
                          user=NOBODY, group=NOBODY, extra_groups=[], pass_fds=[write], cwd=home, text=True,
                          env={"XDG_STATE_HOME": str(home), "HOME": str(home)}, stderr=subprocess.PIPE) as process:
        try:
            os.close(write)
            assert select.select([read], [], [], DEADLINE)[0] and os.read(read, 1) == b"\n"
            port, missing = None, False
            for line in process.stderr:
                found = re.search(r"listening on 127\.0\.0\.1:(\d+)", line)
                port = int(found[1]) if found else port
                missing = missing or "not started as root" in line
                if port and missing:
                    break
            with connect(port) as c:
                says_echo(c)
        finally:
            os.close(read)
            process.terminate()
            process.stderr.read()
            assert process.wait(DEADLINE) == 0


def test_a_role_cannot_be_the_operator(parts):
    """The admin socket as a backend: the relay that connects there is one of our own processes, and is sent away."""
    b = parts.backend()
    socket = parts.directory / "proxy2" / "admin.sock"
    services = {"web": parts.service(b), "mirror": parts.service(f"unix:{socket}")}
    p = parts.prepare(services=services)
    assert p.directory == socket.parent
    p.start()
    with connect(p.address("mirror")[1]) as c:
        try:
            c.sendall(b"POST /stop HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            assert c.recv(1000) == b""
        except OSError:
            pass  # cut: as good an answer
    relay = p.roles()["relay"][0]
    p.wait_text(f"a connection to the admin socket: refused, it comes from our own process {relay}")
    assert p.admin.json("/status.json")["state"] == "serving"
    with connect(p.address("web")[1]) as c:
        says_echo(c)


def shared_memory(pid, name):
    """[(rights, bytes)] of the mappings of that memfd."""
    found = []
    for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
        place, rights, *_, target = line.split(None, 5)[:6] if f"memfd:{name}" in line else ("", "", "")
        if target:
            begin, end = (int(n, 16) for n in place.split("-"))
            found.append((rights, end - begin))
    return found


@pytest.mark.parametrize("rate", [0, 1000000])
def test_each_role_writes_only_its_own_figures(parts, rate):
    b = parts.backend(where="tcp")
    limits = {"limits": {"bytes_per_second_per_client": rate}} if rate else {}
    p = parts.proxy(services={"web": parts.service(f"tcp:localhost:{b.port}", **limits)}, top={"workers": 2})
    rows, areas, tables = set(), set(), set()
    for role, pids in p.roles().items():
        for pid in pids:
            board, stats = shared_memory(pid, "tls-off-scoreboard"), shared_memory(pid, "tls-off-stats")
            writable = [size for rights, size in board if "w" in rights]
            if role in ("signer", "resolver"):
                assert not board, role
            elif role == "observer":  # no row, but what clients have at other instances
                assert len(writable) == 1 and len(board) > 1, board
                tables.add(writable[0])
            else:
                assert len(writable) == 1 and len(board) > 1, (role, board)
                rows.add(writable[0])
            own = [size for rights, size in stats if "w" in rights]
            assert len(own) == (2 if (rate and role == "relay") or role == "observer" else 1), (role, stats)  # buckets; who is traced
            areas.add(max(own))
            targets = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
            assert not [t for t in targets if "tls-off-scoreboard" in t or "tls-off-stats" in t], targets
    assert len(rows) == 1 and len(areas) == 1 and len(tables) == 1 and not rows & tables


WITHOUT_FILTERS = {
    "no seccomp": [(SECCOMP, ANY, errno.ENOSYS), (PRCTL, PR_SET_SECCOMP, errno.EINVAL)],
    "no filters": [(SECCOMP, SET_MODE_FILTER, errno.EINVAL)],
    "denied by a container": [(SECCOMP, ANY, errno.EPERM)],
}


def on_other_kernel(p, calls):
    """P starts where these CALLS fail: (number, first argument, error)."""
    p.arguments = ["-c", OTHER_KERNEL, json.dumps(calls), p.binary, *p.arguments]
    p.binary = "/usr/bin/python3"


@pytest.mark.skipif(SECCOMP is None, reason="the numbers of system calls are those of another machine")
@pytest.mark.skipif(SANITIZED, reason="that build has no filter")
@pytest.mark.parametrize("kernel", WITHOUT_FILTERS)
def test_a_kernel_without_filters_is_served_and_named(parts, kernel):
    p = parts.prepare(parts.backend())
    on_other_kernel(p, WITHOUT_FILTERS[kernel])
    p.start()
    p.wait_text("sandbox: .*no system call filters in this kernel or build")
    with connect(p.port) as c:
        says_echo(c)


@pytest.mark.skipif(SECCOMP is None, reason="the numbers of system calls are those of another machine")
@pytest.mark.skipif(SANITIZED, reason="that build has no filter")
def test_a_filter_that_is_not_taken_is_refused_with_the_kernels_reason(parts):
    p = parts.prepare(parts.backend())
    on_other_kernel(p, [(SECCOMP, SET_MODE_FILTER, errno.EACCES)])
    done = subprocess.run([p.binary, *p.arguments], capture_output=True, text=True, timeout=DEADLINE, cwd=p.directory)
    assert done.returncode == 1 and "config: seccomp: Permission denied" in done.stderr, done.stderr
