"""What unfinished handshakes may hold, which are evicted when it is used up, and that memory is given back."""
import contextlib
import os
import re
import resource
import signal

import pytest

from support import clients, processes, proxy_header
from support.clients import connect, context, says_echo, tcp
from support.proxy import OWN_HANDSHAKE, SANITIZED
from support.waiting import until

GREEDY, MODEST = "127.0.0.5", "127.0.0.6"
HOUR = {"handshake": "1h"}


class HalfOpen:
    """A client that has sent its ClientHello, and continues on command."""

    def __init__(self, port, source, hello=None):
        self.socket = tcp(port, source=source)
        self.socket.sendall(hello or clients.hello_bytes(context()))

    def is_there(self):
        self.socket.setblocking(False)
        try:
            while self.socket.recv(65536):
                pass
            return False
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            self.socket.setblocking(True)

    def close(self):
        self.socket.close()


@contextlib.contextmanager
def closing(connections):
    try:
        yield connections
    finally:
        for c in connections:
            c.close()


def evicted(p):
    found = re.findall(r'^tls_off_process_handshakes_evicted_total\{[^}]*role="handshaker"[^}]*\} (\d+)$', p.admin.ask("/metrics").text, re.M)
    return sum(map(int, found))


def test_the_oldest_of_the_client_that_holds_most_give_way(parts):
    memory, begun, least, most = ("1MiB", 700, 250, 450) if OWN_HANDSHAKE else ("2MiB", 120, 20, 60)
    p = parts.proxy(parts.backend(), top={"workers": 1, "handshake_memory": memory}, timeouts=HOUR)
    with closing([HalfOpen(p.port, MODEST)]) as modest, closing([]) as greedy:
        until(modest[0].is_there, "the modest client's handshake")
        for _ in range(begun):
            greedy.append(HalfOpen(p.port, GREEDY))
        e = p.wait_failure("gave_way")
        assert e["client"].startswith(GREEDY) and "client Finished" in e["detail"]
        p.wait_text("memory or descriptors for handshakes are used up")
        until(lambda: not greedy[begun - most].is_there(), "the end of all that are too many")
        until(lambda: evicted(p) == [c.is_there() for c in greedy].count(False), "the last end")
        there = [c.is_there() for c in greedy]
        assert least < sum(there) < most and there == sorted(there)  # the oldest are closed
        assert p.admin.json("/status.json")["degraded"] == ["handshaker.0: memory or descriptors for handshakes are used up"]
        assert modest[0].is_there()
        with connect(p.port, source=MODEST) as c:
            says_echo(c)
        assert all(e["client"].startswith(GREEDY) for e in p.events("failed", reason="gave_way"))


@pytest.mark.parametrize("what", ["hello", "header"])
def test_bytes_that_wait_are_held_against_their_sender(parts, what):
    """Most of a hello, or of a PROXY header, and then nothing."""
    keys = {"proxy_protocol": {"accept": "required", "trust": ["127.0.0.0/8"]}} if what == "header" else {}
    p = parts.proxy(parts.backend(), top={"workers": 1, "handshake_memory": "1MiB"}, timeouts=HOUR, **keys)
    data = b"\x16\x03\x01\x3f\xff\x01\x00\x3f\xfb\x03\x03" + bytes(15000)
    if what == "header":
        data = proxy_header.SIGNATURE + b"\x21\x11\x07\xf0" + bytes(2000)
    with closing([]) as greedy:
        for _ in range(100 if what == "hello" else 600):
            greedy.append(HalfOpen(p.port, GREEDY, data))
        assert p.wait_failure("gave_way")["client"].startswith(GREEDY)
        s = tcp(p.port, source=MODEST)
        s.sendall(proxy_header.v1((MODEST, 1), (MODEST, 2)) if what == "header" else b"")
        with context().wrap_socket(s, server_hostname="localhost", suppress_ragged_eofs=False) as c:
            says_echo(c)


