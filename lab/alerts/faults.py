"""What is wrong with thresholds.yml against the catalog: numbers missing, superfluous or beyond what is allowed.

`python -m lab.alerts.faults` prints it, each with file and line. Exit status: 0 nothing, 1 something.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from lab.alerts.catalog import CatalogError, Definition, Range, load_definitions
from lab.alerts.rules import stale_files
from lab.alerts.thresholds import ALERTS, ThresholdsError, Tuning, load_thresholds


def faults(folder: Path = ALERTS, with_files: bool = True) -> Iterator[str]:
    """What is wrong, a sentence each, with file and line where there is one; `with_files`: the rule files too."""
    try:
        definitions, tunings = load_definitions(folder), load_thresholds(folder)
    except (CatalogError, ThresholdsError) as error:
        yield str(error)
        return
    wrong = False
    for name, tuning in tunings.items():
        if name not in definitions:
            wrong = True
            yield f"alerts/thresholds.yml:{tuning.line}: {name} is no alert that there is"
            continue
        for fault in _faults(definitions[name][2], tuning):
            wrong = True
            yield f"alerts/thresholds.yml:{tuning.line}: {fault[0]} of {name} {fault[1]}"
    for name in definitions.keys() - tunings.keys():
        wrong = True
        yield f"alerts/thresholds.yml: {name} is missing, so that the alert can never fire"
    if with_files and not wrong:
        for file in stale_files(folder):
            yield f"alerts/rules/{file}: is not what thresholds.yml and catalog/ give: run `make rules`"


def _faults(definition: Definition, tuning: Tuning) -> Iterator[tuple[str, str]]:
    allowed = definition.allowed
    wanted: dict[str, Range | None] = {
        "threshold": allowed.threshold if allowed else None,
        "floor": allowed.floor if allowed else None,
    }
    for kind, limits in wanted.items():
        value: float | None = getattr(tuning, kind)
        if value is None and limits:
            yield kind, "is missing, so that the alert can never fire"
        elif value is not None and not limits:
            yield kind, "is used by no rule"
        elif value is not None and limits and not limits[0] <= value <= limits[1]:
            yield kind, f"is {value:g}; it must be from {limits[0]:g} to {limits[1]:g}"


def main() -> int:
    """Prints what is wrong."""
    found = list(faults())
    for fault in found:
        print(fault, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
