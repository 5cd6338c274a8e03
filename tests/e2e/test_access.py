"""Access lists: who may come in, by lists in the configuration and in files that change while the proxy runs."""
import pathlib
import socket
import threading

import pytest

from support import clients, proxy_header
from support.clients import connect, says_echo
from support.proxy import command
from support.waiting import until
from test_reload import rewrite


def is_admitted(port, source):
    try:
        with connect(port, source=source) as c:
            says_echo(c)
        return True
    except OSError:
        return False


def lists(p):
    return {entry["list"]: entry for entry in p.admin.json("/status.json")["access"]}


def reload(p):
    return command("reload", "--admin", p.admin_socket)


def put(path, text):
    """As a careful writer does it: the list is whole at every moment."""
    new = pathlib.Path(str(path) + ".new")
    new.write_text(text)
    new.rename(path)


def test_inline_lists_and_the_most_specific_entry(parts):
    access = {"allow": ["127.0.0.0/28", "127.0.1.9"], "deny": ["127.0.0.8/29", "127.0.1.9"]}
    p = parts.proxy(parts.backend(), access=access)
    assert is_admitted(p.port, "127.0.0.5")
    assert not is_admitted(p.port, "127.0.0.9")
    e = p.wait_failure("access_denied", client=lambda c: c.startswith("127.0.0.9"))
    assert "by service.web.access.deny" in e["detail"]
    assert not is_admitted(p.port, "127.0.1.9"), "equally specific: deny"
    assert not is_admitted(p.port, "127.0.3.1"), "there is an allow list, and it is not in it"
    assert "by none" in p.wait_failure("access_denied", client=lambda c: c.startswith("127.0.3.1"))["detail"]
    assert until(lambda: lists(p)["service.web.access.deny"]["denied"] == 2 and lists(p)["service.web.access.allow"]["admitted"] == 1,
                 lambda: f"counts in {lists(p)}")
    metrics = p.admin.ask("/metrics").text
    assert 'tls_off_access_clients_total{service="web",list="service.web.access.deny",verdict="denied"} 2' in metrics
    assert 'tls_off_access_list_networks{list="service.web.access.allow"} 2' in metrics


def test_a_refused_client_needs_to_send_nothing(parts):
    p = parts.proxy(parts.backend(), access={"deny": ["127.0.0.9"]})
    with socket.create_connection(("127.0.0.1", p.port), source_address=("127.0.0.9", 0)) as c:
        c.settimeout(20)
        assert c.recv(1) == b""


