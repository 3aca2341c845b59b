"""The known faults, which the lab caused, and the alerts that must or may fire for each."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lab.alerts.tuning.history import History, Samples
from lab.alerts.tuning.recording import FAULT

# samples further apart than this belong to two faults
GAP_MS = 30_000
# separates the names of drills with a common fault
TOGETHER = ","
# interval of a fault's samples, equal to the scrape interval
STEP_MS = 5_000
# kinds of faults in which a part does not run for a while
ABSENT = frozenset({"pause", "stop", "kill", "restart"})


@dataclass(frozen=True)
class Fault:
    """A fault that the lab caused, from `begin` to `end` in unix ms; `end` is None while it is active.

    `drill` has the alerts whose drill it is, separated by commas.
    """

    part: str
    kind: str
    begin: int
    end: int | None
    drill: str = ""


@dataclass(frozen=True)
class Expected:
    """The expected alerts of a fault: those that `must` fire, with the drill's time limit in ms, and those that `may`.

    Alerts that fire up to `clears` ms after the fault still belong to it.
    """

    must: Mapping[str, int] = field(default_factory=dict)
    may: frozenset[str] = frozenset()
    clears: int = 120_000


@dataclass(frozen=True)
class Truth:
    """The faults of a history, each with its expected alerts; None if no drill describes that kind of fault."""

    faults: Sequence[tuple[Fault, Expected | None]] = ()


def faults_of(history: History) -> list[Fault]:
    """The faults recorded in a history, in order of their begin; their times are as precise as its samples."""
    found: list[Fault] = []
    for series in history.select(FAULT, {}):
        standing = series.values > 0
        times = series.times[standing]
        if not len(times):
            continue
        cuts = np.flatnonzero(np.diff(times) > GAP_MS) + 1
        for stretch in np.split(times, cuts):
            last = int(stretch[-1])
            after = series.times[series.times > last]
            end = int(after[0]) if len(after) and after[0] - last <= GAP_MS else last
            labels = series.labels
            found.append(
                Fault(
                    labels.get("part", ""),
                    labels.get("kind", ""),
                    int(stretch[0]),
                    None if end >= history.end else end,
                    labels.get("drill", ""),
                )
            )
    return sorted(found, key=lambda each: each.begin)


def samples_of(fault: Fault) -> Samples:
    """The samples of a fault that has ended: 1 from its begin, 0 at its end."""
    end = fault.begin if fault.end is None else fault.end
    times = np.append(np.arange(fault.begin, end, STEP_MS, dtype=np.int64), end)
    labels = {"part": fault.part, "kind": fault.kind, "drill": fault.drill}
    return Samples(FAULT, labels, times, np.append(np.ones(len(times) - 1), 0.0))


def truth_of(history: History, expectations: "Expectations") -> Truth:
    """The faults of a history, each with the expectations of its drills."""
    return Truth([(fault, expectations.of(fault)) for fault in faults_of(history)])


@dataclass(frozen=True)
class Expectations:
    """The expectations of drills: by name, and by `kinds_of` a fault for faults that were caused by hand."""

    by_drill: Mapping[str, Expected] = field(default_factory=dict)
    by_kind: Mapping[tuple[str, str], Expected] = field(default_factory=dict)

    def of(self, fault: Fault) -> Expected | None:
        """The expected alerts of a fault; None if unknown."""
        known = [self.by_drill[each] for each in fault.drill.split(TOGETHER) if each in self.by_drill] or [
            self.by_kind[each] for each in kinds_of(fault.part, fault.kind) if each in self.by_kind
        ]
        return _together(known) if known else None


def kinds_of(part: str, kind: str) -> set[tuple[str, str]]:
    """Part without its number, and kind, of each part of a fault; `absent` for all kinds in which it does not run."""
    return {(re.sub(r"-\d+$", "", each), "absent" if kind in ABSENT else kind) for each in part.split(",")}


def _together(played: Sequence[Expected]) -> Expected:
    """The expectations of drills with a common fault: all their alerts must fire, and any of their `may` alerts may."""
    return Expected(
        {alert: within for each in played for alert, within in each.must.items()},
        frozenset().union(*(each.may for each in played)),
        max(each.clears for each in played),
    )


def standing(faults: Iterable[tuple[Fault, Expected | None]], fired: int) -> list[tuple[Fault, Expected | None]]:
    """The faults that were active, or could still have had consequences, when an alert fired at `fired` ms."""
    return [
        (fault, expected)
        for fault, expected in faults
        if fault.begin <= fired and (fault.end is None or fired <= fault.end + (expected or Expected()).clears)
    ]
