"""What contrib/ has for Prometheus and Grafana: rules that are right by themselves, and that fit the metrics of a running tls-off."""
import json
import re
import socket
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
