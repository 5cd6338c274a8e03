"""One client may use up the memory for bytes that wait. It may not stop the others: they are served at once, whatever it does."""
import contextlib
import socket
import ssl
import struct
import time

import pytest

from support import clients, hoarders
from support.clients import V12, V13, connect, context, lives, says_echo
from support.hoarders import ATTACKS, Hoarder, does_not_read, header_only, is_not_read, lacks_a_byte
from support.waiting import until

MIB = 1 << 20
CROWD = 120  # each makes the proxy hold 4 to 100 KiB


def addresses(n):
    """Loopback has as many clients as there are addresses."""
    return [f"127.{1 + i // 250}.0.{1 + i % 250}" for i in range(n)]


def gather(attack, port, n=CROWD, sources=None, **options):
    """Members of the crowd may be cut while they are at it."""
    crowd = []
    for i in range(n):
        with contextlib.suppress(OSError):
            crowd.append(attack(port, source=sources[i] if sources else None, **options))
    return crowd


def served(port, live):
    """A session that was there before, and a new one."""
    says_echo(live)
    with connect(port) as c:
        says_echo(c)


def evicted(p):
    return [e for e in p.events("session") if e.get("reason") == "no_buffers"]


def buffer_bytes(p):
    return p.admin.json("/status.json")["limits"]["buffer_bytes"]


@pytest.mark.parametrize("many", [False, True], ids=["one address", "many"])
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.__name__)
def test_others_are_served_while_memory_is_used_up(parts, attack, many):
    p = parts.proxy(parts.backend(hoarders.handler), top={"buffer_memory": MIB}, timeouts={"idle": "none"})
    p.allow_lost_lines = True
    with connect(p.port) as live:
        says_echo(live)
        crowd = []
        for version in (V12, V13):
            crowd += gather(attack, p.port, CROWD // 2, addresses(CROWD) if many else None, version=version)
            served(p.port, live)
        for _ in range(5):
            served(p.port, live)
        for c in crowd:
            c.close()
        served(p.port, live)
    until(lambda: buffer_bytes(p) == 0, lambda: f"memory given back, {buffer_bytes(p)} left")
    for e in evicted(p):
        assert e["client"].startswith("127.") and e["client_end"] == "cut"


@pytest.mark.parametrize("attack", [does_not_read, is_not_read], ids=lambda a: a.__name__)
def test_passthrough_pays_as_well(parts, attack):
    behind = parts.backend(hoarders.handler)
    inner = parts.proxy(behind)
    b = parts.backend(hoarders.handler)
    p = parts.proxy(services={"web": parts.service(f"tcp:127.0.0.1:{inner.port}", mode="passthrough", certificates=[]), "other": parts.service(b, listen=["[::1]:0"])},
                    top={"buffer_memory": MIB})
    other = int(p.wait_text(r"listening on \[::1\]:(\d+) for other").group(1))
    with connect(other, host="::1") as live:
        crowd = gather(attack, p.address("web")[1])
        says_echo(live)
        with connect(other, host="::1") as c:
            says_echo(c)
        for c in crowd:
            c.close()
        behind.hang_up()  # or the kernel keeps what the outer proxy has sent to the inner one


def test_a_backend_that_does_not_read_hurts_its_service_only(parts):
    stuck = parts.backend(hoarders.handler, where="tcp")
    p = parts.proxy(services={"stuck": parts.service(stuck),
                              "other": parts.service(parts.backend(), listen=["[::1]:0"])}, top={"buffer_memory": MIB})
    other = int(p.wait_text(r"listening on \[::1\]:(\d+) for other").group(1))
    with connect(other, host="::1") as live:
        crowd = gather(is_not_read, p.address("stuck")[1])
        for _ in range(5):
            says_echo(live)
            with connect(other, host="::1") as c:
                says_echo(c)
        for c in crowd:
            c.close()
        stuck.hang_up()


def test_it_shows_while_it_lasts_and_no_longer(parts):
    p = parts.proxy(parts.backend(hoarders.handler), top={"buffer_memory": MIB})
    p.allow_lost_lines = True

    def short():
        return [line for line in p.admin.json("/status.json")["degraded"] if "buffer_memory" in line]

    crowd = gather(lacks_a_byte, p.port)
    until(short, "degraded")
    until(lambda: evicted(p), "sessions that end for it")
    metrics = p.admin.ask("/metrics").text
    assert 'tls_off_process_memory_short{role="relay",index="0"} 1' in metrics
    assert 'tls_off_process_sessions_evicted_total{role="relay",index="0"} 0' not in metrics
    p.wait_text(r"buffer_memory is used up: \d+ session")
    for c in crowd:
        c.close()
    until(lambda: not short(), "the end of it")
    assert 'tls_off_process_memory_short{role="relay",index="0"} 0' in p.admin.ask("/metrics").text


def test_a_reload_in_the_middle_cuts_nobody(parts):
    """What comes over the budget with sessions of another relay is kept; the bystander does not notice."""
    p = parts.proxy(parts.backend(hoarders.handler), top={"buffer_memory": MIB, "workers": 2})
    p.allow_lost_lines = True
    with connect(p.port) as live:
        crowd = gather(does_not_read, p.port)
        says_echo(live)
        p.signal(1)
        p.wait_text("reload done")
        served(p.port, live)
        crowd += gather(lacks_a_byte, p.port, 40)
        served(p.port, live)
        for c in crowd:
            c.close()


def test_the_rest_of_a_record_has_a_deadline(parts):
    p = parts.proxy(parts.backend(), timeouts={"idle": "none", "partial_record": "1s"})
    with connect(p.port) as other:
        c = [lacks_a_byte(p.port, version=V12), header_only(p.port)]
        p.wait_session(count=2, reason="partial_record_timeout")
        says_echo(other)
    for each in c:
        each.close()


@pytest.mark.parametrize("version", [V12, V13])
def test_a_partial_record_that_came_with_the_handshake_has_its_time_too(parts, version):
    """The relay gets these bytes from the handshaker, and no event of the socket announces them."""
    p = parts.proxy(parts.backend(), timeouts={"idle": "none", "partial_record": "1s"})
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    o = context(version=version).wrap_bio(incoming, outgoing, server_hostname="localhost")
    partial = struct.pack("!BHH", 23, 0x0303, 16384) + bytes(10)
    with clients.tcp(p.port) as s:
        done, flights = False, 0
        while not done:
            try:
                o.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            flight = outgoing.read()
            if flight:
                flights += 1
                s.sendall(flight + (partial if flights == 2 else b""))  # behind Finished
            if not done:
                incoming.write(s.recv(65536))
        assert flights == 2
        clients.until_closed(s)
    p.wait_session(reason="partial_record_timeout")


def test_a_trickle_does_not_move_the_deadline(parts):
    p = parts.proxy(parts.backend(), timeouts={"idle": "none", "partial_record": "1s", "linger": "0s"})
    c = header_only(p.port)
    begun = time.monotonic()
    with contextlib.suppress(OSError):
        while time.monotonic() < begun + 10:
            c.socket.sendall(b"x")
            c.socket.settimeout(0.1)
            with contextlib.suppress(socket.timeout):
                while c.socket.recv(65536):
                    pass
                break
    e = p.wait_session(reason="partial_record_timeout")
    assert 1000 <= e["duration_ms"] < 5000
    c.close()


def test_slow_but_whole_records_have_no_deadline(parts):
    p = parts.proxy(parts.backend(), timeouts={"partial_record": "300ms"})
    with connect(p.port) as c:
        for _ in range(4):
            says_echo(c)
            assert lives(c, 0.5)


# --- half-closed sessions


def shut_writing(c):
    c.shutdown(socket.SHUT_WR)


def backend_shuts(c):
    c.sendall(b"bye")
    shut_writing(c)
    while c.recv(65536):
        pass


def backend_closes(c):
    c.sendall(b"bye")


@pytest.mark.parametrize("where", [None, "tcp"], ids=["unix", "tcp"])
@pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])
def test_a_client_that_never_closes_is_not_waited_for(parts, where, version):
    p = parts.proxy(parts.backend(backend_shuts, where=where), timeouts={"half_closed": "500ms", "linger": "10s"})
    c = connect(p.port, context(version=version))
    assert c.recv(10) == b"bye"
    e = p.wait_session(reason="half_closed_timeout")
    assert e["client_end"] == "cut" and e["backend_end"] == "close" and e["duration_ms"] < 5000
    c.close()


