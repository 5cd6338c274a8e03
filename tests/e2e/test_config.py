"""Configuration and commands: every error is reported plainly, all at once, and nothing is half-started."""
import getpass
import json
import re
import socket
import stat
import subprocess

import pytest

from support import clients, toml
from support.clients import context, says_echo
from support.proxy import BINARY, Proxy, command, configuration


@pytest.fixture
def good(parts):
    return configuration(parts.directory, {"web": parts.service("unix:/nowhere/app.sock")})


def check(parts, config):
    """(status, all output)"""
    file = parts.directory / "config.toml"
    file.write_text(config if isinstance(config, str) else toml.dumps(config))
    status, out, err = command("check", file)
    return status, out + err


def test_check_of_a_good_file(parts, good):
    status, said = check(parts, good)
    assert status == 0, said


def broken(good, path, value):
    """GOOD with one value changed; the path is dotted."""
    *tables, key = path.split(".")
    table = good
    for t in tables:
        table = table.setdefault(t, {})
    table[key] = value
    return good


@pytest.mark.parametrize("path,value,says", [
    ("workers", "two", r"workers: found .*two.*expected"),
    ("workers", -1, r"workers: found -1, expected"),
    ("workers", 100000, r"workers: found 100000, expected"),
    ("wrokers", 1, r"wrokers.*\"?workers\"?"),
    ("log.format", "xml", r"log\.format: found .*xml.*json"),
    ("log.level", 3, r"log\.level: found 3, expected"),
    ("service.web.balance", "fastest", r'service\.web\.balance: found "fastest", expected .*"least-sessions".*"round-robin".*"client-hash"'),
    ("service.web.balanse", "round-robin", r"service\.web\.balanse.*balance"),
    ("service.web.listen", [], r"service\.web\.listen"),
    ("service.web.listen", ["127.0.0.1"], r"service\.web\.listen.*127\.0\.0\.1"),
    ("service.web.listen", ["127.0.0.1:99999"], r"service\.web\.listen.*99999"),
    ("service.web.backends", ["http://x"], r"service\.web\.backends.*http://x"),
    ("service.web.backends", [], r"service\.web\.backends"),
    ("service.web.backends", ["unix:/" + "x" * 120], r"service\.web\.backends"),
    ("service.web.certificates", [{"cert": "nowhere.pem", "key": "nowhere.key"}], r"nowhere\.pem"),
    ("service.web.certificates", ["no-such-directory/"], r"no-such-directory"),
    ("service.web.min_version", "1.1", r'service\.web\.min_version: found "1\.1", expected .*"1\.2".*"1\.3"'),
    ("service.web.cipher_suites", ["TLS_RSA_WITH_AES_128_CBC_SHA"], r"service\.web\.cipher_suites.*TLS_RSA_WITH_AES_128_CBC_SHA"),
    ("service.web.groups", ["secp999r9"], r"service\.web\.groups.*secp999r9"),
    ("service.web.alpn", [""], r"service\.web\.alpn"),
    ("service.web.alpn", ["x" * 256], r"service\.web\.alpn"),
    ("service.web.strict_sni", "yes", r"service\.web\.strict_sni"),
    ("service.web.timeouts.idle", "soon", r"service\.web\.timeouts\.idle: found \"soon\", expected"),
    ("service.web.timeouts.idle", 10, r"service\.web\.timeouts\.idle: found 10, expected"),
    ("service.web.limits.sessions", -5, r"service\.web\.limits\.sessions: found -5, expected"),
    ("service.web.proxy_protocol.tlvs", ["colour"], r"service\.web\.proxy_protocol\.tlvs.*colour"),
    ("service.web.proxy_protocol.trust", ["10.0.0.1/8"], r"service\.web\.proxy_protocol\.trust.*10\.0\.0\.1/8"),
    ("service.web.proxy_protocol.accept", "required", r"service\.web\.proxy_protocol"),
    ("service.web.limits.bytes_per_second_per_client", 5, r"bytes_per_second_per_client.*1024"),
    ("service.web.mode", "passthru", r"service\.web\.mode.*passthrough"),
])
def test_check_names_line_column_key_and_what_was_expected(parts, good, path, value, says):
    status, said = check(parts, broken(good, path, value))
    assert status == 1, said
    assert re.search(r"config\.toml:\d+:\d+: ", said), said
    assert re.search(says, said), said


