"""Runs promtool for one alert, with its cases and its rules in a separate folder.

promtool evaluates every rule that it is given at every step of every case. With the rules of one alert only, all cases
together take seconds instead of minutes.
"""

import re
import subprocess
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from lab.settings import ROOT

CASES = ROOT / "alerts" / "tests"
Rule = Mapping[str, Any]
# evaluation interval, and the case
Cases = list[tuple[str, dict[str, Any]]]
_NAME = re.compile(r"[A-Za-z_:][\w:]*")
try:
    _Loader: Any = yaml.CSafeLoader
except AttributeError:  # PyYAML without libyaml
    _Loader = yaml.SafeLoader


@cache
def cases() -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Each alert's cases, with the evaluation interval of their file."""
    found: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for file in sorted(CASES.glob("*.yml")):
        content = yaml.load(file.read_text(), Loader=_Loader)
        for case in content["tests"]:
            found.setdefault(str(case["name"]).split()[0], []).append((content["evaluation_interval"], case))
    return found


@cache
def groups() -> list[dict[str, Any]]:
    """The groups of every rule file of the stack."""
    files = [*ROOT.glob("observability/prometheus/rules/*.yml"), *ROOT.glob("alerts/rules/*.yml")]
    return [
        # group names are unique only within a file, and here all groups are in one file
        {**group, "name": f"{file.parent.parent.name}-{file.stem}-{group['name']}"}
        for file in sorted(files)
        for group in yaml.safe_load(file.read_text())["groups"]
    ]


def rules_of(alert: str) -> list[dict[str, Any]]:
    """The rules of one alert and all rules that they read, in groups; for `ThresholdsMissing`, all rules."""
    wanted, names = set[str](), {alert}
    flat = [(group["name"], number, rule) for group in groups() for number, rule in enumerate(group["rules"])]
    while names:
        for group, number, rule in flat:
            if f"{group} {number}" not in wanted and _is_wanted(rule, alert, names):
                wanted.add(f"{group} {number}")
        read = {name for key in wanted for name in _NAME.findall(_rule(key)["expr"])}
        have = {_rule(key).get("record", "") for key in wanted}
        names = read & {rule["record"] for _, _, rule in flat if "record" in rule} - have - {"alert_signal"}
    return [
        {**group, "rules": kept}
        for group in groups()
        if (kept := [rule for number, rule in enumerate(group["rules"]) if f"{group['name']} {number}" in wanted])
    ]


def run(
    folder: Path, alert: str, rules: list[dict[str, Any]], own_cases: Cases | None = None, *, niceness: int = 0
) -> subprocess.CompletedProcess[str]:
    """Runs an alert's cases, or the given ones, on these groups of rules; exit status 1 if one fails."""
    command = ["nice", "-n", str(niceness), "promtool", "test", "rules", *write(folder, alert, rules, own_cases)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def write(folder: Path, alert: str, rules: list[dict[str, Any]], own_cases: Cases | None = None) -> list[str]:
    """Writes the rules and cases for promtool, and returns the files of cases: one per evaluation interval."""
    chosen = cases()[alert] if own_cases is None else own_cases
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": rules}))
    files = []
    for interval in sorted({interval for interval, _ in chosen}):
        file = folder / f"cases-{interval}.yml"
        own = [case for each, case in chosen if each == interval]
        file.write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "evaluation_interval": interval, "tests": own}))
        files.append(file.name)
    return files


def _rule(key: str) -> Rule:
    name, number = key.split()
    return next(group for group in groups() if group["name"] == name)["rules"][int(number)]


def _is_wanted(rule: Rule, alert: str, names: Iterable[str]) -> bool:
    if rule.get("alert") == alert:
        return True
    record = rule.get("record", "")
    if record.startswith("alert_"):
        is_own = rule["labels"]["alert"] == alert
        return is_own or (alert == "ThresholdsMissing" and record in {"alert_threshold", "alert_floor"})
    return record in names
