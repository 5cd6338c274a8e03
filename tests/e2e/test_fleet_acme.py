"""Certificates of a fleet: three instances with state of their own, one store (a real Redis server), one issuer (Debian's pebble)."""
import base64
import contextlib
import hashlib
import http.client
import json
import os
import re
import signal
import ssl
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from support import acme, memory, processes
from support.clients import connect, context, free_port, says_echo
from support.proxy import SANITIZED
from support.store import Store
from support.waiting import DEADLINE, until

NAMES = ["a.example.org", "b.example.org"]
LEASES = 3  # of each name, and of the account


class Fleet:
    """Instances 0, 1, 2 for the same names. Validators come to instance 0 alone, whichever has ordered."""

    def __init__(self, parts, n=3, challenges=("tls-alpn-01",), names=None, first_fault=None):
        """NAMES: of each instance, when not all have the same. FIRST_FAULT: of an issuer that is asked before the one that does well."""
        self.parts, self.store = parts, Store(parts)
        self.ports, self.http_port = [free_port() for _ in range(n)], free_port()
        self.pebble = acme.Pebble(parts, self.ports[0], http_port=self.http_port)
        self.front = self.pebble.front
        issuers = {"p": self.pebble.issuer(parts, challenges=list(challenges))}
        if first_fault:
            self.first = self.pebble.another_front(parts)
            self.first.fault = first_fault
            issuers = {"first": {**issuers["p"], "directory": f"https://127.0.0.1:{self.first.port}/dir"}, **issuers}
        self.instances = []
        for i, port in enumerate(self.ports):
            section = dict(self.store.section, issuer=issuers)
            if "http-01" in challenges and i == 0:
                section["http"] = [f"127.0.0.1:{self.http_port}"]
            table = {"listen": [f"127.0.0.1:{port}"], "backends": [parts.backend().url], "acme": {"issuers": list(issuers), "names": names[i] if names else NAMES}}
            p = parts.prepare(services={"web": table}, top={"acme": section}, log={"level": "debug"})
            p.allow_lost_lines = True
            self.instances.append(p)

    def start(self, *which):
        for i in which or range(len(self.instances)):
            self.instances[i].start()

    def certificate(self, i):
        with connect(self.ports[i], context(), name=NAMES[0]) as c:
            return x509.load_der_x509_certificate(c.getpeercert(True))

    def trusted(self, i):
        try:
            with connect(self.ports[i], self.pebble.trusts(), name=NAMES[0]) as c:
                says_echo(c)
            return True
        except ssl.SSLCertVerificationError:
            return False

    def text(self):
        """What they say, without the sessions that are looked with."""
        def said(p):
            return "\n".join([line for line in p.lines if '"event":"session"' not in line and '"event":"failed"' not in line][-200:])
        return "\n".join(f"--- {i}\n{said(p)}" for i, p in enumerate(self.instances) if p.process)

    def wait_all(self, serial_is_not=None):
        """All serve one certificate of the issuer's; its serial number."""
        def same():
            if not all(self.trusted(i) for i in range(len(self.instances))):
                return None
            serials = {self.certificate(i).serial_number for i in range(len(self.instances))}
            return serials.pop() if len(serials) == 1 and serial_is_not not in serials else None

        return until(same, lambda: f"one certificate on all:\n{self.text()}", deadline=3 * DEADLINE)

    def role(self, i, name="acme"):
        return self.instances[i].roles()[name][0]

    def held(self, i):
        self.instances[i].wait_text("another instance has the lease")

    def objects(self):
        return self.store.keys("{tls-off}/acme/object/*")


def issued_by(instance):
    """Whom it will ask about the certificate, after a restart as well."""
    return json.loads((instance.directory / "state" / "acme" / "run" / "order.web.ecdsa-p256.json").read_text())["issued_by"]


