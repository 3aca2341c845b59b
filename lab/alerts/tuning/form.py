"""The common form of alerts with a threshold, as backtests use it: series, direction, values.

The series are recorded (docs/alerts.md): `alert_signal` is compared, `alert_events` counts its bad events,
`alert_threshold` and `alert_floor` are the tunable values.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from lab.alerts.durations import milliseconds
from lab.settings import ROOT
from lab.yaml_file import parse_yaml, read_yaml

ALERTS = ROOT / "alerts"

SIGNAL, EVENTS, THRESHOLD, FLOOR = "alert_signal", "alert_events", "alert_threshold", "alert_floor"


@dataclass(frozen=True)
class Numbers:
    """The tunable values: `hold` (`for`) and `keep` (`keep_firing_for`) in ms.

    The threshold is None for an alert with a condition, whose history is in `ALERTS`. A floor of None is no floor.
    """

    threshold: float | None
    floor: float | None = None
    hold: int = 0
    keep: int = 0


@dataclass(frozen=True)
class Watched:
    """An alert and its values; `is_below` if it fires below its threshold.

    `clock` is an alert with a threshold, whose samples show when Prometheus evaluated rules: the alert itself, or
    another one if it has no threshold.
    """

    alert: str
    numbers: Numbers
    is_below: bool = False
    severity: str = ""
    clock: str = ""

    @property
    def is_state(self) -> bool:
        """Whether it has a condition instead of a threshold."""
        return self.numbers.threshold is None

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels that select its recorded series."""
        return {"alert": self.alert}

    def turned(self, threshold: float | None = None, floor: float | None = None, hold: int | None = None) -> "Watched":
        """The same alert with other values; None keeps a value."""
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
    """alerts/thresholds.yml or the catalog is invalid; the message says where."""


def load_watched(folder: Path = ALERTS, text: str | None = None) -> dict[str, Watched]:
    """All alerts by name, from thresholds.yml (or another `text` of it) and the catalog. Raises `FormError`."""
    written = _mapping(folder / "thresholds.yml" if text is None else text, "alerts/thresholds.yml")
    below = {
        name
        for file in sorted((folder / "catalog").glob("*.yml"))
        for name, each in _mapping(file, file.name).get("alerts", {}).items()
        if each.get("fires") == "below"
    }
    try:
        clock = next((name for name, each in written.items() if "threshold" in each), "")
        return {
            name: Watched(
                name,
                Numbers(_number(each, "threshold"), _number(each, "floor"), milliseconds(str(each.get("for", "0s")))),
                name in below,
                str(each.get("severity", "")),
                name if "threshold" in each else clock,
            )
            for name, each in written.items()
        }
    except (TypeError, ValueError, AttributeError) as error:
        raise FormError(f"alerts/thresholds.yml: {error}: `make lint` shows the line") from error


def _number(values: Mapping[str, Any], name: str) -> float | None:
    return float(values[name]) if name in values else None


def _mapping(source: Path | str, name: str) -> dict[str, Any]:
    try:
        found = read_yaml(source) if isinstance(source, Path) else parse_yaml(source)
    except OSError as error:
        raise FormError(f"{name}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise FormError(f"{name}: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise FormError(f"{name}: must map alerts to their values")
    return found
