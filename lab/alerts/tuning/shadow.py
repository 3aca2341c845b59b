"""Shadow alerts: candidates that Prometheus evaluates next to the alerts in force, and that notify nobody.

Each is a rule file in alerts/rules/shadows/. It expires without intervention, because its expression includes an end
time. Its episodes are recorded in `ALERTS`.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from lab.alerts.tuning.form import ALERTS, EVENTS, SIGNAL, FormError, Watched
from lab.alerts.tuning.history import HistoryError
from lab.yaml_file import read_yaml

FOLDER = ALERTS / "rules" / "shadows"
SUFFIX = "Shadow"
HEAD = "# Written by `glasshouse tune --shadow`; see `glasshouse tune --shadows`. It expires automatically.\n"
MAX_SHADOWS = 20


@dataclass(frozen=True)
class Shadow:
    """A candidate that runs, or ran, from `began` to `ends`, in unix seconds."""

    alert: str
    numbers: str
    began: float
    ends: float

    @property
    def name(self) -> str:
        """Its name in `ALERTS`."""
        return f"{self.alert}{SUFFIX}"


def start(candidate: Watched, numbers: str, seconds: float, folder: Path = FOLDER) -> Shadow:
    """Writes a candidate's rule file. Raises `HistoryError` if the alert cannot have a shadow."""
    if candidate.is_state:
        raise HistoryError(f"{candidate.alert} has no threshold: only an alert with a threshold can have a shadow")
    running = [each for each in shadows(folder) if each.ends > time.time() and each.alert != candidate.alert]
    if len(running) >= MAX_SHADOWS:
        raise HistoryError(f"{MAX_SHADOWS} shadows are already running: delete one in {folder} first")
    now = time.time()
    shadow = Shadow(candidate.alert, numbers, now, now + seconds)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{candidate.alert}.yml").write_text(
        HEAD + yaml.safe_dump(_rule(candidate, shadow), sort_keys=False), encoding="utf-8"
    )
    return shadow


def shadows(folder: Path = FOLDER) -> list[Shadow]:
    """All shadows, running or ended, ordered by name. Raises `FormError` for a file that is not a shadow."""
    found = []
    for file in sorted(folder.glob("*.yml")):
        try:
            notes = read_yaml(file)["groups"][0]["rules"][0]["annotations"]
            found.append(Shadow(file.stem, notes["numbers"], float(notes["began"]), float(notes["ends"])))
        except (yaml.YAMLError, KeyError, TypeError, IndexError, ValueError) as error:
            raise FormError(f"{file}: is not a shadow rule: delete it") from error
    return found


def _rule(candidate: Watched, shadow: Shadow) -> dict[str, Sequence[object]]:
    numbers = candidate.numbers
    selector = f'{{alert="{candidate.alert}"}}'
    expression = f"{SIGNAL}{selector} {'<' if candidate.is_below else '>'} {numbers.threshold:.10g}"
    if numbers.floor is not None:
        expression += f" and {EVENTS}{selector} >= {numbers.floor:.10g}"
    lasts = f"and on () (vector(time()) < {shadow.ends:.0f})"
    return {
        "groups": [
            {
                "name": f"shadow-{candidate.alert}",
                "rules": [
                    {
                        "alert": shadow.name,
                        "expr": f"({expression}) {lasts}",
                        "for": f"{numbers.hold}ms",
                        # removes the signal's label `alert`, as the rule in force does
                        "labels": {"severity": "shadow", "alert": ""},
                        "annotations": {
                            "summary": f"{candidate.alert} with other values, for comparison only",
                            "numbers": shadow.numbers,
                            "began": f"{shadow.began:.0f}",
                            "ends": f"{shadow.ends:.0f}",
                        },
                    },
                    # dashboards draw it next to the signal, like the threshold in force
                    {
                        "record": "shadow_threshold",
                        "expr": f"vector({numbers.threshold:.10g}) {lasts}",
                        "labels": {"alert": candidate.alert},
                    },
                ],
            }
        ]
    }
