"""`tls-off init` and `tls-off doctor`: from a machine as it is to a configuration that serves, and what stands in the way."""
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import pytest

from support import processes
from support.backends import Backend, echo, unix_listener
from support.clients import connect, says_echo
from support.proxy import BINARY, SANITIZED, Proxy, command

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces")

# In a network namespace, whose sockets are all that is found there: listens, then writes what `tls-off init` says.
ALONE = """
import socket, subprocess, sys
held = []
for path in sys.argv[3:]:
    s = socket.socket(socket.AF_UNIX if path.startswith("/") else socket.AF_INET)
    s.bind(path if path.startswith("/") else ("127.0.0.1", int(path)))
    s.listen()
    held.append(s)
sys.stdout.write(subprocess.run([sys.argv[1], "init", *filter(None, [sys.argv[2]])], check=True, capture_output=True, text=True).stdout)
"""


def init_alone(home, *listening, file=""):
    environment = dict(os.environ, HOME=str(home))
    script = 'ip link set lo up; exec "$@"'
    return subprocess.run(["unshare", "--net", "sh", "-c", script, "sh", sys.executable, "-c", ALONE, BINARY, file, *map(str, listening)],
                          env=environment, check=True, capture_output=True, text=True).stdout


def keep_certificates(home, pki):
    entry = pki.leaf("www", "p256", ["www.test"])
    directory = home / ".acme.sh/www.test_ecc"
    directory.mkdir(parents=True)
    shutil.copy(entry["cert"], directory / "fullchain.cer")
    shutil.copy(entry["key"], directory / "www.test.key")


@as_root
def test_init_serves_what_it_finds(parts, directory, pki):
    keep_certificates(directory, pki)
    path = directory / "my app.sock"
    out = init_alone(directory, path)
    path.unlink()
    assert f'backends = ["unix:{path}"]' in out and f'certificates = ["{directory}/.acme.sh"]' in out and 'listen = [":443"]' in out
    backend = parts.add(Backend(unix_listener(str(path)), echo))
    text = out.replace('":443"', '"127.0.0.1:0"') + '[admin]\nsocket = ""\n'
    p = Proxy(directory / "first", f'state_dir = "{directory}/state"\n' + text)
    try:
        p.start()
        port = int(p.wait_text(r"listening on 127\.0\.0\.1:(\d+) for app")[1])
        with connect(port) as c:
            says_echo(c)
            c.unwrap()
        assert backend.accepted == 1
    finally:
        p.stop()
        path.unlink(missing_ok=True)


@as_root
@pytest.mark.parametrize("listening, first, others", [
    ([], "unix:/run/app.sock", []),
    (["3000"], "tcp:127.0.0.1:3000", []),
    (["3000", "8080", "9"], "tcp:127.0.0.1:8080", ["tcp:127.0.0.1:3000"]),
])
def test_init_chooses_a_backend(directory, listening, first, others):
    out = init_alone(directory, *listening)
    assert f'backends = ["{first}"]' in out
    assert [line.split('"')[1] for line in out.splitlines() if line.startswith("# also found")] == others
    file = directory / "config.toml"
    file.write_text(out.replace(":443", "127.0.0.1:0"))
    status, _, err = command("check", file)
    assert status == 0, err


@as_root
@pytest.mark.parametrize("name", [b"a\x01.sock", b"b\x7f.sock", b"c\xff.sock", b'd".sock', b"e\\.sock", b"f\n.sock", b"g\xe2\x80\xae.sock"])
def test_init_omits_names_that_a_string_cannot_hold(directory, name):
    path = os.fsencode(directory) + b"/" + name
    out = init_alone(directory, os.fsdecode(path))
    os.unlink(path)
    assert "# nothing was found" in out
    file = directory / "config.toml"
    file.write_text(out.replace(":443", "127.0.0.1:0"))
    status, _, err = command("check", file)
    assert status == 0, err