def test_one_order_for_three_and_any_answers(parts):
    fleet, gate = Fleet(parts), threading.Event()
    fleet.front.fault = lambda method, path: gate.wait(DEADLINE) and None
    fleet.start(1)
    fleet.store.wait_keys("{tls-off}/acme/lease/*", LEASES)
    fleet.start(0, 2)
    fleet.held(0)
    fleet.held(2)
    gate.set()
    first = fleet.wait_all()
    until(lambda: [issued_by(p) for p in fleet.instances] == ["p"] * 3, lambda: f"the issuer, known to all:\n{fleet.text()}")
    assert len(fleet.front.orders) == 1
    assert fleet.instances[0].events("session", service="acme.tls-alpn-01"), "the validator came to 0, which had not ordered"
    assert "a certificate from p is installed" in fleet.instances[1].text()
    fleet.store.wait_keys("{tls-off}/acme/lease/*", 0)
    assert [k.split("/")[3] for k in fleet.objects()] == ["account", "certificate", "key", "order"]
    for key in fleet.objects():
        data = fleet.store.do("HGET", key, "data")
        assert b"PRIVATE KEY" not in data and (b"BEGIN CERTIFICATE" not in data)
    began = time.monotonic()
    assert fleet.instances[2].admin.ask("/acme/renew?certificate=web.ecdsa-p256", "POST").status == 200
    fleet.wait_all(serial_is_not=first)
    print(f"renewal on all three after {time.monotonic() - began:.2f} s")
    assert len(fleet.front.orders) == 2
    accounts = {m.group(1) for p in fleet.instances for m in [re.search(r"account (https://\S+)", "\n".join(p.lines))] if m}
    assert len(accounts) == 1


@pytest.mark.parametrize("where", ["/dir", "/order-plz", "/finalize-order/"])
def test_the_next_issuer_is_asked_for_all(parts, where):
    """One instance asks the second issuer; all have its certificate and know whose it is, and the renewal is as good."""
    fleet = Fleet(parts, first_fault=lambda method, path: (500, b"{}", [("Content-Type", "application/problem+json")]) if path.startswith(where) else None)
    fleet.start()
    serial = fleet.wait_all()
    until(lambda: [issued_by(p) for p in fleet.instances] == ["p"] * 3, lambda: f"the issuer, known to all:\n{fleet.text()}")
    assert len(fleet.front.orders) == 1
    assert len(fleet.first.orders) == (where == "/finalize-order/")
    assert len([p for p in fleet.instances if "no certificate from first" in p.text()]) == 1, "one has asked"
    fleet.first.fault = lambda method, path: None
    assert fleet.instances[0].admin.ask("/acme/renew?certificate=web.ecdsa-p256", "POST").status == 200
    fleet.wait_all(serial_is_not=serial)
    until(lambda: len({issued_by(p) for p in fleet.instances}) == 1, lambda: f"the issuer of the second:\n{fleet.text()}")
    assert len(fleet.front.orders) + len(fleet.first.orders) == 2 + (where == "/finalize-order/")


def test_the_issuer_says_when_to_renew(parts):
    """One instance asks for all, one orders, at once and once; what it replaces is the one in use."""
    fleet = Fleet(parts)
    fleet.front.window = acme.window(24 * 30, 24 * 31)
    fleet.start()
    first = fleet.wait_all()

    def asked():
        return len([r for r in fleet.front.requests if r[1].startswith("/renewal-info/")])

    def windows():
        return [p.admin.json("/acme.json")["certificates"][0].get("window_start") for p in fleet.instances]

    until(lambda: None not in windows() and len(set(windows())) == 1, lambda: f"the window, known to all: {windows()}\n{fleet.text()}", deadline=3 * DEADLINE)
    assert asked() == 1
    for p in fleet.instances:
        p.stop()
    assert fleet.store.do("DEL", *fleet.store.keys("{tls-off}/acme/object/renewal/*")) == 1
    fleet.front.window = acme.window(-2, -1)
    before = asked()
    for p in fleet.instances:  # a day later
        order = p.directory / "state" / "acme" / "run" / "order.web.ecdsa-p256.json"
        order.write_text(re.sub(r'"(ask|installed)": \d+', r'"\1": 0', order.read_text()))
    fleet.start()
    fleet.wait_all(serial_is_not=first)
    until(lambda: asked() - before >= 2, fleet.text)
    assert len(fleet.front.orders) == 2 and "replaces" in fleet.front.orders[1]
    # About the old one and the new one. An instance that is late with the new one asks about the old one, and then another about the new one.
    assert asked() - before < 2 * len(fleet.instances), "each asks for itself"


