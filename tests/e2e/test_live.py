"""The dashboard's stream: what it sends, and that slow, many and vanished readers do no harm."""
import json
import signal
import socket
import time

import pytest

from support import processes
from support.clients import connect, says_echo
from support.proxy import SANITIZED
from support.waiting import DEADLINE, until

STREAMS = 16


@pytest.fixture
def p(parts):
    return parts.proxy(parts.backend(), top={"admin": {"socket": "admin.sock", "listen": "127.0.0.1:0"}})


class Stream:
    """A reader of /live; next() gives (event, id, data)."""

    def __init__(self, p, tcp=True, rcvbuf=None):
        if rcvbuf:
            self.socket = socket.socket()
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
            self.socket.settimeout(DEADLINE)
            self.socket.connect(p.admin.address)
        else:
            self.socket = p.admin.connect(tcp)
        self.socket.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.file = self.socket.makefile("rb")
        self.status = None
        self.rest = b""

    def head(self):
        self.status = int(self.file.readline().split()[1])
        self.headers = {}
        while line := self.file.readline().strip():
            name, _, value = line.decode().partition(":")
            self.headers[name.lower()] = value.strip()
        return self.status

    def chunk(self):
        size = int(self.file.readline() or b"0", 16)
        data = self.file.read(size)
        assert len(data) == size
        self.file.readline()
        return data

    def next(self):
        if self.status is None:
            assert self.head() == 200
        while b"\n\n" not in self.rest:
            data = self.chunk()
            if not data:
                return None
            self.rest += data
        text, _, self.rest = self.rest.partition(b"\n\n")
        fields = dict(line.split(": ", 1) for line in text.decode().split("\n"))
        assert set(fields) == {"id", "event", "data"}
        return fields["event"], int(fields["id"]), json.loads(fields["data"])

    def close(self):
        self.file.close()
        self.socket.close()


@pytest.mark.parametrize("tcp", [False, True])
def test_history_then_a_snapshot_a_second(p, tcp):
    with connect(p.port) as c:
        says_echo(c, b"hello")
        s = Stream(p, tcp)
        event, first, history = s.next()
        assert s.headers["content-type"] == "text/event-stream" and s.headers["cache-control"] == "no-store"
        assert s.headers["x-content-type-options"] == "nosniff"
        assert event == "history" and len(history["edges"]) > 20 and sorted(history["edges"]) == history["edges"]
        columns = ("time", "bytes_in", "bytes_out", "full", "resumed", "failed", "sessions")
        assert len({len(history[c]) for c in columns}) == 1
        seen = [s.next() for _ in range(6)]
        assert [e for e, _, _ in seen] == ["snapshot"] * 6
        ids = [first] + [i for _, i, _ in seen]
        assert ids == sorted(ids)
        times = [d["status"]["time"] for _, _, d in seen]
        assert 0.5 < sorted(b - a for a, b in zip(times[1:], times[2:]))[2] < 3, times
        last = seen[-1][2]
        assert last["status"]["totals"]["bytes_out_total"] == 5 and last["status"]["totals"]["sessions"] == 1
        assert "certificates" not in last["status"] and "history" not in last["status"]
        assert [c["client"] for c in last["clients"]] == ["127.0.0.1"] and last["clients_tracked"] == 1
        s.close()


def test_a_new_page_gets_what_was_before(p):
    with connect(p.port) as c:
        says_echo(c, bytes(1000))
    until(lambda: p.admin.json("/status.json")["totals"]["bytes_out_total"] == 1000, "counted")

    def complete_history():
        s = Stream(p)
        if s.head() != 200:  # closed ones are counted until the next second
            s.close()
            return None
        history = s.next()[2]
        s.close()
        return len(history["time"]) >= 3 and history["bytes_out"][-1] == 1000 and history["full"][-1] == 1 and history

    history = until(complete_history, "seconds kept")
    assert history["time"] == sorted(history["time"]) and len(history["time"]) <= 300
    assert time.time() - history["time"][-1] < 10


def test_streams_are_bounded_and_room_comes_back(p):
    streams = [Stream(p, tcp=i % 2 == 0) for i in range(STREAMS)]
    assert all(s.next()[0] == "history" for s in streams)
    over = Stream(p)
    assert over.head() == 503
    over.close()
    assert p.admin.ask("/healthz").status == 200
    for s in streams[:4]:
        s.close()

    def again():
        s = Stream(p)
        well = s.head() == 200
        (streams if well else []).append(s)
        if not well:
            s.close()
        return well

    until(again, "room for another stream")
    assert streams[-1].next()[0] == "history"
    for s in streams[4:]:
        assert s.next() is not None
        s.close()


def test_a_reader_that_takes_nothing_is_cut_and_costs_nobody(p):
    """Large snapshots fill what the kernel keeps for it within seconds; from then on it has 20."""
    crowd = [connect(p.port, source=f"127.0.1.{i}") for i in range(1, 101)]
    for c in crowd:
        says_echo(c, b"here")
    slow = [Stream(p, rcvbuf=4096) for _ in range(3)]
    assert [s.head() for s in slow] == [200] * 3
    quick = Stream(p)
    quick.next()
    observer = p.roles()["observer"][0]
    before, longest, last = processes.held(observer), 0, time.monotonic()

    def all_cut():
        nonlocal longest, last
        event, _, data = quick.next()
        assert event == "snapshot"
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
        return not set(ours(slow)) & established()

    until(all_cut, "slow readers are cut", deadline=DEADLINE + 60)
    assert len(quick.next()[2]["clients"]) == 100
    assert longest < 10, longest
    until(lambda: SANITIZED or processes.held(observer) < before + (1 << 20), "memory came back")
    for s in [*slow, quick]:
        s.close()
    for c in crowd:
        c.close()


def ours(streams):
    return [s.socket.getsockname()[1] for s in streams]


def established():
    """Local ports of TCP connections that neither side has closed."""
    rows = [line.split() for line in open("/proc/net/tcp").read().splitlines()[1:]]
    return {int(r[1].split(":")[1], 16) for r in rows if r[3] == "01"}


def test_a_reader_that_goes_is_forgotten(p):
    observer = p.roles()["observer"][0]
    before = processes.descriptors(observer)
    for _ in range(3):
        streams = [Stream(p) for _ in range(8)]
        for s in streams:
            s.next()
            s.close()
        until(lambda: processes.descriptors(observer) <= before, "connections closed")


def test_stopping_with_open_streams(p):
    streams = [Stream(p, tcp=i % 2 == 0) for i in range(4)]
    for s in streams:
        s.next()
    p.signal(signal.SIGTERM)
    assert p.wait_exit() == 0
    for s in streams:
        assert ends(s)
        s.close()


def ends(stream):
    try:
        while stream.next() is not None:
            pass
    except (ValueError, AssertionError, ConnectionResetError):
        pass  # cut amid a chunk
    return True


def test_head_and_other_methods(p):
    assert p.admin.ask("/live", method="HEAD", tcp=True).status == 200
    assert p.admin.ask("/live", method="POST").status == 405
    assert p.admin.ask("/live/", tcp=True).status == 404