@pytest.mark.parametrize("layout, said", [
    ({"x.test/fullchain.cer": "cert", "x.test/x.test.key": "other"}, "the key does not match the certificate"),
    ({"x.test/fullchain.cer": "cert"}, None),
    ({"x.test/fullchain.cer": ""}, "x.test/fullchain.cer: the link leads to nothing"),
])
def test_init_says_what_it_cannot_use(directory, pki, layout, said):
    pairs = pki.leaf("www", "p256", ["www.test"]), pki.leaf("other", "p256", ["other.test"])
    for name, what in layout.items():
        file = directory / ".acme.sh" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if what == "":
            file.symlink_to("nowhere")
        else:
            shutil.copy(pairs[0]["cert"] if what == "cert" else pairs[1]["key"], file)
    out = subprocess.run([BINARY, "init"], env=dict(os.environ, HOME=str(directory)), check=True, capture_output=True, text=True).stdout
    if said:
        assert re.search(rf"^# Not used: {directory}/\.acme\.sh.*{re.escape(said)}", out, re.M), out
        assert "# No certificates that can be used were found" in out
    else:
        assert f"{directory}/.acme.sh" not in out


@as_root
def test_init_leaves_nothing_on_a_full_disk(directory):
    script = 'mount -t tmpfs -o size=8k none "$1" && cd "$1" && head -c 8192 /dev/zero >fill; "$2" init config.toml; echo "$?"; ls'
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", directory, BINARY], capture_output=True, text=True)
    assert done.stdout.split() == ["1", "fill"] and 'tls-off init: "config.toml" was not written: No space left on device' in done.stderr


@as_root
def test_init_leaves_a_port_that_is_taken(directory):
    assert 'listen = [":8443"]  # another program has port 443' in init_alone(directory, "443")


def test_init_overwrites_nothing(directory):
    file = directory / "config.toml"
    assert command("init", file)[0] == 0
    before = file.read_text()
    status, out, err = command("init", file)
    assert status == 1 and not out and "File exists" in err and file.read_text() == before
    status, _, err = command("init", directory / "none/config.toml")
    assert status == 1 and "No such file" in err
    for wrong in (["a", "b"], ["--force"], [""]):
        status, out, err = command("init", *wrong)
        assert status == 2 and err.startswith("tls-off init: ") and "\nusage: tls-off init" in err


# --- doctor


def doctor(*arguments):
    status, out, err = command("doctor", *arguments, "--json")
    assert not err
    o = json.loads(out)
    assert {level: sum(f["level"] == level for f in o["findings"]) for level in ("good", "advice", "wrong")} == {
        level: o[level] for level in ("good", "advice", "wrong")}
    assert status == (1 if o["wrong"] else 0)
    return o["findings"]


def of(findings, area, level):
    return [f for f in findings if f["area"] == area and f["level"] == level]


def doctor_by(starter, *arguments):
    return json.loads(subprocess.run([*starter, BINARY, "doctor", *arguments, "--json"], stdout=subprocess.PIPE, check=False).stdout)["findings"]


@as_root
def test_doctor_names_what_its_starter_lacks(parts):
    p = parts.prepare(parts.backend(), top={"user": "nobody"})
    few = ["setpriv", "--bounding-set", "-setuid,-setgid", "--inh-caps", "-setuid,-setgid"]
    wrong, = of(doctor_by(few, p.config_file), "rights", "wrong")
    assert "cannot become the user nobody" in wrong["text"] and "CAP_SETUID" in wrong["todo"]
    refused = subprocess.run([*few, BINARY, "run", p.config_file], capture_output=True, text=True, check=False)
    assert refused.returncode == 1 and "cannot become user nobody" in refused.stderr and "CAP_SETUID" in refused.stderr
    assert of(doctor(p.config_file), "rights", "good")
    if SANITIZED:
        return  # AddressSanitizer does not start without /proc
    without = ["unshare", "--mount", "sh", "-c", 'umount -l /proc && exec "$@"', "sh"]
    wrong, = of(doctor_by(without), "kernel", "wrong")
    assert "/proc is not mounted" in wrong["text"]


def test_doctor_of_the_machine(directory):
    findings = doctor()
    assert of(findings, "kernel", "good") and {"sandbox", "limits", "clock", "libraries"} <= {f["area"] for f in findings}
    assert all(f.get("todo") for f in findings if f["level"] == "advice" and f["area"] != "configuration")
    status, out, _ = command("doctor")
    assert status == 0 and out.splitlines()[-1].endswith(" wrong")


