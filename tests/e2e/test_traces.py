"""Spans of sessions, as OTLP over HTTP: what is in them, every fault of a collector, and that none of those is a client's."""
import contextlib
import os
import signal
import time

import pytest

from support import backends, hello
from support.clients import V12, V13, connect, context, free_port, says_echo, tcp
from support.collector import OK, Collector
from support.proxy import command
from support.waiting import until
from test_reload import reload, rewrite


def exporting(parts, collector, backend=None, section=None, **keys):
    return parts.proxy(backend or parts.backend(), top={"otlp": collector.section(**(section or {}))}, **keys)


def one_session(p, service="web", version=V13, name="localhost", message=b"hello traces"):
    with connect(p.address(service)[1], context(version=version, alpn=["http/1.1"]), name=name) as c:
        c.sendall(message)
        assert c.recv(100) == message
        c.unwrap()


def traces(p):
    return p.admin.json("/status.json")["traces"]


def wait_traces(p, **wanted):
    until(lambda: all(v(traces(p)[k]) if callable(v) else traces(p)[k] == v for k, v in wanted.items()), lambda: f"{wanted}: {traces(p)}\n{p.text()}")
    return traces(p)


def metric(p, result):
    return int(next(line for line in p.admin.ask("/metrics").text.splitlines() if line.startswith(f'tls_off_spans_total{{result="{result}"}}')).split()[-1])


@pytest.mark.parametrize("version", [V13, V12], ids=["1.3", "1.2"])
def test_a_session_is_a_span(parts, version):
    c = Collector(parts)
    b = parts.backend()
    p = exporting(parts, c, b, {"service_name": "edge"}, alpn=["http/1.1"])
    one_session(p, version=version)
    s = c.wait_span(lambda s: True)
    e = p.wait_session()
    a = s.attributes
    assert s.trace == e["unique_id"] and s.id == s.trace[16:] and s.name == "web" and s.status == {}
    assert s.resource["service.name"] == "edge" and s.resource["service.version"] and s.resource["host.name"] == os.uname().nodename
    assert len(s.resource["service.instance.id"]) == 16
    host, _, port = e["client"].rpartition(":")
    assert (a["client.address"], a["client.port"]) == (host, int(port)) == (a["network.peer.address"], a["network.peer.port"])
    assert (a["server.address"], a["server.port"]) == ("localhost", p.port) and a["network.local.address"] == "127.0.0.1"
    assert (a["network.transport"], a["network.type"]) == ("tcp", "ipv4")
    assert a["tls.established"] is True and a["tls.resumed"] is False and a["tls.protocol.name"] == "tls"
    assert "TLSv" + a["tls.protocol.version"] == e["tls_version"] and a["tls.cipher"] == e["cipher_suite"] and a["tls.curve"] == e["group"]
    assert a["tls.next_protocol"] == "http/1.1" and a["tls.client.server_name"] == "localhost"
    assert (a["tls_off.service"], a["tls_off.backend"], a["tls_off.ja4"], a["tls_off.handshake"]) == ("web", b.url, e["ja4"], e["handshake"])
    assert (a["tls_off.bytes_in"], a["tls_off.bytes_out"], a["tls_off.retries"]) == (12, 12, 0)
    assert (a["tls_off.client_end"], a["tls_off.backend_end"]) == (e["client_end"], e["backend_end"])
    assert "error.type" not in a
    assert list(s.events) == ["handshake", "backend.connected", "backend.first_byte", "end"] and s.events["end"] == s.end
    ms = {name: (t - s.start) / 1e6 for name, t in s.events.items()}
    assert ms["handshake"] == pytest.approx(e["handshake_ms"], abs=0.01) and ms["end"] == pytest.approx(e["duration_ms"], abs=0.01)
    assert ms["backend.first_byte"] - ms["backend.connected"] == pytest.approx(e["first_byte_ms"] - e["connect_ms"], abs=0.01)
    assert abs(s.end / 1e9 - time.time()) < 60
    wait_traces(p, state="up", exported_total=1, refused_total=0, dropped_total=0, error=None)
    assert traces(p)["endpoint"] == c.url and traces(p)["sample"] == 1
    assert metric(p, "exported") == 1 and "tls_off_spans_collector_up 1" in p.admin.ask("/metrics").text
    assert "1 exported, 0 refused, 0 dropped" in command("status", "--admin", p.admin_socket)[1]