def test_a_list_that_changes_under_load(parts, tmp_path):
    """The list changes again and again; clients that no version of it names are served all the time."""
    bad = tmp_path / "bad.txt"
    bad.write_text("# nobody\r\n")
    p = parts.proxy(parts.backend(), access={"deny": [str(bad)]})
    assert is_admitted(p.port, "127.0.0.9")
    failures, stop = [], threading.Event()

    def load():
        while not stop.is_set():
            if not is_admitted(p.port, "127.0.0.5"):
                failures.append(1)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for n in (1, 2):
            put(bad, "".join(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}\n" for i in range(20000 * n)) + "127.0.0.9 ; why\r\n")
            until(lambda: not is_admitted(p.port, "127.0.0.9"), "the list in force")
            put(bad, "127.0.0.8\n")
            until(lambda: is_admitted(p.port, "127.0.0.9"), "the next list in force")
    finally:
        stop.set()
        thread.join()
    assert not failures
    assert not is_admitted(p.port, "127.0.0.8")


def test_bad_lines_are_named_and_the_rest_is_in_force(parts, tmp_path):
    bad = tmp_path / "bad.txt"
    bad.write_text("127.0.0.9\n\n127.0.0.300\n127.0.0.10\n127.0.0.1/8\n")
    p = parts.proxy(parts.backend(), access={"deny": [str(bad)]})
    p.wait_text(r'bad\.txt:3: found \S*127\.0\.0\.300')
    p.wait_text(r"bad\.txt:5: .*zero bits behind the prefix")
    assert not is_admitted(p.port, "127.0.0.9") and not is_admitted(p.port, "127.0.0.10")
    assert is_admitted(p.port, "127.0.0.11")
    assert lists(p)[str(bad)]["bad_lines"] == 2 and lists(p)[str(bad)]["networks"] == 2
    put(bad, "x\n" * 1000 + "127.0.0.11\n")
    until(lambda: not is_admitted(p.port, "127.0.0.11"), "the list in force")
    p.wait_text(r"bad\.txt: 995 more bad lines are not in force")


def test_a_million_lines_with_one_bad(parts, tmp_path):
    """At the start, and when it changes under the proxy: the line is named, all others are in force."""
    lines = [f"{10 + i // 65536 % 40}.{i // 256 % 256}.{i % 256}.{128 + i // 2621440}" for i in range(1_000_000)]
    lines[777_776] = "10.0.0.0/33"
    lines[999_999] = "127.0.0.9"
    big = tmp_path / "big.txt"
    big.write_text("\n".join(lines) + "\n")
    p = parts.proxy(parts.backend(), access={"deny": [str(big)]})
    p.wait_text(r"big\.txt:777777: found \S*10\.0\.0\.0/33")
    assert lists(p)[str(big)]["bad_lines"] == 1 and lists(p)[str(big)]["networks"] == 999_999
    assert not is_admitted(p.port, "127.0.0.9") and is_admitted(p.port, "127.0.0.10")
    lines[999_999], lines[0] = "127.0.0.10", "what is that"
    with connect(p.port, source="127.0.0.11") as held:
        put(big, "\n".join(lines) + "\n")
        until(lambda: not is_admitted(p.port, "127.0.0.10"), "the new list in force")
        says_echo(held)
    assert is_admitted(p.port, "127.0.0.9")
    p.wait_text(r"big\.txt:1: found \S*what is that")
    assert lists(p)[str(big)]["bad_lines"] == 2


def test_a_list_that_vanishes_stays_in_force_and_others_go_on(parts, tmp_path):
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    one.write_text("127.0.0.9\n")
    two.write_text("127.0.0.10\n")
    p = parts.proxy(parts.backend(), access={"deny": [str(one), str(two)]})
    one.unlink()
    p.wait_text(r"one\.txt\S* cannot be opened: No such file or directory; the 1 networks that it had stay in force")
    assert not is_admitted(p.port, "127.0.0.9")
    status = until(lambda: [s for s in [p.admin.json("/status.json")] if s["degraded"]], "degraded")[0]
    assert any("one.txt cannot be read" in line for line in status["degraded"])
    assert lists(p)[str(one)]["failing_since"] > 0 and "failing_since" not in lists(p)[str(two)]
    put(two, "127.0.0.11\n")
    until(lambda: not is_admitted(p.port, "127.0.0.11"), "the other list's change")
    assert is_admitted(p.port, "127.0.0.10") and not is_admitted(p.port, "127.0.0.9")
    one.mkdir()  # unreadable in another way
    until(lambda: "failing_since" in lists(p)[str(one)], "still failing")
    one.rmdir()
    put(one, "127.0.0.12\n")
    until(lambda: not is_admitted(p.port, "127.0.0.12"), "the list is back")
    assert is_admitted(p.port, "127.0.0.9")
    assert not p.admin.json("/status.json")["degraded"]


def test_lists_over_a_reload_and_new_code(parts, tmp_path):
    bad = tmp_path / "bad.txt"
    bad.write_text("127.0.0.9\n")
    p = parts.proxy(parts.backend(), access={"deny": [str(bad)]})
    assert not is_admitted(p.port, "127.0.0.9")
    config = p.config_file.read_text()
    p.config_file.write_text(config.replace('deny = ["', 'allow = ["127.0.0.0/24"]\ndeny = ["'))
    assert reload(p)[0] == 0
    until(lambda: not is_admitted(p.port, "127.0.1.1"), "the new key")
    assert is_admitted(p.port, "127.0.0.5") and not is_admitted(p.port, "127.0.0.9")
    put(bad, "127.0.0.10\n")
    until(lambda: is_admitted(p.port, "127.0.0.9"), "the supervisor still watches")
    bad.unlink()
    p.wait_text(r"bad\.txt\S* cannot be opened")
    status, out, err = reload(p)
    assert status == 1 and "bad.txt" in out + err
    assert not is_admitted(p.port, "127.0.0.10")


def test_the_real_client_behind_a_load_balancer(parts):
    p = parts.proxy(parts.backend(), access={"allow": ["192.0.2.0/24"]},
                    proxy_protocol={"accept": "required", "trust": ["127.0.0.1"]})

    def comes_in(header):
        with socket.create_connection(("127.0.0.1", p.port)) as raw:
            raw.sendall(header)
            try:
                with clients.context().wrap_socket(raw, server_hostname="localhost") as c:
                    says_echo(c)
                return True
            except OSError:
                return False

    assert comes_in(b"PROXY TCP4 192.0.2.7 198.51.100.1 4000 443\r\n")
    assert not comes_in(b"PROXY TCP4 203.0.113.7 198.51.100.1 4000 443\r\n")
    e = p.wait_failure("access_denied")
    assert e["client"].startswith("203.0.113.7")
    assert comes_in(b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 4000 443\r\n"), "mapped addresses are IPv4"
    assert not comes_in(b"PROXY UNKNOWN\r\n"), "the load balancer's own address, which no list has"


def test_services_of_one_listener_judge_for_themselves(parts, pki):
    """127.0.0.9 is refused by both: before it says anything. 127.0.0.10 only where the list of that service has it."""
    port = clients.free_port()
    services = {}
    for name, denied in (("web", ["127.0.0.9"]), ("api", ["127.0.0.9", "127.0.0.10"])):
        certificate = pki.leaf(f"access-{name}", "p256", [f"{name}.test"])
        services[name] = {**parts.service(parts.backend(), certificates=[certificate], access={"deny": denied}),
                          "listen": [f"127.0.0.1:{port}"]}
    p = parts.proxy(services=services)

    def comes_in(source, name):
        try:
            with connect(port, clients.context(), name=name, source=source) as c:
                says_echo(c)
            return True
        except OSError:
            return False

    assert comes_in("127.0.0.5", "web.test") and comes_in("127.0.0.5", "api.test")
    assert comes_in("127.0.0.10", "web.test") and not comes_in("127.0.0.10", "api.test")
    assert p.wait_failure("access_denied")["service"] == "api"
    with socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.9", 0)) as c:
        c.settimeout(20)
        assert c.recv(1) == b""


def check(tmp_path, text):
    file = tmp_path / "config.toml"
    file.write_text(f'state_dir = "{tmp_path}"\n[service.web]\nlisten = ["127.0.0.1:0"]\nbackends = ["unix:/a"]\n' + text)
    status, out, err = command("check", file)
    return status, out + err


@pytest.mark.parametrize("entry, says", [
    ("192.0.2.1/24", "zero bits behind the prefix"), ("192.0.2.300", "expected an address"), ("fe80::1%eth0", "without a scope"),
    ("missing.txt", "cannot be opened: No such file"), ("/etc", "found a directory"), ("/dev/zero", "found a device"), ("", "expected an address"),
])
def test_check_names_what_is_wrong(tmp_path, entry, says):
    status, text = check(tmp_path, f'[service.web.access]\nallow = ["10.0.0.0/8", "{entry}"]\n')
    assert status == 1 and says in text and "config.toml:6:24: service.web.access.allow" in text, text


def test_check_warns_of_bad_lines(tmp_path):
    (tmp_path / "list.txt").write_text("10.0.0.0/8\nx\n")
    status, text = check(tmp_path, '[service.web.access]\ndeny = ["list.txt"]\n')
    assert status == 0 and "list.txt:2: found \"x\"" in text


def test_too_many_lists(tmp_path):
    for i in range(17):
        (tmp_path / f"{i}.txt").write_text("")
    names = ", ".join(f'"{i}.txt"' for i in range(17))
    status, text = check(tmp_path, f"[service.web.access]\ndeny = [{names}]\n")
    assert status == 1 and "more than 16 lists" in text


# --- fingerprints


def says(port, ctx):
    """Whether such a client is served."""
    try:
        with connect(port, ctx) as c:
            says_echo(c)
            c.unwrap()
        return True
    except OSError:
        return False


@pytest.mark.parametrize("mode", ["terminate", "passthrough"])
def test_a_fingerprint_is_denied(parts, mode):
    """What the log shows can be denied, whole or in part; another client of the same address still comes in."""
    old, new = clients.context(version=clients.V12), clients.context(version=clients.V13)
    app = parts.proxy(parts.backend())
    keys = {} if mode == "terminate" else {"mode": mode, "certificates": [], "names": ["localhost"]}
    p = parts.proxy(f"tcp:127.0.0.1:{app.port}", **keys) if keys else parts.proxy(parts.backend())
    assert says(p.port, old) and says(p.port, new)
    seen = p.wait_session(ja4=lambda j: j.startswith("t12")), p.wait_session(ja4=lambda j: j.startswith("t13"))
    a, b, c = seen[0]["ja4"].split("_")
    for number, patterns in enumerate([[f"{a}_{b}_{c}"], [f"t12*_{b}_*"], ["t00*_*_*", f"*_{b}_{c[:-1]}*"], [f"t12*_{'0' * 12}_*"]], 1):
        rewrite(p, lambda t, x=patterns: t["service"]["web"].update(access={"deny_ja4": x}))
        assert reload(p)[0] == 0
        assert says(p.port, new)
        assert says(p.port, old) == (number == 4)
        if number < 4:
            assert f"by {patterns[-1]}" in p.wait_failure("ja4_denied", count=number, service="web")["detail"]
    failed = p.admin.json("/status.json")["services"][0]["handshakes"]["failed"]
    assert failed == {"ja4_denied": 3}
    assert 'handshakes_failed_total{service="web",reason="ja4_denied"} 3' in p.admin.ask("/metrics").text
    explained = p.admin.json("/explain?address=127.0.0.1:0&name=localhost")
    assert explained["access"] == {"allow": [], "deny": [], "deny_ja4": [f"t12*_{'0' * 12}_*"]}


@pytest.mark.parametrize("pattern", ["t13d", "t13d*_8DAAF6152771_*", "*_*", "t13d_*_*"])
def test_a_pattern_that_takes_nobody_is_an_error(parts, pattern):
    p = parts.proxy(parts.backend())
    rewrite(p, lambda t: t["service"]["web"].update(access={"deny_ja4": [pattern]}))
    status, out, err = command("check", p.config_file)
    assert status == 1 and f'service.web.access.deny_ja4: found "{pattern}", expected a pattern for JA4' in out + err, out + err
