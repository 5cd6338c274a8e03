"""What contrib/ has for Prometheus and Grafana: rules that are valid on their own, and that fit the metrics of a running tls-off."""
import json
import os
import re
import signal
import socket
import struct
import subprocess
import urllib.parse
import urllib.request

import pytest

from support.clients import connect, says_echo
from support.proxy import ROOT
from support.waiting import DEADLINE, until

PROMETHEUS = ROOT / "contrib" / "prometheus"
GRAFANA = ROOT / "contrib" / "grafana" / "tls-off.json"
METRIC = re.compile(r"\btls_off_[a-z0-9_]+")


def promtool(*arguments, stdin=None):
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, input=stdin, timeout=DEADLINE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_rules_are_well_formed_and_fire_when_they_should():
    assert "rules found" in promtool("check", "rules", PROMETHEUS / "rules.yml")
    promtool("check", "config", PROMETHEUS / "prometheus.yml")
    promtool("test", "rules", PROMETHEUS / "rules_test.yml")


def test_every_alert_has_a_unit_test_and_a_severity():
    rules = (PROMETHEUS / "rules.yml").read_text()
    alerts = re.findall(r"- alert: (\w+)", rules)
    assert len(alerts) >= 10 and len(set(alerts)) == len(alerts)
    assert len(re.findall(r"labels: \{severity: (?:warning|critical)\}", rules)) == len(alerts)
    tests = (PROMETHEUS / "rules_test.yml").read_text()
    assert not [a for a in alerts if not re.search(rf"\b{a}\b", tests)]


def panels():
    board = json.loads(GRAFANA.read_text())
    flat = [p for panel in board["panels"] for p in [panel, *panel.get("panels", [])]]
    return board, [p for p in flat if p["type"] != "row"]


def test_the_grafana_dashboard_is_in_order():
    board, shown = panels()
    assert board["title"] == "tls-off" and board.get("id") is None
    assert len({p["id"] for p in board["panels"]}) == len(board["panels"])
    for p in shown:
        assert p["datasource"]["uid"] == "${datasource}", p["title"]
        place = p["gridPos"]
        assert place["x"] + place["w"] <= 24
        for q in shown:
            other = q["gridPos"]
            apart = p is q or place["x"] + place["w"] <= other["x"] or other["x"] + other["w"] <= place["x"] \
                or place["y"] + place["h"] <= other["y"] or other["y"] + other["h"] <= place["y"]
            assert apart, (p["title"], q["title"])


# --- against a running tls-off


class Prometheus:
    """A real one on loopback that scrapes every half second; its data and its end are the test's."""

    def __init__(self, directory, target):
        directory.mkdir()
        config = (PROMETHEUS / "prometheus.yml").read_text()
        for old, new in (("15s", "500ms"), ("127.0.0.1:9901", target), ("rules.yml", str(PROMETHEUS / "rules.yml"))):
            assert old in config, old
            config = config.replace(old, new)
        (directory / "prometheus.yml").write_text(config)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.log = open(directory / "log", "w+")
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data", f"--web.listen-address=127.0.0.1:{self.port}"],
            stdout=self.log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        until(self.is_ready, lambda: f"Prometheus is ready\n{self.said()}")

    def said(self):
        self.log.seek(0)
        return self.log.read()[-3000:]

    def get(self, path, **query):
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}?{urllib.parse.urlencode(query)}", timeout=DEADLINE).read()
        return text

    def is_ready(self):
        assert self.process.poll() is None, self.said()
        try:
            return b"Ready" in self.get("/-/ready")
        except OSError:
            return False

    def api(self, path, **query):
        answer = json.loads(self.get("/api/v1/" + path, **query))
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression):
        return self.api("query", query=expression)["result"]

    def names(self):
        return set(self.api("label/__name__/values"))

    def end(self):
        self.process.terminate()
        self.process.wait(DEADLINE)
        self.log.close()


@pytest.fixture
def p(parts, pki):
    p = parts.prepare(services={"web": parts.service(parts.backend())}, top={"admin": {"socket": "admin.sock", "listen": "127.0.0.1:0"}})
    p.start()
    with connect(p.port) as c:
        says_echo(c, bytes(5000))
    c = connect(p.port)
    says_echo(c, b"x")
    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()
    p.wait_session(reason="client_reset")
    with socket.create_connection(("127.0.0.1", p.port)) as s:
        s.sendall(b"GET / HTTP/1.1\r\n\r\n")
        s.recv(100)
    until(lambda: p.admin.json("/status.json")["totals"]["handshakes"]["failed"], "a failed handshake is counted")
    return p


