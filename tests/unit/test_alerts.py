"""Every alert is whole: labels, annotations, runbook, cases; every number is used, sane and of an alert that exists."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from lab.alerts import slo
from lab.alerts.rules import ALERTS, Rule, load_rules
from lab.alerts.thresholds import faults, load_thresholds
from lab.cli import COMMANDS
from lab.panels import load_dashboards
from lab.settings import ROOT
from tests.unit.test_dashboards import known_names, metric_names

RULES = load_rules()
ALERT_NAMES = sorted({rule.alert for rule in RULES})
SECTIONS = (
    "What it means for users",
    "How to confirm",
    "Likely causes, in order",
    "What to do",
    "Make it happen",
    "Tune it",
)
PARTS = {
    *("todo-1", "todo-2", "todo-3", "gateway", "postgres", "prometheus", "alertmanager", "desk", "tempo", "grafana"),
    *(f"redis-{n}" for n in range(1, 7)),
    *(
        "tracestore",
        "redis-cluster",
        "redis-exporter",
        "gateway-exporter",
        "postgres-exporter",
        "host-exporter",
        "process-exporter",
    ),
}
# what Prometheus, Alertmanager and the exporters expose, named by rules and runbooks but by no dashboard;
# all were seen at Debian 12's versions and at the newest
WATCHERS = {
    "prometheus_rule_group_interval_seconds",
    "prometheus_config_last_reload_successful",
    "prometheus_notifications_errors_total",
    "prometheus_notifications_alertmanagers_discovered",
    "alertmanager_config_last_reload_successful",
    "alertmanager_config_last_reload_success_timestamp_seconds",
    "time",
    "vector",
}
__all__ = ["known_names"]


def _id(rule: Rule) -> str:
    return "-".join(filter(None, (rule.alert, rule.labels.get("window"))))


@pytest.fixture(scope="module")
def cases() -> list[dict[str, object]]:
    """Every promtool case."""
    return [case for file in ALERTS.glob("tests/*.yml") for case in yaml.safe_load(file.read_text())["tests"]]


@pytest.mark.parametrize("rule", RULES, ids=_id)
def test_an_alert_has_all_that_its_reader_needs(rule: Rule) -> None:
    assert rule.labels["severity"] in {"page", "ticket"} or rule.alert == "DeadMansSwitch"
    assert rule.labels["part"]
    assert "\n" not in rule.annotations["summary"]
    assert len(rule.annotations["summary"]) < 80
    assert "{{ $value" in rule.annotations["description"]
    assert rule.annotations["runbook"] == f"alerts/runbooks/{rule.alert}.md"
    assert (ROOT / rule.annotations["runbook"]).is_file()
    uids = {f"/d/{dashboard.uid}" for dashboard in load_dashboards()}
    assert rule.annotations["dashboard"] in uids


@pytest.mark.parametrize("rule", RULES, ids=_id)
def test_an_expression_names_only_metrics_that_there_are(rule: Rule, known_names: set[str]) -> None:
    expression = re.sub(r"#.*", "", rule.expr)
    assert metric_names(expression) <= known_names | WATCHERS


@pytest.mark.parametrize("alert", ALERT_NAMES)
def test_an_alert_has_cases_that_fire_and_cases_that_stay_silent(alert: str, cases: list[dict[str, object]]) -> None:
    own = [yaml.safe_dump(case) for case in cases if str(case["name"]).startswith(f"{alert} ")]
    assert len(own) >= 3
    assert all(f'alertname="{alert}"' in case for case in own)
    assert any("value: 1" in case for case in own)
    if alert != "DeadMansSwitch":
        assert any("exp_samples: []" in case and "value: 1" not in case for case in own)


def test_every_case_is_of_an_alert(cases: list[dict[str, object]]) -> None:
    assert {str(case["name"]).split()[0] for case in cases} == set(ALERT_NAMES)
    assert len({case["name"] for case in cases}) == len(cases)


@pytest.mark.parametrize("alert", ALERT_NAMES)
def test_a_runbook_is_whole_and_names_only_what_there_is(alert: str, known_names: set[str]) -> None:
    text = (ALERTS / "runbooks" / f"{alert}.md").read_text()
    assert text.startswith(f"# {alert}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == list(SECTIONS)
    uids = {dashboard.uid for dashboard in load_dashboards()}
    named = set(re.findall(r"/d/([\w-]+)", text))
    assert named
    assert named <= uids
    for command in re.findall(r"glasshouse ([a-z]+)", text):
        assert command in COMMANDS, command
    for part in re.findall(r"glasshouse (?:stop|start|restart|pause|resume|kill) ([a-z]+(?:-[a-z0-9]+)*)", text):
        assert part in PARTS, part
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert (ALERTS / "runbooks" / target).is_file(), target
    for block in re.findall(r"```promql\n(.*?)```", text, re.DOTALL):
        assert metric_names(block) <= known_names | WATCHERS | {"alert_threshold"}


def test_there_is_no_runbook_without_an_alert() -> None:
    assert sorted(file.stem for file in ALERTS.glob("runbooks/*.md")) == ALERT_NAMES


def test_the_numbers_are_sane_used_and_complete() -> None:
    assert list(faults()) == []


def test_no_expression_holds_a_number_that_is_to_be_tuned() -> None:
    """Numbers left are states, quantiles and counts of what there is by construction."""
    for rule in RULES:
        bare = re.sub(
            r'"[^"]*"|#.*|\[\w+\]|offset \w+|_rate\w+|increase\d+\w|p99|p95|rate1m|ratio1m|1m\b', "", rule.expr
        )
        assert set(re.findall(r"(?<![\w:.])\d+(?:\.\d+)?", bare)) <= {"0", "1", "2", "0.99", "16384"}, rule.alert


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of alerts/ to spoil."""
    return Path(shutil.copytree(ALERTS, tmp_path / "alerts", ignore=shutil.ignore_patterns("tests", "runbooks")))


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("expr: 0.05, labels: {alert: ErrorRatioHigh}", "expr: 5, labels: {alert: ErrorRatioHigh}", "is 5; it must be"),
        ("expr: 0.05, labels: {alert: ErrorRatioHigh}", "expr: five, labels: {alert: ErrorRatioHigh}", "is five; it"),
        ("labels: {alert: ErrorRatioHigh}", "labels: {alert: ErrorRatoiHigh}", "is of no alert that there is"),
        ("labels: {alert: LatencyBurn, window: 2h}", "labels: {alert: LatencyBurn, window: 3h}", "used by no rule"),
        ("labels: {alert: DatabaseSlow}", "labels: {alert: GatewayDown}", "is used by no rule"),
        ("labels: {alert: LatencyBurn, window: 2h}", "labels: {alert: LatencyBurn, window: 6h}", "is there twice"),
    ],
)
def test_a_slip_in_the_thresholds_is_refused_with_its_line(folder: Path, old: str, new: str, complaint: str) -> None:
    file = folder / "thresholds.yml"
    text = file.read_text()
    assert old in text
    spoilt = text.replace(old, new, 1)
    file.write_text(spoilt)
    changed = next(n for n, (a, b) in enumerate(zip(text.splitlines(), spoilt.splitlines(), strict=True), 1) if a != b)
    # the second of two equal ones is the one that is refused
    found = list(faults(folder))
    assert any(complaint in fault for fault in found), found
    lines = {int(match[1]) for fault in found if (match := re.match(r"alerts/thresholds\.yml:(\d+):", fault))}
    assert lines & {changed, changed + 1}


def test_a_threshold_that_is_taken_out_is_missed(folder: Path) -> None:
    file = folder / "thresholds.yml"
    file.write_text("".join(line for line in file.read_text().splitlines(True) if "alert: ScrapeSlow" not in line))
    found = list(faults(folder))
    assert any("threshold of ScrapeSlow is missing" in fault for fault in found)
    assert any("there is no threshold of ScrapeSlow" in fault for fault in found)


def test_every_threshold_is_read_with_its_line() -> None:
    lines = (ALERTS / "thresholds.yml").read_text().splitlines()
    for written in load_thresholds():
        assert f"expr: {written.text}," in lines[written.line - 1]
        assert f"alert: {written.number.alert}" in lines[written.line - 1]


def test_the_service_levels_are_what_their_table_gives() -> None:
    assert slo.FILE.read_text() == slo.render(), "run `python -m lab.alerts.slo`"
