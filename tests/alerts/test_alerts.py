"""Every alert is complete: annotations, runbook, cases; thresholds are valid; generated rule files are current."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from lab.alerts import slo
from lab.alerts.catalog import Alert, load_alerts
from lab.alerts.durations import milliseconds
from lab.alerts.faults import faults
from lab.alerts.index import PAGE, with_index
from lab.alerts.rules import expression, rule_files, stale_files, write_rules
from lab.alerts.thresholds import ALERTS, ThresholdsError, load_thresholds, read_thresholds, replace
from lab.alerts.wording import figure
from lab.cli import COMMANDS
from lab.panels import load_dashboards
from lab.settings import ROOT
from tests.metric_names import known_names, metric_names

ALL = load_alerts()
NAMES = sorted(alert.name for alert in ALL)
RULES = [rule for text in rule_files().values() for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
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
# metrics of Prometheus, Alertmanager and the exporters that rules and runbooks use, but no dashboard;
# all were found in Debian 12's versions and in the newest
WATCHERS = {
    "prometheus_rule_group_interval_seconds",
    "prometheus_config_last_reload_successful",
    "prometheus_target_scrape_pool_targets",
    "prometheus_tsdb_compactions_failed_total",
    "prometheus_tsdb_wal_writes_failed_total",
    "prometheus_tsdb_wal_corruptions_total",
    "prometheus_tsdb_storage_blocks_bytes",
    "prometheus_notifications_errors_total",
    "prometheus_notifications_alertmanagers_discovered",
    "alertmanager_config_last_reload_successful",
    "alertmanager_config_last_reload_success_timestamp_seconds",
    "time",
    "vector",
}


# the kinds of cases that each alert has; "stays silent" is the case of a healthy system
KINDS = {
    "fires": r"fires",
    "silent": r"stays silent (while|without failures|on healthy|on ordinary|on occasional|for a cache that is full)",
    "near miss": r"near miss|just below its threshold",
    "one bad event": r"one bad event|low traffic",
    "absent data": r"without data|no signal",
    "fresh start": r"fresh start",
}
# it always fires, so there is no near miss
ALWAYS = "DeadMansSwitch"


@pytest.fixture(scope="module")
def cases() -> list[dict[str, object]]:
    """Every promtool case."""
    return [case for file in ALERTS.glob("tests/*.yml") for case in yaml.safe_load(file.read_text())["tests"]]


@pytest.mark.parametrize("alert", ALL, ids=lambda alert: alert.name)
def test_an_alert_has_texts_links_and_a_runbook(alert: Alert) -> None:
    rule = next(rule for rule in RULES if rule.get("alert") == alert.name)
    assert alert.tuning.severity in {"page", "ticket"} or alert.name == ALWAYS
    assert alert.part
    notes = rule["annotations"]
    assert "\n" not in notes["summary"]
    assert len(notes["summary"]) < 80
    assert "{{ $value" in notes["description"]
    assert " 1 times" not in notes["description"]
    assert (ROOT / alert.runbook).is_file()
    assert notes["runbook_url"] == f"{{{{ $externalLabels.desk_url }}}}/runbooks/{Path(alert.runbook).stem}"
    assert notes["dashboard_url"] == f"{{{{ $externalLabels.dashboards_url }}}}/d/{alert.definition.dashboard}"
    assert alert.definition.dashboard in {dashboard.uid for dashboard in load_dashboards()}


@pytest.mark.parametrize("alert", [alert for alert in ALL if alert.definition.signal], ids=lambda alert: alert.name)
def test_an_alert_with_a_threshold_has_the_common_form(alert: Alert) -> None:
    """It has only its recorded series, one comparison and, for a ratio or a quantile, its floor of bad events."""
    name = re.escape(alert.name)
    side = {"above": ">", "below": "<"}[alert.definition.fires]
    form = rf'alert_signal{{alert="{name}"}} {side} on \(alert\) group_left \(\) alert_threshold{{alert="{name}"}}'
    if alert.definition.events:
        form += rf'\n  and alert_events{{alert="{name}"}} >= on \(alert\) group_left \(\) alert_floor{{alert="{name}"}}'
    assert re.fullmatch(form, expression(alert))
    is_counted = (
        re.search(r"histogram_quantile|rate\([^/]*/", alert.definition.signal) or "burn_rate" in alert.definition.signal
    )
    assert bool(alert.definition.events) >= bool(is_counted)
    assert f" The alert fires {alert.definition.fires} " in _description(alert)


def _description(alert: Alert) -> str:
    return str(next(rule for rule in RULES if rule.get("alert") == alert.name)["annotations"]["description"])


@pytest.mark.parametrize("alert", ALL, ids=lambda alert: alert.name)
def test_an_expression_uses_only_existing_metrics(alert: Alert) -> None:
    definition = alert.definition
    for promql in (definition.signal, definition.events, definition.condition.replace("EXPECTED_NUMBERS", "1")):
        text = re.sub(r"#.*", "", promql)
        assert metric_names(text) <= known_names() | WATCHERS


@pytest.mark.parametrize("alert", NAMES)
def test_an_alert_has_a_case_of_every_kind(alert: str, cases: list[dict[str, object]]) -> None:
    own = [str(case["name"]) for case in cases if str(case["name"]).startswith(f"{alert} ")]
    # an alert that always fires is never silent, and missing thresholds are tested below
    wanted = {} if alert in {ALWAYS, "ThresholdsMissing"} else KINDS
    assert {kind for kind, words in wanted.items() if not any(re.search(words, name) for name in own)} == set()
    assert len(own) >= 2


def test_every_case_belongs_to_an_alert(cases: list[dict[str, object]]) -> None:
    assert {str(case["name"]).split()[0] for case in cases} == set(NAMES)
    assert len({case["name"] for case in cases}) == len(cases)
    assert len(cases) >= 6 * len(NAMES)


@pytest.mark.parametrize("alert", sorted({Path(alert.runbook).stem for alert in ALL}))
def test_a_runbook_is_complete_and_refers_only_to_existing_things(alert: str) -> None:
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
        assert metric_names(block) <= known_names() | WATCHERS


def test_there_is_no_runbook_without_an_alert() -> None:
    assert {file.stem for file in ALERTS.glob("runbooks/*.md")} == {Path(alert.runbook).stem for alert in ALL}


@pytest.fixture(scope="module")
def index_rows() -> list[list[str]]:
    """The cells of each row of the index in docs/alerts.md."""
    table = PAGE.read_text().partition("<!-- index")[2].partition("<!-- /index")[0].splitlines()[3:]
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table]


def test_the_index_of_all_alerts_is_current(index_rows: list[list[str]]) -> None:
    assert PAGE.read_text() == with_index(PAGE.read_text()), "run `make rules`"
    assert sorted(row[0].strip("`") for row in index_rows) == NAMES


@pytest.mark.parametrize("alert", NAMES)
def test_the_index_agrees_with_the_rule_files(alert: str, index_rows: list[list[str]]) -> None:
    row = next(row for row in index_rows if row[0] == f"`{alert}`")
    rule = next(rule for rule in RULES if rule.get("alert") == alert)
    own = {rule["record"]: rule["expr"] for rule in RULES if rule.get("labels", {}).get("alert") == alert}
    _, severity, signal, fires, hold, floor, runbook = row
    assert severity == rule["labels"]["severity"]
    watched = own.get("alert_signal", rule["expr"]).replace(str(len(load_numbers())), "EXPECTED_NUMBERS")
    assert signal.strip("`") == " ".join(watched.split())
    assert hold == rule.get("for", "0s")
    assert floor == own.get("alert_floor", "")
    page = re.fullmatch(r"\[(\w+)\]\((\S+)\)", runbook)
    assert page
    assert rule["annotations"]["runbook_url"].endswith(f"/runbooks/{page[1]}")
    assert (PAGE.parent / page[2]).resolve() == ALERTS / "runbooks" / f"{page[1]}.md"
    if "alert_threshold" not in own:
        assert fires == "while true"
        return
    side = "above" if " > on (alert)" in rule["expr"] else "below"
    unit = next(each.definition.unit for each in ALL if each.name == alert)
    assert fires == f"{side} {figure(float(own['alert_threshold']), unit)}"


def load_numbers() -> list[str]:
    """Every recorded threshold and floor."""
    return [rule["record"] for rule in RULES if rule.get("record") in {"alert_threshold", "alert_floor"}]


def test_thresholds_are_valid_used_and_complete_and_the_rule_files_are_current() -> None:
    assert list(faults()) == []


def test_thresholds_and_floors_are_recorded_with_their_written_values() -> None:
    recorded = {
        (rule["record"], rule["labels"]["alert"]): float(rule["expr"])
        for rule in RULES
        if rule.get("record") in {"alert_threshold", "alert_floor"}
    }
    written = {
        (f"alert_{kind}", name): value
        for name, tuning in load_thresholds().items()
        for kind, value in (("threshold", tuning.threshold), ("floor", tuning.floor))
        if value is not None
    }
    assert recorded == written


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of alerts/ for changes."""
    return Path(shutil.copytree(ALERTS, tmp_path / "alerts", ignore=shutil.ignore_patterns("tests", "runbooks")))


