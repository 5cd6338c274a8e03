"""Session tickets over several instances, restarts and services: who resumes whose sessions, and who does not."""
import os
import signal
import socket
import ssl
import stat
import subprocess

import pytest

from support.clients import V12, V13, connect, context, free_port, run, s_client, says_echo
from support.proxy import command
from support.waiting import DEADLINE, until

TICKETS = pytest.mark.parametrize("with_finished", [False, True], ids=["ticket-after", "ticket-with"])
VERSIONS = pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])


def secret_in(directory, name="ticket.secret"):
    path = directory / name
    status, _, said = command("ticket-secret", "new", path)
    assert status == 0 and not said, said
    return str(path)


def with_secret(parts, secret, **keys):
    return parts.proxy(parts.backend(), top={"tickets": {"secret_file": secret}}, **keys)


def session_of(p, ctx, name="localhost"):
    """A session to be resumed; in 1.3 the ticket comes with the first bytes."""
    with connect(p.port, ctx, name=name) as c:
        says_echo(c)
        assert not c.session_reused and c.session.has_ticket
        return c.session


def resumed(p, ctx, session, name="localhost"):
    with connect(p.port, ctx, name=name, session=session) as c:
        says_echo(c)
        return c.session_reused


@VERSIONS
def test_instances_with_one_secret_resume_each_others_sessions(parts, version):
    secret = secret_in(parts.directory)
    a, b = with_secret(parts, secret), with_secret(parts, secret)
    ctx = context(version=version)
    for first, second in ((a, b), (b, a)):
        session = session_of(first, ctx)
        assert resumed(second, ctx, session)
        assert resumed(first, ctx, session)


@VERSIONS
def test_instances_with_other_secrets_do_not(parts, version):
    a, b, c = (with_secret(parts, secret_in(parts.directory, name)) for name in ("a", "b", "c"))
    c_random = parts.proxy(parts.backend())
    ctx = context(version=version)
    session = session_of(a, ctx)
    for other in (b, c, c_random):
        assert not resumed(other, ctx, session)
    assert resumed(a, ctx, session)


@VERSIONS
def test_a_session_outlives_a_restart(parts, version):
    secret = secret_in(parts.directory)
    ctx = context(version=version)
    before = with_secret(parts, secret)
    session = session_of(before, ctx)
    before.stop()
    assert resumed(with_secret(parts, secret), ctx, session)


@VERSIONS
def test_a_session_outlives_a_reload(parts, version):
    """Even a random secret is kept by a new generation."""
    p = parts.proxy(parts.backend())
    ctx = context(version=version)
    session = session_of(p, ctx)
    p.signal(signal.SIGHUP)
    for line in ("reload done", "the supervisor runs tls-off"):
        p.wait_event("log", message=lambda m, line=line: m.startswith(line))
    assert resumed(p, ctx, session)


def test_openssl_and_gnutls_resume_at_another_instance(parts, pki):
    secret = secret_in(parts.directory)
    a, b = with_secret(parts, secret), with_secret(parts, secret)
    kept = parts.directory / "session.pem"
    for p, how, says in ((a, "-sess_out", "New, TLSv1.3"), (b, "-sess_in", "Reused, TLSv1.3")):
        c = s_client(p.port, "-tls1_3", "-servername", "localhost", how, kept)
        c.wait_for(says)
        c.send("hello\n")
        c.wait_for("hello\n")
        c.end()
    said = run("gnutls-cli", "--x509cafile", pki.ca, "--resume", "--waitresumption", "-p", a.port, "localhost", data=b"hi\n")
    assert "This is a resumed session" in said


# --- what a ticket is bound to


def two_services(parts, **second):
    """Two services on one address, distinguished by their names; the second may be stricter than the first."""
    open_cert = parts.pki.leaf("open", "p256", ["open.example.org"])
    strict_cert = parts.pki.leaf("strict", "p256", ["strict.example.org"])
    b = parts.backend()
    first = parts.service(b, certificates=[open_cert])
    port = free_port()
    first["listen"] = [f"127.0.0.1:{port}"]
    return parts.proxy(services={"open": first, "strict": {**first, "certificates": [strict_cert], **second}}), port


def resumed_at(port, ctx, session, name):
    with connect(port, ctx, name=name, session=session) as c:
        says_echo(c)
        return c.session_reused


@VERSIONS
def test_a_ticket_of_one_service_is_none_of_another_at_the_same_address(parts, version):
    p, port = two_services(parts)
    ctx = context(version=version)
    with connect(port, ctx, name="open.example.org") as c:
        says_echo(c)
        session = c.session
    assert not resumed_at(port, ctx, session, "strict.example.org")
    assert resumed_at(port, ctx, session, "open.example.org")
    p.wait_session(service="strict", resumed=False)
    p.wait_session(service="open", resumed=True)
    p.wait_session(count=3)
    assert not p.events("session", service="strict", resumed=True)