def test_with_tcp_a_close_is_a_half_close(parts):
    p = parts.proxy(parts.backend(backend_closes, where="tcp"), timeouts={"half_closed": "500ms"})
    c = connect(p.port)
    assert c.recv(10) == b"bye"
    p.wait_session(reason="half_closed_timeout")
    c.close()


@pytest.mark.parametrize("where", [None, "tcp"], ids=["unix", "tcp"])
def test_a_backend_that_never_answers_is_not_waited_for(parts, where):
    p = parts.proxy(parts.backend(lambda c: (c.recv(10), hoarders.select_hang_up(c)), where=where), timeouts={"half_closed": "500ms"})
    c = Hoarder(p.port)
    c.send(b"?")
    c.socket.shutdown(socket.SHUT_WR)
    e = p.wait_session(reason="half_closed_timeout")
    assert e["client_end"] == "truncated" and e["backend_end"] == "cut"
    c.close()


def test_a_half_closed_download_that_moves_goes_on(parts):
    n = 8

    def slowly(c):
        while c.recv(65536):
            pass
        for _ in range(n):
            time.sleep(0.25)  # the pace of this download, not a wait for anything
            c.sendall(b"d" * 1000)

    p = parts.proxy(parts.backend(slowly, where="tcp"), timeouts={"half_closed": "1s"})
    c = connect(p.port)
    c.sendall(b"?")
    shut_writing(c)
    got = b""
    while len(got) < n * 1000:
        got += c.recv(65536)
    c.close()
    assert p.wait_session()["bytes_out"] == n * 1000
