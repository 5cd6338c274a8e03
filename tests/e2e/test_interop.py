"""Each TLS stack of Debian's that is small to install, on both paths: full, resumed, after a HelloRetryRequest, with a client
certificate; each time an answer of 10 MB, and both ends closed in order. """
import shutil
import subprocess

import pytest

from support.client_pki import Issuer
from support.clients import run
from support.proxy import SANITIZED
from support.waiting import until

pytestmark = pytest.mark.skipif(SANITIZED, reason="hellos of all kinds are in tests that run under sanitizers")

SIZE = 10 << 20
BODY = bytes(range(256)) * (SIZE // 256)
REQUEST = b"GET / HTTP/1.0\r\n\r\n"
PATHS = pytest.mark.parametrize("handshake, own", [("auto", 1), ("libssl", 0)], ids=["own", "libssl"])
NODE = """
const [port, ca, curve, cert, key, times] = process.argv.slice(1), fs = require('fs'), tls = require('tls');
const options = {port, host: '127.0.0.1', servername: 'localhost', ca: fs.readFileSync(ca), minVersion: 'TLSv1.3'};
if (curve) options.ecdhCurve = curve;
if (cert) Object.assign(options, {cert: fs.readFileSync(cert), key: fs.readFileSync(key)});
const once = (left, session) => {
  let bytes = 0, next = session;
  const s = tls.connect({...options, session}, () => s.end('GET / HTTP/1.0\\r\\n\\r\\n'));  // half-closed
  s.on('session', (t) => { next = t; });
  s.on('data', (d) => { bytes += d.length; });
  s.on('error', (e) => { console.error(e); process.exit(1); });
  s.on('end', () => { console.log('bytes', bytes); if (left > 1) once(left - 1, next); });
};
once(Number(times));
"""


def answer(c):
    got = b""
    while b"\r\n\r\n" not in got:
        piece = c.recv(65536)
        if not piece:
            return
        got += piece
    c.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE + BODY)


@pytest.fixture
def ca(directory):
    return Issuer(directory, "clients authority")


class Kit:
    """What the clients are given: a proxy's port, our CA, files of a client certificate."""

    def __init__(self, port, pki, directory, client):
        self.port, self.ca, self.directory, self.client = port, pki.ca, directory, client


def whole(output):
    return BODY in output


def openssl(kit, retry=False, client=None, resumed=False):
    session = kit.directory / "openssl.session"
    arguments = ["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{kit.port}", "-tls1_3", "-servername", "localhost",
                 "-CAfile", kit.ca, "-verify_return_error"]
    arguments += ["-groups", "X448:P-256"] if retry else []
    arguments += ["-cert", client.cert, "-key", client.key] if client else []
    for more in ([["-sess_out", session], ["-sess_in", session]] if resumed else [[]]):
        done = subprocess.run([str(a) for a in arguments + more], input=REQUEST, capture_output=True, timeout=60)
        assert done.returncode == 0 and whole(done.stdout), done.stderr.decode()


def gnutls(kit, retry=False, client=None, resumed=False):
    priority = "NORMAL:-VERS-ALL:+VERS-TLS1.3"
    arguments = ["gnutls-cli", "--x509cafile", kit.ca, "-p", kit.port, "localhost"]
    if retry:
        priority += ":-GROUP-ALL:+GROUP-FFDHE2048:+GROUP-SECP256R1"
        arguments += ["--single-key-share"]
    arguments += ["--priority", priority]
    arguments += ["--x509certfile", client.cert, "--x509keyfile", client.key] if client else []
    arguments += ["--resume", "--waitresumption"] if resumed else []
    done = subprocess.run([str(a) for a in arguments], input=REQUEST, capture_output=True, timeout=60)
    assert done.returncode == 0 and whole(done.stdout), done.stderr.decode() + done.stdout[:4000].decode(errors="replace")
    assert not resumed or b"This is a resumed session" in done.stdout


def nss_store(kit, client):
    store = kit.directory / "nss"
    if not store.exists():
        store.mkdir()
        run("certutil", "-N", "-d", f"sql:{store}", "--empty-password")
        run("certutil", "-A", "-d", f"sql:{store}", "-n", "test authority", "-t", "C,,", "-a", "-i", kit.ca)
    if client:
        bag = kit.directory / "client.p12"
        run("openssl", "pkcs12", "-export", "-in", client.cert, "-inkey", client.key, "-name", "robot", "-passout", "pass:", "-out", bag)
        run("pk12util", "-i", bag, "-d", f"sql:{store}", "-W", "", "-K", "")
    return f"sql:{store}"


