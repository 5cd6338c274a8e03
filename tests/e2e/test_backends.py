"""Backends that fail, hang or are full, and resources missing on our side: which backend gets the session, what is blamed, what the operator reads."""
import ctypes
import itertools
import os
import re
import resource
import signal
import socket
import subprocess
import threading

import pytest

from support import backends
from support.backends import echo
from support.clients import connect, receive
from support.raw import RawSession
from support.waiting import until
from test_relay import alert_after_handshake, full_backlog

CLONE_NEWNET = 0x40000000


def says(port, text=b"hello", source=None):
    with connect(port, source=source) as c:
        c.sendall(text)
        assert receive(c, len(text)) == text
        c.unwrap().close()


def backend_of(p, server, service="web"):
    services = {s["name"]: s for s in p.admin.json("/status.json")["services"]}
    return next(b for b in services[service]["backends"] if b["name"] == (server if isinstance(server, str) else server.url))


def degraded(p):
    return p.admin.json("/status.json")["degraded"]


# --- full queues


@pytest.mark.parametrize("balance", ["round-robin", "least-sessions", "client-hash"])
def test_a_full_queue_is_passed_over(parts, balance):
    """One of two hangs: no session waits for it, and it is ejected."""
    (hung, fillers), well = full_backlog(parts), parts.backend()
    p = parts.proxy([hung, well], balance=balance, timeouts={"connect": "60s"})
    host = itertools.cycle(range(1, 255))

    def one_more():
        says(p.port, source=f"127.0.0.{next(host)}")  # by hash some of them belong to it
        return p.events("log", message=lambda m: "its queue of connections is full; ejected" in m)

    until(one_more, "the hung backend is put out")
    until(lambda: well.accepted == len(p.events("session")), "the other one had them all")
    until(lambda: backend_of(p, hung)["ejections_total"] > 0, "it is counted")
    b = backend_of(p, hung)
    assert b["backlog_full_total"] > 0 and b["last_fault"] == "its queue of connections is full" and b["last_fault_time"] > 1e9
    assert b["state"] in ("down", "full") and any(hung.url in line for line in degraded(p))
    assert backend_of(p, well)["state"] == "up" and "last_fault" not in backend_of(p, well)
    hung.start_accepting()
    for s in fillers:
        s.close()
    until(lambda: says(p.port, source=f"127.0.0.{next(host)}") or hung.accepted > len(fillers), "it is back")
    p.wait_event("log", message=lambda m: f"{hung.url} takes sessions again" in m)
    hung.accepted -= len(fillers)


def test_a_burst_finds_the_other_backend(parts):
    (hung, fillers), well = full_backlog(parts), parts.backend()
    p = parts.proxy([hung, well], balance="round-robin", timeouts={"connect": "60s"})
    sessions = [connect(p.port) for _ in range(40)]
    for c in sessions:
        c.sendall(b"now")
    for c in sessions:
        assert receive(c, 3) == b"now"
        c.close()
    until(lambda: backend_of(p, hung)["state"] != "up", "it is seen in the status")
    for s in fillers:
        s.close()


def test_full_and_absent(parts):
    """The one that is there is waited for, and it is what the session ends for."""
    hung, fillers = full_backlog(parts)
    p = parts.proxy(["unix:/nowhere/app.sock", hung], timeouts={"connect": "400ms"})
    assert alert_after_handshake(p.port) == (2, 80)
    e = p.wait_session()
    assert e["reason"] == "backend_backlog" and e["backend"] == hung.url
    assert e["detail"] == f"{hung.url}: its queue of connections is full"
    for s in fillers:
        s.close()


def test_all_queues_are_full(parts):
    """Sessions wait for the first backend with room, in order of arrival."""
    (a, fill_a), (b, fill_b) = full_backlog(parts), full_backlog(parts)
    p = parts.proxy([a, b], balance="round-robin", timeouts={"connect": "60s"}, top={"workers": 1})
    waiting = []
    for n in range(10):
        r = RawSession(p.port)
        r.send_record(23, bytes([n]))
        waiting.append(r)
        until(lambda n=n: backlog_waiters(p) == n + 1, "it waits")
    order = []
    while len(order) < len(waiting):  # room for one at a time
        (fill_b.pop(0) if fill_b else order and None)
        connection, _ = b.listener.accept()
        connection.settimeout(0.05)
        try:
            order += connection.recv(1)
        except TimeoutError:
            pass  # one of those that filled the queue
        threading.Thread(target=drop, args=(connection,), daemon=True).start()
    assert order == list(range(10))
    for r in waiting:
        r.socket.close()
    for s in fill_a:
        s.close()
    b.accepted = 10


def drop(connection):
    connection.settimeout(None)
    while connection.recv(65536):
        pass
    connection.close()