def test_what_waits_for_the_signer_counts(parts):
    """It hangs, and connections pile up with their ClientHellos, each of which is charged to its client."""
    p = parts.proxy(parts.backend(), top={"workers": 1, "handshake_memory": "1MiB"}, timeouts=HOUR)
    (signer,) = p.roles()["signer"]
    hello = clients.hello_bytes(context(alpn=["x" * 200] * 60))
    with closing([]) as greedy:
        os.kill(signer, signal.SIGSTOP)
        try:
            until(lambda: processes.state(signer) == "T", "the signer at rest")
            greedy.append(HalfOpen(p.port, GREEDY, hello))
            p.wait_text(r"signer\.0 does not answer")  # from here on none begins before there is a signer
            for _ in range(150):
                greedy.append(HalfOpen(p.port, GREEDY, hello))
            e = p.wait_failure("gave_way", detail=lambda d: "the signer" in d)
            assert e["client"].startswith(GREEDY)
        finally:
            os.kill(signer, signal.SIGCONT)
        with connect(p.port, source=MODEST) as c:
            says_echo(c)


def few_descriptors(parts, n, **keys):
    """The limit is also one of descriptors on their way between all processes of the user: tests beside this one may have used it up."""
    def started():
        p = parts.prepare(parts.backend(), limits_of_process={resource.RLIMIT_NOFILE: n}, **keys)
        try:
            return p.start()
        except AssertionError:
            p.wait_text("RLIMIT_NOFILE also bounds those on their way")
            p.expected_status = p.wait_exit()

    return until(started, "a start", deadline=90, every=0.5)


def test_one_client_cannot_have_all_descriptors(parts):
    p = few_descriptors(parts, 200, timeouts=HOUR, top={"workers": 1})
    with closing([]) as silent:
        for _ in range(400):
            silent.append(tcp(p.port, source=GREEDY))
        for _ in range(10):
            with connect(p.port, source=MODEST) as c:
                says_echo(c)
        p.wait_failure("gave_way")
        assert {e["client"].split(":")[0] for e in p.events("failed", reason="gave_way")} == {GREEDY}


def test_a_load_balancer_cannot_have_all_descriptors(parts):
    """It is trusted, but connections without a header hold a quarter at most; clients behind it are served."""
    p = few_descriptors(parts, 200, timeouts=HOUR, top={"workers": 1},
                        proxy_protocol={"accept": "required", "trust": ["127.0.0.0/8"]})
    (handshaker,) = p.roles()["handshaker"]
    base = processes.descriptors(handshaker)
    with closing([]) as silent:
        for _ in range(300):
            silent.append(tcp(p.port, source=GREEDY))
        for source in (MODEST, GREEDY):
            s = tcp(p.port, source=source)
            s.sendall(proxy_header.v1(("192.0.2.1", 1), ("192.0.2.2", 2)))
            with context().wrap_socket(s, server_hostname="localhost", suppress_ragged_eofs=False) as c:
                says_echo(c)
            assert processes.descriptors(handshaker) - base < 60
        p.wait_failure("gave_way")
        assert {e["client"].split(":")[0] for e in p.events("failed", reason="gave_way")} == {GREEDY}


@pytest.mark.skipif(SANITIZED, reason="sanitizers hold much more memory")
def test_memory_comes_back_after_a_burst(parts):
    p = parts.proxy(parts.backend(), top={"workers": 1}, timeouts=HOUR)
    (handshaker,) = p.roles()["handshaker"]
    with connect(p.port) as c:  # what the first one leaves for all that come
        says_echo(c)
    start = processes.pss_without_files(handshaker)
    hello = clients.hello_bytes(context())
    with closing([]) as burst:
        for _ in range(600):
            burst.append(HalfOpen(p.port, GREEDY, hello))
        for c in burst:
            assert clients.receive(c.socket, 1) == b"\x16"
        peak = processes.pss_without_files(handshaker)
        assert peak > start + 600 * (1_000 if OWN_HANDSHAKE else 20_000)  # else there is nothing to be given back
    kept = until(lambda: [m for m in [processes.pss_without_files(handshaker)] if m < start + (peak - start) / 10], "memory given back")[0]
    print(f"{start >> 10} KiB at the start, {peak >> 10} KiB with 600 handshakes, {kept >> 10} KiB after them")