def test_what_failed_is_a_span_too(parts):
    c = Collector(parts)
    b = parts.backend()
    p = parts.proxy(top={"otlp": c.section()}, services={"web": parts.service(b, min_version="1.3"), "gone": parts.service("unix:/nonexistent")})
    with pytest.raises(OSError):
        connect(p.address("web")[1], context(version=V12))
    s = c.wait_span(lambda s: s.attributes.get("tls_off.service") == "web")
    e = p.wait_event("failed")
    assert s.status == {"code": 2, "message": e["reason"]} and s.attributes["error.type"] == e["reason"] and s.attributes["tls.established"] is False
    assert list(s.events) == ["end"] and s.trace == e["unique_id"] and "tls_off.bytes_in" not in s.attributes
    with connect(p.address("gone")[1], context()) as client, pytest.raises(OSError):
        client.recv(1)
    s = c.wait_span(lambda s: s.attributes.get("tls_off.service") == "gone")
    e = p.wait_session(service="gone")
    assert s.status == {"code": 2, "message": e["reason"]} and s.attributes["tls_off.detail"] == e["detail"]
    assert list(s.events) == ["handshake", "end"]


def test_a_client_behind_a_proxy_and_one_that_is_passed_through(parts):
    c = Collector(parts)
    b = parts.backend()
    services = {"behind": parts.service(b, proxy_protocol={"accept": "required", "trust": ["127.0.0.1"]}),
                "through": {"listen": ["127.0.0.1:0"], "backends": [b.url], "mode": "passthrough"}}
    p = parts.proxy(services=services, top={"otlp": c.section()})
    s = tcp(p.address("behind")[1])
    s.sendall(b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n")
    with context().wrap_socket(s, server_hostname="localhost") as client:
        says_echo(client)
        peer = client.getsockname()[1]
    a = c.wait_span(lambda s: s.name == "behind").attributes
    assert (a["client.address"], a["client.port"], a["network.peer.address"], a["network.peer.port"]) == ("2001:db8::7", 4711, "127.0.0.1", peer)
    assert a["network.type"] == "ipv4"
    with tcp(p.address("through")[1]) as client:
        client.sendall(hello.records(hello.message(hello.usual(name="passed.example"))))
        assert client.recv(10)
    s = c.wait_span(lambda s: s.name == "through")
    assert not [k for k in s.attributes if k in ("tls.established", "tls.cipher", "tls.protocol.version")]
    assert s.attributes["server.address"] == "passed.example" and "handshake" not in s.events


def test_names_that_clients_make_up_are_harmless(parts):
    """Whatever bytes a ClientHello has, the request stays JSON of the schema, which the collector checks."""
    c = Collector(parts)
    p = exporting(parts, c)
    names = ('"}],', "a\\b", "\x01\x02", "\x7f", "x" * 200)
    for name in names:
        with tcp(p.port) as client:
            client.sendall(hello.records(hello.message(hello.usual(name=name))))
            client.recv(1000)
    c.wait_spans(len(names))
    assert not c.faults


def test_a_share_of_the_sessions(parts):
    """By the trace's id, so that all who sample by it agree."""
    c = Collector(parts)
    p = exporting(parts, c, section={"sample": 0.5})
    for _ in range(40):
        one_session(p)
    p.wait_session(count=40)
    ids = {e["unique_id"] for e in p.events("session")}
    wanted = {i for i in ids if int(i[18:], 16) >= 1 << 55}
    c.wait_spans(len(wanted))
    p.stop()
    assert {s.trace for s in c.spans} == wanted
    assert 0 < len(wanted) < 40


def test_no_share_and_no_log(parts):
    c = Collector(parts)
    p = exporting(parts, c, section={"sample": 0})
    one_session(p)
    p.wait_session()
    p.stop()
    assert not c.requests
    c2 = Collector(parts)
    port = free_port()
    p = parts.proxy(parts.backend(), listen=[f"127.0.0.1:{port}"], top={"otlp": c2.section()}, log={"level": "error"})
    p.allow_lost_lines = True
    with connect(port, context()) as client:
        says_echo(client)
    c2.wait_spans(1)
    assert not p.events()


# ---- faults of the collector ----


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_collector_that_asks_to_come_again(parts, status):
    c = Collector(parts)
    c.answer = lambda number, spans: (status, {"Retry-After": "1"}, b'{"code": 14, "message": "over\\u0007loaded"}') if number == 1 else None
    p = exporting(parts, c)
    one_session(p)
    t = wait_traces(p, state="away", error=lambda e: e.startswith(f"status {status}: over"))
    assert any("takes no spans" in line for line in p.admin.json("/status.json")["degraded"]) and t["exported_total"] == 0
    c.go_on()  # until then the second request has no answer
    one_session(p)
    c.wait_spans(2)
    assert c.arrivals[1] - c.arrivals[0] > 0.99  # its clock has milliseconds
    wait_traces(p, state="up", exported_total=2, refused_total=0, dropped_total=0)
    assert c.requests[1][2][0].trace == c.requests[0][2][0].trace
    p.wait_text("the collector of traces takes spans at")


@pytest.mark.parametrize("answer, error", [
    ((400, {}, b"what?"), "status 400"), ((401, {}, b""), "status 401"), ((500, {}, b""), "status 500"),
    ((302, {"Location": "/v1/elsewhere"}, b""), "redirects are not followed"), ((200, {}, b"<html>"), "not one of OTLP"), ((200, {}, b"[]"), "not one of OTLP"),
    ((200, {}, b"x" * 200_000), "longer than 128 KiB"),
], ids=["400", "401", "500", "redirect", "html", "list", "giant"])
def test_a_collector_that_refuses(parts, answer, error):
    c = Collector(parts)
    c.answer = lambda number, spans: answer
    p = exporting(parts, c)
    one_session(p)
    wait_traces(p, state="away", refused_total=1, error=lambda e: e and error in e)
    c.answer = lambda number, spans: OK
    one_session(p)
    until(lambda: c.requests[-1][2][0].trace == p.wait_session(count=2)["unique_id"], "the second span")
    wait_traces(p, state="up", exported_total=1, refused_total=1, dropped_total=0)
    assert len(c.requests) == 2 and "tls_off_spans_collector_up 1" in p.admin.ask("/metrics").text and metric(p, "refused") == 1


@pytest.mark.parametrize("rejected", ['"1"', "1"])
def test_a_part_is_refused(parts, rejected):
    c = Collector(parts)
    c.answer = lambda number, spans: (200, {}, b'{"partialSuccess": {"rejectedSpans": %s, "errorMessage": "no \\u001b[31m room"}}' % rejected.encode())
    p = exporting(parts, c)
    for _ in range(3):
        one_session(p)
    c.wait_spans(3)
    n = len(c.requests)
    wait_traces(p, state="up", refused_total=n, exported_total=3 - n)
    line = p.wait_event("log", message=lambda m: "complains" in m)["message"]
    assert "spans refused: no " in line and "\x1b" not in line


def test_answers_that_are_no_http(parts):
    def nonsense(connection):
        connection.recv(100)
        connection.sendall(b"\x15\x03\x03\x00\x02\x02\x28" * 100)

    with contextlib.closing(backends.Backend(backends.tcp_listener(), nonsense)) as b:
        p = parts.proxy(parts.backend(), top={"otlp": {"endpoint": f"http://127.0.0.1:{b.port}/v1/traces"}})
        one_session(p)
        wait_traces(p, state="away", error=lambda e: e)
        one_session(p)
        p.wait_session(count=2)


def test_a_collector_that_hangs_delays_nobody(parts):
    """Sessions begin, go on and end while it does."""
    c = Collector(parts)
    p = exporting(parts, c, section={"timeout": "30s"})
    with connect(p.port, context()) as before:
        says_echo(before)
        c.answer = lambda number, spans: None
        one_session(p)
        c.wait_requests(1)
        for _ in range(20):
            one_session(p)
            says_echo(before)
        p.wait_session(count=21)
        assert not c.spans and len(c.requests) == 1
    c.answer = lambda number, spans: OK
    c.go_on()
    until(lambda: len({s.trace for s in c.spans}) == 22, lambda: f"22 traces: {len(c.spans)}\n{p.text()}")
    wait_traces(p, state="up", dropped_total=0)


def test_nobody_listens_and_the_end_does_not_wait(parts):
    p = parts.proxy(parts.backend(), top={"otlp": {"endpoint": f"http://127.0.0.1:{free_port()}/v1/traces"}})
    one_session(p)
    wait_traces(p, state="away", error=lambda e: "onnect" in e)
    one_session(p)
    p.stop()  # which has a deadline


def test_https_its_ca_and_fields_from_a_file(parts):
    cert = parts.pki.leaf("collector", "p256", ["127.0.0.1"])
    c = Collector(parts, cert)
    secrets = parts.directory / "headers"
    secrets.write_text("# for the collector\n\nAuthorization: Bearer s3cr3t\r\nX-Team: edge\n")
    secrets.chmod(0o600)
    p = exporting(parts, c, section={"ca_file": str(parts.pki.ca), "headers_file": str(secrets)})
    one_session(p)
    c.wait_spans(1)
    _, fields, _ = c.requests[0]
    assert fields["Authorization"] == "Bearer s3cr3t" and fields["X-Team"] == "edge" and fields["User-Agent"].startswith("tls-off/") and "Expect" not in fields
    assert "s3cr3t" not in p.text()
    for i in range(3):
        one_session(p)
        c.wait_spans(2 + i)
    assert c.connections == 1, "the connection is used again"


def test_https_with_a_certificate_of_somebody_else(parts):
    c = Collector(parts, parts.pki.leaf("collector2", "p256", ["elsewhere.example"]))
    p = exporting(parts, c, section={"ca_file": str(parts.pki.ca)})
    one_session(p)
    wait_traces(p, state="away", error=lambda e: "SSL" in e or "certificate" in e)
    assert not c.requests


@pytest.mark.parametrize("mode, text, error", [(0o644, "A: b", "found mode 644"), (0o600, "A b", "found no field name"), (0o600, "Host: x", "not yours to set"),
                                               (0o600, "A:  ", "found no value"), (0o600, "A: b\n" * 17, "more than 16 fields"), (0o600, "A: \x7f", "printable")],
                         ids=["mode", "colon", "host", "empty", "many", "bytes"])
def test_a_file_of_fields_that_is_not_right(parts, mode, text, error):
    secrets = parts.directory / "headers"
    secrets.write_text(text)
    secrets.chmod(mode)
    p = parts.prepare(parts.backend(), top={"otlp": {"endpoint": "http://127.0.0.1:1/v1/traces", "headers_file": str(secrets)}})
    status, out, err = command("check", p.config_file)
    assert status == 1 and "otlp.headers_file" in out + err and error in out + err


def test_the_words_of_a_collector_are_not_the_pace_of_the_log(parts):
    """Each refusal has other words: the status has the latest, and the log the first."""
    c = Collector(parts)
    c.answer = lambda number, spans: (400, {}, b'{"message": "no %d"}' % number)
    p = exporting(parts, c)
    for n in range(1, 4):
        one_session(p)
        c.wait_requests(n)
        wait_traces(p, state="away", error=f"status 400: no {n}")
    p.stop()
    lines = [e["message"] for e in p.events("log") if "takes no spans" in e["message"]]
    assert lines == [f"the collector of traces takes no spans: {c.url}: status 400: no 1"]


def test_what_only_spans_leave_out_is_not_of_the_log(parts):
    """The log has no line of such failures anyway: none counts as one that it withheld."""
    c = Collector(parts)
    port, n = free_port(), 0  # the line that has it is not logged
    p = exporting(parts, c, listen=[f"127.0.0.1:{port}"], log={"level": "warning"})
    p.allow_lost_lines = True

    def fails():
        nonlocal n
        n += 1
        with tcp(port) as client:
            client.sendall(b"SSH-2.0-x\r\n")
            client.recv(100)
        return len(c.spans) > 10  # ten of each window

    until(fails, lambda: f"the next window of ten: {len(c.spans)} spans of {n} failures")
    assert n > 20 and "tls_off_log_events_sampled_total 0" in p.admin.ask("/metrics").text.splitlines()


# ---- processes ----


def test_an_exporter_that_is_killed(parts):
    c = Collector(parts)
    p = exporting(parts, c)
    p.allow_killed_roles = True
    one_session(p)
    wait_traces(p, exported_total=1)  # which outlives it
    pid, = p.roles()["exporter"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: [x for x in p.roles().get("exporter", []) if x != pid], "another exporter")
    one_session(p)
    c.wait_spans(2)
    wait_traces(p, exported_total=2)


def test_reloads_take_change_and_leave_it(parts):
    first, second = Collector(parts), Collector(parts)
    p = parts.proxy(parts.backend())
    assert traces(p) is None and "exporter" not in p.roles() and "tls_off_spans" not in p.admin.ask("/metrics").text
    with connect(p.port, context()) as moved:
        says_echo(moved)
        rewrite(p, lambda t: t.update(otlp=first.section()))
        reload(p, 1)
        assert len(p.roles()["exporter"]) == 1
        says_echo(moved)
    s = first.wait_span(lambda s: True)
    assert "backend.first_byte" in s.events and s.attributes["tls_off.bytes_in"] == s.attributes["tls_off.bytes_out"] > 12
    one_session(p)
    rewrite(p, lambda t: t.update(otlp=second.section(service_name="other")))
    reload(p, 2)
    first.wait_spans(2)
    one_session(p)
    assert second.wait_span(lambda s: True).resource["service.name"] == "other"
    assert second.spans[0].resource["service.instance.id"] == first.spans[0].resource["service.instance.id"]
    rewrite(p, lambda t: t.pop("otlp"))
    reload(p, 3)
    until(lambda: traces(p) is None and "exporter" not in p.roles(), lambda: f"no exporter: {p.roles()}")
    one_session(p)
    p.wait_session(count=4)
    assert (len(first.spans), len(second.spans)) == (2, 1)


def test_the_last_sessions_are_exported_at_a_stop(parts):
    c = Collector(parts)
    p = exporting(parts, c)
    with connect(p.port, context()) as client:
        says_echo(client)
        p.signal(signal.SIGTERM)
        client.recv(1)
    p.wait_exit()
    p.check_after()
    assert len(c.spans) == 1 and c.spans[0].attributes["error.type"] == p.wait_session()["reason"]


def test_doctor_and_check(parts):
    c = Collector(parts)
    p = parts.prepare(parts.backend(), top={"otlp": c.section()})
    assert f"127.0.0.1 port {c.port} answers" in command("doctor", p.config_file)[1]
    rewrite(p, lambda t: t.update(otlp={"endpoint": f"http://127.0.0.1:{free_port()}/v1/traces"}))
    status, out, _ = command("doctor", p.config_file)
    assert status == 1 and "endpoint" in out
