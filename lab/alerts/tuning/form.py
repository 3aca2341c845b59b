"""The one form that every alert with a number has, as the backtest reads it: series, direction, numbers.

The series are recorded (docs/alerts.md): `alert_signal` is what is compared, `alert_events` the bad events behind it,
`alert_threshold` and `alert_floor` the numbers that are turned. Nothing else in this package knows their names.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from lab.settings import ROOT

ALERTS = ROOT / "alerts"

_DURATION = re.compile(r"(?:\d+(?:ms|[smhd]))+")
_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
SIGNAL, EVENTS, THRESHOLD, FLOOR = "alert_signal", "alert_events", "alert_threshold", "alert_floor"


@dataclass(frozen=True)
class Numbers:
    """What people turn: `hold` and `keep` in ms.

    A threshold of None is that of an alert on a state, whose condition `ALERTS` tells of. A floor of None is no floor,
    one that is met is enough.
    """

    threshold: float | None
    floor: float | None = None
    hold: int = 0
    keep: int = 0


@dataclass(frozen=True)
class Watched:
    """An alert, which is bad above its threshold or below it.

    `clock` is an alert with a threshold, whose samples say when Prometheus evaluated; empty for one with its own.
    """

    alert: str
    numbers: Numbers
    is_below: bool = False
    severity: str = ""
    clock: str = ""

    @property
    def is_state(self) -> bool:
        """Whether it watches a state, and has no number but its time."""
        return self.numbers.threshold is None

    @property
    def labels(self) -> Mapping[str, str]:
        """What selects its recorded series."""
        return {"alert": self.alert}

    def turned(self, threshold: float | None = None, floor: float | None = None, hold: int | None = None) -> "Watched":
        """The same alert with other numbers; None leaves one as it is."""
        numbers = self.numbers
        return replace(
            self,
            numbers=replace(
                numbers,
                threshold=numbers.threshold if threshold is None else threshold,
                floor=numbers.floor if floor is None else floor,
                hold=numbers.hold if hold is None else hold,
            ),
        )


class FormError(ValueError):
    """alerts/thresholds.yml or the catalog is not what it must be; the message says where."""


def load_watched(folder: Path = ALERTS, text: str | None = None) -> dict[str, Watched]:
    """Every alert by name, from thresholds.yml (or another `text` of it) and the catalog. Raises `FormError`."""
    written = _mapping((folder / "thresholds.yml").read_text() if text is None else text, "alerts/thresholds.yml")
    below = {
        name
        for file in sorted((folder / "catalog").glob("*.yml"))
        for name, each in _mapping(file.read_text(), file.name).get("alerts", {}).items()
        if each.get("fires") == "below"
    }
    try:
        clock = next((name for name, each in written.items() if "threshold" in each), "")
        return {
            name: Watched(
                name,
                Numbers(_number(each, "threshold"), _number(each, "floor"), duration(str(each.get("for", "0s")))),
                name in below,
                str(each.get("severity", "")),
                name if "threshold" in each else clock,
            )
            for name, each in written.items()
        }
    except (TypeError, ValueError, AttributeError) as error:
        raise FormError(f"alerts/thresholds.yml: {error}: `make lint` names the line") from error


def duration(text: str) -> int:
    """A Prometheus duration, such as 1m30s, in ms. Raises `ValueError`."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is no duration such as 30s or 1m30s")
    return sum(int(amount) * _MS[unit] for amount, unit in re.findall(r"(\d+)(ms|[smhd])", text))


def _number(values: Mapping[str, Any], name: str) -> float | None:
    return float(values[name]) if name in values else None


def _mapping(text: str, name: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise FormError(f"{name}: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise FormError(f"{name}: must map alerts to what is tuned of them")
    return found
