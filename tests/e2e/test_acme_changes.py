"""Certificates from ACME issuers while the configuration changes in the middle of an order."""
import re
import signal
import threading

from support.acme_site import Site, names_of
from support.waiting import DEADLINE, until

AWAY = (503, b"", [])


def change(site, old, new):
    text = site.p.config_file.read_text()
    assert old in text
    site.p.config_file.write_text(text.replace(old, new))
    site.p.signal(signal.SIGHUP)


def test_other_names_while_an_order_is_under_way(parts):
    """The order for those before is not gone on with, nor does another one wait as after a failure."""
    gate, asked = threading.Event(), threading.Event()

    def hold(method, path):
        if path.startswith("/chalZ/"):
            asked.set()
            gate.wait(DEADLINE)

    site = Site(parts, prepare=lambda s: setattr(s.front, "fault", hold)).start()
    until(asked.is_set, lambda: f"the first challenge:\n{site.p.text()}")
    change(site, '"b.example.org"', '"c.example.org"')
    site.p.wait_text("reload done")
    gate.set()
    site.wait_trusted("c.example.org")
    assert names_of(site.served("c.example.org")) == ["a.example.org", "c.example.org"]
    assert not re.search("no certificate from p0", site.p.text())


def test_another_directory_while_an_order_is_under_way(parts):
    """An issuer that has gone for good; the one that has its place is not asked about its order."""
    site = Site(parts, prepare=lambda s: setattr(s.front, "fault", lambda method, path: AWAY if path.startswith("/finalize-order/") else None))
    other = site.pebble.another_front(parts)
    site.start()
    site.p.wait_text("no certificate from p0: .*status 503")
    site.front.fault = lambda method, path: AWAY
    asked = len(site.front.requests)
    change(site, f"127.0.0.1:{site.front.port}", f"127.0.0.1:{other.port}")
    site.wait_trusted()
    assert len(other.orders) == 1 and len(site.front.requests) == asked
