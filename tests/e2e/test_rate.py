"""Byte rates of clients, names and services: what one moves over seconds is what it may, whatever is done to move more.

How long a machine takes is not judged: bytes are compared with what the limit allows for the time that passed.
"""
import threading
import time

import pytest

from support.clients import connect, receive, tcp
from support.raw import DATA, RawSession

RATE = 2_000_000
SECONDS = 2.5
SLACK = 0.05
LEAST = 0.5  # of the rate, on a machine that has other things to do
BURST = RATE / 10 + 65536  # after a pause, and what one read brings


class Stopwatch:
    """Bytes that arrived, over all sessions, and the time of the first and the last."""

    def __init__(self):
        self.lock = threading.Lock()
        self.bytes = 0
        self.first = self.last = None

    def count(self, n):
        now = time.monotonic()
        with self.lock:
            if self.first is None:
                self.first = now
                return  # from here on
            self.bytes += n
            self.last = now

    def check(self, rate=RATE, least=True):
        took = self.last - self.first
        assert self.bytes <= rate * took * (1 + SLACK) + BURST, (self.bytes, took, self.bytes / took / rate)
        if least:
            assert self.bytes >= rate * took * LEAST - BURST, (self.bytes, took, self.bytes / took / rate)


def endless(c):
    """Sends as fast as it is taken."""
    data = bytes(65536)
    try:
        while True:
            c.sendall(data)
    except OSError:
        pass


def sink(watch):
    def serve(c):
        while True:
            n = len(c.recv(65536))
            if not n:
                return
            watch.count(n)
    return serve


def until(end, step):
    while time.monotonic() < end:
        step()


