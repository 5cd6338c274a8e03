"""A new key for an account, interrupted at every point: the issuer knows which of two keys is in force, and is asked."""
import json
import os
import signal

import pytest

from support import processes
from support.acme_site import NAMES, Site, acme_command
from support.store import Store
from support.waiting import until

CHANGE = "/rollover-account-key"
PROBLEM = ("Content-Type", "application/problem+json")


class Rollover:
    """A site with a certificate, whose account is to get a new key."""

    def __init__(self, parts):
        self.site = Site(parts, names=NAMES[:1]).start()
        self.site.p.allow_killed_roles = True
        self.site.wait_trusted()
        until(lambda: self.stands().get("state") == "idle", self.site.p.text)
        self.accounts = self.site.state / "accounts"
        self.first, self.url, self.happened = self.key(), self.account(), []

    def stands(self):
        try:
            return self.site.p.admin.json("/acme.json")["certificates"][0]
        except (OSError, ValueError, AssertionError):
            return {}

    def key(self):
        return (self.accounts / "p0.key").read_bytes()

    def next_key(self):
        file = self.accounts / "p0.next.key"
        return file.read_bytes() if file.exists() else None

    def account(self):
        return json.loads((self.site.state / "run" / "account.p0.json").read_text())["account"]

    def command(self):
        until(lambda: acme_command(self.site, "rollover", "p0")[0] == 0, self.site.p.text)

    def before(self, answer):
        """The issuer does not hear of it, however often it is sent: libcurl sends again what a connection has not taken."""
        def fault(method, path):
            if path != CHANGE:
                return None
            self.happened.append(self.next_key())
            return answer
        self.site.front.fault = fault

    def after(self, do):
        """The issuer has done it, and then this happens; the answer is lost unless DO returns something true."""
        def revise(path, status, body, fields):
            if path == CHANGE and not self.happened:
                self.happened.append(self.next_key())
                assert do()  # else the connection ends without an answer
            return status, body, fields
        self.site.front.revise = revise

    def kill(self, role):
        pid = self.site.p.roles()[role][0]
        os.kill(pid, signal.SIGKILL)
        until(lambda: not os.path.exists(f"/proc/{pid}") or processes.state(pid) == "Z", f"the end of {role}")

    def kill_all(self):
        """The front's thread has the answer, the test's own starts it again."""
        os.kill(self.site.p.pid, signal.SIGKILL)

    def start_again(self):
        ours = [pid for pid in processes.descendants(os.getpid()) if processes.role_of(pid)]
        assert self.site.p.wait_exit() == -signal.SIGKILL
        until(lambda: not [pid for pid in ours if os.path.exists(f"/proc/{pid}") and processes.state(pid) != "Z"], "the end of all roles")
        self.site.p.start()

    def serial(self):
        try:
            return self.site.served().serial_number
        except OSError:
            return None

    def renew(self):
        """Asked for again while nothing is under way: a role that was just killed has not heard of it."""
        before = self.site.served().serial_number

        def renewed():
            if self.stands().get("state") != "idle":
                return False
            if self.serial() not in (None, before):
                return True
            acme_command(self.site, "renew", "web.ecdsa-p256")
            return False
        until(renewed, lambda: f"another certificate: {self.stands()}\n{self.site.p.text()}", every=0.2)
        assert self.account() == self.url, "no other account"


@pytest.mark.parametrize("answer", [lambda handler: None, (403, b'{"type": "urn:ietf:params:acme:error:unauthorized"}', [PROBLEM]), (500, b"", [])],
                         ids=["lost", "refused", "failed"])
def test_a_change_that_the_issuer_has_not_made(parts, answer):
    """The old key stays, and the next change uses the key that waits."""
    r = Rollover(parts)
    r.before(answer)
    r.command()
    r.site.p.wait_text("the key of the account at the issuer p0 stays")
    assert r.key() == r.first and r.next_key() == r.happened[0]
    r.renew()
    r.site.p.stop()
    r.site.p.start()
    r.renew()
    assert r.key() == r.first and r.next_key() == r.happened[0], "an answer that is on its way may still come to be true"
    r.site.front.fault = lambda method, path: None
    r.command()
    r.site.p.wait_text("the account at the issuer p0 has a new key")
    until(lambda: r.next_key() is None, "the new key in place")
    assert r.key() == r.happened[0]
    r.renew()


@pytest.mark.parametrize("who", ["nobody", "acme", "keymaker", "supervisor"])
def test_a_change_that_nobody_heard_of(parts, who):
    """The issuer has changed the key; its answer is lost, or who would have put the key into place dies."""
    r = Rollover(parts)
    r.after({"nobody": lambda: False, "acme": lambda: r.kill("acme"), "keymaker": lambda: r.kill("keymaker") or True,
             "supervisor": r.kill_all}[who])
    r.command()
    until(lambda: r.happened, r.site.p.text)
    if who == "supervisor":
        r.start_again()
    r.renew()
    assert r.key() == r.happened[0] != r.first and r.next_key() is None
    assert "has a new key" in r.site.p.text()
    r.happened.append(None)
    r.command()
    until(lambda: r.key() != r.happened[0] and r.next_key() is None, "yet another key")
    r.renew()


def test_a_change_that_comes_to_be_known_late(parts):
    """The issuer says that it does not know the new key, and then it does: the request that it refuses is signed by the other key."""
    r = Rollover(parts)
    r.after(lambda: False)
    unknown = (400, b'{"type": "urn:ietf:params:acme:error:accountDoesNotExist"}', [PROBLEM])
    r.site.front.fault = lambda method, path: unknown if path == "/sign-me-up" else None
    r.command()
    r.site.p.wait_text("the key of the account at the issuer p0 stays")
    r.site.front.fault = lambda method, path: None
    r.renew()
    assert r.key() == r.happened[0] and r.next_key() is None
    assert "no certificate from p0" not in r.site.p.text()


def test_a_change_before_the_machine_joins_a_fleet(parts):
    """What is shared is the key that the issuer has."""
    r = Rollover(parts)
    r.after(r.kill_all)
    r.command()
    until(lambda: r.happened, r.site.p.text)
    store = Store(parts)
    text = r.site.p.config_file.read_text()
    assert text.count("[acme.issuer.p0]") == 1
    section = "".join(f'{k} = "{v}"\n' for k, v in store.section.items())
    r.site.p.config_file.write_text(text.replace("[acme.issuer.p0]", f"[acme]\n{section}[acme.issuer.p0]"))
    r.start_again()
    store.wait_keys("{tls-off}/instance/*")
    r.renew()
    assert r.key() == r.happened[0] and r.next_key() is None
    store.wait_keys("{tls-off}/acme/object/account/*")
    r.site.p.stop()
    (r.accounts / "p0.key").unlink()
    r.site.p.start()
    r.renew()
    assert r.key() == r.happened[0], "from the store"
    r.site.p.stop()
    r.site.p.config_file.write_text(text)
    r.site.p.start()
    r.command()
    r.site.p.wait_text("the account is one of a fleet")
    assert r.key() == r.happened[0]
    r.renew()
