"""TLS stacks of Debian's that are large to install: Go, Java, Erlang, wolfSSL, rustls, Firefox. On both paths, as test_interop.py does it: full,
retried, resumed, with a client certificate, each time 10 MB, a half-closed end, and a change of keys where the stack can ask for it. By
tools/test-clients; not part of `make test`."""
import pathlib
import re
import shutil
import subprocess

import pytest

from support.client_pki import Issuer
from support.waiting import until

from test_interop import SIZE, answer, paths

HERE = pathlib.Path(__file__).parent / "clients"
# By libssl, by our own handshake, and by ours with its ticket in the server's flight.
TICKETS = pytest.mark.parametrize("handshake, own, early", [("libssl", 0, False), ("auto", 1, False), ("auto", 1, True)], ids=["libssl", "own", "own-early"])
BOTH = pytest.mark.parametrize("handshake, own", [("auto", 1), ("libssl", 0)], ids=["own", "libssl"])


def run(*arguments, deadline=120):
    done = subprocess.run([str(a) for a in arguments], capture_output=True, text=True, timeout=deadline)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """What has to be compiled first."""
    to = tmp_path_factory.mktemp("clients")
    run("/usr/bin/go", "build", "-o", to / "go-client", HERE / "client.go")
    run("javac", "-d", to, HERE / "Client.java")
    run("gcc", "-O1", "-o", to / "wolfssl-client", HERE / "wolfssl.c", "-lwolfssl")
    return to


@pytest.fixture(scope="session")
def built_all(built):
    """From Debian's sources of crates alone, by Debian's compiler; not in the tree, where cargo would leave its lock."""
    project = shutil.copytree(HERE / "rustls", built / "rustls")
    run("env", "RUSTC=/usr/bin/rustc", "/usr/bin/cargo", "build", "--release", "--offline", "--manifest-path", project / "Cargo.toml", "--target-dir", built,
        "--config", 'source.crates-io.replace-with="debian"', "--config", 'source.debian.directory="/usr/share/cargo/registry"', deadline=300)
    return built


def go(built, port, ca, times, client):
    return run(built / "go-client", port, ca, times, *([client.cert, client.key] if client else []))


def java(built, port, ca, times, client):
    store = []
    if client:
        store = [built / "client.p12"]
        run("openssl", "pkcs12", "-export", "-in", client.cert, "-inkey", client.key, "-name", "robot", "-passout", "pass:password", "-out", store[0])
    return run("java", "-cp", built, "Client", port, ca, times, *store)


def erlang(built, port, ca, times, client):
    return run("escript", HERE / "client.escript", port, ca, times, *([client.cert, client.key] if client else []))


def wolfssl(built, port, ca, times, client):
    return run(built / "wolfssl-client", port, ca, times, *([client.cert, client.key] if client else []))


def rustls(built, port, ca, times, client):
    def der(kind, file):
        to = built / (pathlib.Path(file).name + ".der")
        run("openssl", *kind, "-in", file, "-outform", "DER", "-out", to)
        return to

    pair = [der(["x509"], client.cert), der(["pkcs8", "-topk8", "-nocrypt"], client.key)] if client else []
    return run(built / "release" / "rustls-client", port, der(["x509"], ca), times, *pair)


STACKS = pytest.mark.parametrize("stack", [go, java, erlang, wolfssl, rustls], ids=lambda f: f.__name__)


def check(p, said, times, own):
    rows = [line.split() for line in said.splitlines() if line.startswith("bytes ")]
    assert len(rows) == times and all(int(row[1]) > SIZE for row in rows), said
    until(lambda: paths(p)[1 - own] >= times and paths(p)[own] == 0, lambda: f"handshakes by this path alone: {paths(p)}")
    return [row[3] for row in rows]


def changes_of_keys(p):
    return sum(map(int, re.findall(r'^tls_off_service_key_updates_total\{[^}]*direction="in"[^}]*\} (\d+)$', p.admin.ask("/metrics").text, re.M)))


@TICKETS
@STACKS
def test_full_and_resumed(parts, pki, built_all, stack, handshake, own, early):
    p = parts.proxy(parts.backend(answer), top={"handshake": handshake, "tickets": {"with_finished": early}})
    resumed = check(p, stack(built_all, p.port, pki.ca, 3, None), 3, own)
    p.wait_session(count=3)
    assert resumed[0] != "true"
    if stack not in (go, rustls):  # which do not change their keys on their own
        until(lambda: changes_of_keys(p) >= 3, lambda: f"changes of keys: {changes_of_keys(p)}")
    if stack is erlang and own:  # names its modes for tickets only beside one, and so gets none from us (docs/decisions/053)
        assert "true" not in resumed
        return
    assert "true" in resumed[1:] or stack is rustls  # which does not report it
    assert p.wait_session(resumed=True)["tls_version"] == "TLSv1.3"


@TICKETS
@STACKS
def test_retried(parts, pki, built_all, stack, handshake, own, early):
    p = parts.proxy(parts.backend(answer), top={"handshake": handshake, "tickets": {"with_finished": early}}, groups=["secp384r1"])
    times = 1 if stack in (go, erlang) else 2  # Go 1.19.8 and OTP 25 make a wrong binder for a second hello
    check(p, stack(built_all, p.port, pki.ca, times, None), times, own)
    assert p.wait_session(resumed=False)["group"] == "secp384r1"


@BOTH
@STACKS
def test_client_certificate(parts, pki, built_all, directory, stack, handshake, own):
    ca = Issuer(directory, "clients authority")
    p = parts.proxy(parts.backend(answer), top={"handshake": handshake}, client_auth={"mode": "required", "ca": str(ca.file)})
    check(p, stack(built_all, p.port, pki.ca, 2, ca.client(cn="robot")), 2, own)
    assert p.wait_session(client_cn="robot")["bytes_out"] > SIZE


def page(c):
    if c.recv(65536):
        c.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<body style='background: #fff'>it is read</body>")


@TICKETS
def test_firefox(parts, directory, handshake, own, early):
    """It knows no way to trust our CA for one run but a profile; a screenshot is proof that the page came."""
    p = parts.proxy(parts.backend(page), top={"handshake": handshake, "tickets": {"with_finished": early}})
    profile, picture = directory / "firefox", directory / "page.png"
    profile.mkdir()
    run("certutil", "-N", "-d", f"sql:{profile}", "--empty-password")
    run("certutil", "-A", "-d", f"sql:{profile}", "-n", "test authority", "-t", "C,,", "-a", "-i", parts.pki.ca)
    run("env", f"HOME={directory}", "firefox-esr", "--headless", "--no-remote", "--profile", profile, "--screenshot", picture,
        f"https://localhost:{p.port}/", deadline=180)
    assert picture.stat().st_size > 0
    e = p.wait_session(tls_version="TLSv1.3")
    assert e["bytes_in"] > 0
    until(lambda: paths(p)[1 - own] >= 1 and paths(p)[own] == 0, lambda: f"handshakes by this path alone: {paths(p)}")