def in_threads(n, work):
    threads = [threading.Thread(target=work) for _ in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


def download(p, watch, sessions=1, opener=None):
    end = time.monotonic() + SECONDS

    def work():
        with (opener or connect)(p.port) as c:
            until(end, lambda: watch.count(len(c.recv(65536))))
    in_threads(sessions, work)


@pytest.mark.parametrize("workers,sessions", [(1, 1), (1, 8), (2, 1), (2, 8)])
def test_download(parts, workers, sessions):
    p = parts.proxy(parts.backend(endless), limits={"bytes_per_second_per_client": RATE}, top={"workers": workers})
    watch = Stopwatch()
    download(p, watch, sessions)
    watch.check()


@pytest.mark.parametrize("workers,sessions", [(1, 1), (2, 6)])
def test_upload(parts, workers, sessions):
    watch = Stopwatch()
    p = parts.proxy(parts.backend(sink(watch)), limits={"bytes_per_second_per_client": RATE}, top={"workers": workers})
    end = time.monotonic() + SECONDS

    def work():
        data = bytes(16384)
        with connect(p.port) as c:
            until(end, lambda: c.sendall(data))
    in_threads(sessions, work)
    watch.check()


def test_both_directions_together(parts):
    """Each byte of an echo counts twice."""
    p = parts.proxy(parts.backend(), limits={"bytes_per_second_per_client": RATE}, top={"workers": 1})
    watch = Stopwatch()
    end = time.monotonic() + SECONDS
    with connect(p.port) as c:
        def step():
            c.sendall(bytes(4096))
            receive(c, 4096)
            watch.count(2 * 4096)
        until(end, step)
    watch.check()


def test_padding_counts(parts):
    """Records of one byte and 16,000 of padding (RFC 8446 5.4)."""
    watch, padding = Stopwatch(), 16000

    def serve(c):
        while data := c.recv(65536):
            watch.count(len(data) * (1 + padding))

    p = parts.proxy(parts.backend(serve), limits={"bytes_per_second_per_client": RATE}, top={"workers": 1})
    r = RawSession(p.port)
    until(time.monotonic() + SECONDS, lambda: r.send_bytes(b"".join(r.out.seal(DATA, b"x", padding) for _ in range(16))))
    r.socket.close()
    watch.check()


def test_passthrough(parts):
    p = parts.proxy(parts.backend(endless), mode="passthrough", certificates=[],
                    limits={"bytes_per_second_per_client": RATE}, top={"workers": 2})
    from support.clients import context, hello_bytes
    hello = hello_bytes(context())
    watch = Stopwatch()

    def opener(port):
        s = tcp(port)
        s.sendall(hello)
        return s
    download(p, watch, 2, opener)
    watch.check()


def test_clients_do_not_share(parts):
    """Two clients have a rate each; one that is not limited does not wait for the others."""
    p = parts.proxy(parts.backend(endless), limits={"bytes_per_second_per_client": RATE}, top={"workers": 1})
    watches = [Stopwatch(), Stopwatch()]
    end = time.monotonic() + SECONDS

    def work(i):
        with connect(p.port, source=f"127.0.0.{i + 5}") as c:
            until(end, lambda: watches[i].count(len(c.recv(65536))))
    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for w in watches:
        w.check()


def test_nothing_is_lost_and_waiting_costs_nothing(parts):
    """A slow rate delays a whole transfer, its end included; sessions that wait do not make the relay spin."""
    size = 400_000

    def some(c):
        c.sendall(bytes(size))
    p = parts.proxy(parts.backend(some), limits={"bytes_per_second_per_client": 100_000},
                    top={"workers": 1}, timeouts={"idle": "2s"})

    def cpu():
        with open(f"/proc/{p.roles()['relay'][0]}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / 100

    before, began = cpu(), time.monotonic()
    with connect(p.port) as c:
        got = 0
        while True:
            data = c.recv(65536)
            if not data:
                break
            got += len(data)
    took = time.monotonic() - began
    assert got == size
    assert took >= (size - 100_000 / 10 - 65536) / 100_000
    assert cpu() - before < 0.2
    assert p.wait_session()["bytes_out"] == size


# ---- of names and services ----


def downloads(p, watches, names, sessions, source="127.0.0.1"):
    """SESSIONS downloads of each of NAMES at once; what each name gets goes to its watch."""
    end = time.monotonic() + SECONDS

    def work(name):
        with connect(p.port, name=name, source=source) as c:
            until(end, lambda: watches[name].count(len(c.recv(65536))))
    threads = [threading.Thread(target=work, args=(name,)) for name in names for _ in range(sessions)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


@pytest.mark.parametrize("workers", [1, 2])
def test_names_do_not_share(parts, pki, workers):
    """Each name below a wildcard has the rate, whatever is asked for another one, in however many sessions."""
    leaf = pki.leaf("tenants", "p256", ["*.tenants.example"])
    p = parts.proxy(parts.backend(endless), certificates=[leaf], limits={"bytes_per_second_per_name": RATE}, top={"workers": workers})
    names = ["a.tenants.example", "b.tenants.example"]
    watches = {n: Stopwatch() for n in names}
    flood = threading.Thread(target=downloads, args=(p, watches, names[:1], 6, "127.0.0.5"))
    flood.start()
    downloads(p, watches, names[1:], 1, "127.0.0.6")
    flood.join()
    for w in watches.values():
        w.check()


@pytest.mark.parametrize("workers,sessions", [(1, 1), (1, 6), (2, 6)])
def test_a_service_has_a_rate(parts, workers, sessions):
    p = parts.proxy(parts.backend(endless), limits={"bytes_per_second": RATE}, top={"workers": workers})
    watch = Stopwatch()
    download(p, watch, sessions)
    watch.check()


@pytest.mark.parametrize("workers", [1, 2])
def test_all_rates_at_once(parts, pki, workers):
    """A session under several rates keeps to each, is never stuck between their queues, and leaves to others what it may not take."""
    leaf = pki.leaf("tenants", "p256", ["*.tenants.example"])
    limits = {"bytes_per_second": 3 * RATE, "bytes_per_second_per_client": RATE, "bytes_per_second_per_name": 2 * RATE}
    p = parts.proxy(parts.backend(endless), certificates=[leaf], limits=limits, top={"workers": workers})
    total, of_name = Stopwatch(), Stopwatch()
    of_client = {f"127.0.0.{i}": Stopwatch() for i in range(5, 10)}
    end = time.monotonic() + SECONDS

    def work(source, name):
        with connect(p.port, name=name, source=source) as c:
            def step():
                n = len(c.recv(65536))
                total.count(n)
                of_client[source].count(n)
                if name.startswith("a"):
                    of_name.count(n)
            until(end, step)
    # three clients, three sessions each, ask for one name; two for another
    threads = [threading.Thread(target=work, args=(source, "a.tenants.example" if i < 3 else "b.tenants.example"))
               for i, source in enumerate(of_client) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    total.check(3 * RATE)
    of_name.check(2 * RATE)
    for w in of_client.values():
        w.check(least=False)
        assert w.bytes > RATE * SECONDS / 20, "a client that is left waiting"
