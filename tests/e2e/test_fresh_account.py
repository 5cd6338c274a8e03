"""An ordinary user whose account has nothing yet: what starts, and that a check says the same as a start, before and while it runs."""
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest

from support.proxy import BINARY, SANITIZED
from support.waiting import DEADLINE

NOBODY = 65534

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs another user")


@pytest.fixture
def home():
    path = pathlib.Path(tempfile.mkdtemp(prefix="tls-off.", dir="/tmp"))
    shutil.copy(BINARY, path / "tls-off")
    (path / "tls-off").chmod(0o755)
    os.chown(path, NOBODY, NOBODY)
    yield path
    shutil.rmtree(path)


def options(home, where=None):
    return {"env": {"HOME": str(where or home), "PATH": "/usr/bin:/bin"}, "user": NOBODY, "group": NOBODY, "extra_groups": [], "cwd": home,
            "stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "text": True}


def tls_off(home, *arguments, where=None):
    """(status, all output)"""
    done = subprocess.run([home / "tls-off", *map(str, arguments)], stdout=subprocess.PIPE, timeout=DEADLINE, check=False, **options(home, where))
    return done.returncode, done.stdout


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


SERVICE = """[service.web]
listen = ["127.0.0.1:PORT"]
backends = ["unix:/tmp/app.sock"]
"""
ISSUER = """acme = { issuers = ["le"], names = ["example.org"] }
[acme.issuer.le]
directory = "https://127.0.0.1:9/dir"
terms_accepted = true
"""
FILES = {"self-signed": SERVICE, "fetched": SERVICE + "fetch_ocsp = true\n", "managed": SERVICE + ISSUER}


@pytest.mark.parametrize("kind", FILES)
def test_it_starts_and_its_file_stays_good(home, kind):
    file = home / "tls-off.toml"
    file.write_text(FILES[kind].replace("PORT", str(free_port())))
    status, said = tls_off(home, "check", file)
    assert status == 0, said
    assert not (home / ".local").exists()
    ready, write = os.pipe()
    with open(home / "log", "w", encoding="utf-8") as log:
        p = subprocess.Popen([home / "tls-off", "run", file, "--ready-fd", str(write)], stdout=log, pass_fds=[write], **options(home))
    os.close(write)
    try:
        assert select.select([ready], [], [], DEADLINE)[0] and os.read(ready, 1) == b"\n", (home / "log").read_text()
        status, said = tls_off(home, "check", file)
        holder = "tls-off" if SANITIZED else "a process that this user may not look at"  # its sanitizers do
        assert status == 0 and f"is in use by {holder}" in said, said
        status, said = tls_off(home, "reload")
        assert status == 0, said
    finally:
        os.close(ready)
        p.send_signal(signal.SIGTERM)
        p.wait(DEADLINE)
    assert p.returncode == 0 and "broke the rules" not in (home / "log").read_text()


@pytest.mark.parametrize("kind", FILES)
def test_a_home_that_is_none(home, kind):
    """A start stops, and a check says so."""
    file = home / "tls-off.toml"
    file.write_text(FILES[kind].replace("PORT", str(free_port())))
    status, said = tls_off(home, "check", file, where="/nonexistent")
    assert status == 1 and 'state_dir: found "/nonexistent/.local/state/tls-off", expected a directory in which this user may make files' in said, said
    status, said = tls_off(home, "run", file, where="/nonexistent")
    assert status == 1 and "state_dir: /nonexistent" in said and "fullchain.pem" not in said, said


@pytest.mark.parametrize("more,said", [
    ('[admin]\nsocket = "HOME/admin.sock"\nsocket_owner = "root"\n', "admin.socket_owner: found another user"),
    ('[admin]\nsocket = "HOME/admin.sock"\nsocket_group = "root"\n', "admin.socket_group: found a group of others"),
    ('[listener."unix:HOME/web.sock"]\nowner = "root"\n', ".owner: found another user"),
    ('[listener."unix:HOME/web.sock"]\ngroup = "root"\n', ".group: found a group of others"),
])
def test_only_root_gives_sockets_away(home, more, said):
    file = home / "tls-off.toml"
    file.write_text((SERVICE.replace("127.0.0.1:PORT", "unix:HOME/web.sock") + more).replace("HOME", str(home)))
    for verb in ("check", "run"):
        status, out = tls_off(home, verb, file)
        assert status == 1 and said in out and f"{file}:" in out, out
    file.write_text(file.read_text().replace('"root"', '"nogroup"' if "group" in more else '"nobody"'))
    status, out = tls_off(home, "check", file)
    assert status == 0, out


def test_a_start_that_fails_breaks_no_rule(home):
    """Its address is lost to somebody else once the roles run: they receive STOP, and relays report what they have cut."""
    port = free_port()
    file = home / "tls-off.toml"
    file.write_text(SERVICE.replace("PORT", str(port)))
    for _ in range(10):  # it may be quicker than the test
        p = subprocess.Popen([home / "tls-off", "run", file], stdout=subprocess.PIPE, **options(home))
        said = p.stdout.readline()  # by the observer: the addresses were looked at, and are not yet bound
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                other.bind(("127.0.0.1", port))
                other.listen()
            except OSError:
                p.terminate()
            said += p.communicate()[0]
        if p.returncode == 1:
            break
    assert p.returncode == 1 and "Address already in use" in said and "broke the rules" not in said, said
