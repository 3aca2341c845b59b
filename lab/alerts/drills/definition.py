"""The drills as they stand in alerts/drills/*.yml: the load, the fault, and what it must, may and must not raise."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec
import yaml

from lab.alerts.tuning.truth import Expectations, Expected
from lab.settings import ROOT

FOLDER = ROOT / "alerts" / "drills"
Way = Literal["native", "docker"]
# These look back for longer than a drill lasts: what they see may be the drill before, so they tell nothing here.
LONG_MEMORY = frozenset(
    f"{level}Burn{window}" for level in ("Availability", "Latency") for window in ("Medium", "Slow", "VerySlow")
)
SECONDS_OF = {"s": 1, "m": 60}


class DrillError(ValueError):
    """A drill that is not there, not well written, or cannot be played now; the message says why."""


class Cause(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the fault is caused.

    `do` is an action of `glasshouse` (pause, stop, kill, restart) on `parts`; `stutter` pauses them for `pause`
    seconds and lets them run for `every`, again and again at a steady pace; `sql` and `redis` run `text` (on the Redis
    nodes in `parts`, several commands with ` ; ` between), again every `every` seconds if that is given, and `mend` at
    the end; `load` puts a profile on the stack.
    """

    do: Literal["pause", "stop", "kill", "restart", "stutter", "sql", "redis", "load"]
    parts: list[str] = []
    text: str = ""
    mend: str = ""
    sessions: int = 1
    """How many sessions run the SQL at once."""
    every: float = 0.0
    pause: float = 0.0
    profile: str = ""
    rate: float = 0.0

    @property
    def part(self) -> str:
        """The parts as one label."""
        return ",".join(self.parts) or {"sql": "postgres", "load": "load"}.get(self.do, self.do)


class Drill(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One alert's drill, or in `cannot` the reason why it has none.

    The alert fires `within` of the cause and clears within `clears` of the mending; `with_it` are other alerts that
    must fire too, `may` those that may. `where` is a label value that the alert must have. `rate` is the steady load
    beside it, in requests a second; `only` the one way of running the stack that can play it, for the reason in `why`.
    """

    cause: Cause | None = None
    cannot: str = ""
    within: str = "60s"
    clears: str = "120s"
    with_it: list[str] = []
    may: list[str] = []
    where: str = ""
    rate: float = 15.0
    only: Way | None = None
    why: str = ""


def load_drills(folder: Path = FOLDER) -> dict[str, Drill]:
    """Every alert's drill, by the alert's name. Raises `DrillError`."""
    found: dict[str, Drill] = {}
    for file in sorted(folder.glob("*.yml")):
        try:
            drills = msgspec.convert(yaml.safe_load(file.read_text()), type=dict[str, Drill])
        except (msgspec.ValidationError, yaml.YAMLError) as error:
            raise DrillError(f"alerts/drills/{file.name}: {' '.join(str(error).split())}") from error
        for name, drill in drills.items():
            if name in found:
                raise DrillError(f"alerts/drills/{file.name}: {name} is in another file too")
            if bool(drill.cause) == bool(drill.cannot):
                raise DrillError(f"alerts/drills/{file.name}: {name} needs either a cause, or a reason in `cannot`")
            seconds(drill.within)
            seconds(drill.clears)
            found[name] = drill
    return found


def by_fault(drills: Mapping[str, Drill]) -> list[dict[str, Drill]]:
    """Drills that cause the same fault together, so that it is caused once; in the order of the first of each."""
    found: dict[bytes, dict[str, Drill]] = {}
    for name, drill in drills.items():
        found.setdefault(msgspec.json.encode(drill.cause), {})[name] = drill
    return list(found.values())


def expectations(drills: Mapping[str, Drill]) -> Expectations:
    """What the drills say of the alerts, for a drill by its name, and for the same fault caused by hand."""
    by_drill: dict[str, Expected] = {}
    by_kind: dict[tuple[str, str], Expected] = {}
    for name, drill in drills.items():
        if not drill.cause:
            continue
        within = round(seconds(drill.within) * 1000)
        by_drill[name] = Expected(
            dict.fromkeys([name, *drill.with_it], within),
            LONG_MEMORY.union(drill.may),
            round(seconds(drill.clears) * 1000),
        )
        kind = (drill.cause.part, drill.cause.do)
        before = by_kind.get(kind, Expected(clears=0))
        # by hand a fault is of any length and without load: what it may raise is known, what it must is not
        may = before.may | LONG_MEMORY | {name, *drill.with_it, *drill.may}
        by_kind[kind] = Expected({}, may, max(before.clears, by_drill[name].clears))
    return Expectations(by_drill, by_kind)


def seconds(text: str) -> float:
    """`90s` or `2m` in seconds. Raises `DrillError`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([sm])", text)
    if not found:
        raise DrillError(f"{text!r}: must be a time such as 90s or 2m")
    return float(found[1]) * SECONDS_OF[found[2]]