def names_in(expression):
    """Metrics of an expression; the names of recording rules have a colon."""
    return set(METRIC.findall(re.sub(r"\btls_off:[a-z0-9_:]+", "", expression)))


def rules_and_panels():
    """(where, expression) of everything that names a metric."""
    text = (PROMETHEUS / "rules.yml").read_text()
    for number, part in enumerate(re.findall(r"^ +expr: *(\|\n(?: {10,}.*\n)+|.*\n)", text, re.M)):
        yield f"rule {number}", part.removeprefix("|").strip()
    board, shown = panels()
    for panel in shown:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield "variable " + variable["name"], variable["query"]["query"]
    for annotation in board["annotations"]["list"]:
        yield "annotation " + annotation["name"], annotation["expr"]


def filled(expression):
    """As Grafana sends it, with all of everything chosen."""
    for name, value in (("$__rate_interval", "5s"), ("$job", ".*"), ("$instance", ".*"), ("$service", ".*")):
        expression = expression.replace(name, value)
    return expression


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
def test_metrics_are_well_formed(p, accept):
    answer = p.admin.ask("/metrics", tcp=True, headers={"Accept": accept})
    assert answer.status == 200
    if not accept:
        assert not promtool("check", "metrics", stdin=answer.text).strip()
    assert "tls_off_service_received_bytes_total{" in answer.text


def test_every_name_in_contrib_is_a_metric(p, directory):
    prometheus = Prometheus(directory / "prometheus", "%s:%d" % p.admin.address)
    try:
        until(lambda: [r for r in prometheus.query('up{job="tls-off"}') if r["value"][1] == "1"], lambda: f"scraped\n{prometheus.api('targets')}")
        until(lambda: "tls_off_build_info" in prometheus.names(), "names")
        # where certificates come from issuers, and responses
        known = {*prometheus.names(), "tls_off_acme_alarm", "tls_off_acme_failures_in_a_row", "tls_off_ocsp_certificates"}
        used = list(rules_and_panels())
        assert len(used) > 50
        unknown = {(where, name) for where, expression in used for name in names_in(expression) if name not in known}
        assert not unknown, sorted(known)
        # each is an expression that Prometheus takes, and the values are those of what was done
        for where, expression in used:
            if "label_values" not in expression:
                prometheus.query(filled(expression))
        value = lambda e: [float(r["value"][1]) for r in prometheus.query(e)]
        assert value("sum(tls_off_service_received_bytes_total)") == [5001.0]
        assert value('sum(tls_off_service_handshakes_total{kind="full"})') == [2.0]
        assert value("sum(tls_off_service_handshakes_failed_total)") == [1.0]
        assert value("count(tls_off_certificate_expiry_timestamp_seconds)") == [2.0]
        until(lambda: value("tls_off:relays") == [1.0], "recording rules are evaluated")
        # the certificates of the tests end soon or late, but nothing else may be wrong with a healthy proxy
        firing = {a["labels"]["alertname"] for a in prometheus.api("alerts")["alerts"] if a["state"] == "firing"}
        assert not {a for a in firing if "Certificate" not in a}, firing
        groups = prometheus.api("rules")["groups"]
        assert all(rule["health"] in ("ok", "unknown") for group in groups for rule in group["rules"]), groups
    finally:
        prometheus.end()


def test_alerts_of_a_dead_backend_and_a_dead_process(parts, directory):
    q = parts.prepare(services={"dead": parts.service("tcp:127.0.0.1:1")}, top={"admin": {"socket": "admin.sock", "listen": "127.0.0.1:0"}}).start()
    prometheus = Prometheus(directory / "prometheus", "%s:%d" % q.admin.address)
    try:
        def try_again():
            try:
                with connect(q.address("dead")[1]) as c:
                    c.recv(1)
            except OSError:
                pass
            return [a for a in prometheus.api("alerts")["alerts"] if a["labels"]["alertname"] == "TlsOffServiceWithoutBackend"]

        alert = until(try_again, "an alert about the backend", every=0.2)[0]
        assert alert["labels"]["service"] == "dead" and alert["labels"]["severity"] == "critical"
        assert "no backend of dead answers" in alert["annotations"]["summary"]
        observer = q.roles()["observer"][0]
        q.allow_killed_roles = True
        os.kill(observer, signal.SIGSTOP)
        os.kill(observer, signal.SIGKILL)
        until(lambda: q.roles().get("observer", [observer]) != [observer], "a new observer")
        until(lambda: prometheus.query("increase(tls_off_restarts_total[1m]) > 0"), "the restart is counted")
        until(lambda: [a for a in prometheus.api("alerts")["alerts"] if a["labels"]["alertname"] == "TlsOffRestarts"], "and the alert fires")
    finally:
        prometheus.end()