@pytest.mark.parametrize(
    ("alert", "old", "new", "complaint"),
    [
        ("ErrorRatioHigh", "threshold: 0.05", "threshold: 5", "threshold of ErrorRatioHigh is 5; it must be between"),
        (
            "ErrorRatioHigh",
            "threshold: 0.05",
            "threshold: five",
            "threshold of ErrorRatioHigh is five; it must be a num",
        ),
        (
            "ErrorRatioHigh",
            "threshold: 0.05",
            "threshold: .nan",
            "threshold of ErrorRatioHigh is .nan; it must be a num",
        ),
        ("ErrorRatioHigh", "threshold: 0.05, ", "", "threshold of ErrorRatioHigh is missing, so"),
        ("ErrorRatioHigh", ", floor: 5}", "}", "floor of ErrorRatioHigh is missing, so"),
        ("ErrorRatioHigh", "floor: 5}", "flor: 5}", "has 'flor'; it may have severity, for, threshold, floor"),
        ("ErrorRatioHigh", "for: 15s", "for: 15", "'15' is not a duration"),
        ("ErrorRatioHigh", "severity: page", "severity: pager", "is pager; it must be one of page, ticket, none"),
        ("ErrorRatioHigh", "ErrorRatioHigh: ", "ErrorRatoiHigh: ", "there is no alert ErrorRatoiHigh"),
        ("GatewayDown", "for: 10s}", "for: 10s, threshold: 1}", "threshold of GatewayDown is not used by any rule"),
        ("LatencyP99High", "LatencyP99High: ", "ErrorRatioHigh: ", "ErrorRatioHigh is defined twice"),
    ],
)
def test_an_error_in_the_thresholds_is_reported_with_its_line(
    folder: Path, alert: str, old: str, new: str, complaint: str
) -> None:
    file = folder / "thresholds.yml"
    lines = file.read_text().splitlines(keepends=True)
    number = next(number for number, line in enumerate(lines) if line.startswith(f"{alert}: "))
    assert old in lines[number]
    lines[number] = lines[number].replace(old, new)
    file.write_text("".join(lines))
    found = list(faults(folder))
    assert any(complaint in fault and f"thresholds.yml:{number + 1}:" in fault for fault in found), found