def backlog_waiters(p):
    return sum(x.get("backlog_waiters", 0) for x in p.admin.json("/status.json")["processes"] if x["role"] == "relay")


def test_a_replaced_socket_is_found_soon(parts):
    """The application is restarted with a fresh socket while its backend is ejected."""
    (hung, fillers), well = full_backlog(parts), parts.backend()
    p = parts.proxy([hung, well], balance="round-robin", timeouts={"connect": "60s"})
    until(lambda: says(p.port) or p.events("log", message=lambda m: "is full; ejected" in m), "out")
    path = hung.listener.getsockname()
    os.unlink(path)
    fresh = parts.add(backends.Backend(backends.unix_listener(path), echo))
    until(lambda: says(p.port) or fresh.accepted, "it is back", deadline=30)
    hung.accepted = fresh.accepted = 0
    for s in fillers:
        s.close()
    until(lambda: len(p.events("session")) == p.admin.json("/status.json")["totals"]["sessions_total"], "all are in the log")
    hung.accepted = fresh.accepted = len([e for e in p.events("session", backend=hung.url)])


# --- what failed, and why


def test_the_first_failure_is_reported(parts):
    """Another backend takes the session: its event does not mention it, but the log does."""
    well = parts.backend()
    p = parts.proxy(["unix:/nowhere/app.sock", well], balance="round-robin")
    until(lambda: says(p.port) or p.events("log", level="warning", message=lambda m: "unix:/nowhere/app.sock: No such file" in m),
          "reported at once")
    until(lambda: backend_of(p, "unix:/nowhere/app.sock").get("last_fault"), "last fault")
    assert backend_of(p, "unix:/nowhere/app.sock")["last_fault"] == "No such file or directory"


def test_a_session_that_fails_names_backend_and_errno(parts):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        url = f"tcp:127.0.0.1:{s.getsockname()[1]}"
        p = parts.proxy(url)
        assert alert_after_handshake(p.port) == (2, 80)
        e = p.wait_session()
        assert (e["reason"], e["backend"], e["detail"]) == ("backend_refused", url, f"{url}: Connection refused")
        until(lambda: p.admin.json("/status.json")["totals"]["sessions_failed_total"] == 1, "counted")
        until(lambda: backend_of(p, url).get("last_fault"), "fault published")
        status = p.admin.json("/status.json")
        assert status["services"][0]["sessions_failed_total"] == 1 and status["totals"]["handshakes"]["failed"] == {}
        text = subprocess.run([p.binary, "status", "--admin", str(p.admin_socket)], capture_output=True, text=True, check=True).stdout
        assert re.search(r"^failed sessions .* 1$", text, re.M) and re.search(r"^failed handshakes .* 0$", text, re.M)
        assert f"last fault of {url}: Connection refused, " in text


def test_a_name_without_address_is_degraded(parts):
    p = parts.proxy(["tcp:no-such-host.invalid:80"])
    until(lambda: any("no-such-host.invalid:80 of web has no address" in line for line in degraded(p)), "reported without a session")
    assert backend_of(p, "tcp:no-such-host.invalid:80")["state"] == "down"
    assert alert_after_handshake(p.port) == (2, 80)
    assert p.wait_session()["detail"] == "tcp:no-such-host.invalid:80: its name has no address (yet)"


def test_long_names_that_differ_in_the_port_are_distinguished(parts):
    backends = [f"tcp:{'a' * 60}.{'b' * 60}.{'c' * 60}.{'d' * 50}.invalid:{port}" for port in (8001, 8002)]
    p = parts.proxy(services={"s" * 64: parts.service(backends)})
    until(lambda: all(any(f"{b} of {'s' * 64} has no address" in line for line in degraded(p)) for b in backends), "both are reported")


# --- resources missing on our side


def leave_one_descriptor(pid):
    """The relay can open one more; returns the limit that it had."""
    used = {int(fd) for fd in os.listdir(f"/proc/{pid}/fd")}
    free = [fd for fd in range(max(used) + 3) if fd not in used]
    had = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free[1], had[1]))
    return had


@pytest.mark.parametrize("where", [None, "tcp"])
def test_our_own_descriptors_are_nobodys_fault(parts, where):
    """The relay has one descriptor left, which the client's socket takes: none to connect with."""
    b = parts.backend(where=where)
    p = parts.proxy(b, timeouts={"connect": "60s"}, top={"workers": 1})
    says(p.port)
    p.wait_session()
    relay = p.roles()["relay"][0]
    had = leave_one_descriptor(relay)
    r = RawSession(p.port)
    r.send_record(23, b"patience")
    p.wait_event("log", message=lambda m: "tls-off itself cannot connect to backends now: Too many open files" in m)
    resource.prlimit(relay, resource.RLIMIT_NOFILE, had)
    assert r.read_n(8) == b"patience"
    r.close()
    assert not p.events("log", message=lambda m: b.url in m)
    until(lambda: backend_of(p, b)["sessions_total"] == 2, "counted")
    x = backend_of(p, b)
    assert (x["state"], x["connects_failed_total"], x["ejections_total"]) == ("up", 0, 0) and "last_fault" not in x
    assert 'tls_off_process_connects_delayed_total{role="relay",index="0"} 1' in p.admin.ask("/metrics").text


