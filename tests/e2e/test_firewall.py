"""What an operator's own firewall takes: `clients --over` as input of the real nft, and the filter of fail2ban on real lines."""
import json
import os
import re
import shutil
import socket
import subprocess

import pytest

from support.clients import connect, context, says_echo
from support.proxy import ROOT, command
from support.waiting import until

NFT = shutil.which("nft", path=os.environ["PATH"] + ":/usr/sbin")
FILTER = ROOT / "contrib/fail2ban/filter.d/tls-off.conf"


def clients(p, *arguments):
    return command("clients", *arguments, "--admin", p.admin_socket)


def ruleset(*inputs):
    """The elements of each set after these inputs of `nft -f`, in a network of its own: {set: {element: its text}}."""
    script = " && ".join(f"{NFT} -f {name}" for name in inputs) + f" && {NFT} -j list ruleset"
    r = subprocess.run(["unshare", "--net", "sh", "-c", script], capture_output=True, text=True)
    if "Operation not permitted" in r.stderr:
        pytest.skip("needs the right to make a network namespace")
    assert r.returncode == 0, r.stderr
    sets = {}
    for o in json.loads(r.stdout)["nftables"]:
        if "set" in o:
            assert (o["set"]["family"], o["set"]["table"]) == ("inet", "tls_off")
            sets[o["set"]["name"]] = [e["elem"] for e in o["set"].get("elem", [])]
    return sets


@pytest.fixture
def busy(parts):
    """Clients as a load balancer names them: of both families, one that moves much, one that fails, one of this machine."""
    p = parts.proxy(parts.backend(), proxy_protocol={"accept": "required", "trust": ["127.0.0.0/8"]},
                    limits={"sessions_per_client": 4})

    def come(ip, n=1, size=0):
        kind = "TCP6" if ":" in ip else "TCP4"
        there = "::1" if ":" in ip else "127.0.0.1"
        for _ in range(n):
            s = socket.create_connection(("127.0.0.1", p.port), timeout=60)
            s.sendall(f"PROXY {kind} {ip} {there} 1 443\r\n".encode())
            with context().wrap_socket(s, server_hostname="localhost", suppress_ragged_eofs=False) as c:
                says_echo(c)
                for _ in range(0, size, 1 << 14):
                    c.sendall(bytes(1 << 14))
                    got = 0
                    while got < 1 << 14:
                        got += len(c.recv(1 << 14))
                c.unwrap()

    come("192.0.2.7", size=1 << 18)
    come("2001:db8::1", n=2, size=1 << 18)
    come("192.0.2.8", n=5)
    come("127.0.0.5", size=1 << 18)
    until(lambda: len(p.events("session")) == 9, "all sessions have ended")
    return p


def test_clients_over_a_bound_become_elements(parts, busy):
    status, out, err = clients(busy, "--over", "bytes=200KB", "--format", "nft")
    assert status == 0, err
    assert "omitted: a client that is this machine" in out and "127.0.0.5" not in out, out
    file = parts.directory / "over.nft"
    file.write_text(out)
    for sets in (ruleset(file), ruleset(file, file)):  # a second run begins their time again
        assert [e["val"] for e in sets["over4"]] == ["192.0.2.7"]
        assert [e["val"] for e in sets["over6"]] == [{"prefix": {"addr": "2001:db8::", "len": 64}}]
        assert all(e["timeout"] == 600 and e["expires"] <= 600 for s in sets.values() for e in s)


def test_the_documented_rule_fits(parts, busy):
    """What contrib/fail2ban/README says to set up once, before or after the first elements."""
    once = parts.directory / "once.nft"
    text = (ROOT / "contrib/README.md").read_text()
    once.write_text(re.search(r"```nft\n(.*?)```", text, re.S).group(1))
    file = parts.directory / "over.nft"
    file.write_text(clients(busy, "--over", "bytes=200KB", "--format", "nft")[1])
    for order in ([once, file], [file, once], [once, file, file]):
        assert [e["val"] for e in ruleset(*order)["over4"]] == ["192.0.2.7"]


@pytest.mark.parametrize("over,expected", [
    ("bytes=200KB", {"192.0.2.7", "2001:db8::/64", "127.0.0.5"}),
    ("bytes=1GiB", set()),
    ("sessions=0", set()),
    ("handshakes=1", {"192.0.2.8", "2001:db8::/64"}),
    ("handshakes=2", {"192.0.2.8"}),
    ("failed=0", set()),
    ("rate=1", None),
])
def test_measures(busy, over, expected):
    status, out, err = clients(busy, "--over", over, "--format", "json")
    assert status == 0, err
    found = {c["client"] for c in json.loads(out)}
    assert expected is None or found == expected, out
    assert {c["client"] for c in json.loads(clients(busy, "--over", over, "--json")[1])} == found or expected is None


