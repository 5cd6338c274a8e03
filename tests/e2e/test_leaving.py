"""Clients that say all they have to say at once and leave, or go on talking to nobody: what they said arrives, and they hear why
they were refused. On both paths."""
import socket
import ssl
import struct
import threading

import pytest

from support.clients import V13, alert_of, context, receive, tcp, until_closed
from support.hello import message, records, usual
from support.waiting import DEADLINE, until

PATHS = pytest.mark.parametrize("handshake", ["auto", "libssl"])
TIMES = 150


class Listener:
    """A backend's handler that keeps what each of its clients said."""

    def __init__(self):
        self.lock, self.heard = threading.Lock(), []

    def __call__(self, c):
        said = b""
        while piece := c.recv(65536):
            said += piece
        with self.lock:
            self.heard.append(said)


def up_to_finished(s, ctx):
    """The client's last flight, kept back, and its object."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    o = ctx.wrap_bio(incoming, outgoing, server_hostname="localhost")
    while True:
        try:
            o.do_handshake()
            return o, outgoing
        except ssl.SSLWantReadError:
            s.sendall(outgoing.read())
        head = receive(s, 5)
        incoming.write(head + receive(s, struct.unpack("!H", head[3:])[0]))


def leave(s, how):
    if how == "half-closed":
        s.shutdown(socket.SHUT_WR)
        until_closed(s)
    s.close()


@PATHS
@pytest.mark.parametrize("how", ["half-closed", "closed"])
def test_finished_a_request_and_the_end_in_one_segment(parts, handshake, how):
    """The client reads no ticket: whatever becomes of that, its request is delivered."""
    listener = Listener()
    p = parts.proxy(parts.backend(listener), top={"handshake": handshake})
    ctx = context(version=V13)
    for i in range(TIMES):
        with tcp(p.port) as s:
            o, outgoing = up_to_finished(s, ctx)
            o.write(b"request %d" % i)
            with pytest.raises(ssl.SSLWantReadError):
                o.unwrap()
            s.sendall(outgoing.read())
            leave(s, how)
    until(lambda: len(listener.heard) == TIMES, lambda: f"{len(listener.heard)} of {TIMES} requests arrived")
    assert sorted(listener.heard) == sorted(b"request %d" % i for i in range(TIMES))
    p.wait_session(count=TIMES)


@PATHS
@pytest.mark.parametrize("behind", [0, 1, 64 * 1024])
def test_an_alert_is_heard_by_a_client_that_goes_on_talking(parts, handshake, behind):
    """With unread input a plain close would be a reset, which takes the alert with it."""
    p = parts.proxy(parts.backend(), top={"handshake": handshake})
    extensions = usual()
    extensions[16] = b"\0\0"  # no name in its list of protocols
    for _ in range(5):
        with tcp(p.port) as s:
            s.settimeout(DEADLINE)
            s.sendall(records(message(extensions)) + bytes(behind))
            got, was_reset = until_closed(s)
        assert alert_of(got) == (2, 50) and not was_reset
    p.wait_failure("hello_malformed", count=5)


@PATHS
def test_an_alert_under_the_handshakes_keys_is_heard_too(parts, handshake):
    """A record that does not open, in front of 64 KiB."""
    p = parts.proxy(parts.backend(), top={"handshake": handshake})
    with tcp(p.port) as s:
        _, outgoing = up_to_finished(s, context(version=V13))
        flight = bytearray(outgoing.read())
        flight[-1] ^= 1  # of the record's tag: what is behind it does not open
        s.sendall(bytes(flight) + bytes(64 * 1024))
        got, was_reset = until_closed(s)
    assert len(got) >= 24 and got[-24] == 23 and not was_reset, got  # the alert, sealed
    p.wait_event(reason=lambda r: r in ("bad_mac", "handshake_failed", "bad_record_mac"))