def test_our_own_descriptors_as_a_reason(parts):
    p = parts.proxy(parts.backend(), timeouts={"connect": "300ms"}, top={"workers": 1})
    says(p.port)
    p.wait_session()
    relay = p.roles()["relay"][0]
    had = leave_one_descriptor(relay)
    assert alert_after_handshake(p.port) == (2, 80)
    assert p.wait_session(count=2)["reason"] == "out_of_descriptors"
    resource.prlimit(relay, resource.RLIMIT_NOFILE, had)
    says(p.port)


# --- a network of its own: few ports


@pytest.fixture
def few_ports():
    """This process, and all that it starts, in a network of its own with four ports to connect from."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    if libc.unshare(CLONE_NEWNET) != 0:
        os.close(before)
        pytest.skip("needs the right to make a network namespace")
    try:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as f:
            f.write("45000 45003")
        yield range(45000, 45004)
    finally:
        libc.setns(before, CLONE_NEWNET)
        os.close(before)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_connect_to_itself_is_refused(parts, few_ports, host):
    """Nothing listens at a port from which the kernel may connect: TCP would connect the socket to itself."""
    text = f"[{host}]" if ":" in host else host
    for target in few_ports:  # which of them the kernel gives depends on the parity of its first guess
        url = f"tcp:{text}:{target}"
        p = parts.proxy(url, listen=[f"{text}:{44000 + target - 45000}"], timeouts={"connect": "5s"}, limits={"sessions": 0})
        for n in range(10):
            r = RawSession(p.port, host=host, source=(host, 30000 + (target - 45000) * 100 + n))
            r.send_record(23, b"mine")
            assert r.read_alert() == (2, 80)
            r.socket.close()
        ends = [p.wait_session(count=n + 1) for n in range(10)]
        assert {e["reason"] for e in ends} == {"backend_refused"} and {e["bytes_out"] for e in ends} == {0}
        assert backend_of(p, url)["connects_failed_total"] == 10
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as s:  # the application can have its port
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((host, target))
            s.listen()
        p.stop()


def listener_at(port):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", port))
    s.listen()
    return s


def echo_until_reset(c):
    """Resets the connection on command, so that its port is free at once."""
    while (data := c.recv(65536)) and data != b"reset":
        c.sendall(data)
    if data:
        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def test_no_port_is_left(parts, few_ports):
    """All four ports towards the backend are in use: sessions wait for one, and no backend is blamed."""
    b = parts.add(backends.Backend(listener_at(44001), echo_until_reset))
    p = parts.proxy(b, timeouts={"connect": "60s"}, top={"workers": 1}, listen=["127.0.0.1:44000"])
    held = []
    for n in range(len(few_ports) + 1):
        r = RawSession(p.port, source=("127.0.0.1", 30000 + n))
        r.send_record(23, b"%d" % n)
        held.append(r)
    assert [r.read_n(1) for r in held[:-1]] == [b"0", b"1", b"2", b"3"]
    p.wait_event("log", message=lambda m: "no local address or port is left" in m)
    held[0].send_record(23, b"reset")
    assert held[-1].read_n(1) == b"4"
    x = backend_of(p, b)
    assert (x["connects_failed_total"], x["ejections_total"]) == (0, 0)
    for r in held:
        r.socket.close()
    until(lambda: len(p.events("session")) == len(held), "all ended")


def test_no_port_is_left_as_a_reason(parts, few_ports):
    b = parts.add(backends.Backend(listener_at(44001), echo))
    p = parts.proxy(b, timeouts={"connect": "300ms"}, top={"workers": 1}, listen=["127.0.0.1:44000"])
    held = [RawSession(p.port, source=("127.0.0.1", 30000 + n)) for n in range(len(few_ports))]
    until(lambda: b.accepted == len(few_ports), "all are in use")
    r = RawSession(p.port, source=("127.0.0.1", 30100))
    assert r.read_alert() == (2, 80)
    assert p.wait_session()["reason"] == "no_local_port"
    for x in [r, *held]:
        x.socket.close()
    until(lambda: len(p.events("session")) == len(held) + 1, "all ended")


# --- dead peers


def timers(port, kind):
    """Of established connections with PORT at either end, ours and the test's own."""
    rows = subprocess.run(["ss", "-Htno", "state", "established", f"( sport = :{port} )", "or", f"( dport = :{port} )"],
                          capture_output=True, text=True, check=True).stdout.splitlines()
    return [row.split()[-1] for row in rows if f"timer:({kind}," in row]