def test_line_and_column_are_right(parts, good):
    text = toml.dumps(good)
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("format"))
    lines[at] = "   format = 'xml'"
    status, said = check(parts, "\n".join(lines) + "\n")
    assert status == 1
    assert f"config.toml:{at + 1}:13: log.format" in said, said


def test_everything_wrong_is_said_at_once(parts, good):
    for path, value in (("workers", -1), ("log.format", "xml"), ("service.web.balance", "fastest"), ("service.web.timeouts.idle", "soon"),
                        ("service.web.certificates", [{"cert": "nowhere.pem", "key": "nowhere.key"}])):
        broken(good, path, value)
    status, said = check(parts, good)
    assert status == 1
    for key in ("workers", "log.format", "service.web.balance", "service.web.timeouts.idle", "nowhere.pem"):
        assert key in said, said


def test_no_toml(parts):
    status, said = check(parts, "workers = = 1\n")
    assert status == 1 and re.search(r"config\.toml:1:\d+", said)


def test_missing_file(parts):
    status, out, err = command("check", parts.directory / "absent.toml")
    assert status == 1 and "absent.toml" in out + err


def test_empty_file(parts):
    status, said = check(parts, "")
    assert status == 1 and "service" in said


def test_key_of_another_certificate(parts, pki, good):
    mixed = {"cert": pki.ecdsa["cert"], "key": pki.rsa["key"]}
    status, said = check(parts, broken(good, "service.web.certificates", [mixed]))
    assert status == 1 and pki.rsa["key"] in said and "match" in said


def test_certificate_that_is_none(parts, pki, good):
    file = parts.directory / "noise.pem"
    file.write_text("noise\n")
    status, said = check(parts, broken(good, "service.web.certificates", [{"cert": str(file), "key": pki.ecdsa["key"]}]))
    assert status == 1 and "noise.pem" in said


def test_relative_names_are_relative_to_the_file(parts, pki, good):
    for name, content in (("c.pem", open(pki.ecdsa["cert"]).read()), ("c.key", open(pki.ecdsa["key"]).read())):
        (parts.directory / name).write_text(content)
    status, said = check(parts, broken(good, "service.web.certificates", [{"cert": "c.pem", "key": "c.key"}]))
    assert status == 0, said


def test_expired_certificate_is_a_warning(parts, pki, good):
    old = pki.leaf("expired", "p256", ["old.test"], days=-10)
    status, said = check(parts, broken(good, "service.web.certificates", [old]))
    assert status == 0 and "expired" in said


# --- run


def starts_nothing(parts, config, status=1):
    p = Proxy(parts.directory / "bad", config, ready=False)
    p.start()
    assert p.wait_exit() == status, p.text()
    p.check_faults()
    assert "listening on" not in p.text()
    return p.text()


def test_run_with_a_broken_file(parts, good):
    said = starts_nothing(parts, broken(good, "service.web.balance", "fastest"))
    assert re.search(r'config\.toml:\d+:\d+: service\.web\.balance: found "fastest"', said)


def test_run_with_a_missing_file(parts):
    p = Proxy(parts.directory / "bad", arguments=["run", str(parts.directory / "absent.toml")], ready=False).start()
    assert p.wait_exit() == 1 and "absent.toml" in p.text()


def test_port_in_use(parts, good):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        said = starts_nothing(parts, broken(good, "service.web.listen", [f"127.0.0.1:{port}"]))
    assert f"127.0.0.1:{port}" in said and "in use" in said.lower()


def test_address_that_is_not_ours(parts, good):
    said = starts_nothing(parts, broken(good, "service.web.listen", ["192.0.2.1:8443"]))
    assert "192.0.2.1:8443" in said


def test_log_file_that_cannot_be_written(parts, good):
    said = starts_nothing(parts, broken(good, "log.target", str(parts.directory / "absent" / "file.log")))
    assert "file.log" in said


def test_user_that_does_not_exist(parts, good):
    if getpass.getuser() != "root":
        pytest.skip("the key is used by root only")
    said = starts_nothing(parts, broken(good, "user", "no-such-user"))
    assert "no-such-user" in said


