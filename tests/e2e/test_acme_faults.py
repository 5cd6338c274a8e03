"""Issuers that fail and lie in every way, disks without room, roles that die at any moment of an order, a thousand certificates."""
import datetime
import email.utils
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from support import acme, processes
from support.acme_site import NAMES, Site, Storm, acme_command, names_of, watch
from support.clients import connect, free_port
from support.proxy import SANITIZED
from support.waiting import DEADLINE, until

JSON = ("Content-Type", "application/json")
PROBLEM = ("Content-Type", "application/problem+json")
GIANT = 100 << 20


class Trap:
    """An address that nobody may come to."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(0)
        self.port = self.listener.getsockname()[1]

    def check(self):
        with pytest.raises(BlockingIOError):
            self.listener.accept()

    def close(self):
        self.listener.close()


class Many:
    """One service and one issuer for each of CASES, (name, what its issuer does); all issuers are one pebble."""

    def __init__(self, parts, cases):
        self.cases, self.port = cases, free_port()
        self.pebble = acme.Pebble(parts, self.port, environment={"PEBBLE_WFE_NONCEREJECT": "0"})
        self.fronts = {name: self.pebble.another_front(parts) for name, _ in cases}
        for name, prepare in cases:
            prepare(self.fronts[name])
        issuers = {name: {**self.pebble.issuer(parts), "directory": f"https://127.0.0.1:{front.port}/dir"} for name, front in self.fronts.items()}
        backend = parts.backend()
        services = {name: {"listen": [f"127.0.0.1:{self.port}"], "backends": [backend.url], "names": [self.host(name)],
                           "acme": {"issuers": [name], "names": [self.host(name)]}} for name, _ in cases}
        self.p = parts.prepare(services=services, top={"acme": {"issuer": issuers}})
        self.p.allow_lost_lines = True
        self.state = self.p.directory / "state" / "acme"
        self.failed_at, self.made_at = {}, time.time()  # when the log says that one has failed, for the first time
        watch(self.p, self.note_failure)

    def note_failure(self, line):
        m = re.search(r"(\w+)\.ecdsa-p256: no certificate from ", line)
        if m:
            self.failed_at.setdefault(m[1], time.time())

    def waits_for(self, name, seconds):
        """Whether the next attempt is so long after the first failure, which is not later than its line in the log."""
        return self.made_at - 1 <= self.next_attempt(name) - seconds <= self.failed_at[name] + 20  # a slow machine counts the wait from a later second

    @staticmethod
    def host(name):
        return name.replace("_", "-") + ".example.org"

    def status(self):
        return {c["service"]: c for c in self.p.admin.json("/acme.json")["certificates"]}

    def next_attempt(self, name):
        return int(re.search(r'"next": (\d+)', (self.state / "run" / f"order.{name}.ecdsa-p256.json").read_text())[1])

    def trusted(self, name):
        try:
            connect(self.port, self.pebble.trusts(), name=self.host(name)).close()
            return True
        except ssl.SSLCertVerificationError:
            return False

    def mend(self):
        """All issuers do well from now on, and everything is ordered."""
        for name, front in self.fronts.items():
            front.fault, front.change = lambda method, path: None, lambda path, body: body
            front.revise = lambda path, status, body, fields: (status, body, fields)
            assert acme_command(self, "renew", f"{name}.ecdsa-p256")[0] == 0
        for name in self.fronts:
            until(lambda: self.trusted(name), lambda: f"a certificate of {name}: {self.status()[name]}\n{self.fronts[name].requests[-12:]}", deadline=2 * DEADLINE)


def at(where, *answer):
    """The fault: this answer to requests for WHERE."""

    def prepare(front):
        front.fault = lambda method, path: answer if path.startswith(where) else None

    return prepare


def by_hand(where, fn):
    def prepare(front):
        front.fault = lambda method, path: (lambda handler: fn(front, handler)) if path.startswith(where) else None

    return prepare


def redirect(where, status, location):
    """LOCATION(port of the front)."""

    def prepare(front):
        target = location(front.port) if callable(location) else location
        at(where, status, b"moved", [("Location", target)])(front)

    return prepare


def rewrite(where, fn):
    """What FN makes of the JSON of such an answer."""

    def prepare(front):
        front.change = lambda path, body: json.dumps(fn(json.loads(body))).encode() if path.startswith(where) else body

    return prepare


def fields(where, fn):
    def prepare(front):
        front.revise = lambda path, status, body, f: (status, body, fn(f)) if path.startswith(where) else (status, body, f)

    return prepare


def without(name):
    return lambda f: [(k, v) for k, v in f if k.lower() != name.lower()]


def instead(name, value):
    return lambda f: without(name)(f) + [(name, value)]


def chain(**how):
    """A certificate for what the CSR asks for, but for what HOW says, by a CA of ours."""

    def prepare(front):
        front.change = lambda path, body: forged(front.csr, **how) if path.startswith("/certZ/") else body

    return prepare


def forged(csr, names=None, other_key=False, days=(0, 30), with_issuer=True, wrong_issuer=False):
    request = x509.load_der_x509_csr(acme.unb64(csr))
    wanted = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    ca_key, ca_name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "forger")])
    now = datetime.datetime.utcnow()

    def certificate(subject, public, key, before, after, *extensions):
        b = (x509.CertificateBuilder().subject_name(subject).issuer_name(ca_name).public_key(public).serial_number(x509.random_serial_number())
             .not_valid_before(before).not_valid_after(after))
        for e in extensions:
            b = b.add_extension(e, False)
        return b.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    public = ec.generate_private_key(ec.SECP256R1()).public_key() if other_key else request.public_key()
    san = x509.SubjectAlternativeName([x509.DNSName(n) for n in names]) if names else wanted
    leaf = certificate(x509.Name([]), public, ca_key, now + datetime.timedelta(days[0]), now + datetime.timedelta(days[1]), san)
    if wrong_issuer:
        ca_key = ec.generate_private_key(ec.SECP256R1())
        ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody else")])
    issuer = certificate(ca_name, ca_key.public_key(), ca_key, now - datetime.timedelta(1), now + datetime.timedelta(99),
                         x509.BasicConstraints(True, None))
    return leaf + (issuer if with_issuer else b"")


# --- what issuers answer

written = {}  # bytes that a giant answer came to


def pour(head, piece, forever=b""):
    """An answer that does not end; at most GIANT bytes of it."""

    def fn(front, handler):
        count = 0
        try:
            handler.wfile.write(head)
            while count < GIANT:
                handler.wfile.write(piece)
                count += len(piece)
        except OSError:
            pass
        written[front.port] = count

    return fn


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
DEEP = b"[" * 10000 + b"]" * 10000


def problem(type_, status=403, **more):
    body = {k: v for k, v in {"type": type_ and f"urn:ietf:params:acme:error:{type_}", **more}.items() if v is not None}
    return status, json.dumps(body).encode(), [PROBLEM]


def sub(type_, name, detail):
    return {"type": f"urn:ietf:params:acme:error:{type_}", "detail": detail, "identifier": {"type": "dns", "value": name}}


def invalid_authz(front):
    """An authorization that fails for two reasons (RFC 8555 6.7.1, "compound")."""
    error = {"type": "urn:ietf:params:acme:error:compound", "detail": "two faults",
             "subproblems": [sub("caa", "sub.example.org", "not us"), sub("dns", "sub.example.org", "no\x1b[2Jbody")]}
    rewrite("/authZ/", lambda a: {**a, "status": "invalid", "challenges": [{**a["challenges"][0], "error": error}]})(front)


def cases(trap):
    """(name, what its issuer does, what is said, how many orders it makes until all is well)."""
    elsewhere = f"https://127.0.0.1:{trap.port}/dir"
    plain = f"http://127.0.0.1:{trap.port}/dir"
    not_followed = r"status 30\d.*redirects are not followed"
    no_directory = "found no directory of ACME"
    return [
        ("r_host", redirect("/dir", 302, elsewhere), not_followed, 1),
        ("r_http", redirect("/dir", 301, plain), not_followed, 1),
        ("r_loop", redirect("/dir", 307, lambda port: f"https://127.0.0.1:{port}/dir"), not_followed, 1),
        ("r_file", redirect("/dir", 308, "file:///etc/passwd"), not_followed, 1),
        ("r_link", redirect("/dir", 303, "http://169.254.169.254/latest/"), not_followed, 1),
        ("r_nonce", redirect("/nonce-plz", 302, elsewhere), "gave no nonce: no Replay-Nonce in its answer, which has the status 302", 1),
        ("r_order", redirect("/order-plz", 307, elsewhere), not_followed, 1),
        ("r_cert", redirect("/certZ/", 302, plain), not_followed, 1),
        ("u_nonce", rewrite("/dir", lambda d: {**d, "newNonce": plain}), no_directory, 1),
        ("u_order", rewrite("/dir", lambda d: {**d, "newOrder": "file:///etc/passwd"}), no_directory, 1),
        ("u_authz", rewrite("/order-plz", lambda o: {**o, "authorizations": [plain]}), "expected the URLs of 1 to 100", 2),
        ("u_none", rewrite("/order-plz", lambda o: {**o, "authorizations": []}), "expected the URLs of 1 to 100", 2),
        ("u_many", rewrite("/order-plz", lambda o: {**o, "authorizations": o["authorizations"] * 101}), "has 101 authorizations, expected", 2),
        ("u_final", rewrite("/order-plz", lambda o: {**o, "finalize": "http://127.0.0.1:1/"}), "its answer is no order", 2),
        ("u_place", fields("/order-plz", instead("Location", plain)), "names no order by an https URL", 2),
        ("u_noplace", fields("/order-plz", without("Location")), "names no order by an https URL", 2),
        ("a_place", fields("/sign-me-up", instead("Location", plain)), "names no account by an https URL", 1),
        ("a_here", fields("/sign-me-up", instead("Location", "/my-account/1")), "names no account by an https URL", 1),
        ("a_nobody", fields("/sign-me-up", without("Location")), "names no account by an https URL", 1),
        ("u_cert", rewrite("/my-order/", lambda o: {**o, "certificate": plain, "status": "valid"}), 'has the state .{1,2}valid', 2),
        ("n_none", fields("/nonce-plz", without("Replay-Nonce")), "no Replay-Nonce in its answer, which has the status 20", 1),
        ("n_bad", at("/order-plz", *problem("badNonce", 400, detail="again")), "status 400, badNonce: again", 1),
        ("n_busy", at("/nonce-plz", 503, b"", [("Retry-After", "3000")]), "no Replay-Nonce in its answer, which has the status 503", 1),
        ("t_html", fields("/order-plz", instead("Content-Type", "text/html")), "its answer is no order", 2),
        ("t_deep", at("/dir", 200, DEEP, [JSON]), no_directory, 1),
        ("t_deep_order", at("/order-plz", 201, DEEP, [JSON, ("Location", "https://127.0.0.1:1/")]), "its answer is no order", 1),
        ("t_nul", at("/dir", 200, b'{"newNonce": "https://\\u0000"}', [JSON]), no_directory, 1),
        ("g_length", by_hand("/dir", pour(HEAD + b"Content-Length: %d\r\n\r\n" % GIANT, b"x" * 65536)), "its answer is longer than 128 KiB", 1),
        ("g_chunked", by_hand("/order-plz", pour(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n")),
         "its answer is longer than 128 KiB", 1),
        ("g_header", by_hand("/dir", pour(HEAD, b"X: " + b"y" * 1000 + b"\r\n")), "header of its answer is longer than 64 KiB", 1),
        ("g_line", by_hand("/dir", pour(HEAD + b"X: ", b"y" * 65536)), "a line in the header of its answer is longer than 100 KiB", 1),
        ("g_interim", by_hand("/dir", pour(b"", b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" * 100)), "header of its answer is longer than 64 KiB", 1),
        ("g_garbage", by_hand("/dir", pour(b"", b"\xff" * 65536)), "HTTP/0.9", 1),
        ("p_plain", at("/order-plz", *problem(None, detail="no\n\x1b[31mwords")), r"status 403: no  \[31mwords", 1),
        ("p_title", at("/order-plz", 403, b'{"type": "about:blank", "title": "Forbidden"}', [PROBLEM]), "status 403: Forbidden", 1),
        ("p_letters", at("/order-plz", *problem("malformed", 400, detail="\u00e9" * 5000)), "malformed: \u00e9\u00e9", 1),
        ("p_parts", at("/order-plz", *problem("malformed", 400, detail="Some were refused",
                                              subproblems=[sub("rejectedIdentifier", "p.example.org", "never"), sub("caa", "q.example.org", "not us")])),
         r"malformed: Some were refused \(p.example.org, rejectedIdentifier: never; q.example.org, caa: not us\)", 1),
        ("p_authz", invalid_authz, r"p-authz.example.org is invalid, compound: two faults \(sub.example.org, caa: not us; sub.example.org, dns: no \[2Jbody\)", 2),
        ("c_key", chain(other_key=True), "found a certificate for another key", 2),
        ("c_names", chain(names=["x.example.org"]), "found a certificate for other names", 2),
        ("c_more", chain(names=["c-more.example.org", "x.example.org"]), "found a certificate for other names", 2),
        ("c_over", chain(days=(-9, -1)), "found a certificate that has expired", 2),
        ("c_chain", chain(wrong_issuer=True), "found certificates that are not a chain", 2),
        ("c_html", at("/certZ/", 200, b"<html>", [("Content-Type", "text/html")]), "the issuer's answer: ", 2),
        ("c_cut", lambda front: setattr(front, "change", lambda path, body: body[:700] if path.startswith("/certZ/") else body), "the issuer's answer: ", 2),
        ("l_html", at("/finalize-order/", 200, b"<html>", [("Content-Type", "text/html")]), "its answer is no order", 2),
    ]


@pytest.mark.parametrize("kinds", ["rnt", "ulp", "gca"])  # no more than sixteen issuers each
def test_issuers_that_lie(parts, kinds):
    """Each is found out, with words that say what; nobody else is hurt, and nothing is left of it when it has come to its senses."""
    trap = parts.add(Trap())
    rows = [row for row in cases(trap) if row[0][0] in kinds]
    many = Many(parts, [(name, prepare) for name, prepare, *_ in rows])
    many.p.start()
    for name, _, said, _ in rows:
        many.p.wait_text(f"{name}.ecdsa-p256: no certificate from {name}: .*(?:{said})", deadline=2 * DEADLINE)
    trap.check()
    assert many.p.admin.ask("/readyz").status == 200
    until(lambda: all(row["failures_in_a_row"] == 1 for row in many.status().values()), many.status)
    assert not [name for name, row in many.status().items() if row["issued_by_issuer"]]
    assert all(count < 8 << 20 for count in written.values()), written
    if "n" in kinds:
        assert len([r for r in many.fronts["n_bad"].requests if r[1] == "/order-plz"]) == 10
        assert many.waits_for("n_busy", 3000)
    many.mend()
    trap.check()
    made = {name: len(many.fronts[name].orders) for name, *_ in rows}
    assert made == {name: count for name, _, _, count in rows}
    for name, *_ in rows:
        assert not (many.state / "certificates" / f"{name}.ecdsa-p256" / "next.key").exists()


DAY = 86400


def when(seconds):
    return lambda: email.utils.formatdate(time.time() + seconds, usegmt=True)


RETRY = [  # what Retry-After says, and how long the next attempt waits
    ("w_none", None, 60), ("w_seconds", "7200", 7200), ("w_zero", "0", 60), ("w_date", when(5400), 5400), ("w_past", when(-5400), 60),
    ("w_garbage", "soon", 60), ("w_minus", "-9", 60), ("w_huge", "99999999999999999999", 7 * DAY), ("w_far", "Fri, 31 Dec 9999 23:59:59 GMT", 7 * DAY),
    ("w_old_date", lambda: time.strftime("%A, %d-%b-%y %H:%M:%S GMT", time.gmtime(time.time() + 5400)), 5400),
    ("w_two", "60, 120", 60),
]


@pytest.mark.parametrize("status, type_", [(429, "rateLimited"), (503, None)])
def test_retry_after(parts, status, type_):
    def limits(value):
        def prepare(front):
            def fault(method, path):
                said = value() if callable(value) else value
                code, body, head = problem(type_, status, detail="too many")
                return (code, body, head + ([("Retry-After", said)] if said else [])) if path == "/order-plz" else None

            front.fault = fault

        return prepare

    many = Many(parts, [(name, limits(value)) for name, value, _ in RETRY])
    many.p.start()
    for name, _, wait in RETRY:
        many.p.wait_text(f"{name}.ecdsa-p256: no certificate from .*status {status}.*too many")
        until(lambda: many.waits_for(name, wait), lambda: f"{name}: {many.next_attempt(name) - many.failed_at[name]} s after its failure")
    asked = {name: len([r for r in many.fronts[name].requests if r[1] == "/order-plz"]) for name, *_ in RETRY}
    assert set(asked.values()) == {1}
    many.p.stop()
    many.p.start()
    many.p.wait_text("ready: ")
    until(lambda: all(c.get("failures_in_a_row") == 1 for c in many.status().values()), "what is on the disk")
    assert asked == {name: len([r for r in many.fronts[name].requests if r[1] == "/order-plz"]) for name, *_ in RETRY}
    many.mend()


def test_a_retry_after_is_of_one_issuer(parts):
    """The first issuer is away for a moment, the second one wants to be left alone for a week: the first one is asked again, and the second one is not."""
    site = Site(parts, issuers=2)
    first, second = (p.front for p in site.pebbles)
    at("/dir", 503, b"", [])(first)
    at("/order-plz", *problem("rateLimited", 429)[:2], [PROBLEM, ("Retry-After", str(7 * DAY))])(second)
    site.start()
    site.p.wait_text("no certificate from p1: .*rateLimited")
    until(lambda: stands(site).get("state") == "idle", "the end of the attempt")
    file = site.state / "run" / "order.web.ecdsa-p256.json"
    assert json.loads(file.read_text())["next"] - time.time() < 70
    before = len(second.requests)
    for mended in (False, True):
        site.p.stop()
        file.write_text(re.sub(r'"next": \d+', '"next": 0', file.read_text()))  # some minutes later
        if mended:
            first.fault = lambda method, path: None
        site.p.start()
        if not mended:
            site.p.wait_text("no certificate from p0: ")
            until(lambda: stands(site).get("state") == "idle" and stands(site)["failures_in_a_row"] == 2, "the end of the attempt")
    site.wait_trusted()
    assert len(first.orders) == 1
    assert "/order-plz" not in [r[1] for r in second.requests[before:]]


def test_an_order_is_not_given_up_for_another_issuer(parts):
    """The first issuer is away for a moment after it has the request for the certificate, and the second one is as well: one order."""
    site = Site(parts, issuers=2)
    first, second = (p.front for p in site.pebbles)
    at("/dir", 503, b"", [])(second)
    at("/my-order/", 503, b"", [])(first)
    site.start()
    site.p.wait_text("no certificate from p0: ")
    site.p.wait_text("no certificate from p1: ")
    assert len([r for r in first.requests if r[1].startswith("/chalZ/")]) >= len(NAMES), "else it was away too early"
    at("/certZ/", 503, b"", [])(first)
    order_now(site)
    until(lambda: stands(site).get("state") == "idle" and stands(site)["failures_in_a_row"] == 2, "the end of the second attempt")
    first.fault = lambda method, path: None
    order_now(site)
    site.wait_trusted()
    assert len(first.orders) == 1
    assert len([r for r in first.requests if r[1].startswith("/finalize-order/")]) == 1


@pytest.mark.parametrize("how", ["says ready", "refuses"])
def test_an_issuer_that_does_not_know_what_it_has_heard(parts, how):
    """One of its machines answers to finalize that has not heard of it, or of the validations before it."""
    site, refusals = Site(parts), []

    def refuse(method, path):
        if path.startswith("/finalize-order/") and not refusals:
            refusals.append(path)
            return problem("orderNotReady", 403)

    if how == "refuses":
        site.front.fault = refuse
    else:
        rewrite("/finalize-order/", lambda o: {**o, "status": "ready"})(site.front)
    site.start()
    site.wait_trusted()
    assert len(site.front.orders) == 1
    finalized = [i for i, r in enumerate(site.front.requests) if r[1].startswith("/finalize-order/")]
    assert len(finalized) == 1 + len(refusals)
    for one, two in zip(finalized, finalized[1:]):
        assert [r for r in site.front.requests[one:two] if r[1].startswith("/my-order/")], "it is looked at before"


def test_a_window_at_the_end_of_the_lifetime(parts):
    """The issuer suggests to renew when the certificate is over: it is renewed while there is time for attempts that fail."""
    site = Site(parts)
    site.front.window = acme.window(24 * 9000, 24 * 9001)
    site.start()
    site.wait_trusted()
    until(lambda: stands(site).get("window_start"), lambda: f"the window: {stands(site)}")
    c = site.served()
    begin, end = (t.replace(tzinfo=datetime.timezone.utc).timestamp() for t in (c.not_valid_before, c.not_valid_after))
    assert abs(stands(site)["renew_at"] - (end - (end - begin) / 4)) < 5, "between the date without a window and the alarm"


# --- issuers that hang


def drip(head, piece):
    def fn(front, handler):
        try:
            handler.wfile.write(head)
            while not front.ended.wait(1):
                handler.wfile.write(piece)
        except OSError:
            pass

    return fn


def hangs(where, fn):
    def prepare(front):
        front.ended = threading.Event()
        by_hand(where, fn)(front)

    return prepare


HANGS = [
    ("h_silent", hangs("/dir", lambda front, handler: front.ended.wait(100))),
    ("h_header", hangs("/dir", drip(HEAD, b"X"))),
    ("h_fields", hangs("/dir", drip(HEAD, b"X: y\r\n"))),
    ("h_body", hangs("/order-plz", drip(HEAD + b"Content-Length: 1000\r\n\r\n", b"x"))),
    ("h_chunks", hangs("/dir", drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"))),
    ("h_nonce", hangs("/nonce-plz", drip(b"HTTP/1.1 200 OK\r\n", b"X"))),
]


def test_issuers_that_drip(parts):
    """A byte a second for ever: a minute, and it is over; others get their certificates meanwhile."""
    many = Many(parts, [*HANGS, ("good", lambda front: None)])
    many.p.start()
    for name, _ in HANGS:
        many.p.wait_text(f"{name}.ecdsa-p256: no certificate from {name}: .*[Tt]ime", deadline=4 * DEADLINE)
    outcomes = [line for line in list(many.p.lines) if "is installed" in line or "no certificate from h_" in line]
    assert "good.ecdsa-p256: a certificate from good is installed" in outcomes[0], "not behind the others"
    until(lambda: many.trusted("good"), "a certificate of the one that does well")
    for name, _ in HANGS:
        many.fronts[name].ended.set()
    many.mend()


# --- roles that die (the acme role and the keymaker at each state of a first order: test_acme.py)

STATES = ["directory", "account key", "account", "new order", "authorization", "challenge", "validation", "validation check", "order", "finalize",
          "issuance", "download", "install"]
UNHEARD = STATES[:4]  # nobody knows whether the issuer has heard of the order
VALIDATED = STATES[4:8]  # the issuer's look at the name may fail with the role that it comes to
ROLES = ["signer", "handshaker", "relay", "observer", "supervisor"]


class Killer:
    """Kills ROLE when an order has come to a state; of the supervisor, all of them end, and it is started again."""

    def __init__(self, site, role):
        self.site, self.role, self.state, self.killed = site, role, None, threading.Event()
        site.p.allow_killed_roles = True
        watch(site.p, self.look)

    def look(self, line):
        if self.state and f'web.ecdsa-p256: {self.state}"' in line:
            self.state = None
            for pid in [self.site.p.pid] if self.role == "supervisor" else self.site.p.roles().get(self.role, []):
                os.kill(pid, signal.SIGKILL)
            self.killed.set()

    def arm(self, state):
        self.killed.clear()
        self.state = state

    def wait(self):
        until(self.killed.is_set, lambda: f"the state {self.state}:\n{self.site.p.text()}")
        p = self.site.p
        if self.role == "supervisor":
            ours = [pid for pid in processes.descendants(os.getpid()) if processes.role_of(pid)]
            assert p.wait_exit() == -signal.SIGKILL
            until(lambda: not [pid for pid in ours if os.path.exists(f"/proc/{pid}") and processes.state(pid) != "Z"], "the end of all roles")
            p.start()


def serial_of(site, name=NAMES[0]):
    """Of the certificate by an issuer that is served; None: there is none, or who answers is just being started again."""
    try:
        certificate = site.served(name)
        return certificate.serial_number if certificate.issuer != certificate.subject else None
    except OSError:
        return None


def order_now(site):
    until(lambda: acme_command(site, "renew", "web.ecdsa-p256")[0] == 0, lambda: f"that the command is taken:\n{site.p.text()}")


def stands(site):
    """How the certificate stands, as the acme role says; {} while nobody says."""
    try:
        return site.p.admin.json("/acme.json")["certificates"][0]
    except (OSError, ValueError, AssertionError, http.client.HTTPException):
        return {}


def order_until(site, happened):
    """
    Orders until HAPPENED() while an order is made: pebble validates nothing again for one in a hundred, whatever PEBBLE_AUTHZREUSE says.
    (serial in use, orders, certificates issued) before the order in which it did.
    """
    def installed():
        """As the log says, whose lines are looked at in their order: what should have happened before has happened."""
        return site.p.text().count("is installed")

    while True:
        was = until(lambda: stands(site).get("state") == "idle" and stands(site), lambda: f"the end of the one before: {stands(site)}")
        serial, orders, before = serial_of(site), len(site.front.orders), installed()
        order_now(site)
        until(lambda: happened() or (installed() > before and serial_of(site) not in (None, serial)), lambda: f"what is waited for:\n{site.p.text()}")
        if happened():
            return serial, orders, was["issued"]


def wait_renewed(site, before, issued):
    """Another certificate is served. What a failed attempt would wait for is not waited for: an operator mends and orders."""

    def renewed():
        now = stands(site)
        if now.get("state") == "idle" and now["failures_in_a_row"] and now["issued"] == issued:
            acme_command(site, "renew", "web.ecdsa-p256")
        return serial_of(site) not in (None, before)

    until(renewed, lambda: f"another certificate: {stands(site)}\n{site.p.text()}", deadline=2 * DEADLINE, every=0.05)


@pytest.mark.skipif(SANITIZED, reason="one that is killed leaves sanitizers nothing to say, and orders run under them elsewhere")
@pytest.mark.parametrize("part", range(3))
@pytest.mark.parametrize("role", ROLES)
def test_a_role_that_is_killed_at_each_state(parts, role, part):
    """The order is gone on with, no key is lost, the certificate is served. A few states each: a role that dies often is started again late."""
    site = Site(parts, names=NAMES[:1], log="debug", pebble={"environment": {"PEBBLE_AUTHZREUSE": "0"}}).start()
    killer = Killer(site, role)
    until(lambda: serial_of(site), lambda: f"the first certificate:\n{site.p.text()}")
    for state in STATES[part::3]:
        killer.arm(state)
        serial, orders, issued = order_until(site, killer.killed.is_set)
        killer.wait()
        wait_renewed(site, serial, issued)
        # the kill comes behind the line in the log, and may hit the validation, too
        may_be_two = role in ("relay", "handshaker", "supervisor") and state in (*UNHEARD, *VALIDATED)
        assert len(site.front.orders) - orders in ((1, 2) if may_be_two else (1,)), state
        assert not (site.state / "certificates" / "web.ecdsa-p256" / "next.key").exists(), state
    assert site.trusted()


@pytest.mark.parametrize("role", ["acme", "keymaker", "supervisor"])
def test_a_role_that_is_killed_while_a_program_runs(parts, hook, role):
    """The state "record" of dns-01: the record is made again for the same order."""
    site = Site(parts, names=NAMES[:1], log="debug", challenges=["dns-01"], hook=hook(),
                prepare=lambda s: hook(s.pebble.dns_management, body="import time; time.sleep(0.5)"))
    killer = Killer(site, role)
    killer.arm("record")
    site.start()
    killer.wait()
    wait_renewed(site, None, 0)
    assert len(site.front.orders) == 1 and site.trusted()


@pytest.mark.parametrize("role", ["acme", "keymaker", "supervisor"])
def test_a_role_that_is_killed_beside_a_record_that_stays(parts, role):
    """dns-persist-01 has no state of its own: the record is there, and the challenge is answered with nothing."""
    site = Site(parts, names=NAMES[:1], log="debug", challenges=["dns-persist-01"], pebble={"persist": 2}).start()
    site.p.wait_text("no certificate from p0: .*names the account")

    def record():
        status, out, _ = acme_command(site, "record", NAMES[0], "--json")
        return status == 0 and json.loads(out)["records"][0]

    found = until(record, "what is in the record")
    site.pebble.publish(found["record"], found["value"])
    killer, orders = Killer(site, role), len(site.front.orders)
    killer.arm("challenge")
    order_now(site)
    killer.wait()
    wait_renewed(site, None, 0)
    assert len(site.front.orders) - orders == 1 and site.trusted()


# --- disks without room

ROOM = """#!/bin/sh
exec unshare -m sh -c 'mount -t tmpfs -o size=192k,mode=711 tmpfs "$1" && shift && exec "$@"' sh "{state}" "{binary}" "$@"
"""


class Disk:
    """The directory of a proxy's certificates, on a file system of its own that only the proxy and we see."""

    def __init__(self, site):
        self.site = site
        site.state.mkdir(parents=True)
        wrapper = site.p.directory / "with-room"
        wrapper.write_text(ROOM.format(state=site.state, binary=site.p.binary))
        wrapper.chmod(0o755)
        site.p.binary = str(wrapper)

    @property
    def path(self):
        return f"/proc/{self.site.p.pid}/root{self.site.state}"

    def remount(self, how):
        subprocess.run(["nsenter", "-t", str(self.site.p.pid), "-m", "mount", "-o", f"remount,{how}", str(self.site.state)], check=True, timeout=DEADLINE)

    def fill(self):
        with open(f"{self.path}/filler", "wb", buffering=0) as f:
            try:
                while f.write(bytes(4096)):
                    pass
            except OSError:
                pass

    def clear(self):
        os.unlink(f"{self.path}/filler")

    def lock(self):
        self.remount("ro")

    def unlock(self):
        self.remount("rw")

    def half_written(self):
        """Files that are not what their names say."""
        bad = []
        for where, _, files in os.walk(self.path):
            for file in files:
                path = os.path.join(where, file)
                if not os.path.isfile(path) or file == "filler":
                    continue  # a socket
                with open(path, "rb") as f:
                    data = f.read()
                if file.endswith(".new") or (file.endswith((".key", ".pem", ".json")) and data.rstrip()[-1:] not in (b"-", b"}")):
                    bad.append((path, data[-20:]))
        return bad


