"""Backtests of rules from other rule files: Prometheus' API evaluates the expression at the rule's interval."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lab.alerts.durations import milliseconds
from lab.alerts.tuning.backtest import Episode
from lab.alerts.tuning.form import FormError
from lab.alerts.tuning.history import HistoryError, PrometheusHistory
from lab.alerts.tuning.semantics import Timing, activations
from lab.yaml_file import read_yaml

# Prometheus' default
INTERVAL_MS = 60_000


@dataclass(frozen=True)
class ForeignRule:
    """An alerting rule of a rule file. `interval` is its group's in ms; None if the file does not set it."""

    alert: str
    expression: str
    timing: Timing
    interval: int | None

    def replaced(self, old: str, new: str) -> "ForeignRule":
        """The rule with text in its expression replaced. Raises `HistoryError` if the old text does not occur."""
        if old not in self.expression:
            raise HistoryError(f"{self.alert}: its expression has no {old!r}: {' '.join(self.expression.split())}")
        return ForeignRule(self.alert, self.expression.replace(old, new), self.timing, self.interval)


def load_rule(file: Path, alert: str) -> ForeignRule:
    """The alert of that name in a rule file. Raises `FormError` and `HistoryError`."""
    try:
        groups = read_yaml(file)["groups"]
        rules = [(group, rule) for group in groups for rule in group["rules"] if "alert" in rule]
        found = [(group, rule) for group, rule in rules if rule["alert"] == alert]
        if not found:
            there = ", ".join(sorted({rule["alert"] for _, rule in rules}))
            raise HistoryError(f"{file}: no alert {alert}; the file has {there or 'none'}")
        return _rule(*found[0])
    except OSError as error:
        raise HistoryError(f"{file}: {error.strerror}") from error
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise FormError(f"{file}: not a rule file of Prometheus: {' '.join(str(error).split())}") from error


def evaluate(rule: ForeignRule, history: PrometheusHistory) -> list[Episode]:
    """The episodes that the rule would have had. Raises `PrometheusError`."""
    interval = rule.interval or INTERVAL_MS
    times, series = history.evaluate(rule.expression, interval, _offset(rule, history, interval))
    found = []
    for each in series:
        active = np.isin(times, each.times)
        for one in activations(times, active, rule.timing):
            if one.fired is not None:
                found.append(Episode(each.labels, one.active, one.fired, one.ended))
    return sorted(found, key=lambda each: each.fired)


def _offset(rule: ForeignRule, history: PrometheusHistory, interval: int) -> int:
    """The offset of the rule's evaluations from multiples of its interval, if `ALERTS` has samples of it; else 0."""
    series = history.select("ALERTS", {"alertname": rule.alert})
    return int(series[0].times[-1]) % interval if series else 0


def _rule(group: dict[str, Any], rule: dict[str, Any]) -> ForeignRule:
    interval = group.get("interval")
    return ForeignRule(
        str(rule["alert"]),
        str(rule["expr"]),
        Timing(milliseconds(str(rule.get("for", "0s"))), milliseconds(str(rule.get("keep_firing_for", "0s")))),
        milliseconds(str(interval)) if interval else None,
    )


def split_replacement(text: str) -> tuple[str, str]:
    """Splits `0.05=0.02` into old and new text. Raises `HistoryError`."""
    old, sign, new = text.partition("=")
    if not sign or not old:
        raise HistoryError(f"--replace {text!r}: must be OLD=NEW, such as 0.05=0.02")
    return old, new
