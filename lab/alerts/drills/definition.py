"""The drills in alerts/drills/*.yml: the load, the fault, and the alerts that must or may fire."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

import msgspec
import yaml

from lab.alerts.durations import milliseconds
from lab.alerts.tuning.truth import Expectations, Expected, kinds_of
from lab.settings import ROOT
from lab.yaml_file import read_yaml

FOLDER = ROOT / "alerts" / "drills"
Way = Literal["native", "docker", "kubernetes"]
# The windows of these are longer than a drill, so they may fire because of an earlier drill; they are ignored.
LONG_MEMORY = frozenset(
    f"{level}Burn{window}" for level in ("Availability", "Latency") for window in ("Medium", "Slow", "VerySlow")
)


class DrillError(ValueError):
    """A drill that does not exist, is invalid, or cannot be run now; the message has the reason."""


class Cause(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the fault is caused.

    `do` is an action of `glasshouse` (pause, stop, kill, restart) on `parts`; `stutter` alternately pauses them for
    `pause` seconds and lets them run for `every` seconds; `sql` and `redis` run `text` (on the Redis nodes in `parts`,
    several commands separated by ` ; `), repeatedly every `every` seconds if that is set, and `mend` at the end; `load`
    runs a load profile. A stack that has not all of `parts` uses `instead`.
    """

    do: Literal["pause", "stop", "kill", "restart", "stutter", "sql", "redis", "load"]
    parts: list[str] = []
    instead: list[str] = []
    text: str = ""
    mend: str = ""
    sessions: int = 1
    """Number of sessions that run the SQL concurrently."""
    every: float = 0.0
    pause: float = 0.0
    profile: str = ""
    rate: float = 0.0

    @property
    def part(self) -> str:
        """The parts as one label value."""
        return ",".join(self.parts) or {"sql": "postgres", "load": "load"}.get(self.do, self.do)

    def on(self, available: Collection[str]) -> "Cause":
        """The cause on a stack that has these parts: with `instead` if one of `parts` is missing."""
        if not self.instead or {*self.parts} <= {*available}:
            return self
        return msgspec.structs.replace(self, parts=self.instead, instead=[])


class Variation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What differs in a drill on Kubernetes: the fault, the time, and further alerts that may fire."""

    cause: Cause
    within: str = ""
    may: list[str] = []


class Drill(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One alert's drill, or in `cannot` the reason why it has none.

    The alert must fire `within` this time after the cause, and resolve `clears` after the fault ended. `with_it` are
    other alerts that must fire too, `may` those that may. `where` is a label value that the alert must have. `rate` is
    the steady load during the drill, in requests per second. `only` is the only kind of stack that can run it, for the
    reason in `why`. `on_kubernetes` replaces the cause there, where another fault is needed for the same alert.
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
    on_kubernetes: Variation | None = None


def load_drills(folder: Path = FOLDER) -> dict[str, Drill]:
    """All drills by alert name. Raises `DrillError`."""
    found: dict[str, Drill] = {}
    for file in sorted(folder.glob("*.yml")):
        try:
            drills = msgspec.convert(read_yaml(file), type=dict[str, Drill])
        except (msgspec.ValidationError, yaml.YAMLError) as error:
            raise DrillError(f"alerts/drills/{file.name}: {' '.join(str(error).split())}") from error
        for name, drill in drills.items():
            if name in found:
                raise DrillError(f"alerts/drills/{file.name}: {name} is in another file too")
            if bool(drill.cause) == bool(drill.cannot):
                raise DrillError(f"alerts/drills/{file.name}: {name} needs either a cause or a reason in `cannot`")
            seconds(drill.within)
            seconds(drill.clears)
            if drill.on_kubernetes:
                seconds(drill.on_kubernetes.within or drill.within)
            found[name] = drill
    return found


def for_way(drills: Mapping[str, Drill], way: str) -> dict[str, Drill]:
    """The drills as they are run on a stack of this kind."""
    if way != "kubernetes":
        return dict(drills)
    return {
        name: _varied(drill, drill.on_kubernetes) if drill.on_kubernetes else drill for name, drill in drills.items()
    }


def _varied(drill: Drill, other: Variation) -> Drill:
    return msgspec.structs.replace(
        drill, cause=other.cause, within=other.within or drill.within, may=[*drill.may, *other.may], on_kubernetes=None
    )


def by_fault(drills: Mapping[str, Drill]) -> list[dict[str, Drill]]:
    """Groups drills with the same fault, so that it is caused only once; ordered by the first drill of each group."""
    found: dict[bytes, dict[str, Drill]] = {}
    for name, drill in drills.items():
        found.setdefault(msgspec.json.encode(drill.cause), {})[name] = drill
    return list(found.values())


def expectations(drills: Mapping[str, Drill]) -> Expectations:
    """The expected alerts by drill name, and by `kinds_of` a fault for a fault of that kind caused by hand."""
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
        # A fault caused by hand can be short and without load: it is known which alerts may fire, not which must.
        for each in (drill, for_way({name: drill}, "kubernetes")[name]):
            cause = each.cause or drill.cause
            kind_of_fault = cause.profile or cause.do
            for kind in kinds_of(cause.part, kind_of_fault) | kinds_of(cause.on([]).part, kind_of_fault):
                before = by_kind.get(kind, Expected(clears=0))
                may = before.may | LONG_MEMORY | {name, *each.with_it, *each.may}
                by_kind[kind] = Expected({}, may, max(before.clears, by_drill[name].clears))
    return Expectations(by_drill, by_kind)


def seconds(text: str) -> float:
    """A duration such as `90s` or `2m` in seconds. Raises `DrillError`."""
    try:
        return milliseconds(text) / 1000
    except ValueError as error:
        raise DrillError(str(error)) from error