SPOILED_AT = ["/dir", "/order-plz", "/authZ/", "/chalZ/", "/finalize-order/", "/certZ/", None]


@pytest.mark.skipif(os.geteuid() != 0, reason="a file system of one process needs root")
@pytest.mark.parametrize("spoil, mend, said", [("fill", "clear", "No space left on device"), ("lock", "unlock", "Read-only file system")])
def test_a_disk_without_room_at_each_state(parts, spoil, mend, said):
    """Spoiled while the issuer answers: what cannot be written is named, what is served stays, and the order is gone on with when it is mended."""
    site = Site(parts, issuers=2, names=NAMES[:1], pebble={"environment": {"PEBBLE_AUTHZREUSE": "0"}})
    disk = Disk(site)
    held, release = threading.Event(), threading.Event()
    place = [SPOILED_AT[0]]

    def hold(method, path):
        if place[0] and path.startswith(place[0]):
            place[0] = None
            held.set()
            release.wait(DEADLINE)

    site.front.fault = hold
    site.p.start()
    seen = 0
    for where in SPOILED_AT:
        if where == "/dir":
            until(held.is_set, lambda: f"a request for {where}:\n{site.p.text()}")
        elif where:
            place[0] = where
            order_until(site, held.is_set)
        before, was = serial_of(site), until(lambda: stands(site).get("state") and stands(site), "how it stands")
        orders = len(site.front.orders) - (SPOILED_AT.index(where) > SPOILED_AT.index("/order-plz") if where else 0)
        getattr(disk, spoil)()
        if not where:  # before the attempt is written down
            order_now(site)
        release.set()
        now = until(lambda: (stands(site)["failed"] > was["failed"] or stands(site)["issued"] > was["issued"]) and stands(site),
                    lambda: f"an outcome at {where}:\n{site.p.text()}")
        if now["failed"] > was["failed"]:
            assert said in now["error"], (where, now["error"])
            assert serial_of(site) == before, "what was served is served"
            seen += 1
        getattr(disk, mend)()
        held.clear(), release.clear()
        if now["failed"] > was["failed"]:
            order_now(site)
        wait_renewed(site, before, was["issued"])
        assert len(site.front.orders) - orders == 1, where
        until(lambda: stands(site)["state"] == "idle", "the end of the attempt")
        assert not disk.half_written(), where
    assert seen >= 6, "else this test looks in the wrong way"
    assert not site.pebbles[1].front.orders, "another issuer would meet the same disk"
    assert site.trusted()


