"""The signer: keys of every kind under real clients, keys that are nowhere else, and signers that die, hang or find bad keys."""
import base64
import os
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from support import memory, processes
from support.clients import V12, V13, connect, context, hello_bytes, reset, run, says_echo
from support.pki import new_key, pem_of
from support.proxy import OWN_HANDSHAKE, SANITIZED, command
from support.storm import Storm
from support.waiting import DEADLINE, until

KINDS = ["rsa", "p256", "p384", "ed25519"]
NAMES = ["localhost", "127.0.0.1", "::1"]


@pytest.fixture(scope="module")
def leaves(pki):
    return {kind: pki.leaf(f"signer-{kind}", kind, NAMES) for kind in KINDS}


def private(entry):
    return serialization.load_pem_private_key(open(entry["key"], "rb").read(), None)


# --- every kind of key

AUTHORITY = "ECDSA+SHA256"  # what the authority signs by: clients want to see that in their list too

# kind, openssl's name for the scheme, TLS versions that have it, gnutls' name
SCHEMES = [
    ("rsa", "RSA-PSS+SHA256", (V12, V13), "SIGN-RSA-PSS-RSAE-SHA256"),
    ("rsa", "RSA-PSS+SHA384", (V12, V13), "SIGN-RSA-PSS-RSAE-SHA384"),
    ("rsa", "RSA-PSS+SHA512", (V12, V13), "SIGN-RSA-PSS-RSAE-SHA512"),
    ("rsa", "RSA+SHA256", (V12,), "SIGN-RSA-SHA256"),
    ("rsa", "RSA+SHA384", (V12,), "SIGN-RSA-SHA384"),
    ("rsa", "RSA+SHA512", (V12,), "SIGN-RSA-SHA512"),
    ("p256", "ECDSA+SHA256", (V12, V13), "SIGN-ECDSA-SECP256R1-SHA256"),
    ("p256", "ECDSA+SHA384", (V12,), "SIGN-ECDSA-SHA384"),
    ("p384", "ECDSA+SHA384", (V12, V13), "SIGN-ECDSA-SECP384R1-SHA384"),
    ("p384", "ECDSA+SHA256", (V12,), "SIGN-ECDSA-SHA256"),
    ("ed25519", "ed25519", (V12, V13), "SIGN-EDDSA-ED25519"),
]


def test_every_scheme_with_openssl(parts, pki, leaves):
    for kind in KINDS:
        p = parts.proxy(parts.backend(), certificates=[leaves[kind]])
        for its_kind, sigalgs, versions, _ in SCHEMES:
            if its_kind != kind:
                continue
            for version in versions:
                said = run("openssl", "s_client", "-connect", f"127.0.0.1:{p.port}", "-CAfile", pki.ca, "-verify_return_error",
                           "-sigalgs", sigalgs if sigalgs == AUTHORITY else f"{sigalgs}:{AUTHORITY}", "-tls1_2" if version == V12 else "-tls1_3", data=b"")
                assert "Verify return code: 0" in said, f"{kind} {sigalgs} {version}: {said}"
        p.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_every_scheme_with_gnutls(parts, pki, leaves, kind):
    p = parts.proxy(parts.backend(), certificates=[leaves[kind]])
    for its_kind, _, versions, name in SCHEMES:
        if its_kind != kind:
            continue
        for version in versions:
            priority = f"NORMAL:-SIGN-ALL:+{name}:+SIGN-ECDSA-SECP256R1-SHA256:+SIGN-ECDSA-SHA256:-VERS-ALL:" + (
                "+VERS-TLS1.2" if version == V12 else "+VERS-TLS1.3")
            said = run("gnutls-cli", "--x509cafile", pki.ca, "--priority", priority, "-p", p.port, "localhost", data=b"hi\n")
            assert "The certificate is trusted" in said, said
            assert "hi\n" in said


def test_a_scheme_that_no_key_serves(parts, leaves):
    """PKCS #1 v1.5 has ended with TLS 1.2, and nothing signs by SHA-1."""
    p = parts.proxy(parts.backend(), certificates=[leaves["rsa"]])
    for arguments in (["-tls1_3", "-sigalgs", "RSA+SHA256"], ["-tls1_2", "-sigalgs", "RSA+SHA1", "-cipher", "ALL:@SECLEVEL=0"]):
        done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{p.port}", *arguments], stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=DEADLINE)
        assert done.returncode != 0
    p.wait_failure("no_shared_sigalg", count=2)


