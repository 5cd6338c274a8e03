"""Many clients at once, none of which may fail."""
import threading

from .clients import connect, says_echo
from .waiting import DEADLINE, until


class Storm:
    """Full handshakes from several threads until stopped."""

    def __init__(self, port, contexts, threads=3):
        self.port, self.contexts, self.stopped = port, contexts, threading.Event()
        self.done, self.failed = 0, []
        self.threads = [threading.Thread(target=self._run, args=(i,)) for i in range(threads)]
        for t in self.threads:
            t.start()

    def _run(self, i):
        while not self.stopped.is_set():
            try:
                with connect(self.port, self.contexts[i % len(self.contexts)]) as c:
                    says_echo(c)
                self.done += 1
            except (OSError, AssertionError) as e:
                self.failed.append(repr(e))
            i += 1

    def wait(self, n):
        goal = self.done + n
        until(lambda: self.done >= goal or self.failed, lambda: f"{n} handshakes ({self.failed[:3]})")

    def end(self):
        self.stopped.set()
        for t in self.threads:
            t.join(DEADLINE)
