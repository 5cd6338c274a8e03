"""Unix sockets to listen on: who connects, whose file it is, and that no connection is lost over reloads and upgrades."""
import grp
import os
import re
import shutil
import signal
import socket
import stat
import threading

import pytest

from support import proxy_header, toml
from support.clients import V12, V13, connect, context, says_echo
from support.proxy import command, configuration
from support.waiting import DEADLINE, until
from test_reload import message, other_version, own_binary, reload, replace, rewrite  # noqa: F401
from test_service_manager import activated

PROCESS = re.compile(rf"uid:{os.getuid()},gid:{os.getgid()},pid:{os.getpid()}")


def dial(path, ctx=None, first=b""):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(DEADLINE)
    s.connect("\0" + str(path)[1:] if str(path).startswith("@") else str(path))
    s.sendall(first)
    return (ctx or context()).wrap_socket(s, server_hostname="localhost", suppress_ragged_eofs=False)


def once(path, **options):
    with dial(path, **options) as c:
        says_echo(c)
        c.unwrap()


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_path_serves(parts, version, workers):
    path = parts.directory / "db.sock"
    p = parts.proxy(parts.backend(), listen=[f"unix:{path}"], top={"workers": workers})
    p.wait_text(f"listening on unix:{path} for web")
    data = os.urandom(1 << 20)
    for _ in range(4):
        with dial(path, context(version=version)) as c:
            for at in range(0, len(data), 1 << 14):  # one thread: Python's ssl may not be written and read at once
                c.sendall(data[at:at + (1 << 14)])
                got = b""
                while len(got) < 1 << 14:
                    got += c.recv(1 << 14)
                assert got == data[at:at + (1 << 14)]
            c.unwrap()
    e = p.wait_session(client=lambda a: PROCESS.fullmatch(a), bytes_in=len(data), bytes_out=len(data))
    assert "local" not in e and "peer" not in e
    status = p.admin.json("/status.json")
    assert status["services"][0]["listen"] == [f"unix:{path}"]
    clients = p.admin.json("/clients.json")
    assert [c["client"] for c in clients] == [f"uid:{os.getuid()}"], clients
    p.stop()
    assert not path.exists()


def test_a_relative_path_is_the_configurations(parts):
    p = parts.prepare(parts.backend(), listen=["unix:here.sock", "127.0.0.1:0"]).start()
    once(p.directory / "here.sock")
    with connect(p.port) as c:  # beside TCP
        says_echo(c)
        c.unwrap()


def test_an_abstract_name_serves(parts):
    name = f"@tls-off-test-{os.getpid()}"
    p = parts.proxy(parts.backend(), listen=[f"unix:{name}"])
    once(name)
    reload(p, 1)
    once(name)
    p.stop()
    with pytest.raises(ConnectionRefusedError):
        once(name)