# --- a thousand names


@pytest.mark.skipif(SANITIZED, reason="a hundred services take minutes with sanitizers")
def test_a_thousand_names(parts):
    """A hundred certificates of ten names, under load: few at a time, one order each, nobody's handshake fails, and all can be looked at."""
    port, count, each = free_port(), 100, 10
    pebble = acme.Pebble(parts, port, environment={"PEBBLE_VA_ALWAYS_VALID": "1", "PEBBLE_WFE_NONCEREJECT": "0"})
    issuer = {**pebble.issuer(parts), "directory": f"https://127.0.0.1:{pebble.port}/dir"}  # without the front: it is slow
    backend = parts.backend(backlog=512)
    hosts = {f"s{i}": [f"n{k}.s{i}.example.org" for k in range(each)] for i in range(count)}
    services = {name: {"listen": [f"127.0.0.1:{port}"], "backends": [backend.url], "names": names, "acme": {"issuers": ["p"], "names": names}}
                for name, names in hosts.items()}
    p = parts.prepare(services=services, top={"acme": {"issuer": {"p": issuer}}}, log={"level": "warning"})
    p.allow_lost_lines = True
    p.start()

    class There:
        pass

    site = There()
    site.p = p
    storm = Storm(port, threads=1, names=[hosts["s0"][0], hosts[f"s{count - 1}"][-1]])
    busiest = 0

    def certificates():
        return p.admin.json("/acme.json")["certificates"]

    def all_issued():
        nonlocal busiest
        found = certificates()
        busiest = max(busiest, len([c for c in found if c.get("state") not in (None, "idle", "queued", "waiting for the issuer")]))
        return all(c.get("issued_by_issuer") for c in found)

    until(all_issued, lambda: f"all of them: {len([c for c in certificates() if c.get('issued_by_issuer')])}\n{p.text()}", deadline=5 * DEADLINE, every=0.2)
    memory = {role: p.role_memory(role) >> 20 for role in ("acme", "keymaker", "observer")}
    assert 1 <= busiest <= 8
    assert memory["acme"] < 48 and memory["keymaker"] < 32, memory

    def served(name):
        with connect(port, pebble.trusts(), name=name) as c:
            return names_of(x509.load_der_x509_certificate(c.getpeercert(True)))

    for name in ("s0", "s42", f"s{count - 1}"):
        until(lambda: trusted_by(pebble, port, hosts[name][0]), f"that {name} is taken up")
        assert served(hosts[name][-1]) == sorted(hosts[name])
    storm.wait(5)
    storm.end()
    found = certificates()
    assert {c["issued"] for c in found} == {1} and {c["failed"] for c in found} == {0}, "one order each"
    status, out, _ = acme_command(site, "status")
    assert status == 0 and out.splitlines()[-1] == f"{count} certificates: {count} from issuers, 0 failed in the last attempt, 0 with an alarm"
    assert "names    n0.s7.example.org, n1.s7.example.org" in out and "n7.s7.example.org and 2 more\n" in out
    p.stop()
    p.start()
    until(lambda: all(c.get("issued_by_issuer") for c in certificates()), "all of them, after the start")
    assert {c["issued"] for c in certificates()} == {1}, "a restart orders nothing"


def trusted_by(pebble, port, name):
    try:
        connect(port, pebble.trusts(), name=name).close()
        return True
    except ssl.SSLCertVerificationError:
        return False