# --- command line


def test_check_in_json(directory):
    file = directory / "config.toml"
    file.write_text('[service.web]\nlisten = ["127.0.0.1:0"]\nbackends = ["unix:/x"]\nbalance = "fastest"\n')
    status, out, err = command("check", file, "--json")
    found = json.loads(out)
    assert status == 1 and not err and found["file"] == str(file) and found["valid"] is False
    assert found["errors"] == [{"place": f"{file}:4:11", "key": "service.web.balance",
                                "text": 'found "fastest", expected "least-sessions", "round-robin" or "client-hash"'}]
    file.write_text('[service.web]\nlisten = ["127.0.0.1:0"]\nbackends = ["unix:/x"]\n')
    status, out, err = command("check", "--json", "-c", file)
    found = json.loads(out)
    assert status == 0 and found["valid"] is True and found["errors"] == []
    assert any(w["key"] == "service.web.certificates" for w in found["warnings"])
    file.write_text("[service.web\n")
    assert json.loads(command("check", file, "--json")[1])["errors"][0]["place"].startswith(f"{file}:1:")
    absent = json.loads(command("check", directory / "absent", "--json")[1])
    assert absent["errors"] == [{"place": str(directory / "absent"), "text": "cannot be read: No such file or directory"}]


def test_explanation_of_a_broken_file_in_json(directory):
    """One line, whatever becomes of the question."""
    file = directory / "config.toml"
    file.write_text('[service.web]\nlisten = ["127.0.0.1:8443"]\nbackends = ["unix:/x"]\ncolour = 1\n')
    status, out, _ = command("check", file, "--explain", "127.0.0.1:8443", "--json")
    said = json.loads(out)
    assert status == 1 and said["valid"] is False and [e["key"] for e in said["errors"]] == ["service.web.colour"] and out.count("\n") == 1
    file.write_text(file.read_text().replace("colour = 1\n", ""))
    status, out, err = command("check", file, "--explain", "127.0.0.1:8443", "--json")
    assert status == 0 and json.loads(out)["service"] == "web" and "warning: service.web.certificates" in err


def test_explanation_of_a_service_without_certificates(directory):
    """It has one, self-signed, when it runs."""
    file = directory / "config.toml"
    state = directory / "state"
    text = f'state_dir = "{state}"\n[service.web]\nlisten = ["127.0.0.1:8443"]\nbackends = ["unix:/x"]\n'

    def certificate(more=""):
        file.write_text(text + more)
        out, said = (command("check", file, "--explain", "127.0.0.1:8443", *json_too)[1] for json_too in ([], ["--json"]))
        return re.search("^certificate: +(.*)$", out, re.M).group(1), json.loads(said)["certificate"]
    assert certificate() == (f"{state}/self-signed.crt: self-signed", f"{state}/self-signed.crt")
    issuer = '[acme.issuer.le]\ndirectory = "https://x/"\nterms_accepted = true\n'
    assert certificate('acme = { issuers = ["le"], names = ["a.example"] }\n' + issuer) == ("self-signed, until one from an issuer is there", None)
    assert certificate('mode = "passthrough"\n') == ("none: not decrypted here", None)


def test_check_reads_standard_input(directory):
    def check(text):
        done = subprocess.run([BINARY, "check", "-"], input=text, capture_output=True, text=True, cwd=directory)
        return done.returncode, done.stdout, done.stderr
    text = '[service.web]\nlisten = ["127.0.0.1:0"]\nbackends = ["unix:/x"]\n'
    assert check(text)[:2] == (0, "-: ok\n")
    (directory / "secret").write_bytes(bytes(range(64)))
    (directory / "secret").chmod(0o600)
    assert check(text + '[tickets]\nsecret_file = "secret"\n')[0] == 0  # names start from here
    status, _, err = check(text + "colour = 1\n")
    assert status == 1 and err.startswith("-:4:1: service.web.colour: ")
    assert check("")[0] == 1