@VERSIONS
def test_a_ticket_of_one_name_is_none_of_another_of_the_same_service(parts, version):
    b = parts.backend()
    certificate = parts.pki.leaf("names", "p256", ["a.example.org", "b.example.org"])
    p = parts.proxy(b, certificates=[certificate])
    ctx = context(version=version)
    session = session_of(p, ctx, "a.example.org")
    assert not resumed(p, ctx, session, "b.example.org")
    assert resumed(p, ctx, session, "a.example.org")


def test_early_data_is_never_offered(parts):
    """0-RTT data can be replayed: a ticket that allowed it would contain the limit."""
    p = parts.proxy(parts.backend())
    kept = parts.directory / "session.pem"
    c = s_client(p.port, "-tls1_3", "-sess_out", kept)
    c.wait_for("Verify return code")
    c.send("hello\n")
    c.wait_for("hello\n")
    _, said = c.end()
    assert "Max Early Data: 0" in said
    text = subprocess.run(["openssl", "sess_id", "-in", kept, "-noout", "-text"], capture_output=True, text=True, check=True).stdout
    assert "Max Early Data: 0" in text


# --- the command and the key


def test_a_secret_is_made_for_its_owner_alone_and_never_overwritten(parts):
    path = parts.directory / "t.secret"
    secret = secret_in(parts.directory, "t.secret")
    assert stat.S_IMODE(os.stat(secret).st_mode) == 0o600
    before = path.read_bytes()
    assert len(before) == 64
    status, _, said = command("ticket-secret", "new", path)
    assert status == 1 and "File exists" in said and "never overwritten" in said
    assert path.read_bytes() == before
    assert secret_in(parts.directory, "other") and (parts.directory / "other").read_bytes() != before


@pytest.mark.parametrize("arguments", [[], ["new"], ["make", "x"], ["new", "a", "b"], ["new", "--force"]])
def test_wrong_usage_of_the_command(parts, arguments):
    status, _, said = command("ticket-secret", *arguments, cwd=parts.directory)
    assert status == 2 and "usage:" in said
    assert not list(parts.directory.glob("[ab]"))


def test_the_command_helps():
    status, said, _ = command("ticket-secret", "--help")
    assert status == 0 and "usage: tls-off ticket-secret new FILE" in said


@pytest.mark.parametrize("make,says", [
    (lambda f: None, "cannot be opened: No such file or directory"),
    (lambda f: f.write_bytes(os.urandom(31)), "found 31 bytes, expected 32 to 4096 random bytes"),
    (lambda f: f.mkdir(), "found a directory, expected 32 to 4096 random bytes"),
    (lambda f: f.write_bytes(b"x" * 64), "found one byte over and over"),
    (lambda f: (f.write_bytes(os.urandom(64)), f.chmod(0o644)), "found mode 644, expected 600"),
], ids=["missing", "short", "directory", "placeholder", "mode"])
def test_a_bad_secret_is_refused_by_check_and_by_run(parts, make, says):
    secret = parts.directory / "t.secret"
    make(secret)
    if secret.is_file() and "mode" not in says:
        secret.chmod(0o600)
    p = parts.prepare(parts.backend(), top={"tickets": {"secret_file": str(secret)}})
    status, _, said = command("check", p.config_file)
    assert status == 1 and says in said and "tickets.secret_file" in said, said
    p.wants_ready = False
    p.expected_status = 1
    p.start()
    p.wait_exit()
    assert says in p.text()


PATHS = pytest.mark.parametrize("handshake", ["libssl", "auto"])


def fleet(parts, n, handshake, **tickets):
    """Instances that each have a directory of their own for the files of their secrets."""
    return [parts.proxy(parts.backend(), top={"tickets": tickets, "handshake": handshake}) for _ in range(n)]


@PATHS
@VERSIONS
def test_a_fleet_changes_its_secret_without_losing_a_resumption(parts, version, handshake):
    """Add the new one as the second everywhere, make it the first, drop the old one: instance by instance, by reloads."""
    old, new = secret_in(parts.directory, "old"), secret_in(parts.directory, "new")
    instances = fleet(parts, 3, handshake, secret_files=[old])
    ctx = context(version=version)
    sessions = [session_of(p, ctx) for p in instances]

    def all_resume():
        for i, p in enumerate(instances):
            for session in sessions:
                assert resumed(p, ctx, session), f"at instance {i}"

    for step, (before, after) in enumerate((([old], [old, new]), ([old, new], [new, old]), ([new, old], [new]))):
        for p in instances:
            text = p.config_file.read_text()
            written = "secret_files = [" + ", ".join(f'"{f}"' for f in before) + "]"
            assert written in text
            p.config_file.write_text(text.replace(written, "secret_files = [" + ", ".join(f'"{f}"' for f in after) + "]"))
            assert command("reload", "--admin", p.admin_socket)[0] == 0
            all_resume()
            sessions.append(session_of(p, ctx))
            all_resume()
        if step == 1:  # an hour later: what was sealed with the old secret has expired
            sessions = [session_of(p, ctx) for p in instances]
    strangers = fleet(parts, 1, handshake, secret_files=[old])[0]
    assert not resumed(strangers, ctx, sessions[-1])


