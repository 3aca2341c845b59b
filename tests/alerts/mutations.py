"""Mutations of rules. For each of them at least one case must fail; otherwise the cases prove nothing.

Changed are each comparison, window and label matcher, the threshold, the floor, the `for` and the objective, in an
alert's own rules and in the recordings that it reads.
"""

import copy
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from lab.alerts.catalog import load_alerts
from lab.alerts.durations import milliseconds
from tests.alerts.promtool import rules_of

Groups = list[dict[str, Any]]
# the factor by which a number is changed; small integers are changed by one
FACTOR, SMALL = 1.3, 5
TURNED = {">": "<", "<": ">", "==": "!=", ">=": "<"}
_COMPARISON = re.compile(r"(?<=[\s)])(>=|==|>|<)(?= (?:on|bool|\d))")
_WINDOW = re.compile(r"\[(\d+[smhd](?:\d+[smhd])*)\]|(?<=offset )(\d+[smhd](?:\d+[smhd])*)")
_OBJECTIVE = re.compile(r"(?<=vector\()0\.\d+(?=\))")
_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)("[^"]*")')
# the matcher of a rule for its own alert's series: without it, the rule would read those of every alert
_OWN = "alert"


def mutations(alert: str) -> Iterator[tuple[str, Groups]]:
    """Each mutated set of the rules of one alert, with a description of the mutation."""
    rules = rules_of(alert)
    for number, rule in enumerate(_flat(rules)):
        if rule.get("alert") == alert or rule.get("labels", {}).get(_OWN) == alert:
            yield from _broken(rules, number)


@cache
def readers() -> dict[str, list[str]]:
    """The shared recording rules that alerts read, each with those alerts."""
    found: dict[str, list[str]] = {}
    for alert in load_alerts():
        for rule in _flat(rules_of(alert.name)):
            record = rule.get("record", "")
            if record and _OWN not in rule.get("labels", {}) and any(_expressions(rule["expr"])):
                found.setdefault(record, []).append(alert.name)
    return found


def recording_mutations(record: str, alert: str) -> Iterator[tuple[str, Groups]]:
    """Each set of the alert's rules in which this recording rule is mutated, with a description of the mutation."""
    rules = rules_of(alert)
    for number, rule in enumerate(_flat(rules)):
        if rule.get("record") == record:
            yield from _broken(rules, number)


def _broken(rules: Groups, number: int) -> Iterator[tuple[str, Groups]]:
    rule = list(_flat(rules))[number]
    for what, changed in _rule(rule):
        broken = copy.deepcopy(rules)
        target = list(_flat(broken))[number]
        target.clear()
        target.update(changed)
        yield f"{rule.get('record', 'rule')}: {what}", broken


def _flat(groups: Groups) -> Iterator[dict[str, Any]]:
    return (rule for group in groups for rule in group["rules"])


def _rule(rule: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if rule.get("record") in {"alert_threshold", "alert_floor"}:
        value = float(rule["expr"])
        for moved in _moved(value):
            yield f"{value:g} → {moved:g}", {**rule, "expr": f"{moved:.10g}"}
        return
    for what, expr in _expressions(rule["expr"]):
        yield what, {**rule, "expr": expr}
    if "alert" in rule:
        hold = milliseconds(rule.get("for", "0s")) / 1000
        longer = f"{round(hold * 2) or 30}s"
        yield f"for {rule.get('for', '0s')} → {longer}", {**rule, "for": longer}
        if hold:
            yield f"for {rule['for']} → 0s", {key: value for key, value in rule.items() if key != "for"}


def _moved(value: float) -> tuple[float, ...]:
    if value == round(value) and value < SMALL:
        # a count: there is no value between two adjacent integers
        return (value + 1, value - 1) if value else (1.0,)
    return value * FACTOR, value / FACTOR


def _expressions(expr: str) -> Iterator[tuple[str, str]]:
    def put(match: re.Match[str], text: str) -> tuple[str, str]:
        return f"{match[0]} → {text or 'nothing'} at {match.start()}", expr[: match.start()] + text + expr[
            match.end() :
        ]

    for match in _COMPARISON.finditer(expr):
        # `x > 0` only avoids a division by zero: no alert distinguishes NaN from infinity
        if not expr[match.end() :].startswith(" 0)"):
            yield put(match, TURNED[match[1]])
    for match in _WINDOW.finditer(expr):
        window = match[1] or match[2]
        longer = f"{round(milliseconds(window) / 1000 * 5)}s"
        yield put(match, f"[{longer}]" if match[1] else longer)
    for match in _OBJECTIVE.finditer(expr):
        for moved in _moved(1 - float(match[0])):
            yield put(match, f"{1 - moved:.10g}")
    for match in _MATCHER.finditer(expr):
        if match[1] != _OWN:
            other = {"=": "!=", "!=": "=", "=~": "!~", "!~": "=~"}[match[2]]
            yield put(match, f"{match[1]}{other}{match[3]}")