def test_standard_input_that_has_no_name(directory):
    """Descriptor 0 is read as it stands: a socket cannot be opened again, and is what some programs give their children."""
    conf = '[service.web]\nlisten = ["127.0.0.1:0"]\nbackends = ["unix:/x"]\n'
    hitch = 'frontend = "[127.0.0.1]:8443"\nbackend = "[127.0.0.1]:80"\npem-file = "/x.pem"\n'
    for arguments, text, said in ((["check", "-"], conf, "-: ok\n"), (["convert", "hitch", "-"], hitch, "[service.")):
        ours, its = socket.socketpair()
        with ours, its:
            ours.sendall(text.encode())
            ours.shutdown(socket.SHUT_WR)
            done = subprocess.run([BINARY, *arguments], stdin=its, capture_output=True, text=True, cwd=directory)
        assert said in done.stdout, done.stdout + done.stderr


def test_the_configuration_as_a_flag(directory):
    file = directory / "config.toml"
    file.write_text('[service.web]\nlisten = ["127.0.0.1:0"]\nbackends = ["unix:/x"]\n')
    for flag in ("-c", "--config"):
        assert command("check", flag, file)[0] == 0
    for wrong in (["check", "-c"], ["check", file, "-c", file], ["run", "-c"], ["run", file, "-c", file], ["run", "-c", file, file]):
        assert command(*wrong)[0] == 2


@pytest.mark.parametrize("arguments", [["run", "--colour"], ["fly"], ["check"], ["run"], ["check", "a", "b"], ["run", "a.toml", "--backend", "unix:/x"],
                                       ["run", "--listen", "127.0.0.1:0"], ["run", "a.toml", "--ready-fd", "many"], []])
def test_usage(arguments):
    status, out, err = command(*arguments)
    assert status == 2, out + err
    assert "usage" in err.lower() or "expected" in err


def test_a_command_line_that_is_too_long():
    status, _, err = command("run", "x" * 40000)
    assert status == 1 and "the command line is too long: expected at most 32768 bytes in all" in err


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["check", "--help"], ["version", "--help"]])
def test_help(arguments):
    status, out, _ = command(*arguments)
    assert status == 0 and "usage" in out.lower()


@pytest.mark.parametrize("word", ["version", "--version"])
def test_version(word):
    status, out, _ = command(word)
    assert status == 0 and re.search(r"\d+\.\d+\.\d+", out)


@pytest.mark.parametrize("role", ["relay", "handshaker", "observer", "supervisor", "resolver", "config", "nonsense"])
def test_a_role_started_by_hand_says_no(role):
    status, out, err = command("--role", role, "--index", "0")
    assert status not in (0, -6, -11), (status, out, err)


def test_shortest_use(parts):
    b = parts.backend()
    p = Proxy(parts.directory / "short", arguments=["run", "--listen", "127.0.0.1:0", "--backend", b.url],
              environment={"XDG_STATE_HOME": str(parts.directory / "state"), "HOME": str(parts.directory)})
    parts.proxies.append(p)
    p.start()
    port = int(p.wait_text(r"listening on 127\.0\.0\.1:(\d+) for").group(1))
    assert p.wait_text(r"(?i)self-(signed|made)")
    with clients.connect(port) as c:
        says_echo(c)
        c.unwrap()
    keys = list(parts.directory.rglob("*.key")) + list(parts.directory.rglob("self-signed.key"))
    if getpass.getuser() != "root":  # root keeps it in /var/lib
        assert keys
    for key in keys:
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_self_signed_certificate_is_kept(parts, good):
    b = parts.backend()
    state = parts.directory / "state"
    seen = set()
    for i in range(2):
        service = {"listen": ["127.0.0.1:0"], "backends": [b.url]}
        p = Proxy(parts.directory / f"p{i}", configuration(parts.directory, {"web": service}, state_dir=str(state)))
        parts.proxies.append(p)
        p.start()
        with clients.connect(p.port) as c:
            seen.add(c.getpeercert(binary_form=True))
            says_echo(c)
            c.unwrap()
        p.stop()
    assert len(seen) == 1
    ctx = context()
    ctx.load_verify_locations(str(next(state.rglob("self-signed.crt"))))


def test_run_is_the_default_for_a_file(parts):
    p = parts.prepare(parts.backend())
    p.arguments = [str(p.config_file)]
    p.start()
    with clients.connect(p.port) as c:
        says_echo(c)