FORMS = [("PKCS8", None), ("TraditionalOpenSSL", None), ("PKCS8", b"correct horse"), ("TraditionalOpenSSL", b"correct horse")]


@pytest.mark.parametrize("form,passphrase", FORMS)
@pytest.mark.parametrize("kind", ["rsa", "p256"])
def test_forms_of_key_files(parts, leaves, directory, kind, form, passphrase):
    how = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    file = directory / "its.key"
    file.write_bytes(private(leaves[kind]).private_bytes(serialization.Encoding.PEM, getattr(serialization.PrivateFormat, form), how))
    file.chmod(0o600)
    entry = {"cert": leaves[kind]["cert"], "key": str(file)}
    if passphrase:
        (directory / "its.pass").write_bytes(passphrase + b"\n")
        (directory / "its.pass").chmod(0o600)
        entry["passphrase"] = str(directory / "its.pass")
    p = parts.proxy(parts.backend(), certificates=[entry])
    assert command("check", p.config_file)[0] == 0
    with connect(p.port) as c:
        says_echo(c)


# --- where the keys are


def needles(name, key):
    """The secret numbers of a key in both byte orders, and as they stand in its file."""
    found = {}

    def number(what, n, length):
        raw = n.to_bytes(length, "big")
        found[f"{name} {what}"] = raw
        found[f"{name} {what}, little end first"] = raw[::-1]

    if isinstance(key, rsa.RSAPrivateKey):
        n = key.private_numbers()
        size = key.key_size // 8
        number("d", n.d, size)
        for what in ("p", "q", "dmp1", "dmq1", "iqmp"):
            number(what, getattr(n, what), size // 2)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        number("scalar", key.private_numbers().private_value, key.key_size // 8)
    else:
        seed = key.private_bytes(serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
        found[f"{name} seed"] = seed
    text = pem_of(key).decode().split("-----")[2].strip().encode()
    for i, line in enumerate(text.split(b"\n")[1:-1] or [text[20:]]):  # the first lines of equal kinds are alike
        if len(line) >= 32:
            found[f"{name} line {i} of its file"] = line
    return found


def test_needles_distinguish_keys():
    keys = [new_key(kind) for kind in KINDS for _ in range(2)]
    sets = [set(needles("", k).values()) for k in keys]
    for i, a in enumerate(sets):
        assert a
        for b in sets[:i]:
            assert not a & b


def contexts_of_all_kinds():
    """One context a kind of certificate and version."""
    found = []
    for ciphers in ("ECDHE+ECDSA", "ECDHE+aRSA"):
        found.append(context(version=V12, ciphers=ciphers))
    found.append(context(version=V13))
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="reading other processes' memory needs root")
@pytest.mark.skipif(SANITIZED, reason="a sanitizer's shadow memory is terabytes, and it keeps what was freed")
def test_private_keys_are_in_the_signers_only(parts, leaves):
    """Every byte of every process is looked at while handshakes run."""
    secrets = {}
    for kind in KINDS:
        secrets.update(needles(kind, private(leaves[kind])))
    p = parts.proxy(parts.backend(), top={"workers": 2}, certificates=[leaves[k] for k in KINDS])
    storm = Storm(p.port, contexts_of_all_kinds())
    try:
        storm.wait(30)
        held = {}
        for pid in p.pids():
            role = processes.role_of(pid) or "supervisor"
            found, looked = memory.search(pid, secrets)
            assert looked > 1 << 20, f"{role}: only {looked} bytes could be read"
            held.setdefault(role, []).append(found)
        storm.wait(10)
    finally:
        storm.end()
    assert not storm.failed, storm.failed[:3]
    signers = held.pop("signer")
    assert len(signers) == 2
    for found in signers:  # else this test would look in the wrong way; the Ed25519 seed and EC scalars are kept as they are
        names = " ".join(found)
        assert all(kind in names for kind in KINDS), found
        assert "file" not in names, f"a key's file was not wiped: {found}"
    assert set(held) == {"supervisor", "observer", "handshaker", "relay"}
    for role, list_ in held.items():
        for found in list_:
            assert not found, f"{role} holds {found}"


@pytest.mark.skipif(SANITIZED, reason="sanitizers hold memory of their own")
def test_memory_of_signers_is_locked_and_not_dumped(parts, leaves):
    p = parts.proxy(parts.backend(), certificates=[leaves["rsa"], leaves["p256"]])
    with connect(p.port) as c:
        says_echo(c)
    for pid in p.roles()["signer"]:
        status = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status").read().splitlines())
        assert int(status["VmLck"].split()[0]) >= 256
        assert open(f"/proc/{pid}/limits").read().split("Max core file size")[1].split()[0] == "0"
    assert not [line for line in p.lines if "not locked" in line]


def test_a_signer_has_no_way_out(parts):
    """Its descriptors: the supervisor, its handshaker, the log's ring and pages; no socket of a network, no file of a key."""
    p = parts.proxy(parts.backend())
    for pid in p.roles()["signer"]:
        targets = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        assert not [t for t in targets if t.endswith(".key") or t.endswith(".pem")], targets
        assert len([t for t in targets if t.startswith("socket:")]) == 2, targets
        assert processes.listening_port(pid) is None


# --- signers that die and hang


def test_killed_signer_costs_no_handshake(parts, leaves):
    p = parts.proxy(parts.backend(), certificates=[leaves["p256"]])
    p.allow_killed_roles = True
    live = connect(p.port)
    says_echo(live)
    storm = Storm(p.port, [context(version=V12), context(version=V13)])
    try:
        for _ in range(3):
            storm.wait(10)
            before = p.roles()["signer"]
            os.kill(before[0], signal.SIGKILL)
            until(lambda: p.roles().get("signer") not in (None, before), lambda: f"a new signer: {p.roles()}")
            says_echo(live)
        storm.wait(20)
    finally:
        storm.end()
    assert not storm.failed, storm.failed[:3]
    live.close()
    p.wait_text(r"signer\.0 .*killed by signal 9")


def stop_signer(p):
    pid = p.roles()["signer"][0]
    os.kill(pid, signal.SIGSTOP)
    until(lambda: open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] == "T", "stopped")
    return pid