@pytest.mark.skipif(os.geteuid() != 0, reason="reading other processes' memory needs root")
@pytest.mark.skipif(SANITIZED, reason="a sanitizer's shadow memory is terabytes, and it keeps what was freed")
def test_private_keys_travel_sealed(parts):
    """One instance has ordered, the other one has taken it up: what lies between them has seen no key."""
    fleet = Fleet(parts, 2)
    fleet.start()
    fleet.wait_all()
    files = [p.directory / "state" / "acme" / "certificates/web.ecdsa-p256/key.pem" for p in fleet.instances]
    assert files[0].read_bytes() == files[1].read_bytes()
    number = serialization.load_pem_private_key(files[0].read_bytes(), None).private_numbers().private_value
    account = (fleet.instances[0].directory / "state" / "acme" / "accounts/p.key").read_bytes()
    needles = {"storage key": fleet.store.key_file.read_bytes(), "number": number.to_bytes(32, "big"), "reversed": number.to_bytes(32, "little"), "text": files[0].read_bytes().splitlines()[1],
               "account": account.splitlines()[1]}
    assert memory.search(fleet.role(1, "keymaker"), {"storage key": needles["storage key"]})[0] == {}, "only what is derived from it is kept"
    assert memory.search(fleet.role(1, "signer"), needles)[0], "else this test looks in the wrong way"
    for pid in [fleet.role(0, "fleet"), fleet.role(1, "fleet"), fleet.role(1, "acme"), fleet.store.server.process.pid]:
        assert not memory.search(pid, needles)[0], processes.command_line(pid)


def test_http_01_is_answered_by_another_instance(parts):
    fleet, gate = Fleet(parts, 2, ["http-01"]), threading.Event()
    fleet.front.fault = lambda method, path: gate.wait(DEADLINE) and None
    fleet.start(1)
    fleet.store.wait_keys("{tls-off}/acme/lease/*", LEASES)
    fleet.start(0)
    fleet.held(0)
    gate.set()
    fleet.wait_all()
    assert len(fleet.front.orders) == 1
    assert fleet.instances[0].events("session", service="acme.http-01")


def test_names_that_overlap_are_ordered_one_after_the_other(parts):
    """A validator asks by the name alone: while one instance proves a name, no other one orders for it."""
    fleet, gate = Fleet(parts, 2, ["http-01"], names=[["b.example.org", "a.example.org"], ["c.example.org", "b.example.org"]]), threading.Event()
    fleet.front.fault = lambda method, path: gate.wait(DEADLINE) and None
    fleet.start(1)
    fleet.store.wait_keys("{tls-off}/acme/lease/*", LEASES)
    fleet.start(0)
    fleet.instances[0].wait_text("another instance has the lease of b.example.org")
    held = {k.rpartition("/")[2]: fleet.store.do("GET", k) for k in fleet.store.keys("{tls-off}/acme/lease/*.org")}
    assert list(held) == ["b.example.org", "c.example.org"] and len(set(held.values())) == 1, "and nothing of the other one's"
    gate.set()
    for i, name in (0, "a.example.org"), (1, "c.example.org"):
        until(lambda: says_who(fleet, i, name), fleet.text, deadline=3 * DEADLINE)
    assert len(fleet.front.orders) == 2
    fleet.store.wait_keys("{tls-off}/acme/lease/*", 0)


def says_who(fleet, i, name):
    try:
        with connect(fleet.ports[i], fleet.pebble.trusts(), name=name):
            return True
    except ssl.SSLCertVerificationError:
        return False


def test_what_strangers_publish_is_not_believed(parts):
    fleet = Fleet(parts, 2)
    fleet.start()
    first = fleet.wait_all()
    seen = int(fleet.store.do("GET", "{tls-off}/acme/version"))
    for message in ["certificate/x", "", "order/" + 200 * "y", "a b", b"\x00\xff", str(seen + 9)] * 5:
        assert fleet.store.do("PUBLISH", "{tls-off}/acme/changed", message) == 2
    fleet.store.do("CLIENT", "KILL", "TYPE", "normal")  # the version is read again
    for p in fleet.instances:
        until(lambda: p.text().count("the store of the fleet answers") == 2, p.text)
    assert fleet.instances[0].admin.ask("/acme/renew?certificate=web.ecdsa-p256", "POST").status == 200
    fleet.wait_all(serial_is_not=first)
    fleet.store.do("CLIENT", "KILL", "TYPE", "normal")
    for p in fleet.instances:
        until(lambda: p.text().count("the store of the fleet answers") == 3, p.text)
        assert "went back in time" not in p.text()


@pytest.mark.parametrize("step", ["/dir", "/nonce-plz", "/sign-me-up", "/order-plz", "/authZ/", "/chalZ/", "/my-order/", "/finalize-order/", "/certZ/"],
                         ids=["directory", "nonce", "account", "order", "authorization", "challenge", "order-read", "finalize", "download"])
