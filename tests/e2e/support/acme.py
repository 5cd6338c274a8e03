"""ACME issuers for tests: Debian's pebble, a name server that sends every name to us, and a front before pebble that can do what
pebble cannot: renewal information, profiles, and every kind of fault."""
import base64
import datetime
import http.client
import http.server
import json
import os
import ssl
import threading

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

    def __init__(self, parts, tls_port, http_port=5002, eab=None, environment=None):
        d = parts.directory / f"pebble{next(parts.number)}"
        d.mkdir()
        self.port, self.management, dns, self.dns_management = free_port(), free_port(), free_port(), free_port()
        server = parts.pki.leaf(f"pebble-{self.port}", "p256", ["127.0.0.1"])
        config = {"listenAddress": f"127.0.0.1:{self.port}", "managementListenAddress": f"127.0.0.1:{self.management}",
                  "certificate": server["cert"], "privateKey": server["key"], "httpPort": http_port, "tlsPort": tls_port, "ocspResponderURL": "",
                  "externalAccountBindingRequired": eab is not None, "externalAccountMACKeys": eab or {}}
        (d / "pebble.json").write_text(json.dumps({"pebble": config}))
        parts.server("pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", "",
                     "-dns01", f"127.0.0.1:{dns}", "-management", f"127.0.0.1:{self.dns_management}")
        until(lambda: answers(self.dns_management), "pebble-challtestsrv")
        parts.server("pebble", "-config", d / "pebble.json", "-dnsserver", f"127.0.0.1:{dns}",
                     env={**os.environ, "PEBBLE_VA_NOSLEEP": "1", **(environment or {})})
        until(lambda: answers(self.port) and answers(self.management), "pebble")
        self.context = ssl.create_default_context(cafile=str(parts.pki.ca))
        self.root = d / "root.pem"
        self.root.write_bytes(self.get(self.management, "/roots/0"))
        self.front = Front(self, server)
        parts.add(self.front)

    def get(self, port, path):
        c = http.client.HTTPSConnection("127.0.0.1", port, context=self.context, timeout=20)
        c.request("GET", path)
        body = c.getresponse().read()
        c.close()
        return body

    def issuer(self, parts, **keys):
        """The section of the configuration."""
        return {"directory": f"https://127.0.0.1:{self.front.port}/dir", "terms_accepted": True, "ca_file": str(parts.pki.ca), **keys}

    def trusts(self):
        """A client's context that believes what this issuer has signed."""
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        c.load_verify_locations(self.root)
        return c


def payload(body):
    """What a signed request asks for; {} when it is empty or none."""
    try:
        text = json.loads(body)["payload"]
        return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) or b"{}")
    except (ValueError, KeyError):
        return {}


class Front:
    """Passes all on with the same Host, so URLs of answers lead here. FAULT(method, path) may answer instead; CHANGE(path, body) lies."""

    def __init__(self, pebble, server):
        front = self
        self.pebble, self.fault, self.window, self.profiles = pebble, lambda method, path: None, None, None
        self.requests, self.orders, self.change = [], [], lambda path, body: body
        self.told = threading.Condition()

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
                front.requests.append((self.command, self.path))
                instead = front.fault(self.command, self.path)
                if instead is not None:
                    self.answer(*instead)
                elif self.path.startswith("/renewal-info/"):
                    self.answer(*front.renewal_info())
                else:
                    self.answer(*front.passed(self.command, self.path, body, self.headers))

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
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

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
        c = http.client.HTTPSConnection("127.0.0.1", self.pebble.port, context=self.pebble.context, timeout=20)
        kept = {k: v for k, v in headers.items() if k.lower() in ("host", "content-type", "user-agent", "accept")}
        c.request(method, path, body or None, kept)
        r = c.getresponse()
        answer, status, fields = r.read(), r.status, r.getheaders()
        c.close()
        self.note(method, path, body, status)
        if path == "/dir":
            directory = json.loads(answer)
            if self.window is not None:
                directory["renewalInfo"] = f"https://127.0.0.1:{self.port}/renewal-info"
            if self.profiles is not None:
                directory["meta"]["profiles"] = self.profiles
            answer = json.dumps(directory).encode()
        return status, self.change(path, answer) if status < 400 else answer, fields  # a refused nonce stays one

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(20)


def window(start, end):
    """Hours from now."""
    now = datetime.datetime.utcnow()
    return now + datetime.timedelta(hours=start), now + datetime.timedelta(hours=end)
