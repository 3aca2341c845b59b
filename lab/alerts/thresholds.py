"""Holds alerts/thresholds.yml against alerts/ranges.toml and the rules: `python -m lab.alerts.thresholds`.

Exit status: 0 all is well, 1 something is wrong, each with file and line.
"""

import math
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab.alerts.rules import ALERTS, Number, load_rules

PREFIX = "alert_"


@dataclass(frozen=True)
class Written:
    """A number as it stands in thresholds.yml: `text` at `line`, which counts from 1."""

    number: Number
    text: str
    line: int

    @property
    def value(self) -> float:
        """The number, NaN where the text is none."""
        try:
            return float(self.text)
        except ValueError:
            return math.nan


def load_thresholds(folder: Path = ALERTS) -> list[Written]:
    """Every number of thresholds.yml. Raises `ValueError` and `yaml.YAMLError`."""
    root = yaml.compose((folder / "thresholds.yml").read_text())
    rules = (rule for group in _value(root, "groups").value for rule in _value(group, "rules").value)
    return [_written(rule) for rule in rules]


def faults(folder: Path = ALERTS) -> Iterator[str]:
    """What is wrong with thresholds.yml, a sentence each, with the line where there is one."""
    with (folder / "ranges.toml").open("rb") as file:
        ranges: dict[str, dict[str, tuple[float, float]]] = tomllib.load(file)
    rules = load_rules(folder)
    alerts = {rule.alert for rule in rules}
    used = {number for rule in rules for number in rule.numbers}
    seen: set[Number] = set()
    try:
        thresholds = load_thresholds(folder)
    except (ValueError, yaml.YAMLError) as error:
        yield " ".join(str(error).split())
        return
    for written in thresholds:
        fault = _fault(written, ranges, alerts, used, seen)
        if fault:
            yield f"alerts/thresholds.yml:{written.line}: {written.number} {fault}"
        seen.add(written.number)
    for number in sorted(used - seen, key=str):
        yield f"alerts/thresholds.yml: {number} is missing, so that the alert can never fire"
    known = {(number.alert, number.kind) for number in seen}
    for alert, kinds in ranges.items():
        for kind in kinds:
            if (alert, kind) not in known:
                yield f"alerts/ranges.toml: there is no {kind} of {alert}"


def _fault(
    written: Written,
    ranges: Mapping[str, Mapping[str, tuple[float, float]]],
    alerts: set[str],
    used: set[Number],
    seen: set[Number],
) -> str:
    number = written.number
    if number.alert not in alerts:
        return "is of no alert that there is"
    if number not in used:
        return "is used by no rule"
    if number in seen:
        return "is there twice"
    if number.kind not in ranges.get(number.alert, {}):
        return "has no range in alerts/ranges.toml"
    least, most = ranges[number.alert][number.kind]
    if not least <= written.value <= most:
        return f"is {written.text}; it must be from {least:g} to {most:g}"
    return ""


def _written(rule: Any) -> Written:
    _value(_value(rule, "labels"), "alert")
    labels = {key.value: value.value for key, value in _value(rule, "labels").value}
    text = _value(rule, "expr")
    number = Number(_value(rule, "record").value.removeprefix(PREFIX), labels["alert"], labels.get("window", ""))
    return Written(number, text.value, text.start_mark.line + 1)


def _value(node: Any, name: str) -> Any:
    for key, value in node.value:
        if key.value == name:
            return value
    raise ValueError(f"alerts/thresholds.yml:{node.start_mark.line + 1}: an entry without {name}")


def main() -> int:
    """Prints what is wrong."""
    found = list(faults())
    for fault in found:
        print(fault, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