def test_mode_and_group_are_those_configured_and_change(parts):
    path = parts.directory / "db.sock"
    group = os.getgroups()[0] if os.getgroups() else os.getgid()
    name = grp.getgrgid(group).gr_name
    p = parts.proxy(parts.backend(), listen=[f"unix:{path}"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600  # nobody else's unless said
    inode = path.stat().st_ino
    rewrite(p, lambda t: t.update(listener={f"unix:{path}": {"mode": "0660", "group": name}}))
    reload(p, 1)
    now = path.stat()
    assert (stat.S_IMODE(now.st_mode), now.st_gid, now.st_ino) == (0o660, group, inode)
    once(path)


def test_a_stale_file_is_replaced_and_one_in_use_is_not(parts):
    path = parts.directory / "db.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    first = parts.proxy(parts.backend(), listen=[f"unix:{path}"])
    once(path)
    second = parts.prepare(parts.backend(), listen=[f"unix:{path}"])
    second.expected_status = 1
    with pytest.raises(AssertionError, match="ended before it was ready"):
        second.start()
    second.wait_text(f"cannot listen on unix:{path}: another process serves there")
    once(path)  # not harmed
    first.signal(signal.SIGKILL)  # the file stays, and is the next one's to replace
    first.expected_status = -signal.SIGKILL
    first.wait_exit()
    assert path.exists()
    parts.proxy(parts.backend(), listen=[f"unix:{path}"])
    once(path)


def test_what_is_no_socket_is_left_alone(parts):
    path = parts.directory / "db.sock"
    path.write_text("precious")
    p = parts.prepare(parts.backend(), listen=[f"unix:{path}"])
    p.expected_status = 1
    with pytest.raises(AssertionError, match="ended before it was ready"):
        p.start()
    p.wait_text("where another file is, expected a free path")
    assert path.read_text() == "precious"


def test_files_that_were_removed_are_made_again_at_a_reload(parts):
    """Of a listener and of the admin socket: every reload was refused, until a restart that took all sessions."""
    run = parts.directory / "run"
    run.mkdir()
    path, admin = run / "db.sock", run / "admin.sock"
    p = parts.prepare(parts.backend(), listen=[f"unix:{path}"], top={"admin": {"socket": str(admin)}})
    p.admin_socket = admin
    p.start()
    with dial(path) as live:
        says_echo(live)
        shutil.rmtree(run)
        p.signal(signal.SIGHUP)
        p.wait_event("log", message=lambda m: m.startswith("reload refused") and "expected a directory that is there" in m)
        run.mkdir()
        reload(p, 1)
        says_echo(live)
        once(path)
        assert p.admin.json("/status.json")["generation"] == 1
        live.unwrap()
    p.stop()
    assert not list(run.iterdir())


def test_a_file_that_was_replaced_is_not_removed(parts):
    path = parts.directory / "db.sock"
    p = parts.proxy(parts.backend(), listen=[f"unix:{path}"])
    path.unlink()
    path.write_text("another's")
    p.signal(signal.SIGHUP)
    assert "found another file in its place" in message(p, "reload refused") or "where another file is" in p.text()
    p.stop()
    assert path.read_text() == "another's"


class Caller:
    """Connects again and again; every connection must be served."""

    def __init__(self, path):
        self.path, self.served, self.ended, self.fault = path, 0, threading.Event(), None
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            while not self.ended.is_set():
                once(self.path)
                self.served += 1
        except Exception as e:  # said by stop()
            self.fault = e

    def stop(self):
        self.ended.set()
        self.thread.join()
        assert self.fault is None, self.fault
        return self.served


def test_no_connect_is_refused_over_reloads_and_sessions_stay(parts):
    path = parts.directory / "db.sock"
    p = parts.proxy(parts.backend(), listen=[f"unix:{path}"], top={"workers": 2})
    session, inode = dial(path), path.stat().st_ino
    callers = [Caller(path) for _ in range(2)]
    for number in range(1, 7):
        rewrite(p, lambda t: t.update(workers=1 + number % 3))
        reload(p, number)
        says_echo(session)  # it has migrated
    served = [c.stop() for c in callers]
    assert all(served) and path.stat().st_ino == inode
    session.unwrap().close()
    p.wait_session(client=lambda a: PROCESS.fullmatch(a))


def test_an_upgrade_takes_the_socket_over(own_binary):
    p = own_binary
    path = p.directory / "db.sock"
    rewrite(p, lambda t: t["service"]["web"]["listen"].append(f"unix:{path}"))
    reload(p, 1)
    inode = path.stat().st_ino
    caller, session = Caller(path), dial(path)
    replace(p, other_version(p, "9.9.9"))
    reload(p, 2)
    p.wait_event("log", count=2, message=lambda m: m.startswith("the supervisor runs"))
    reload(p, 3)  # by the new code, which must know whose file it is
    says_echo(session)
    session.unwrap().close()
    assert caller.stop() > 0 and path.stat().st_ino == inode
    p.stop()
    assert not path.exists()


def test_paths_come_and_go(parts):
    a, b = parts.directory / "a.sock", parts.directory / "b.sock"
    p = parts.proxy(parts.backend(), listen=[f"unix:{a}"])
    rewrite(p, lambda t: t["service"]["web"].update(listen=[f"unix:{b}"]))
    session = dial(a)
    reload(p, 1)
    assert not a.exists()
    says_echo(session)
    session.unwrap().close()
    once(b)


def test_a_refused_reload_leaves_no_file(parts):
    a, b = parts.directory / "a.sock", parts.directory / "b.sock"
    p = parts.proxy(parts.backend(), listen=[f"unix:{a}"])
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        taken = "127.0.0.1:%d" % s.getsockname()[1]
        rewrite(p, lambda t: t["service"]["web"].update(listen=[f"unix:{a}", f"unix:{b}", taken]))
        p.signal(signal.SIGHUP)
        message(p, "reload refused")
    assert not b.exists()
    once(a)


# --- who the client is


def test_limits_are_of_the_user(parts):
    path = parts.directory / "db.sock"
    p = parts.proxy(parts.backend(), listen=[f"unix:{path}"], limits={"sessions_per_client": 2})
    sessions = [dial(path), dial(path)]
    with pytest.raises(OSError):
        dial(path)
    p.wait_failure("client_sessions", client=lambda a: PROCESS.fullmatch(a))
    for c in sessions:
        says_echo(c)
        c.unwrap().close()


def test_a_process_is_in_no_network(parts):
    path = parts.directory / "db.sock"
    p = parts.proxy(parts.backend(), listen=[f"unix:{path}"], access={"allow": ["0.0.0.0/0", "::/0"]})
    with pytest.raises(OSError):
        dial(path)
    p.wait_failure("access_denied", client=lambda a: PROCESS.fullmatch(a))
    p.wait_text("admits nobody at .*processes are in no network")
    rewrite(p, lambda t: t["service"]["web"].update(access={"deny": ["0.0.0.0/0", "::/0"]}))
    reload(p, 1)
    once(path)


def headers(to):
    def handler(c):
        to.append(proxy_header.read_v2(c))
        while data := c.recv(1 << 16):
            c.sendall(data)

    return handler


def test_a_header_out_has_no_address_and_all_the_rest(parts):
    path, got = parts.directory / "db.sock", []
    parts.proxy(parts.backend(headers(got)), listen=[f"unix:{path}"], proxy_protocol={"send": "v2"})
    once(path)
    assert (got[0]["command"], got[0]["family"]) == (1, 0)
    assert got[0]["tlvs"][proxy_header.AUTHORITY] == b"localhost" and got[0]["ssl"]["client"] & 1


def test_a_header_in_names_the_client(parts):
    path, got = parts.directory / "db.sock", []
    p = parts.proxy(parts.backend(headers(got)), listen=[f"unix:{path}"], access={"deny": ["192.0.2.9"]},
                    proxy_protocol={"send": "v2", "accept": "required", "trust": ["unix"]})
    source, there = ("192.0.2.7", 1234), ("192.0.2.1", 443)
    once(path, first=proxy_header.v2(source, there))
    assert (got[0]["source"], got[0]["destination"]) == (source, there)
    p.wait_session(client="192.0.2.7:1234", peer=lambda a: PROCESS.fullmatch(a), local="192.0.2.1:443")
    with pytest.raises(OSError):
        once(path, first=proxy_header.v2(("192.0.2.9", 1), there))
    p.wait_failure("access_denied", client="192.0.2.9:1")
    once(path, first=proxy_header.v2(command=0))  # LOCAL: the process itself
    p.wait_session(client=lambda a: PROCESS.fullmatch(a))


def test_processes_that_are_not_trusted_name_nobody(parts):
    path = parts.directory / "db.sock"
    p = parts.proxy(parts.backend(), listen=[f"unix:{path}"], proxy_protocol={"accept": "required", "trust": ["127.0.0.0/8"]})
    with pytest.raises(OSError):
        once(path, first=proxy_header.v2(("192.0.2.7", 1), ("192.0.2.1", 443)))
    p.wait_failure("proxy_untrusted")


def test_a_client_that_goes_without_a_word_is_seen(parts):
    path, gone = parts.directory / "db.sock", threading.Event()

    def handler(c):
        try:
            while data := c.recv(1 << 16):
                c.sendall(data)
        finally:
            gone.set()

    p = parts.proxy(parts.backend(handler), listen=[f"unix:{path}"])
    c = dial(path)
    says_echo(c)
    c.close()
    assert gone.wait(DEADLINE)
    p.wait_session(client=lambda a: PROCESS.fullmatch(a))


# --- service managers, and what check says


@pytest.mark.parametrize("abstract", [False, True])
def test_a_passed_unix_socket_is_used(parts, abstract):
    name = f"@tls-off-passed-{os.getpid()}" if abstract else str(parts.directory / "passed.sock")
    s = socket.socket(socket.AF_UNIX)
    s.bind("\0" + name[1:] if abstract else name)
    s.listen()
    p = activated(parts, [s], [f"unix:{name}"]).start()
    once(name)
    reload(p, 1)
    once(name)
    p.stop()
    if not abstract:
        assert os.path.exists(name)  # the manager's, not ours
        os.unlink(name)
    s.close()


def test_a_passed_unix_socket_nobody_wants_is_an_error(parts):
    path = str(parts.directory / "passed.sock")
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    s.listen()
    p = activated(parts, [s], ["127.0.0.1:0"])
    with pytest.raises(AssertionError, match="ended before it was ready"):
        p.start()
    p.wait_text(re.escape(f'the service manager passed a socket of unix:{path}, but no service has "unix:{path}" in its listen'))
    p.expected_status = p.wait_exit()
    os.unlink(path)
    s.close()


@pytest.mark.parametrize("listen,section,expected", [
    (["unix:" + "/tmp/" + "x" * 103], {}, "expected a socket's path of at most 107 bytes"),
    (["unix:@" + "x" * 108], {}, "expected a socket's path of at most 107 bytes"),
    (["unix:"], {}, "expected a socket's path behind \"unix:\""),
    (["unix:/no/such/place/db.sock"], {}, "expected a directory that is there (/no/such/place: No such file or directory)"),
    (["unix:/dev/null/db.sock"], {}, "expected a directory (/dev/null is none)"),
    (["unix:/dev/null"], {}, "where another file is, expected a free path"),
    (["unix:/tmp/tls-off-x.sock", "unix:/tmp/tls-off-x.sock"], {}, "expected each address once"),
    (["unix:/tmp/tls-off-x.sock"], {"unix:/tmp/tls-off-x.sock": {"device": "lo"}}, "has no effect at a Unix socket"),
    (["unix:/tmp/tls-off-x.sock"], {"unix:/tmp/tls-off-x.sock": {"mode": "0777"}}, 'expected an octal mode like "0600"'),
    (["unix:/tmp/tls-off-x.sock"], {"unix:/tmp/tls-off-x.sock": {"owner": "nobody-of-that-name"}}, "expected a user that this machine has"),
    (["unix:@tls-off-x"], {"unix:@tls-off-x": {"mode": "0660"}}, "expected it at the path of a Unix socket only"),
    (["127.0.0.1:0"], {"127.0.0.1:0": {"owner": "root"}}, "expected it at the path of a Unix socket only"),
    (["unix:/tmp/tls-off-x.sock"], {"unix:/tmp/tls-off-y.sock": {}}, 'found an address where no service listens, expected "unix:/tmp/tls-off-x.sock"'),
])
def test_check_says_what_is_wrong(parts, listen, section, expected):
    where = parts.directory / "c"
    where.mkdir()
    file = where / "config.toml"
    services = {"web": parts.service("unix:/nowhere/app.sock", listen=listen)}
    file.write_text(toml.dumps(configuration(where, services, listener=section)))
    status, stdout, stderr = command("check", file)
    assert status == 1
    assert expected in stdout + stderr and f"{file}:" in stdout + stderr, stdout + stderr


def test_check_says_who_serves_there(parts):
    path = parts.directory / "db.sock"
    p = parts.proxy(parts.backend(), listen=[f"unix:{path}"])
    status, stdout, stderr = command("check", p.config_file)
    assert status == 0 and f'"unix:{path}" is in use by tls-off (process ' in stdout + stderr, stdout + stderr
    other = socket.socket(socket.AF_UNIX)
    other.bind(str(parts.directory / "other.sock"))
    other.listen()
    rewrite(p, lambda t: t["service"]["web"].update(listen=[f"unix:{parts.directory}/other.sock"]))
    status, stdout, stderr = command("check", p.config_file)
    assert status == 1 and "in use by" in stdout + stderr and "expected a free address" in stdout + stderr, stdout + stderr
    os.unlink(parts.directory / "other.sock")
    other.close()


def test_explain_and_sessions_know_it(parts):
    path = parts.directory / "db.sock"
    p = parts.proxy(parts.backend(), listen=[f"unix:{path}"])
    status, stdout, _ = command("explain", f"unix:{path}", "localhost", "--admin", p.admin_socket)
    assert status == 0 and "service:            web" in stdout
    c = dial(path)
    found = until(lambda: p.admin.json(f"/sessions.json?client=uid:{os.getuid()}")["sessions"], "the session in the list")
    assert PROCESS.fullmatch(found[0]["client"])
    c.unwrap().close()
