"""A collector of traces: takes OTLP over HTTP as JSON, holds each request against the schema, and can have every kind of fault."""
import http.server
import json
import re
import ssl
import threading
import time

from .waiting import DEADLINE, until

# opentelemetry-proto 1.x, trace.proto and common.proto, in its JSON form: name: type of the value, or a message of its own.
UINT64, HEX16, HEX8, TEXT, BOOL, INT32, DOUBLE = "uint64", "hex16", "hex8", "text", "bool", "int32", "double"
SCHEMA = {
    "ExportTraceServiceRequest": {"resourceSpans": ["ResourceSpans"]},
    "ResourceSpans": {"resource": "Resource", "scopeSpans": ["ScopeSpans"], "schemaUrl": TEXT},
    "Resource": {"attributes": ["KeyValue"], "droppedAttributesCount": INT32},
    "ScopeSpans": {"scope": "InstrumentationScope", "spans": ["Span"], "schemaUrl": TEXT},
    "InstrumentationScope": {"name": TEXT, "version": TEXT, "attributes": ["KeyValue"], "droppedAttributesCount": INT32},
    "Span": {"traceId": HEX16, "spanId": HEX8, "traceState": TEXT, "parentSpanId": HEX8, "flags": INT32, "name": TEXT, "kind": INT32,
             "startTimeUnixNano": UINT64, "endTimeUnixNano": UINT64, "attributes": ["KeyValue"], "droppedAttributesCount": INT32,
             "events": ["Event"], "droppedEventsCount": INT32, "links": ["Link"], "droppedLinksCount": INT32, "status": "Status"},
    "Event": {"timeUnixNano": UINT64, "name": TEXT, "attributes": ["KeyValue"], "droppedAttributesCount": INT32},
    "Status": {"message": TEXT, "code": INT32},
    "KeyValue": {"key": TEXT, "value": "AnyValue"},
    "AnyValue": {"stringValue": TEXT, "boolValue": BOOL, "intValue": UINT64, "doubleValue": DOUBLE},
}


def check(value, kind, where="request"):
    """A fault as an AssertionError that says where."""
    if isinstance(kind, list):
        assert isinstance(value, list), f"{where}: {value!r}"
        for i, item in enumerate(value):
            check(item, kind[0], f"{where}[{i}]")
    elif kind == UINT64:
        assert isinstance(value, str) and re.fullmatch(r"\d{1,20}", value) and int(value) < 1 << 64, f"{where}: {value!r}"
    elif kind in (HEX16, HEX8):
        assert re.fullmatch(r"[0-9a-f]{%d}" % (32 if kind == HEX16 else 16), value) and int(value, 16), f"{where}: {value!r}"
    elif kind == TEXT:
        assert isinstance(value, str) and all(0x20 <= ord(c) != 0x7f for c in value), f"{where}: {value!r}"
    elif kind == BOOL:
        assert isinstance(value, bool), f"{where}: {value!r}"
    elif kind == INT32:
        assert isinstance(value, int) and not isinstance(value, bool), f"{where}: {value!r}"
    else:
        assert isinstance(value, dict), f"{where}: {value!r}"
        for name, member in value.items():
            assert name in SCHEMA[kind], f"{where}: {kind} has no {name}"
            check(member, SCHEMA[kind][name], f"{where}.{name}")
        if kind == "AnyValue":
            assert len(value) == 1, f"{where}: {value!r}"


def attributes(holder):
    """{key: value} of Python's types; no key twice."""
    found = {}
    for pair in holder["attributes"]:
        assert pair["key"] not in found, f"{pair['key']} twice"
        (kind, value), = pair["value"].items()
        found[pair["key"]] = int(value) if kind == "intValue" else value
    return found


class Span:
    def __init__(self, raw, resource):
        self.raw, self.resource = raw, resource
        self.trace, self.id, self.name = raw["traceId"], raw["spanId"], raw["name"]
        self.start, self.end = int(raw["startTimeUnixNano"]), int(raw["endTimeUnixNano"])
        self.attributes = attributes(raw)
        self.events = {e["name"]: int(e["timeUnixNano"]) for e in raw["events"]}
        self.status = raw.get("status", {})
        assert raw["kind"] == 2, raw
        assert all(self.start <= t <= self.end for t in self.events.values()), raw
        times = list(self.events.values())
        assert times == sorted(times), raw


OK = (200, {"Content-Type": "application/json"}, b"{}")


class Collector:
    """ANSWER(request number, spans): (status, fields, body), or None: it is left without one until go_on()."""

    def __init__(self, parts, cert=None, port=0):
        self.spans, self.faults, self.requests, self.arrivals, self.connections = [], [], [], [], 0  # arrivals: of each request, its monotonic time
        self.answer = lambda number, spans: OK
        self.go = threading.Event()
        self.lock = threading.Lock()
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = DEADLINE * 4

            def setup(self):
                super().setup()
                collector.connections += 1

            def do_POST(self):
                collector.take(self, self.rfile.read(int(self.headers["Content-Length"])))

            def do_GET(self):
                collector.faults.append(f"GET {self.path}")
                self.send_error(405)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 64

            def handle_error(self, request, address):
                pass  # clients leave as they like

        self.server = Server(("127.0.0.1", port), Handler)
        self.scheme = "https" if cert else "http"
        if cert:
            c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            c.load_cert_chain(cert["cert"], cert["key"])
            self.server.socket = c.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()
        parts.add(self)

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}/v1/traces"

    def section(self, **keys):
        return {"endpoint": self.url, **keys}

    def take(self, handler, body):
        spans, arrival = [], time.monotonic()
        try:
            assert handler.path.split("?")[0] == "/v1/traces", handler.path
            assert handler.headers["Content-Type"] == "application/json"
            request = json.loads(body)
            check(request, "ExportTraceServiceRequest")
            for r in request["resourceSpans"]:
                for s in r["scopeSpans"]:
                    assert s["scope"]["name"] == "tls-off"
                    spans += [Span(raw, attributes(r["resource"])) for raw in s["spans"]]
            assert spans
        except Exception as e:  # looked at when the test ends
            self.faults.append(e)
        with self.lock:
            self.requests.append((handler.path, dict(handler.headers), spans))
            self.arrivals.append(arrival)
            number = len(self.requests)
        answer = self.answer(number, spans)
        if answer is None:
            self.go.wait(DEADLINE * 2)
            answer = OK
        status, fields, body = answer
        if status == 200:
            with self.lock:
                self.spans += spans
        handler.send_response(status)
        for name, value in fields.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def wait_span(self, matches, what="a span", deadline=DEADLINE):
        return until(lambda: next((s for s in list(self.spans) if matches(s)), None), lambda: f"{what}: {[s.raw for s in self.spans]}, {self.faults}", deadline)

    def wait_spans(self, n):
        until(lambda: len(self.spans) >= n, lambda: f"{n} spans: {len(self.spans)}, {self.faults}")
        return list(self.spans)

    def wait_requests(self, n):
        until(lambda: len(self.requests) >= n, lambda: f"{n} requests: {len(self.requests)}")

    def go_on(self):
        self.go.set()

    def close(self):
        self.go.set()
        self.server.shutdown()
        self.server.server_close()
        assert not self.faults, self.faults