def keepalive_timers(port):
    return timers(port, "keepalive")


def in_flight(port):
    return timers(port, "on")


def test_keepalive_is_on(parts):
    """The test's own sockets have no timer: one is the proxy's towards the client, one towards the backend."""
    b = parts.backend(where="tcp")
    p = parts.proxy(b)
    with connect(p.port) as c:
        c.sendall(b"x")
        assert receive(c, 1) == b"x"
        until(lambda: len(keepalive_timers(p.port)) == len(keepalive_timers(b.port)) == 1, "on")  # once all is acknowledged
        rewritten = p.config_file.read_text()
        p.config_file.write_text(rewritten + '\n[service.web.timeouts]\nkeepalive = "none"\n')
        p.signal(signal.SIGHUP)
        p.wait_event("log", message=lambda m: m.startswith("reload done"))
        assert keepalive_timers(p.port) == keepalive_timers(b.port) == []  # it has migrated, and has the service's present setting
        with connect(p.port) as d:
            d.sendall(b"x")
            assert receive(d, 1) == b"x"
            until(lambda: not in_flight(p.port) and not in_flight(b.port), "all is acknowledged")
            assert keepalive_timers(p.port) == keepalive_timers(b.port) == []
            p.config_file.write_text(rewritten)
            p.signal(signal.SIGHUP)
            p.wait_event("log", count=2, message=lambda m: m.startswith("reload done"))
            until(lambda: len(keepalive_timers(p.port)) == len(keepalive_timers(b.port)) == 2, "both have it")
            d.unwrap().close()
        c.unwrap().close()


def test_a_client_that_is_gone_without_a_word(parts, few_ports):
    p = parts.proxy(parts.backend(), timeouts={"idle": "none", "keepalive": "1s"}, listen=["127.0.0.1:44000"])
    r = RawSession(p.port, source=("127.0.0.1", 30000))
    r.send_record(23, b"x")
    assert r.read_n(1) == b"x"
    until(lambda: keepalive_timers(p.port), "nothing is in flight")
    subprocess.run(["ip", "link", "set", "lo", "down"], check=True)
    assert p.wait_session()["client_end"] == "reset"
    r.socket.close()


# --- what the kernel holds


def held(p):
    """Bytes in the TCP sockets of the relay: received and not read, sent and not acknowledged."""
    relay = p.roles()["relay"][0]
    rows = subprocess.run(["ss", "-Htnmp", "state", "connected"], capture_output=True, text=True, check=True).stdout
    found = re.findall(rf"pid={relay},.*\n?.*skmem:\(r(\d+),rb\d+,t\d+,tb\d+,f\d+,w(\d+)", rows)
    return sum(int(r) + int(w) for r, w in found)


def settled(p):
    """When nothing has moved for twenty looks."""
    seen = []

    def still():
        seen.append(held(p))
        return len(seen) > 20 and len(set(seen[-20:])) == 1

    until(still, "nothing moves any more", every=0.05)
    return seen[-1]


HELD_MAX = 3_000_000  # a window of 512 KiB takes up to twice its size, and half a megabyte may wait to be sent; else it is 6 and more


def pour(c):
    """Sends for as long as it can; then the other side's turn is over as well."""
    c.recv(1)
    while True:
        c.sendall(bytes(262144))


@pytest.mark.parametrize("fast_first", [False, True])
def test_a_client_that_stops_reading(parts, fast_first):
    b = parts.backend(pour, where="tcp")
    p = parts.proxy(b, top={"workers": 1})
    with connect(p.port) as c:
        c.sendall(b"x")
        if fast_first:
            receive(c, 200_000_000)
        assert settled(p) < HELD_MAX
    p.wait_session()


def test_a_backend_that_stops_reading(parts):
    over = threading.Event()

    def reads_a_while(c):
        n = 0
        while n < 100_000_000:
            n += len(c.recv(262144))
        over.wait()

    b = parts.backend(reads_a_while, where="tcp")
    p = parts.proxy(b, top={"workers": 1})
    with connect(p.port) as c:
        c.sendall(bytes(100_000_000))
        c.settimeout(None)
        sender = threading.Thread(target=send_on, args=(c,), daemon=True)
        sender.start()
        assert settled(p) < HELD_MAX
        over.set()
        c.shutdown(socket.SHUT_RDWR)
        sender.join()
    p.wait_session()


def send_on(c):
    try:
        while True:
            c.sendall(bytes(262144))
    except OSError:
        pass