def test_a_stopped_leader(parts, step):
    """Another one takes over; what the stopped one writes later is refused. An order that is being made is found in the account's list."""
    fleet, gate, stopped = Fleet(parts), threading.Event(), threading.Event()
    fleet.instances[1].allow_killed_roles = True

    def stop(method, path):
        gate.wait(DEADLINE)
        if path.startswith(step) and not stopped.is_set():
            os.kill(fleet.role(1), signal.SIGSTOP)
            stopped.set()

    fleet.front.fault = stop
    fleet.start(1)
    fleet.store.wait_keys("{tls-off}/acme/lease/*", LEASES)
    fleet.start(0, 2)
    fleet.held(0)
    fleet.held(2)
    gate.set()
    assert stopped.wait(DEADLINE)
    fence = int(fleet.store.do("GET", "{tls-off}/acme/lease/" + NAMES[0]))
    leader = fleet.role(1)
    assert fleet.store.do("DEL", *fleet.store.keys("{tls-off}/acme/lease/*")) >= 2  # as if a minute were over
    until(lambda: fleet.trusted(0) and fleet.trusted(2), fleet.text, deadline=3 * DEADLINE)
    try:
        os.kill(leader, signal.SIGCONT)
    except ProcessLookupError:
        pass  # it was silent for too long, and has a successor
    fleet.wait_all()
    assert len(fleet.front.orders) == 1
    certificate, = [k for k in fleet.objects() if "/certificate/" in k]
    assert int(fleet.store.do("HGET", certificate, "fence")) > fence
    assert fleet.store.do("HGET", certificate, "version") == b"1", "one certificate was put"


def test_a_machine_that_cannot_write_takes_it_later(parts):
    """Files stand in the way of what the keymaker writes: the account first, then a renewal. Nobody says again that there is something new."""
    fleet = Fleet(parts, 2)
    fleet.start(0)
    until(lambda: fleet.trusted(0), fleet.text, deadline=3 * DEADLINE)
    state = fleet.instances[1].directory / "state" / "acme"
    in_the_way = state / "accounts" / "p.next.key"
    in_the_way.mkdir(parents=True, mode=0o700)
    fleet.start(1)
    fleet.instances[1].wait_text("the account of the fleet at the issuer p is not taken: .*p.next.key")
    first = fleet.wait_all()
    assert not (state / "accounts" / "p.version").exists()
    in_the_way.rmdir()
    until(lambda: (state / "accounts" / "p.version").exists(), fleet.text)
    certificates = state / "certificates" / "web.ecdsa-p256"
    in_the_way = certificates / str(int(os.readlink(certificates / "current")) + 1)
    in_the_way.write_text("")
    assert fleet.instances[0].admin.ask("/acme/renew?certificate=web.ecdsa-p256", "POST").status == 200
    fleet.instances[1].wait_text("web.ecdsa-p256: the certificate of the fleet is not taken: ")
    assert fleet.certificate(1).serial_number == first
    in_the_way.unlink()
    fleet.wait_all(serial_is_not=first)
    assert len(fleet.front.orders) == 2


def test_a_store_that_forgets(parts):
    """Certificates in use stay; a new instance has none to take, and the next renewal unites all."""
    fleet = Fleet(parts, 2)
    fleet.start()
    first = fleet.wait_all()
    dump = fleet.objects()
    assert fleet.store.do("FLUSHALL") == "OK"
    for p in fleet.instances:
        p.wait_text("went back in time")
    assert dump and fleet.wait_all() == first
    fleet.instances[0].admin.ask("/acme/renew?certificate=web.ecdsa-p256", "POST")
    fleet.wait_all(serial_is_not=first)
    assert len(fleet.front.orders) == 2


def test_an_old_copy_of_the_store(parts):
    """It goes back in time: that is said, nobody takes up what is older, and the next renewal is above all."""
    fleet = Fleet(parts, 2)
    fleet.start()
    first = fleet.wait_all()
    fleet.store.wait_keys("{tls-off}/acme/lease/*", 0)
    old = fleet.store.copy()
    assert fleet.instances[0].admin.ask("/acme/renew?certificate=web.ecdsa-p256", "POST").status == 200
    second = fleet.wait_all(serial_is_not=first)
    fleet.store.wait_keys("{tls-off}/acme/lease/*", 0)
    fleet.store.back_to(old)
    certificate, = [k for k in fleet.objects() if "/certificate/" in k]
    assert fleet.store.do("HGET", certificate, "version") == b"1"
    for p in fleet.instances:
        p.wait_text("the store of the fleet went back in time, from version [0-9]+ to [0-9]+")
        p.wait_text("the store of the fleet has version 1 of it, ours is version 2: the certificate in use stays")
    assert fleet.wait_all() == second
    assert fleet.instances[1].admin.ask("/acme/renew?certificate=web.ecdsa-p256", "POST").status == 200
    fleet.wait_all(serial_is_not=second)
    assert fleet.store.do("HGET", certificate, "version") == b"3" and len(fleet.front.orders) == 3
    for p in fleet.instances:
        assert p.text().count("went back in time") == 1