def test_nobody_is_over_it(parts, busy):
    file = parts.directory / "over.nft"
    file.write_text(clients(busy, "--over", "bytes=1GB", "--format", "nft")[1])
    assert ruleset(file) == {"over4": [], "over6": []}


@pytest.mark.parametrize("wrong", [
    ["--over", "rate"], ["--over", "rate="], ["--over", "rate=10XB"], ["--over", "rate=-1"], ["--over", "speed=1"], ["--over", "sessions=1KB"],
    ["--over", "rate=99999999999999999999"], ["--over", "rate=1.5MB"], ["--over", "=1"], ["--over", ""],
    ["--format", "nft"], ["--over", "rate=1", "--format", "pf"], ["--over", "rate=1", "--sort", "bytes"], ["--over", "rate=1", "--limit", "1"],
])
def test_what_is_not_understood_is_wrong_usage(parts, wrong):
    """Above all: no nft without a bound, which would be everybody."""
    p = parts.proxy(parts.backend())
    status, out, _ = clients(p, *wrong)
    assert status == 2 and "add element" not in out


def test_users_and_names_are_omitted(parts):
    path = parts.directory / "db.sock"
    p = parts.proxy(parts.backend(), listen=[f"unix:{path}"])
    s = socket.socket(socket.AF_UNIX)
    s.connect(str(path))
    with context().wrap_socket(s, server_hostname="localhost", suppress_ragged_eofs=False) as c:
        says_echo(c)
        c.unwrap()
    p.wait_session()
    status, out, _ = clients(p, "--over", "bytes=0", "--format", "nft")
    assert status == 0 and "omitted: a client that is no address" in out and "add element" not in out


# --- fail2ban


def matched(log):
    r = subprocess.run(["fail2ban-regex", "--print-all-matched", "-v", str(log), str(FILTER)], capture_output=True, text=True,
                       cwd=FILTER.parent)
    assert r.returncode in (0, 1), r.stderr
    return re.findall(r"^\|\s+([0-9a-f.:]+)  \w{3} \w{3} ", r.stdout, re.M), r.stdout


@pytest.mark.parametrize("form", ["text", "json", "logfmt"])
def test_fail2ban_finds_who_misbehaves(parts, form):
    """A flood beyond a limit counts for its address; ordinary ends, names that lie and processes at Unix sockets do not."""
    log = parts.directory / "tls-off.log"
    path = parts.directory / "db.sock"
    p = parts.prepare(parts.backend(), listen=["127.0.0.1:0", f"unix:{path}"], limits={"handshakes_per_client_per_second": 2},
                      log={"format": form, "target": str(log)}, strict_sni=True)
    p.wants_ready = True
    p.allow_lost_lines = True
    p.start()
    port = int(until(lambda: re.search(r"listening on 127\.0\.0\.1:(\d+) for web", log.read_text()), "the address").group(1))
    with connect(port, source="127.0.0.2") as c:  # an ordinary session
        says_echo(c)
        c.unwrap()
    for name in ("a reason=client_rate b", 'x","reason":"client_rate', "unknown.example"):
        with pytest.raises(OSError):
            connect(port, name=name, source="127.0.0.%d" % (10 + len(name)))

    def flood(dial):
        for _ in range(8):
            try:
                with dial() as c:
                    says_echo(c)
                    c.unwrap()
            except OSError:
                pass

    flood(lambda: connect(port, source="127.0.0.3"))

    def at_path():
        s = socket.socket(socket.AF_UNIX)
        s.connect(str(path))
        return context().wrap_socket(s, server_hostname="localhost", suppress_ragged_eofs=False)

    flood(at_path)
    until(lambda: log.read_text().count("client_rate") >= 6, "the refusals are written")
    until(lambda: "uid:" in log.read_text(), "those of the process, too")
    found, said = matched(log)
    assert set(found) == {"127.0.0.3"}, said
    p.lines.append(log.read_text())


def test_the_jail_names_the_filter_and_counts_within_the_sampling():
    jail = (ROOT / "contrib/fail2ban/jail.d/tls-off.conf").read_text()
    assert re.search(r"^filter\s*= tls-off$", jail, re.M)
    assert int(re.search(r"^maxretry\s*= (\d+)$", jail, re.M).group(1)) <= 10  # observer/sampling.c writes so many


def test_the_filter_has_reasons_that_exist():
    reasons = re.search(r"^reasons = (.*)$", FILTER.read_text(), re.M).group(1).split("|")
    known = set(re.findall(r'X\(ERR_\w+, "(\w+)"', (ROOT / "src/base/err.h").read_text()))
    assert set(reasons) <= known, set(reasons) - known
