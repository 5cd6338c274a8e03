"""ACME issuers for tests: Debian's pebble, a name server that sends every name to us, and a front before pebble that can do what
pebble cannot: renewal information, profiles, and every kind of fault."""
import base64
import datetime
import hashlib
import http.client
import http.server
import json
import os
import socket
import ssl
import threading

from . import ocsp
from .clients import free_port, tcp
from .waiting import until


def answers(port):
    try:
        tcp(port).close()
        return True
    except OSError:
        return False


class Pebble:
    """Validators come to TLS_PORT and HTTP_PORT of 127.0.0.1, whatever the name."""

    def __init__(self, parts, tls_port, http_port=5002, eab=None, environment=None, responder="", persist=None, name_server=None):
        d = parts.directory / f"pebble{next(parts.number)}"
        d.mkdir()
        self.port, self.management, self.dns, self.dns_management = free_port(), free_port(), free_port(), free_port()
        dns = self.dns
        if persist:  # the front validates, and pebble believes it
            environment = {"PEBBLE_VA_ALWAYS_VALID": "1", **(environment or {})}
        server = parts.pki.leaf(f"pebble-{self.port}", "p256", ["127.0.0.1"])
        config = {"listenAddress": f"127.0.0.1:{self.port}", "managementListenAddress": f"127.0.0.1:{self.management}",
                  "certificate": server["cert"], "privateKey": server["key"], "httpPort": http_port, "tlsPort": tls_port, "ocspResponderURL": responder,
                  "externalAccountBindingRequired": eab is not None, "externalAccountMACKeys": eab or {}}
        (d / "pebble.json").write_text(json.dumps({"pebble": config}))
        parts.server("pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", "",
                     "-dns01", ",".join([f"127.0.0.1:{dns}", *([f"{name_server}:53"] if name_server else [])]), "-management", f"127.0.0.1:{self.dns_management}")
        until(lambda: answers(self.dns_management), "pebble-challtestsrv")
        parts.server("pebble", "-config", d / "pebble.json", "-dnsserver", f"127.0.0.1:{dns}",
                     env={**os.environ, "PEBBLE_VA_NOSLEEP": "1", **(environment or {})})
        until(lambda: answers(self.port) and answers(self.management), "pebble")
        self.context = ssl.create_default_context(cafile=str(parts.pki.ca))
        self.context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # the default since Python 3.13; our certificates name no key
        self.root = d / "root.pem"
        self.root.write_bytes(self.get(self.management, "/roots/0"))
        self.server = server
        self.front = self.another_front(parts, Persist(persist, dns) if persist else None)

    def another_front(self, parts, persist=None):
        """An issuer of its own, as far as clients see."""
        return parts.add(Front(self, self.server, persist))

    def get(self, port, path):
        c = http.client.HTTPSConnection("127.0.0.1", port, context=self.context, timeout=60)
        c.request("GET", path)
        body = c.getresponse().read()
        c.close()
        return body

    def ocsp(self, parts, port):
        """openssl's responder for what this issuer signs, with the key that pebble gives to tests."""
        d = self.root.parent
        (d / "intermediate.pem").write_bytes(self.get(self.management, "/intermediates/0"))
        (d / "intermediate.key").write_bytes(self.get(self.management, "/intermediate-keys/0"))
        return ocsp.Openssl(parts, d / "intermediate.pem", d / "intermediate.pem", d / "intermediate.key", port)

    def publish(self, record, value):
        """A TXT record, for everybody who asks."""
        body = json.dumps({"host": record + ".", "value": value}).encode()
        c = http.client.HTTPConnection("127.0.0.1", self.dns_management, timeout=60)
        c.request("POST", "/set-txt", body)
        assert c.getresponse().status == 200
        c.close()

    def issuer(self, parts, **keys):
        """The section of the configuration."""
        return {"directory": f"https://127.0.0.1:{self.front.port}/dir", "terms_accepted": True, "ca_file": str(parts.pki.ca), **keys}

    def trusts(self):
        """A client's context that believes what this issuer has signed."""
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        c.load_verify_locations(self.root)
        return c


