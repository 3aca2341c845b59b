"""Validates thresholds.yml against the catalog: values that are missing, unused or out of range.

`python -m lab.alerts.faults` prints the errors with file and line. Exit status: 0 none, 1 some.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from lab.alerts.catalog import CatalogError, Definition, Range, load_definitions
from lab.alerts.rules import stale_files
from lab.alerts.thresholds import ALERTS, ThresholdsError, Tuning, load_thresholds


def faults(folder: Path = ALERTS, with_files: bool = True) -> Iterator[str]:
    """The errors with file and line if known; `with_files`: also whether the rule files are current."""
    try:
        definitions, tunings = load_definitions(folder), load_thresholds(folder)
    except (CatalogError, ThresholdsError) as error:
        yield str(error)
        return
    wrong = False
    for name, tuning in tunings.items():
        if name not in definitions:
            wrong = True
            yield f"alerts/thresholds.yml:{tuning.line}: there is no alert {name} in alerts/catalog/"
            continue
        for fault in _faults(definitions[name][2], tuning):
            wrong = True
            yield f"alerts/thresholds.yml:{tuning.line}: {fault[0]} of {name} {fault[1]}"
    for name in definitions.keys() - tunings.keys():
        wrong = True
        yield f"alerts/thresholds.yml: {name} is missing, so the alert can never fire"
    if with_files and not wrong:
        for file in stale_files(folder):
            yield f"alerts/rules/{file}: out of date with thresholds.yml and catalog/: run `make rules`"


def _faults(definition: Definition, tuning: Tuning) -> Iterator[tuple[str, str]]:
    allowed = definition.allowed
    wanted: dict[str, Range | None] = {
        "threshold": allowed.threshold if allowed else None,
        "floor": allowed.floor if allowed else None,
    }
    for kind, limits in wanted.items():
        value: float | None = getattr(tuning, kind)
        if value is None and limits:
            yield kind, "is missing, so the alert can never fire"
        elif value is not None and not limits:
            yield kind, "is not used by any rule"
        elif value is not None and limits and not limits[0] <= value <= limits[1]:
            yield kind, f"is {value:g}; it must be between {limits[0]:g} and {limits[1]:g}"


def main() -> int:
    """Prints the errors."""
    found = list(faults())
    for fault in found:
        print(fault, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
