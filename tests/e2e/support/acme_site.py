"""A proxy with certificates from pebble, and what tests of it share."""
import pathlib
import shutil
import ssl
import tempfile
import threading

import pytest
from cryptography import x509

from . import acme
from .clients import connect, context, free_port, says_echo
from .proxy import command
from .waiting import DEADLINE, until

NAMES = ["a.example.org", "b.example.org"]


class Site:
    """One service that wants certificates from pebble, and what goes with it."""

    def __init__(self, parts, issuers=1, names=None, service=None, log="info", prepare=None, eab_keys=None, section=None, pebble=None, top=None, **issuer):
        self.parts, self.port, self.http_port = parts, free_port(), free_port()
        self.pebbles = [acme.Pebble(parts, self.port, http_port=self.http_port, eab=eab_keys, **(pebble or {})) for _ in range(issuers)]
        self.pebble, self.front = self.pebbles[0], self.pebbles[0].front
        sections = {f"p{i}": p.issuer(parts, **issuer) for i, p in enumerate(self.pebbles)}
        table = {"listen": [f"127.0.0.1:{self.port}"], "backends": [parts.backend().url],
                 "acme": {"issuers": list(sections), "names": names or NAMES}, **(service or {})}
        section = {k: v(self) if callable(v) else v for k, v in (section or {}).items()}
        self.p = parts.prepare(services={"web": table}, top={"acme": {**section, "issuer": sections}, **(top or {})}, log={"level": log})
        self.p.allow_lost_lines = True  # of a storm's clients, resets are logged as a number
        self.state = self.p.directory / "state" / "acme"
        if prepare:
            prepare(self)

    def start(self):
        self.p.start()
        return self

    def served(self, name=NAMES[0], **options):
        """The certificate that a client gets."""
        with connect(self.port, context(**options), name=name) as c:
            return x509.load_der_x509_certificate(c.getpeercert(True))

    def trusted(self, name=NAMES[0]):
        """Whether a client of the issuer's gets a certificate that it believes."""
        try:
            with connect(self.port, self.pebble.trusts(), name=name) as c:
                says_echo(c)
            return True
        except ssl.SSLCertVerificationError:
            return False

    def wait_trusted(self, name=NAMES[0]):
        until(lambda: self.trusted(name), lambda: "a certificate of pebble:\n" + "\n".join(line for line in self.p.lines if '"session"' not in line))

    def installed(self, count=1):
        self.p.wait_text(r"a certificate from \w+ is installed")
        until(lambda: len([line for line in self.p.lines if "is installed" in line]) >= count, lambda: f"{count} certificates:\n{self.p.text()}")


class Storm:
    """Handshakes and echoes by several clients until ended; none may fail."""

    def __init__(self, port, threads=3, names=NAMES):
        self.port, self.names, self.ended, self.done, self.failed = port, names, threading.Event(), 0, []
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(threads)]
        for t in self.threads:
            t.start()

    def run(self, i):
        while not self.ended.is_set():
            try:
                with connect(self.port, context(), name=self.names[(i + self.done) % 2]) as c:
                    says_echo(c)
                self.done += 1
            except (OSError, AssertionError) as e:
                self.failed.append(repr(e))

    def wait(self, n):
        goal = self.done + n
        until(lambda: self.done >= goal or self.failed, "handshakes")

    def end(self):
        self.ended.set()
        for t in self.threads:
            t.join(DEADLINE)
        assert not self.failed, self.failed[:3]
        assert self.done


def names_of(certificate):
    san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return sorted(san.get_values_for_type(x509.DNSName)) + sorted(str(a) for a in san.get_values_for_type(x509.IPAddress))


def acme_command(site, *arguments):
    return command("acme", *arguments, "--admin", site.p.admin_socket)


def watch(p, fn):
    """Calls FN for every line of the log, as it comes."""
    class Lines(list):
        def append(self, line):
            super().append(line)
            fn(line)

    p.lines = Lines()


HOOK = """#!/usr/bin/python3
import json, os, sys, urllib.request
verb, name, value = sys.argv[1:]
print(verb, name, value, os.getuid(), sorted(os.environ.items()), sorted(os.listdir("/proc/self/fd")), os.getcwd(), flush=True)
BODY
path, body = ("set-txt", {"host": name + ".", "value": value}) if verb == "present" else ("clear-txt", {"host": name + "."})
urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:PORT/" + path, json.dumps(body).encode()), timeout=10).read()
"""


@pytest.fixture
def hook():
    """A program that everybody may run."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="hook."))
    directory.chmod(0o755)
    file = directory / "hook"

    def write(port=0, body=""):
        file.write_text(HOOK.replace("PORT", str(port)).replace("BODY", body))
        file.chmod(0o755)
        return str(file)

    yield write
    shutil.rmtree(directory)
