"""`glasshouse alerts` and `glasshouse reload` with faked responses of Prometheus and Alertmanager."""

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from click.testing import CliRunner

from lab.alerts import reload as reloading
from lab.alerts.command import alerts
from lab.alerts.faults import main
from lab.alerts.reload import ReloadError, changes, check, reload
from lab.settings import LabSettings

PAGE = {
    "labels": {"alertname": "ErrorRatioHigh", "severity": "page", "part": "service"},
    "annotations": {"runbook_url": "http://127.0.0.1:8060/runbooks/ErrorRatioHigh"},
    "state": "firing",
    "activeAt": "2026-01-02T03:04:05.678901234Z",
    "value": "1.25e-01",
}
BURN = {
    "labels": {"alertname": "LatencyBurnSlow", "severity": "ticket", "part": "slo", "slo": "latency"},
    "annotations": {"runbook_url": "http://127.0.0.1:8060/runbooks/LatencyBurn"},
    "state": "pending",
    "activeAt": "2026-01-02T03:04:05Z",
    "value": "1.5e-01",
}
NODE = {
    "labels": {"alertname": "RedisNodeDown", "severity": "ticket", "part": "redis", "node": "redis-3", "job": "redis"},
    "annotations": {"runbook_url": "http://127.0.0.1:8060/runbooks/RedisNodeDown"},
    "state": "firing",
    "activeAt": "2026-01-02T03:04:05Z",
    "value": "0e+00",
}
SWITCH = {
    "labels": {"alertname": "DeadMansSwitch", "severity": "none"},
    "annotations": {},
    "state": "firing",
    "activeAt": "2026-01-02T03:04:05Z",
    "value": "1e+00",
}
THRESHOLDS = [
    {"metric": {"alert": "ErrorRatioHigh"}, "value": [0, "0.05"]},
    {"metric": {"alert": "LatencyBurnFast"}, "value": [0, "0.02"]},
    {"metric": {"alert": "LatencyBurnSlow"}, "value": [0, "0.1"]},
]


class FakePrometheus(ThreadingHTTPServer):
    """Responds like Prometheus, with the given alerts."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.alerts: list[dict[str, Any]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Answer(BaseHTTPRequestHandler):
    """One API request."""

    server: FakePrometheus

    def do_GET(self) -> None:
        data: Any = {"alerts": self.server.alerts}
        if self.path.startswith("/api/v1/query"):
            data = {"resultType": "vector", "result": THRESHOLDS}
        body = json.dumps({"status": "success", "data": data}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Does nothing."""


@pytest.fixture
def prometheus() -> Iterator[FakePrometheus]:
    """A fake Prometheus with the alerts that a test sets."""
    with FakePrometheus() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_alerts_are_listed_with_value_threshold_and_runbook(prometheus: FakePrometheus) -> None:
    prometheus.alerts = [BURN, SWITCH, NODE, PAGE]
    done = CliRunner().invoke(alerts, ["--url", prometheus.url])
    assert done.exit_code == 1
    page, node, burn, total = done.output.splitlines()
    assert page.split()[:3] == ["firing", "page", "ErrorRatioHigh"]
    assert "0.125 (threshold 0.05)" in page
    assert page.endswith("http://127.0.0.1:8060/runbooks/ErrorRatioHigh")
    assert "node=redis-3" in node
    assert "against" not in node
    assert burn.split()[:3] == ["pending", "ticket", "LatencyBurnSlow"]
    assert "0.15 (threshold 0.1)" in burn
    assert total == "2 firing, 1 pending"


def test_the_dead_mans_switch_is_not_listed(prometheus: FakePrometheus) -> None:
    prometheus.alerts = [SWITCH]
    done = CliRunner().invoke(alerts, ["--url", prometheus.url])
    assert done.exit_code == 0
    assert done.output == "0 firing, 0 pending\n"


@pytest.mark.parametrize(("command", "arguments"), [(alerts, ["--url", "http://127.0.0.1:1"]), (reload, [])])
def test_without_a_stack_one_line_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, command: Any, arguments: list[str]
) -> None:
    monkeypatch.setenv("PROMETHEUS_PORT", "1")
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 2
    assert "make native" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_reload_prints_the_changes_of_each_rule() -> None:
    before = {"a": "vector(1)", "b": "up == 0 for 10 s", "c": "x"}
    after = {"a": "vector(1)", "b": "up == 0 for 20 s", "d": "y"}
    assert list(changes(before, after)) == [
        "changed  b: up == 0 for 10 s → up == 0 for 20 s",
        "removed  c",
        "new      d: y",
    ]


def test_the_check_of_valid_thresholds_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    assert capsys.readouterr().err == ""


def test_rules_and_routes_are_checked_by_the_tools_before_a_reload(monkeypatch: pytest.MonkeyPatch) -> None:
    check(LabSettings())
    broken = {"broken.yml": "groups: [{name: a, rules: [{record: b, expr: 'sum('}]}]"}
    monkeypatch.setattr(reloading, "rule_files", lambda: broken)
    monkeypatch.setattr(reloading, "write_rules", lambda: pytest.fail("was written"))
    if shutil.which("promtool"):
        with pytest.raises(ReloadError, match="promtool"):
            check(LabSettings())


def test_routes_that_alertmanager_would_reject_are_rejected_before_the_reload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reloading, "alertmanager_config", lambda settings: "route: {receiver: nobody}")
    if shutil.which("amtool"):
        with pytest.raises(ReloadError, match="amtool"):
            check(LabSettings())


def test_a_dry_run_changes_nothing(monkeypatch: pytest.MonkeyPatch, prometheus: FakePrometheus) -> None:
    monkeypatch.setenv("PROMETHEUS_PORT", prometheus.url.rsplit(":", 1)[1])
    monkeypatch.setattr(reloading, "rules_in_force", lambda prometheus: {})
    monkeypatch.setattr(reloading, "stale_files", lambda: ["service.yml"])
    monkeypatch.setattr(reloading, "write_rules", lambda: pytest.fail("was written"))
    monkeypatch.setattr(reloading, "put_in_force", lambda *_: pytest.fail("was reloaded"))
    done = CliRunner().invoke(reload, ["--dry-run"])
    assert done.exit_code == 0, done.output
    assert "would change  service.yml" in done.output
