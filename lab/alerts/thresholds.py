"""The tunable values of alerts, from alerts/thresholds.yml."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import yaml

from lab.alerts.durations import milliseconds
from lab.settings import ROOT
from lab.yaml_file import parse_yaml, text_of

ALERTS = ROOT / "alerts"
NAME = "thresholds.yml"
FIELDS = ("severity", "for", "threshold", "floor")
SEVERITIES = ("page", "ticket", "none")
Severity = Literal["page", "ticket", "none"]


@dataclass(frozen=True)
class Tuning:
    """The tunable values of one alert.

    `hold` is the rule's `for`, a Prometheus duration. `threshold` is None for an alert with a condition, `floor` is
    None if the signal is neither a ratio nor a quantile. `line` is its line in the file, counted from 1.
    """

    severity: Severity
    hold: str
    threshold: float | None = None
    floor: float | None = None
    line: int = field(default=0, compare=False)

    @property
    def hold_seconds(self) -> float:
        """`hold` in seconds."""
        return milliseconds(self.hold) / 1000


class ThresholdsError(ValueError):
    """thresholds.yml is invalid; the message has file and line."""


def load_thresholds(folder: Path = ALERTS) -> dict[str, Tuning]:
    """Each alert's tuning, by name, in the order of the file. Raises `ThresholdsError`."""
    try:
        return read_thresholds(text_of(folder / NAME))
    except OSError as error:
        raise ThresholdsError(f"alerts/{NAME}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ThresholdsError(f"alerts/{NAME}: {error}") from error


def read_thresholds(text: str) -> dict[str, Tuning]:
    """Each alert's tuning, from the text of a thresholds.yml. Raises `ThresholdsError`."""
    tunings: dict[str, Tuning] = {}
    for name, node in _entries(text):
        line = node.start_mark.line + 1
        if name in tunings:
            raise ThresholdsError(f"alerts/{NAME}:{line}: {name} is defined twice")
        tunings[name] = _tuning(name, line, _scalars(name, node))
    try:
        # what only looks like a value, such as one with a tag
        parse_yaml(text)
    except yaml.YAMLError as error:
        raise ThresholdsError(f"alerts/{NAME}: {' '.join(str(error).split())}") from error
    return tunings


def replace(text: str, alert: str, changes: Mapping[str, str]) -> str:
    """The text of a thresholds.yml with some fields of an alert changed; everything else, also comments, is kept.

    Raises `ThresholdsError` if the alert or a field does not exist.
    """
    node = next((node for name, node in _entries(text) if name == alert), None)
    if node is None:
        raise ThresholdsError(f"alerts/{NAME}: there is no {alert}")
    places = {key.value: (value.start_mark.index, value.end_mark.index) for key, value in node.value}
    unknown = changes.keys() - places.keys()
    if unknown:
        raise ThresholdsError(f"alerts/{NAME}: {alert} has no {', '.join(sorted(unknown))}")
    for name, (start, end) in sorted(places.items(), key=lambda place: -place[1][0]):
        if name in changes:
            text = text[:start] + changes[name] + text[end:]
    return text


def _entries(text: str) -> Iterator[tuple[str, yaml.MappingNode]]:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ThresholdsError(f"alerts/{NAME}: {' '.join(str(error).split())}") from error
    if not isinstance(root, yaml.MappingNode):
        raise ThresholdsError(f"alerts/{NAME}: must map alerts to their values")
    for key, node in root.value:
        if not isinstance(node, yaml.MappingNode):
            raise ThresholdsError(f"alerts/{NAME}:{key.start_mark.line + 1}: {key.value} must have {', '.join(FIELDS)}")
        yield str(key.value), node


def _scalars(name: str, node: yaml.MappingNode) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.value not in FIELDS:
            raise ThresholdsError(f"alerts/{NAME}:{line}: {name} has {key.value!r}; it may have {', '.join(FIELDS)}")
        if key.value in found:
            raise ThresholdsError(f"alerts/{NAME}:{line}: {name} has {key.value!r} twice")
        if not isinstance(value, yaml.ScalarNode):
            raise ThresholdsError(f"alerts/{NAME}:{line}: {key.value} of {name} must be one value")
        found[key.value] = str(value.value)
    return found


def _tuning(name: str, line: int, values: Mapping[str, str]) -> Tuning:
    def number(kind: str) -> float | None:
        if kind not in values:
            return None
        try:
            value = float(values[kind])
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ThresholdsError(f"alerts/{NAME}:{line}: {kind} of {name} is {values[kind]}; it must be a number")
        return value

    severity, hold = values.get("severity", ""), values.get("for", "")
    if severity not in SEVERITIES:
        said = f"is {severity}" if severity else "is missing"
        raise ThresholdsError(
            f"alerts/{NAME}:{line}: severity of {name} {said}; it must be one of {', '.join(SEVERITIES)}"
        )
    try:
        milliseconds(hold)
    except ValueError as error:
        raise ThresholdsError(f"alerts/{NAME}:{line}: for of {name}: {error}") from error
    return Tuning(severity, hold, number("threshold"), number("floor"), line)  # type: ignore[arg-type]