@pytest.mark.parametrize("how, step", [("empty", "/finalize-order/"), ("hangs", "/certZ/"), ("full", "/certZ/")])
def test_the_store_fails_in_the_middle_of_an_order(parts, how, step):
    """The order is not lost, and all have a certificate in the end."""
    fleet, failed = Fleet(parts, 2), threading.Event()

    def fail(method, path):
        if path.startswith(step) and not failed.is_set():
            failed.set()
            if how == "empty":
                fleet.store.kill()
                fleet.store.start()
            elif how == "hangs":
                fleet.store.hang()
            else:
                assert fleet.store.do("CONFIG", "SET", "maxmemory", 1) == "OK"

    fleet.front.fault = fail
    fleet.start()
    assert failed.wait(3 * DEADLINE)
    until(lambda: any(fleet.trusted(i) for i in (0, 1)), fleet.text, deadline=3 * DEADLINE)
    if how == "hangs":
        fleet.store.go_on()
    elif how == "full":
        for p in fleet.instances:
            p.wait_text("is away: .*memory is used up")
        assert fleet.store.do("CONFIG", "SET", "maxmemory", 0) == "OK"
    until(lambda: all(fleet.trusted(i) for i in (0, 1)), fleet.text, deadline=3 * DEADLINE)
    assert len(fleet.front.orders) <= 2
    first = fleet.certificate(0).serial_number

    def renewed():  # a certificate of the fleet that is not here yet is as good
        assert fleet.instances[0].admin.ask("/acme/renew?certificate=web.ecdsa-p256", "POST").status == 200
        return fleet.certificate(0).serial_number != first
    until(renewed, fleet.text, deadline=3 * DEADLINE, every=5)
    fleet.wait_all(serial_is_not=first)


def thumbprint(p):
    """RFC 7638."""
    n = serialization.load_pem_private_key((p.directory / "state/acme/accounts/p.key").read_bytes(), None).public_key().public_numbers()
    x, y = (base64.urlsafe_b64encode(v.to_bytes(32, "big")).rstrip(b"=").decode() for v in (n.x, n.y))
    return base64.urlsafe_b64encode(hashlib.sha256(json.dumps({"crv": "P-256", "kty": "EC", "x": x, "y": y}, separators=(",", ":")).encode()).digest()).rstrip(b"=").decode()


def test_a_strangers_challenge_is_not_answered(parts):
    """Who writes to the store cannot have a validator answered for an account of his own."""
    fleet, gate = Fleet(parts, 2, ["http-01", "tls-alpn-01"]), threading.Event()
    fleet.front.fault = lambda method, path: gate.wait(DEADLINE) and None
    fleet.start(1)
    fleet.store.wait_keys("{tls-off}/acme/lease/*", LEASES)
    fleet.start(0)
    fleet.held(0)
    gate.set()
    fleet.wait_all()  # instance 0 has ordered nothing: it knows the account by the store alone
    p = fleet.instances[0]
    ours = thumbprint(fleet.instances[1])
    assert thumbprint(p) == ours

    def fetch():
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", fleet.http_port, timeout=DEADLINE)) as c:
            c.request("GET", "/.well-known/acme-challenge/tok")
            r = c.getresponse()
            return r.status, r.read()

    def validated():
        try:
            with connect(fleet.ports[0], context(alpn=["acme-tls/1"]), name=NAMES[0]) as c:
                return x509.load_der_x509_certificate(c.getpeercert(True)).issuer == x509.load_der_x509_certificate(c.getpeercert(True)).subject
        except ssl.SSLError:
            return False

    def offer(account):
        for name in ("http-01/tok", "tls-alpn-01/" + NAMES[0]):
            fleet.store.do("SET", "{tls-off}/acme/challenge/" + name, f"{NAMES[0]} tok.{account}", "PX", 60000)

    for stranger in ("x" * 43, "", ours[:-1], ours + "x", ours + "." + "x" * 43):
        offer(stranger)
        assert fetch()[0] == 404 and not validated(), stranger
    p.wait_text("is not answered: it is for an account that is none of ours")
    assert p.text().count("is none of ours") < 5, "not a line for each"
    offer(ours)
    assert fetch() == (200, f"tok.{ours}".encode()) and validated()
    p.allow_killed_roles = True
    os.kill(fleet.role(0), signal.SIGKILL)

    def again():
        try:
            return fetch()
        except OSError:
            return None  # it is on its way
    until(lambda: again() == (200, f"tok.{ours}".encode()), p.text)


