"""Certificates from ACME issuers while the configuration changes in the middle of an order, and behind a state directory that was restored."""
import os
import re
import shutil
import signal
import threading

from support.acme_site import Site, acme_command, names_of
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


def renews(site):
    """The certificate in use is followed by another one, which is served."""
    first = site.served().serial_number
    until(lambda: acme_command(site, "renew", "web.ecdsa-p256")[0] == 0, lambda: site.p.text())
    until(lambda: site.served().serial_number != first, lambda: f"another certificate:\n{site.p.text()}")
    assert site.trusted()


def test_an_account_without_its_key(parts):
    """The issuer knows the account, by a key that is lost: the key that is made instead has an account of its own."""
    site = Site(parts).start()
    site.wait_trusted()
    site.p.stop()
    (site.state / "accounts" / "p0.key").unlink()
    site.p.start()
    renews(site)
    assert site.p.wait_text("is not here any more")
    made = [path for _, path in site.front.requests].count("/sign-me-up")
    site.p.stop()
    site.p.start()
    renews(site)
    assert [path for _, path in site.front.requests].count("/sign-me-up") == made, "it is known from now on"


def test_a_copy_that_has_no_links(parts):
    """As scp and the like make it: what is renewed is served all the same."""
    site = Site(parts).start()
    site.wait_trusted()
    site.p.stop()
    directory = site.state / "certificates" / "web.ecdsa-p256"
    copy, owner = directory.with_name("copy"), directory.stat()
    shutil.copytree(directory, copy)
    shutil.rmtree(directory)
    copy.rename(directory)
    assert not directory.joinpath("current").is_symlink() and not directory.joinpath("key.pem").is_symlink()
    for path in [directory, *directory.rglob("*")]:
        os.chown(path, owner.st_uid, owner.st_gid)
    site.p.start()
    renews(site)
    renews(site)
    assert os.readlink(directory / "current") == "2" and os.readlink(directory / "key.pem") == "current/key.pem"