def test_doctor_of_a_configuration(parts, directory):
    there = parts.backend(where="tcp")
    gone = directory / "gone.sock"
    p = parts.prepare(services={"a": {"listen": ["127.0.0.1:0"], "backends": [there.url, f"unix:{gone}", "tcp:127.0.0.1:1", "tcp:no.such.invalid:80"]}})
    findings = doctor(p.config_file)
    good, wrong = of(findings, "backends", "good"), of(findings, "backends", "wrong")
    assert [f["text"] for f in good] == [f"service a: {there.url} answers"]
    assert f"service a: unix:{gone}: No such file or directory" in {f["text"] for f in wrong} and len(wrong) == 3
    assert "service a: tcp:127.0.0.1:1: Connection refused" in {f["text"] for f in wrong} and all(f["todo"] for f in wrong)
    assert of(findings, "rights", "good")


def test_doctor_waits_for_silent_backends_at_the_same_time(parts, directory):
    """A full queue answers nobody: each of them takes the whole time of a try."""
    held = []
    for _ in range(12):
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        held.append(listener)
        for _ in range(3):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
            held.append(waiting)
    urls = ["tcp:127.0.0.1:%d" % s.getsockname()[1] for s in held[::4]]
    p = parts.prepare(services={name: {"listen": ["127.0.0.1:0"], "names": [f"{name}.test"], "backends": urls[i:i + 6]} for i, name in ((0, "a"), (6, "b"))})
    with concurrent.futures.ThreadPoolExecutor(1) as other:
        findings = other.submit(doctor, p.config_file)
        most = 0
        while not findings.done():
            most = max(most, len([pid for pid in processes.descendants(os.getpid()) if " doctor " in processes.command_line(pid)]) - 1)
            time.sleep(0.01)
    for s in held:
        s.close()
    assert [f["text"] for f in of(findings.result(), "backends", "wrong")] == [
        f"service {'a' if i < 6 else 'b'}: {url}: Connection timed out" for i, url in enumerate(urls)]
    assert most > 1, "one after the other"


def test_doctor_of_a_state_directory_that_cannot_be_made(parts, directory):
    (directory / "file").write_text("")
    p = parts.prepare(parts.backend(), top={"state_dir": f"{directory}/file/state"})
    said = {f["text"] for f in of(doctor(p.config_file), "rights", "advice")}
    assert f"state_dir {directory}/file/state: is not there, and this user cannot make it: {directory}/file: Not a directory" in said, said
    p = parts.prepare(parts.backend(), top={"state_dir": f"{directory}/a/b"})
    assert f"state_dir {directory}/a/b: is made when it is needed" in {f["text"] for f in of(doctor(p.config_file), "rights", "good")}


@pytest.mark.skipif(os.getuid() != 0, reason="needs another user")
def test_doctor_tries_a_socket_with_the_rights_of_the_roles(parts, tmp_path_factory):
    """What root reaches, they may not."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="tls-off.", dir="/tmp"))
    try:
        directory.chmod(0o755)
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(str(directory / "app.sock"))
            s.listen()
            p = parts.prepare(services={"a": {"listen": ["127.0.0.1:0"], "backends": [f"unix:{directory}/app.sock"]}}, top={"user": "nobody"})
            for mode, level in ((0o600, "wrong"), (0o666, "good")):
                (directory / "app.sock").chmod(mode)
                found, = of(doctor(p.config_file), "backends", level)
                assert ("0660" in found["todo"] and "Permission denied" in found["text"]) if level == "wrong" else "answers" in found["text"]
    finally:
        shutil.rmtree(directory)


def test_doctor_of_a_wrong_configuration(directory):
    file = directory / "config.toml"
    file.write_text("nonsense = 1\n")
    findings = doctor(file)
    assert any("nonsense" in f["text"] for f in of(findings, "configuration", "wrong"))
    assert not of(findings, "backends", "good")


def test_doctor_of_chains(parts, directory, pki, monkeypatch):
    """Against the system's CA certificates, which OpenSSL lets the environment name."""
    p = parts.prepare(parts.backend(where="tcp"))
    refused = of(doctor(p.config_file), "certificates", "advice")
    assert refused and all("clients with this system's CA certificates refuse it: certificate " in f["text"] and f["todo"] for f in refused)
    monkeypatch.setenv("SSL_CERT_FILE", str(pki.ca))
    findings = doctor(p.config_file)
    assert of(findings, "certificates", "good") and not of(findings, "certificates", "advice")


def test_doctor_usage():
    for wrong in (["a", "b"], ["--no-such"], [""]):
        status, out, err = command("doctor", *wrong)
        assert status == 2 and not out and err.startswith("tls-off doctor: ") and "\nusage: tls-off doctor" in err
