"""What was truly a fault: the events that the lab caused, and which alerts each must and may raise."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lab.alerts.tuning.history import History, Samples
from lab.alerts.tuning.recording import FAULT

# a fault whose samples are further apart than this was two
GAP_MS = 30_000
# between the names of drills that one fault is played for
TOGETHER = ","
# between two samples of one, as Prometheus scrapes it
STEP_MS = 5_000


@dataclass(frozen=True)
class Fault:
    """Something that the lab broke, from `begin` to `end` in unix ms; `end` is None while it still stands.

    `drill` is the alert whose drill it is, or several with commas between.
    """

    part: str
    kind: str
    begin: int
    end: int | None
    drill: str = ""


@dataclass(frozen=True)
class Expected:
    """What a fault does to the alerts: `must` fire within so many ms, and `may`; both clear within `clears` ms."""

    must: Mapping[str, int] = field(default_factory=dict)
    may: frozenset[str] = frozenset()
    clears: int = 120_000


@dataclass(frozen=True)
class Truth:
    """The faults of a history with what is expected of each; None where no drill describes a fault of that kind."""

    faults: Sequence[tuple[Fault, Expected | None]] = ()


def faults_of(history: History) -> list[Fault]:
    """The faults that a history tells of, in order of their begin; their times are as exact as its samples."""
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
    """A fault that has ended, as samples: 1 from its begin on, 0 at its end."""
    end = fault.begin if fault.end is None else fault.end
    times = np.append(np.arange(fault.begin, end, STEP_MS, dtype=np.int64), end)
    labels = {"part": fault.part, "kind": fault.kind, "drill": fault.drill}
    return Samples(FAULT, labels, times, np.append(np.ones(len(times) - 1), 0.0))


def truth_of(history: History, expectations: "Expectations") -> Truth:
    """The faults of a history, each with what its drill expects."""
    return Truth([(fault, expectations.of(fault)) for fault in faults_of(history)])


@dataclass(frozen=True)
class Expectations:
    """What drills say: by their names, and by part and kind for a fault that was caused by hand."""

    by_drill: Mapping[str, Expected] = field(default_factory=dict)
    by_kind: Mapping[tuple[str, str], Expected] = field(default_factory=dict)

    def of(self, fault: Fault) -> Expected | None:
        """What is expected of a fault; None where nobody has said."""
        played = [self.by_drill[each] for each in fault.drill.split(TOGETHER) if each in self.by_drill]
        return _together(played) if played else self.by_kind.get((fault.part, fault.kind))


def _together(played: Sequence[Expected]) -> Expected:
    """What one fault does that several drills share: it must raise the alert of each, and may what it may for one."""
    return Expected(
        {alert: within for each in played for alert, within in each.must.items()},
        frozenset().union(*(each.may for each in played)),
        max(each.clears for each in played),
    )


def standing(faults: Iterable[tuple[Fault, Expected | None]], fired: int) -> list[tuple[Fault, Expected | None]]:
    """The faults that stood, or whose consequences may still have shown, when something fired at `fired` ms."""
    return [
        (fault, expected)
        for fault, expected in faults
        if fault.begin <= fired and (fault.end is None or fired <= fault.end + (expected or Expected()).clears)
    ]
