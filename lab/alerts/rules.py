"""Generates alerts/rules/*.yml for Prometheus from the catalog and thresholds.yml: `python -m lab.alerts.rules`.

All alerts with a threshold have the same form, built from recorded series that rules, dashboards, command line and
backtests share: `alert_signal`, `alert_events`, `alert_threshold` and `alert_floor` (docs/alerts.md).
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from lab.alerts import slo
from lab.alerts.catalog import Alert, load_alerts
from lab.alerts.thresholds import ALERTS
from lab.alerts.wording import description

HEAD = "# Written by `make rules` from alerts/thresholds.yml, {source} and lab/alerts: do not edit.\n"
WIDTH = 116
COMPARISONS = {"above": ">", "below": "<"}
Group = dict[str, Any]


class _Dumper(yaml.SafeDumper):
    """Writes multi-line strings as literal blocks, and indents lists."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _string)


def rule_files(folder: Path = ALERTS) -> dict[str, str]:
    """The content of each rule file by name. Raises `CatalogError` and `ThresholdsError`."""
    alerts = load_alerts(folder)
    files = {"thresholds.yml": _text("alerts/catalog/*.yml", [_thresholds(alerts)])}
    for name in dict.fromkeys(alert.file for alert in alerts):
        own = [alert for alert in alerts if alert.file == name]
        source = "lab/alerts/slo.py" if name == "slo" else f"alerts/catalog/{name}.yml"
        files[f"{name}.yml"] = _text(source, [{"name": name, "rules": list(_rules(own, _numbers(alerts)))}])
    files["slo-levels.yml"] = _text("lab/alerts/slo.py", slo.recordings())
    return files


def stale_files(folder: Path = ALERTS) -> list[str]:
    """The names of rule files that are out of date, missing or superfluous."""
    wanted = rule_files(folder)
    there = {file.name: file.read_text(encoding="utf-8") for file in (folder / "rules").glob("*.yml")}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def write_rules(folder: Path = ALERTS) -> list[str]:
    """Updates the rule files that are out of date, and returns their names."""
    wanted, stale = rule_files(folder), stale_files(folder)
    for name in stale:
        path = folder / "rules" / name
        if name in wanted:
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted[name], encoding="utf-8")
        else:
            path.unlink()
    return stale


def expression(alert: Alert) -> str:
    """The PromQL of an alert's rule: signal against threshold, or its condition."""
    definition = alert.definition
    if definition.condition:
        return definition.condition.strip()
    selector = f'{{alert="{alert.name}"}}'
    text = f"alert_signal{selector} {COMPARISONS[definition.fires]} on (alert) group_left () alert_threshold{selector}"
    if definition.events:
        text += f"\n  and alert_events{selector} >= on (alert) group_left () alert_floor{selector}"
    return text


def _thresholds(alerts: Sequence[Alert]) -> Group:
    rules = [
        {"record": f"alert_{kind}", "expr": f"{value:.10g}", "labels": {"alert": alert.name}}
        for alert in alerts
        for kind, value in (("threshold", alert.tuning.threshold), ("floor", alert.tuning.floor))
        if value is not None
    ]
    return {"name": "thresholds", "rules": rules}


def _numbers(alerts: Sequence[Alert]) -> int:
    return len(_thresholds(alerts)["rules"])


def _rules(alerts: Sequence[Alert], numbers: int) -> Iterator[dict[str, Any]]:
    """Signal, events and rule of each alert, in the order in which Prometheus must evaluate them, at one timestamp."""
    for alert in alerts:
        definition = alert.definition
        for record, promql in (("alert_signal", definition.signal), ("alert_events", definition.events)):
            if promql:
                yield {"record": record, "expr": promql.strip(), "labels": {"alert": alert.name}}
        yield {
            "alert": alert.name,
            "expr": expression(alert).replace("EXPECTED_NUMBERS", str(numbers)),
            **({"for": alert.tuning.hold} if alert.tuning.hold_seconds else {}),
            # removes the recorded series' label `alert`, which duplicates `alertname`
            "labels": {**alert.labels, **({"alert": ""} if definition.signal else {})},
            "annotations": {
                "summary": definition.summary,
                "description": description(alert).replace("EXPECTED_NUMBERS", str(numbers)),
                "runbook_url": f"{{{{ $externalLabels.desk_url }}}}/runbooks/{Path(alert.runbook).stem}",
                "dashboard_url": f"{{{{ $externalLabels.dashboards_url }}}}/d/{definition.dashboard}",
            },
        }


def _text(source: str, groups: Sequence[Group]) -> str:
    body = yaml.dump({"groups": list(groups)}, Dumper=_Dumper, sort_keys=False, width=WIDTH, allow_unicode=True)
    return HEAD.format(source=source) + body


def main() -> int:
    """Updates the files and prints their names."""
    for name in write_rules():
        print(f"alerts/rules/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
