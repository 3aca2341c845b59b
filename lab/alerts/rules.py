"""The alert rules as they stand in alerts/*.yml."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from lab.settings import ROOT

ALERTS = ROOT / "alerts"
# names in PromQL: alert_threshold{alert="Name", window="5m"}
_NUMBER = re.compile(r'alert_(?P<kind>threshold|floor)\{alert="(?P<alert>\w+)"(?:,\s*window="(?P<window>\w+)")?\}')


@dataclass(frozen=True)
class Number:
    """Which number of which alert: `kind` is threshold or floor; `window` names a pair of windows, or nothing."""

    kind: str
    alert: str
    window: str = ""

    def __str__(self) -> str:
        return f"{self.kind} of {self.alert}" + (f" over {self.window}" if self.window else "")


@dataclass(frozen=True)
class Rule:
    """An alert rule."""

    alert: str
    expr: str
    hold: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    file: Path

    @property
    def numbers(self) -> frozenset[Number]:
        """The thresholds and floors that its expression names."""
        return frozenset(
            Number(match["kind"], match["alert"], match["window"] or "") for match in _NUMBER.finditer(self.expr)
        )


def load_rules(folder: Path = ALERTS) -> list[Rule]:
    """Every alert rule, file by file."""
    return [
        Rule(
            rule["alert"],
            rule["expr"],
            rule.get("for", "0s"),
            rule.get("labels", {}),
            rule.get("annotations", {}),
            file,
        )
        for file in sorted(folder.glob("*.yml"))
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