@PATHS
@VERSIONS
def test_secrets_that_change_in_their_files(parts, version, handshake):
    """The same by the watcher: the files change places, nothing is reloaded."""
    first, second = parts.directory / "first", parts.directory / "second"
    first.write_bytes(os.urandom(64))
    second.write_bytes(os.urandom(64))
    for f in (first, second):
        f.chmod(0o600)
    p, = fleet(parts, 1, handshake, secret_files=[str(first), str(second)])
    ctx = context(version=version)
    session = session_of(p, ctx)
    spare = parts.directory / "spare"
    first.rename(spare)  # for a moment one is missing: those in use stay
    p.wait_event("log", message=lambda m: "cannot be opened" in m and "first" in m)
    assert resumed(p, ctx, session)
    second.rename(first)
    spare.rename(second)
    p.wait_event("log", message=lambda m: m.startswith("ticket secrets changed"))
    assert resumed(p, ctx, session)
    newer = session_of(p, ctx)
    second.write_bytes(os.urandom(64))
    p.wait_event("log", count=2, message=lambda m: m.startswith("ticket secrets changed"))
    until(lambda: not resumed(p, ctx, session), "the older secret is gone")
    assert resumed(p, ctx, newer)


@pytest.mark.parametrize("keys, says", [
    ('secret_file = "a"\nsecret_files = ["a"]', "one of secret_file and secret_files"),
    ('secret_files = []', "at least one file"), ('secret_files = ["a", "a"]', "each item once"), ('secret_files = [1]', "a string"),
    ('secret_files = ["a", "missing"]', "cannot be opened: No such file"),
    ("secret_files = [" + ", ".join(f'"{i}"' for i in range(9)) + "]", "at most 8"),
])
def test_check_of_secret_files(parts, keys, says):
    secret_in(parts.directory, "a")
    file = parts.directory / "c.toml"
    file.write_text(f'state_dir = "."\n[tickets]\n{keys}\n[service.web]\nlisten = ["127.0.0.1:0"]\nbackends = ["unix:/a"]\n')
    status, out, err = command("check", file)
    assert status == 1 and says in out + err, out + err


# --- clients that do not read tickets


@TICKETS
def test_python_resumes_with_each_ticket(parts, with_finished):
    p = parts.proxy(parts.backend(), top={"handshake": "auto", "tickets": {"with_finished": with_finished}})
    ctx = context(version=V13)
    session = session_of(p, ctx)
    for _ in range(3):
        with connect(p.port, ctx, session=session) as c:
            says_echo(c)
            assert c.session_reused
            session = c.session


def finished_and_request(port, request):
    """A connection whose client has all of its flight and a request to send, in one piece; nothing is read behind our Finished."""
    s = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    o = context(version=V13).wrap_bio(incoming, outgoing, server_hostname="localhost")
    done = False
    while not done:
        try:
            o.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            s.sendall(outgoing.read())
            incoming.write(s.recv(65536))
    o.write(request)
    try:
        o.unwrap()
    except ssl.SSLError:
        pass  # close_notify is written, the other side's is not waited for
    return s, outgoing.read()


@pytest.mark.parametrize("end", ["close", "half-close", "reset-on-answer"])
@TICKETS
def test_a_client_that_never_reads_loses_nothing(parts, with_finished, end):
    """Finished, request, close_notify and the end in one go: the backend gets every request, whatever became of the ticket."""
    n, seen = 100, []

    def backend(c):
        data = bytearray()
        while piece := c.recv(65536):
            data += piece
        seen.append(bytes(data))

    p = parts.proxy(parts.backend(backend), top={"handshake": "auto", "tickets": {"with_finished": with_finished}})
    wanted = [b"request %d " % i + bytes(1000) for i in range(n)]
    for request in wanted:
        s, said = finished_and_request(p.port, request)
        if end == "reset-on-answer":  # unread bytes in a socket that is closed: its end is a reset
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        s.sendall(said)
        if end == "half-close":
            s.shutdown(socket.SHUT_WR)
            s.recv(1)
        s.close()
    until(lambda: len(seen) == n, lambda: f"{len(seen)} of {n} requests")
    assert sorted(seen) == sorted(wanted)
