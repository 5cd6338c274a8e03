"""A roll-out as an orchestrator does it: each instance is replaced by a new one while clients come in through something that
looks at /readyz now and then. `drain --delay` is longer than that takes, so that no connection fails."""
import itertools
import subprocess
import threading
import time

from support.clients import connect, says_echo
from support.proxy import BINARY
from support.waiting import until

LOOKS_EVERY_S = 0.2
DELAY = "2s"


class Balancer:
    """What sends clients here: the instances that were ready when it last looked."""

    def __init__(self):
        self.instances, self.ready, self.over = [], [], threading.Event()
        self.thread = threading.Thread(target=self.look)
        self.thread.start()

    def look(self):
        while not self.over.wait(LOOKS_EVERY_S):
            self.ready = [p for p in list(self.instances) if self.is_ready(p)]

    @staticmethod
    def is_ready(p):
        try:
            return p.admin.ask("/readyz").status == 200
        except OSError:
            return False

    def stop(self):
        self.over.set()
        self.thread.join()


def clients(balancer, over, faults, served):
    for i in itertools.count():
        if over.is_set():
            return
        p = balancer.ready[i % len(balancer.ready)]
        try:
            with connect(p.port) as c:
                says_echo(c)
            served.append(p)
        except OSError as e:
            faults.append((time.time(), repr(e)))


def test_no_connection_fails_in_a_rollout(parts):
    backend = parts.backend()
    balancer, over, faults, served = Balancer(), threading.Event(), [], []
    threads = []
    try:
        balancer.instances = [parts.proxy(backend) for _ in range(2)]
        until(lambda: len(balancer.ready) == 2, "both are ready")
        threads = [threading.Thread(target=clients, args=(balancer, over, faults, served)) for _ in range(4)]
        for t in threads:
            t.start()
        for old in list(balancer.instances):
            new = parts.proxy(backend)
            balancer.instances.append(new)
            until(lambda: new in balancer.ready, "the new one is ready")
            with connect(old.port) as session:
                draining = subprocess.Popen([BINARY, "drain", "--admin", old.admin_socket, "--delay", DELAY, "--timeout", "1m"])
                until(lambda: old not in balancer.ready, "the old one is out")
                says_echo(session)
                old.wait_text("draining: no new sessions")
                balancer.instances.remove(old)
                says_echo(session)
            assert draining.wait(30) == 0 and old.wait_exit() == 0
        before = len(served)
        until(lambda: len(served) > before + 20, "clients of the new ones")
    finally:
        over.set()
        for t in threads:
            t.join()
        balancer.stop()
    assert not faults and len({p.port for p in served}) == 4