def ticket(p, ctx):
    with connect(p.port, ctx) as c:
        says_echo(c)
        return c.session


@pytest.mark.parametrize("version", [V12, V13])
def test_stopped_signer(parts, leaves, version):
    """The worst hang there is: full handshakes fail by their deadline, everything else continues."""
    p = parts.proxy(parts.backend(), certificates=[leaves["p256"]], timeouts={"handshake": "5s"})
    ctx = context(version=version)
    session = ticket(p, ctx)
    live = connect(p.port, ctx)
    says_echo(live)
    pid = stop_signer(p)
    try:
        began = time.monotonic()
        with pytest.raises((ssl.SSLError, ConnectionError)) as e:
            connect(p.port, context(version=version))
        took = time.monotonic() - began
        assert 4 < took < DEADLINE
        assert "INTERNAL_ERROR" in str(e.value).upper(), e.value
        failed = p.wait_failure("signer_timeout")
        assert "the signer" in failed["detail"]
        says_echo(live)
        for _ in range(5):
            began = time.monotonic()
            with connect(p.port, ctx, session=session) as c:
                assert c.session_reused
                says_echo(c)
            assert time.monotonic() - began < 4, "a resumed handshake has waited for the signer"
        p.wait_text(r"signer\.0 does not answer")
    finally:
        os.kill(pid, signal.SIGCONT)
    with connect(p.port, context(version=version)) as c:
        says_echo(c)
    p.wait_text(r"signer\.0 answers again")
    says_echo(live)
    live.close()
    p.wait_failure("signer_timeout")


@pytest.mark.parametrize("version", [V12, V13])
def test_handshakes_wait_for_a_signer_that_comes_back(parts, leaves, version):
    p = parts.proxy(parts.backend(), certificates=[leaves["p256"]])
    says_echo(connect(p.port, context(version=version)))
    pid = stop_signer(p)
    results = []

    def client():
        try:
            with connect(p.port, context(version=version)) as c:
                says_echo(c)
            results.append("well")
        except OSError as e:
            results.append(repr(e))

    threads = [threading.Thread(target=client) for _ in range(40)]
    for t in threads:
        t.start()
    p.wait_text(r"signer\.0 does not answer")
    assert not results
    os.kill(pid, signal.SIGCONT)
    for t in threads:
        t.join(DEADLINE)
    assert results == ["well"] * 40


def test_a_retried_hello_and_a_stopped_signer(parts, leaves):
    """After a HelloRetryRequest libssl has no way back: such a handshake fails at once, with the same reason. Ours waits."""
    p = parts.proxy(parts.backend(), certificates=[leaves["p256"]], groups=["secp384r1"])
    pid = stop_signer(p)
    client = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{p.port}", "-groups", "X25519:P-384", "-tls1_3",
                               "-sess_out", "/dev/null"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        p.wait_text(r"signer\.0 does not answer")
        if not OWN_HANDSHAKE:
            p.wait_failure("signer_timeout")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (client.wait(DEADLINE) == 0) == OWN_HANDSHAKE


