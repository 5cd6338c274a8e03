"""Many bad beginnings at one proxy: of each the alert that the client reads, the reason that is counted, and that nothing came of it."""
import itertools
import json
from typing import Callable, NamedTuple

from .admin import UnixConnection
from .waiting import TooLate, standstill, until


class Case(NamedTuple):
    what: str
    begin: Callable  # a client that has said all it has to say
    alert: object    # the number, None for silence
    reason: str


class Sweep:
    """Failures are counted exactly, while in the log they are sampled. Cases that should end alike are counted together."""

    def __init__(self, proxy):
        self.proxy = proxy
        self.admin = UnixConnection(proxy.admin_socket)
        self.before = self.sessions()
        self.done = 0

    def handshakes(self):
        self.admin.request("GET", "/status.json")
        return json.loads(self.admin.getresponse().read())["totals"]["handshakes"]

    def sessions(self):
        """How many there were, once that is up to date: what the observer answers may be a tenth of a second old."""
        return standstill(lambda: tuple(self.handshakes()[kind] for kind in ("full", "resumed")), "sessions", times=15)

    def _counted(self, before, n):
        """{reason: failures} of the N since then."""
        def since():
            now = self.handshakes()["failed"]
            return {k: count - before.get(k, 0) for k, count in now.items() if count != before.get(k, 0)}
        try:
            until(lambda: sum(since().values()) >= n, "failures that are counted")
        except TooLate:
            pass  # the caller sees how many there are
        return since()

    def _meet(self, cases):
        """The alerts that they got, and the reasons counted."""
        until(lambda: self.handshakes()["now"] == 0, "the end of all handshakes before")
        before, alerts = self.handshakes()["failed"], []
        for case in cases:
            c = case.begin()
            alerts.append(c.last_words())
            c.close()
        self.done += len(cases)
        return alerts, self._counted(before, len(cases))

    def run(self, cases):
        """All of them, and what went otherwise."""
        found = []
        for (alert, reason), group in itertools.groupby(sorted(cases, key=lambda c: (str(c.alert), c.reason)), key=lambda c: (c.alert, c.reason)):
            group = list(group)
            try:
                if self._meet(group) == ([alert] * len(group), {reason: len(group)}):
                    continue
            except (AssertionError, OSError):
                pass  # which one it was, is seen below
            for case in group:
                try:
                    got = self._meet([case])
                except (AssertionError, OSError) as e:
                    got = [repr(e)], {}
                if got != ([alert], {reason: 1}):
                    found.append(f"{case.what}: alert {got[0][0]}, {got[1]}; expected {alert}, {reason}")
            found = found or [f"{alert}, {reason}: right one by one, and wrong together"]
        assert not found, "\n".join(found)

    def end(self):
        """No session came of any, and none is under way."""
        until(lambda: self.handshakes()["now"] == 0, "the end of all handshakes")
        after = self.sessions()
        self.admin.close()
        assert self.done
        assert after == self.before, "no session came of any"