def test_an_alert_removed_from_the_thresholds_is_detected(folder: Path) -> None:
    file = folder / "thresholds.yml"
    file.write_text("".join(line for line in file.read_text().splitlines(True) if not line.startswith("ScrapeSlow:")))
    assert any("ScrapeSlow is missing" in fault for fault in faults(folder))


def test_after_a_changed_threshold_the_rule_files_are_stale_until_regenerated(folder: Path) -> None:
    file = folder / "thresholds.yml"
    file.write_text(replace(file.read_text(), "ErrorRatioHigh", {"threshold": "0.07", "for": "20s"}))
    assert stale_files(folder) == ["service.yml", "thresholds.yml"]
    assert any("run `make rules`" in fault for fault in faults(folder))
    assert write_rules(folder) == ["service.yml", "thresholds.yml"]
    assert list(faults(folder)) == []
    rules = yaml.safe_load((folder / "rules/service.yml").read_text())["groups"][0]["rules"]
    changed = next(rule for rule in rules if rule.get("alert") == "ErrorRatioHigh")
    assert changed["for"] == "20s"
    assert "above 7 %" in changed["annotations"]["description"]


def test_a_programmatic_change_keeps_comments_and_everything_else() -> None:
    text = (ALERTS / "thresholds.yml").read_text()
    changed = replace(text, "LatencyP99High", {"threshold": "0.8"})
    differing = [pair for pair in zip(text.splitlines(), changed.splitlines(), strict=True) if pair[0] != pair[1]]
    assert differing == [(was := differing[0][0], was.replace("threshold: 1,", "threshold: 0.8,"))]
    assert read_thresholds(changed)["LatencyP99High"].threshold == 0.8
    with pytest.raises(ThresholdsError):
        replace(text, "LatencyP99High", {"flor": "1"})
    with pytest.raises(ThresholdsError):
        replace(text, "Nobody", {"floor": "1"})


@pytest.mark.parametrize(("text", "value"), [("0s", 0.0), ("15s", 15.0), ("1m30s", 90.0), ("2h", 7200.0)])
def test_durations_are_parsed_as_prometheus_does(text: str, value: float) -> None:
    assert milliseconds(text) / 1000 == value


def test_windows_and_factors_follow_from_the_period() -> None:
    """For thirty days, the factors are those of the SRE Workbook; the windows are fractions of the period."""
    assert [burn.factor for burn in slo.BURNS] == pytest.approx([14.4, 6, 3, 1])
    tunings = load_thresholds()
    for level in slo.LEVELS:
        for burn in slo.BURNS:
            assert tunings[f"{level.title}Burn{burn.name}"].threshold == burn.share
            assert burn.long * burn.part == slo.SLO_PERIOD
    assert [slo.promql(burn.long) for burn in slo.BURNS] == ["6m", "36m", "2h24m", "7h12m"]
    assert [slo.promql(burn.short) for burn in slo.BURNS] == ["30s", "3m", "12m", "36m"]