def part(body, name):
    try:
        text = json.loads(body)[name]
        return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) or b"{}")
    except (ValueError, KeyError, TypeError):
        return {}


def payload(body):
    """What a signed request asks for; {} when it is empty or none."""
    return part(body, "payload")


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def txt(port, name):
    """The TXT records that the name server has."""
    question = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0\0\x10\0\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(20)
        s.sendto(b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0" + question, ("127.0.0.1", port))
        answer = s.recv(65536)
    found, at = [], 12 + len(question)
    for _ in range(int.from_bytes(answer[6:8], "big")):
        while answer[at] and answer[at] < 0xc0:
            at += 1 + answer[at]
        at += 2 if answer[at] else 1
        end, at = at + 10 + int.from_bytes(answer[at + 8:at + 10], "big"), at + 10
        text = b""
        while at < end:
            text, at = text + answer[at + 1:at + 1 + answer[at]], at + 1 + answer[at]
        found.append(text.decode())
    return found


class Persist:
    """dns-persist-01, which pebble 2.4 does not have: its dns-01 is shown as that, and validated here (draft-ietf-acme-dns-persist 4.2)."""
    DOMAINS = ["ca.example", "other.example"]

    def __init__(self, draft, dns):
        self.draft, self.dns, self.thumbprints, self.pending, self.failed, self.port = draft, dns, {}, {}, {}, None

    def prefix(self):
        return f"https://127.0.0.1:{self.port}/account-hash/"

    def directory(self, meta):
        meta["caaIdentities"] = self.DOMAINS
        if self.draft > 1:
            meta.update(issuerDomainNames=self.DOMAINS, accountHashPrefix=self.prefix())

    def note_account(self, body, headers):
        key = part(body, "protected").get("jwk")
        location = dict((k.lower(), v) for k, v in headers).get("location")
        if key and location:
            members = json.dumps({k: key[k] for k in sorted(key)}, separators=(",", ":"))
            self.thumbprints[location] = b64(hashlib.sha256(members.encode()).digest())

    def show(self, authz):
        """An authorization as this issuer would have it."""
        for challenge in authz["challenges"]:
            if challenge["type"] == "dns-01":
                path = challenge["url"].split("/", 3)[3]
                self.pending["/" + path] = (authz["identifier"]["value"], authz.get("wildcard", False))
                shown = {k: v for k, v in challenge.items() if k not in ("token", "error")}
                shown["type"] = "dns-persist-01"
                shown["issuerDomainNames" if self.draft > 1 else "issuer-domain-names"] = self.DOMAINS
                if "/" + path in self.failed:
                    authz["status"] = shown["status"] = "invalid"
                    shown["error"] = {"type": "urn:ietf:params:acme:error:unauthorized", "detail": self.failed["/" + path]}
                authz["challenges"] = [shown]
                return authz
        return authz

    def account_uri(self, account, name):
        if self.draft == 1:
            return account
        text = bytes([len(name)]) + name.encode() + self.thumbprints[account].encode() + account.encode()
        return f"{self.prefix()}sha-256/{b64(hashlib.sha256(text).digest())}"

    def validate(self, path, body):
        """Whether a record names issuer and account."""
        name, wildcard = self.pending[path]
        account = part(body, "protected")["kid"]
        for record in txt(self.dns, f"_validation-persist.{name}"):
            domain, *parameters = [word.strip() for word in record.split(";")]
            values = dict(word.split("=", 1) for word in parameters)
            if (domain in self.DOMAINS and values["accounturi"] == self.account_uri(account, name)
                    and (not wildcard or values.get("policy", "").lower() == "wildcard")):
                return True
        self.failed[path] = f"no record of {name} names the account"
        return False


class Front:
    """
    Passes all on with the same Host, so URLs of answers lead here. FAULT(method, path) may answer instead: (status, body, fields), or a
    function that is given the handler. CHANGE(path, body) lies; REVISE(path, status, body, fields) has the last word on all of an answer.
    A request whose nonce pebble refused, as it does to one in twenty, is sent again and stands in REQUESTS once.
    """

    def __init__(self, pebble, server, persist=None):
        front = self
        self.persist = persist
        self.pebble, self.fault, self.window, self.profiles = pebble, lambda method, path: None, None, None
        self.requests, self.orders, self.change, self.lock = [], [], lambda path, body: body, threading.Lock()
        self.revise, self.csr = lambda path, status, body, fields: (status, body, fields), None

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def log_message(self, *_):
                pass

            def answer(self, status, body=b"", headers=()):
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def do(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                request = (self.command, self.path)
                front.requests.append(request)
                instead = front.fault(self.command, self.path)
                if callable(instead):
                    self.close_connection = True
                    instead(self)
                elif instead is not None:
                    self.answer(*instead)
                elif front.persist and self.path in front.persist.pending and not front.persist.validate(self.path, body):
                    self.answer(200, b"{}", [("Content-Type", "application/json")])
                elif self.path.startswith("/renewal-info/"):
                    self.answer(*front.renewal_info())
                else:
                    status, answer, fields = front.passed(self.command, self.path, body, self.headers)
                    if status == 400 and b"urn:ietf:params:acme:error:badNonce" in answer:
                        front.forget(request)
                    self.answer(status, answer, fields)

            do_GET = do_HEAD = do_POST = do

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass  # a client that is killed is what some tests are about

        self.server = Server(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server["cert"], server["key"])
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        if persist:
            persist.port = self.port
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def forget(self, request):
        with self.lock:  # requests are only added beside it, behind the one that goes
            del self.requests[next(i for i, r in enumerate(self.requests) if r is request)]

    def note(self, method, path, body, status):
        """An order counts when it is made: the same one is sent again when its nonce was refused."""
        if method == "POST" and "identifiers" in payload(body) and status == 201:
            self.orders.append(payload(body))

    def renewal_info(self):
        if self.window is None:
            return 404, b"{}", [("Content-Type", "application/problem+json")]
        start, end = (t.strftime("%Y-%m-%dT%H:%M:%SZ") for t in self.window)
        body = {"suggestedWindow": {"start": start, "end": end}, "explanationURL": "https://example.org/why"}
        return 200, json.dumps(body).encode(), [("Content-Type", "application/json"), ("Retry-After", "3600")]

    def passed(self, method, path, body, headers):
        c = http.client.HTTPSConnection("127.0.0.1", self.pebble.port, context=self.pebble.context, timeout=60)
        kept = {k: v for k, v in headers.items() if k.lower() in ("host", "content-type", "user-agent", "accept")}
        c.request(method, path, body or None, kept)
        r = c.getresponse()
        answer, status, fields = r.read(), r.status, r.getheaders()
        c.close()
        self.note(method, path, body, status)
        if path == "/dir":
            directory = json.loads(answer)
            directory.pop("renewalInfo", None)  # pebble's own, from 2.5 on
            if self.window is not None:
                directory["renewalInfo"] = f"https://127.0.0.1:{self.port}/renewal-info"
            if self.profiles is not None:
                directory["meta"]["profiles"] = self.profiles
            if self.persist:
                self.persist.directory(directory["meta"])
            answer = json.dumps(directory).encode()
        elif self.persist:
            self.persist.note_account(body, fields)
            if path.startswith("/authZ/") and status == 200:
                answer = json.dumps(self.persist.show(json.loads(answer))).encode()
        if "csr" in payload(body):
            self.csr = payload(body)["csr"]
        if status >= 400:
            return status, answer, fields  # a refused nonce stays one
        return self.revise(path, status, self.change(path, answer), fields)

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(20)


def window(start, end):
    """Hours from now."""
    now = datetime.datetime.utcnow()
    return now + datetime.timedelta(hours=start), now + datetime.timedelta(hours=end)
