"""Many sessions that are checked byte by byte while something happens to the proxy: an echo server is behind it."""
import os
import selectors
import ssl
import threading
import time

from .waiting import DEADLINE, until

BLOCK = os.urandom(1 << 20)  # what a session sends: this, from its own offset on, forever
PIECE = 16384


def said(seed, at, n):
    at = (at + seed) % len(BLOCK)
    piece = BLOCK[at:at + n]
    return piece if len(piece) == n else piece + BLOCK[:n - len(piece)]


class Stream:
    def __init__(self, connection, seed, window):
        self.connection, self.seed, self.window = connection, seed, window
        self.sent = self.got = 0
        self.fault = None
        self.heard = None
        self.pause = 0.0  # the longest time between two pieces received


class Streams:
    """Sessions driven by one thread: each keeps WINDOW bytes under way and compares what comes back."""

    def __init__(self, connections, window=64 * 1024, rate=None):
        self.selector = selectors.DefaultSelector()
        self.streams = []
        self.saying, self.ended = True, False
        self.silent = False  # the thread knows that nothing more is to be sent
        self.gap = 1 / rate if rate else 0  # seconds between two rounds of sending
        for i, c in enumerate(connections):
            c.setblocking(False)
            s = Stream(c, i * 7919, window)
            self.streams.append(s)
            self.selector.register(c, selectors.EVENT_READ, s)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        next_round = 0.0
        while not self.ended:
            if self.saying and time.monotonic() >= next_round:
                next_round = time.monotonic() + self.gap
                for s in self.streams:
                    self._say(s)
            self.silent = not self.saying
            for key, _ in self.selector.select(0.005):
                self._hear(key.data)

    def _fail(self, s, fault):
        s.fault = fault
        self.selector.unregister(s.connection)

    def _say(self, s):
        try:
            while s.fault is None and s.sent - s.got < s.window:
                s.sent += s.connection.send(said(s.seed, s.sent, PIECE))
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError, BlockingIOError):
            pass
        except OSError as e:
            self._fail(s, e)

    def _hear(self, s):
        try:
            for _ in range(64):
                data = s.connection.recv(PIECE)
                now = time.monotonic()
                if s.heard is not None:
                    s.pause = max(s.pause, now - s.heard)
                s.heard = now
                if not data or data != said(s.seed, s.got, len(data)):
                    self._fail(s, "ended" if not data else f"wrong bytes at {s.got}")
                    return
                s.got += len(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            pass
        except OSError as e:
            self._fail(s, e)

    @property
    def faults(self):
        return [s.fault for s in self.streams if s.fault is not None]

    @property
    def moved(self):
        return sum(s.got for s in self.streams)

    def passes(self, more=100_000, deadline=DEADLINE):
        """Every session without a fault moves MORE bytes from now on."""
        before = {s: s.got for s in self.streams}
        until(lambda: all(s.fault is not None or s.got - before[s] >= more for s in self.streams), "bytes of every session", deadline)

    def finish(self, deadline=DEADLINE):
        """All that was sent has come back; the connections are free for other use."""
        self.saying = False
        until(lambda: self.silent and all(s.fault is not None or s.sent == s.got for s in self.streams),
              lambda: f"the end of all streams: {[(s.sent, s.got) for s in self.streams if s.sent != s.got][:5]}", deadline)
        self.close()

    def close(self):
        self.ended = True
        self.thread.join(DEADLINE)
        self.selector.close()
        for s in self.streams:
            if s.fault is None:
                s.connection.settimeout(DEADLINE)