def test_the_store_away_and_back(parts):
    fleet = Fleet(parts, 2)
    fleet.start()
    first = fleet.wait_all()
    fleet.store.stop()
    for p in fleet.instances:
        p.wait_text("the store of the fleet is away")
    fleet.instances[0].admin.ask("/acme/renew?certificate=web.ecdsa-p256", "POST")
    fleet.instances[0].wait_text("the store of the fleet is away; it is ordered without it in")
    assert fleet.wait_all() == first and len(fleet.front.orders) == 1
    fleet.store.start()
    fleet.wait_all(serial_is_not=first)
    assert len(fleet.front.orders) == 2


def test_a_renewal_that_is_asked_for_outlives_a_restart(parts):
    """The store is away, so it waits; the instance is started again meanwhile."""
    fleet = Fleet(parts, 2)
    fleet.start()
    first = fleet.wait_all()
    fleet.store.stop()
    p = fleet.instances[0]
    p.wait_text("the store of the fleet is away")
    assert p.admin.ask("/acme/renew?certificate=web.ecdsa-p256", "POST").status == 200
    p.wait_text("the store of the fleet is away; it is ordered without it in")
    p.stop()
    p.start()
    fleet.store.start()
    fleet.wait_all(serial_is_not=first)
    assert len(fleet.front.orders) == 2


def test_a_store_that_lost_its_data_while_it_was_away(parts):
    """Another instance has renewed since, and the store counts to what this one has seen last: it looks at its certificates all the same."""
    fleet = Fleet(parts, 2)
    fleet.start()
    first = fleet.wait_all()
    fleet.store.wait_keys("{tls-off}/acme/lease/*", 0)
    seen = fleet.store.do("GET", "{tls-off}/acme/version")
    fleet.instances[1].allow_killed_roles = True
    late = fleet.role(1, "fleet")
    os.kill(late, signal.SIGSTOP)
    fleet.store.kill()
    fleet.store.start()
    fleet.instances[0].admin.ask("/acme/renew?certificate=web.ecdsa-p256", "POST")
    until(lambda: fleet.certificate(0).serial_number != first, fleet.text, deadline=2 * DEADLINE)
    fleet.store.wait_keys("{tls-off}/acme/lease/*", 0)
    assert fleet.store.do("SET", "{tls-off}/acme/version", seen) == "OK"
    os.kill(late, signal.SIGCONT)
    fleet.wait_all(serial_is_not=first)


@pytest.mark.parametrize("command, said", [("-exists", "web.ecdsa-p256: the lease in the store of the fleet: its access lists"),
                                           ("-zrevrange", "what has changed in the store of the fleet is not known: its access lists")])
def test_what_the_store_does_not_do_is_said(parts, command, said):
    fleet = Fleet(parts, 1)
    assert fleet.store.do("ACL", "SETUSER", "default", command) == "OK"
    fleet.start()
    fleet.instances[0].wait_text("the store of the fleet answers")
    fleet.instances[0].wait_text(said)


@pytest.mark.parametrize("harm", ["another key", "changed", "giant"])
def test_what_the_store_holds_is_not_believed(parts, harm):
    fleet = Fleet(parts, 2)
    fleet.start(0)
    until(lambda: fleet.trusted(0), fleet.text)
    certificate, = [k for k in fleet.store.wait_keys("{tls-off}/acme/object/*", 4) if "/certificate/" in k]
    fleet.store.wait_keys("{tls-off}/acme/lease/*", 0)
    data = fleet.store.do("HGET", certificate, "data")
    if harm == "another key":
        fleet.store.key_file.write_bytes(os.urandom(32))
    else:
        fleet.store.do("HSET", certificate, "data", {"changed": data[:-1] + bytes([data[-1] ^ 1]), "giant": bytes(70000)}[harm])
    fleet.start(1)
    fleet.instances[1].wait_text("cannot be opened|larger than 56 KiB")
    assert fleet.trusted(0) and not fleet.trusted(1)
    assert len(fleet.front.orders) == 1
    assert not fleet.instances[1].roles() == {}