@pytest.mark.parametrize("end", ["reset", "close"])
def test_clients_that_leave_while_the_signer_is_stopped(parts, leaves, end):
    """Each is seen to go, before the signer answers; what it answers then is nobody's, and not the next clients' either."""
    p = parts.proxy(parts.backend(), certificates=[leaves["p256"]])
    pid = stop_signer(p)
    try:
        gone = [socket.create_connection(("127.0.0.1", p.port), timeout=DEADLINE) for _ in range(10)]
        for s in gone:
            s.sendall(hello_bytes(context(version=V13)))
        p.wait_text(r"signer\.0 does not answer")
        for s in gone:
            reset(s) if end == "reset" else s.close()
        p.wait_failure("handshake_reset" if end == "reset" else "handshake_closed", count=len(gone))
        waiting = [half_open(p.port) for _ in range(10)]
    finally:
        os.kill(pid, signal.SIGCONT)
    for c in waiting:
        complete(c)


def half_open(port):
    """A client that has said hello."""
    c = context(version=V13).wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=DEADLINE), server_hostname="localhost",
                                         do_handshake_on_connect=False)
    c.setblocking(False)
    with pytest.raises(ssl.SSLWantReadError):
        c.do_handshake()
    c.settimeout(DEADLINE)
    return c


def complete(c):
    with c:
        c.do_handshake()
        says_echo(c)


@pytest.mark.parametrize("kind", ["rsa", "p256"])
def test_more_clients_at_once_than_a_message_holds(parts, leaves, kind):
    """All have said hello when the handshaker looks: it asks for all of them in one turn."""
    p = parts.proxy(parts.backend(), certificates=[leaves[kind]])
    handshaker = p.roles()["handshaker"][0]
    os.kill(handshaker, signal.SIGSTOP)
    try:
        clients = [half_open(p.port) for _ in range(100)]
    finally:
        os.kill(handshaker, signal.SIGCONT)
    for c in clients:
        complete(c)


# --- keys that are not as they should be


def refused(parts, entry):
    """The output of a start that must be refused."""
    p = parts.prepare(parts.backend(), certificates=[entry])
    p.wants_ready = False
    p.expected_status = 1
    p.start()
    assert p.wait_exit() == 1
    return "\n".join(p.lines), command("check", p.config_file)


def key_file(directory, data):
    file = directory / "bad.key"
    file.write_bytes(data)
    file.chmod(0o600)
    return str(file)


def weak():
    return rsa.generate_private_key(65537, 1024)


BAD = [
    ("of another", lambda: pem_of(new_key("p256")), "does not match"),
    ("of another kind", lambda: pem_of(new_key("rsa")), "does not match"),
    ("weak", lambda: pem_of(weak()), "found an RSA key of 1024 bits, expected 2048"),
    ("broken", lambda: pem_of(new_key("p256"))[:120], "cannot be read"),
    ("no key", lambda: b"hello\n", "found no private key, expected \"-----BEGIN PRIVATE KEY-----\""),
    ("empty", lambda: b"", "empty"),
]


@pytest.mark.parametrize("what,make,message", BAD, ids=[b[0] for b in BAD])
def test_bad_keys(parts, leaves, directory, what, make, message):
    file = key_file(directory, make())
    log, (status, out, err) = refused(parts, {"cert": leaves["p256"]["cert"], "key": file})
    assert message in log and file in log, log
    assert status == 1
    assert file in out + err, (out, err)


def test_passphrases(parts, leaves, directory):
    key = private(leaves["p256"])
    data = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.BestAvailableEncryption(b"secret"))
    file = key_file(directory, data)
    entry = {"cert": leaves["p256"]["cert"], "key": file}
    log, (status, out, err) = refused(parts, entry)
    assert f'{file}: the key is encrypted, expected passphrase = "FILE" beside it' in log
    assert status == 1 and "encrypted" in out + err

    wrong = directory / "wrong.pass"
    wrong.write_text("guess\n")
    wrong.chmod(0o600)
    log, (status, out, err) = refused(parts, {**entry, "passphrase": str(wrong)})
    assert f"{file}: the key cannot be decrypted with the passphrase in {wrong}" in log
    assert status == 1 and "decrypt" in out + err

    log, (status, out, err) = refused(parts, {**entry, "passphrase": str(directory / "none.pass")})
    assert "none.pass" in log and "No such file" in log
    assert status == 1 and "none.pass" in out + err
