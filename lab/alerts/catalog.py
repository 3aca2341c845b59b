"""The definitions of alerts from alerts/catalog/*.yml: signal, direction, unit and texts.

Their tunable values are in alerts/thresholds.yml. The alerts of the service levels come from `lab.alerts.slo`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from lab.alerts.slo import SLO_ALERTS
from lab.alerts.thresholds import ALERTS, Tuning, load_thresholds
from lab.yaml_file import read_yaml

Side = Literal["above", "below"]
Range = tuple[float, float]


class Allowed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Allowed ranges of an alert's values; a value outside is most likely a typing mistake."""

    threshold: Range
    floor: Range | None = None


class Definition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The definition of an alert in the catalog.

    An alert with a threshold has a `signal`, the PromQL expression that is compared, in `unit`; it `fires` above or
    below the threshold. If the signal is a ratio or a quantile, `events` is PromQL for the number of bad events in its
    window, with the same labels. Other alerts have a `condition` instead. `{value}` in the description is the signal's
    value with its unit; `dashboard` is a uid.
    """

    summary: str
    description: str
    dashboard: str
    signal: str = ""
    events: str = ""
    condition: str = ""
    fires: Side = "above"
    unit: str = ""
    allowed: Allowed | None = None
    labels: dict[str, str] = {}
    runbook: str = ""
    """The runbook's name, if it differs from the alert's."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    part: str
    alerts: dict[str, Definition]


class Alert(msgspec.Struct, frozen=True):
    """An alert with its tunable values. `file` is the name of its catalog and rule file, without `.yml`."""

    name: str
    part: str
    file: str
    definition: Definition
    tuning: Tuning

    @property
    def runbook(self) -> str:
        """The path of its runbook in the repository."""
        return f"alerts/runbooks/{self.definition.runbook or self.name}.md"

    @property
    def labels(self) -> dict[str, str]:
        """The labels that the rule adds."""
        return {"severity": self.tuning.severity, "part": self.part, **self.definition.labels}


class CatalogError(ValueError):
    """A catalog file is invalid, or does not match thresholds.yml."""


def load_definitions(folder: Path = ALERTS) -> dict[str, tuple[str, str, Definition]]:
    """Each alert's file, part and definition, by name. Raises `CatalogError`."""
    found: dict[str, tuple[str, str, Definition]] = {}
    for file in sorted((folder / "catalog").glob("*.yml")):
        try:
            read = msgspec.convert(read_yaml(file), type=_File)
        except (msgspec.ValidationError, yaml.YAMLError) as error:
            raise CatalogError(f"alerts/catalog/{file.name}: {' '.join(str(error).split())}") from error
        _add(found, file.stem, read)
    _add(found, "slo", msgspec.convert(SLO_ALERTS, type=_File))
    return found


def load_alerts(folder: Path = ALERTS) -> list[Alert]:
    """All alerts with their tunable values, file by file. Raises `CatalogError` and `ThresholdsError`."""
    definitions, tunings = load_definitions(folder), load_thresholds(folder)
    odd = sorted(definitions.keys() ^ tunings.keys())
    if odd:
        raise CatalogError(f"{', '.join(odd)}: must be both in alerts/catalog/ and in alerts/thresholds.yml")
    return [
        Alert(name, part, file, definition, tunings[name]) for name, (file, part, definition) in definitions.items()
    ]


def _add(found: dict[str, Any], file: str, read: _File) -> None:
    twice: Mapping[str, Any] = {name: found[name] for name in read.alerts if name in found}
    if twice:
        raise CatalogError(f"alerts/catalog/{file}.yml: {', '.join(twice)} is in another file too")
    found.update({name: (file, read.part, definition) for name, definition in read.alerts.items()})