def nss(kit, retry=False, client=None, resumed=False):
    common = ["-d", nss_store(kit, client), "-p", kit.port, "-V", "tls1.3:tls1.3"]
    if resumed:
        run("strsclnt", *common, "-4", "-q", "-c", "4", "-t", "1", "localhost", check=False)  # the log says what came of it
        return
    arguments = ["tstclnt", *common, "-h", "127.0.0.1", "-a", "localhost"]
    arguments += ["-I", "FF2048,P256"] if retry else []
    arguments += ["-n", "robot"] if client else []
    request = kit.directory / "request"
    request.write_bytes(REQUEST)
    with open(request, "rb") as f:  # from a pipe it would wait for more
        done = subprocess.run([str(a) for a in arguments], stdin=f, capture_output=True, timeout=60)
    assert done.returncode == 0 and whole(done.stdout), done.stderr.decode()


def curl(kit, retry=False, client=None, resumed=False):
    arguments = ["curl", "--silent", "--show-error", "--http1.0", "--tlsv1.3", "--cacert", kit.ca]
    arguments += ["--curves", "X448:P-256"] if retry else []
    arguments += ["--cert", client.cert, "--key", client.key] if client else []
    arguments += [f"https://localhost:{kit.port}/"] * (2 if resumed else 1)
    done = subprocess.run([str(a) for a in arguments], capture_output=True, timeout=60)
    assert done.returncode == 0 and done.stdout == BODY * (2 if resumed else 1), done.stderr.decode()


def node(kit, retry=False, client=None, resumed=False):
    said = run("node", "-e", NODE, kit.port, kit.ca, "X448:P-256" if retry else "", client.cert if client else "",
               client.key if client else "", "2" if resumed else "1", deadline=60)
    sizes = [int(line.split()[1]) for line in said.splitlines()]
    assert len(sizes) == 1 + resumed and min(sizes) > SIZE


STACKS = [openssl, gnutls, nss, curl, pytest.param(node, marks=pytest.mark.skipif(not shutil.which("node"), reason="no node"))]


def paths(p):
    totals = p.admin.json("/status.json")["totals"]
    return totals["own_handshakes_total"], totals["libssl_handshakes_total"]


def all_by(p, own):
    until(lambda: paths(p)[1 - own] >= 2 and paths(p)[own] == 0, lambda: f"handshakes by this path alone: {paths(p)}")


TICKETS = pytest.mark.parametrize("with_finished", [False, True], ids=["ticket-after", "ticket-with"])


@PATHS
@TICKETS
@pytest.mark.parametrize("stack", STACKS, ids=lambda f: f.__name__)
def test_full_retried_and_resumed(parts, pki, directory, handshake, own, with_finished, stack):
    p = parts.proxy(parts.backend(answer), top={"handshake": handshake, "tickets": {"with_finished": with_finished}})
    kit = Kit(p.port, pki, directory, None)
    stack(kit)
    assert p.wait_session(tls_version="TLSv1.3", resumed=False)["bytes_out"] > SIZE
    stack(kit, retry=True)
    p.wait_session(group="secp256r1", resumed=False)
    stack(kit, resumed=True)
    p.wait_session(resumed=True)
    all_by(p, own)


@PATHS
@pytest.mark.parametrize("stack", STACKS, ids=lambda f: f.__name__)
def test_client_certificate(parts, pki, directory, ca, handshake, own, stack):
    p = parts.proxy(parts.backend(answer), top={"handshake": handshake, "tickets": {"with_finished": True}}, client_auth={"mode": "required", "ca": str(ca.file)})
    client = ca.client(cn="robot", kind="rsa" if stack is nss else "p256")
    kit = Kit(p.port, pki, directory, client)
    stack(kit, client=client)
    assert p.wait_session(client_cn="robot")["bytes_out"] > SIZE
    stack(kit, client=client, retry=True)
    p.wait_session(client_cn="robot", group="secp256r1")
    all_by(p, own)
