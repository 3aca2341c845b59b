"""Compares two runs."""

import math
from collections.abc import Callable

from msgspec import Struct

from lab.report.bootstrap import Slice, intervals, slice_of, taken_together
from lab.runs.histogram import quantile_of_counts
from lab.runs.record import Run

# The standard errors of a 99 % confidence interval (normal distribution).
Z99 = 2.576
# Two blocks of the bootstrap; a shorter run has too few to sample from.
MIN_SECONDS = 10.0


class Change(Struct, frozen=True):
    """A figure of two runs. `low` and `high` bound its change with 99 % confidence; `unit` is ms, % or /s."""

    name: str
    unit: str
    before: float
    after: float
    low: float
    high: float
    least: float
    more_is_worse: bool

    @property
    def difference(self) -> float:
        """The value after minus the value before."""
        return self.after - self.before

    @property
    def is_real(self) -> bool:
        """Whether the change is significant: its interval excludes 0, and it is large enough to matter.

        The latter because the interval covers only the noise within the runs, not that between them (memory layout,
        other load on the machine): repeated runs of the same code were seen to differ by some per cent.
        """
        return (self.low > 0 or self.high < 0) and abs(self.difference) >= self.least

    @property
    def is_worse(self) -> bool:
        """Whether the change is significant and for the worse."""
        return self.is_real and (self.difference > 0) == self.more_is_worse


class _Kind(Struct, frozen=True):
    """How a figure is computed from a slice, and the smallest change that matters: relative, and absolute."""

    name: str
    unit: str
    figure: Callable[[Slice], float]
    min_share: float
    min_amount: float
    more_is_worse: bool = True


def _latency(kind: str, q: float) -> Callable[[Slice], float]:
    return lambda part: quantile_of_counts(getattr(part, kind), q) * 1000


def _answered(part: Slice) -> float:
    return part.answered / part.seconds if part.seconds else 0.0


def _bad_share(part: Slice) -> float:
    return 100 * part.bad / (part.answered + part.bad) if part.answered + part.bad else 0.0


KINDS = [
    _Kind("answered", "/s", _answered, 0.05, 0.5, more_is_worse=False),
    _Kind("failed or dropped", "%", _bad_share, 0.0, 0.1),
    *(
        _Kind(f"{kind} p{round(q * 100)}", "ms", _latency(kind, q), 0.2, 0.5)
        for kind in ("reads", "writes")
        for q in (0.5, 0.95, 0.99)
    ),
]


def compare(before: Run, after: Run) -> list[Change]:
    """The changes of all figures; none where a run has no second."""
    if not before.seconds or not after.seconds:
        return []
    slices_before, slices_after = ([slice_of(each) for each in run.seconds] for run in (before, after))
    bounds = intervals(slices_before, slices_after, [kind.figure for kind in KINDS])
    old, new = taken_together(slices_before), taken_together(slices_after)
    changes = []
    for kind, (low, high) in zip(KINDS, bounds, strict=True):
        one, other = kind.figure(old), kind.figure(new)
        least = max(kind.min_amount, kind.min_share * min(one, other))
        changes.append(Change(kind.name, kind.unit, one, other, low, high, least, kind.more_is_worse))
    ratio = _hit_ratio(before, after)
    return [*changes, ratio] if ratio else changes


def differences_in_settings(before: Run, after: Run) -> list[str]:
    """The settings that differ, as text; they limit the comparison."""
    asked: list[tuple[str, object, object]] = []
    for name in ("rate", "seconds", "users", "seed", "host", "workers"):
        asked.append((name, getattr(before.settings, name), getattr(after.settings, name)))
    return [f"{name}: {one} and {other}" for name, one, other in asked if one != other]


def oddities(before: Run, after: Run) -> list[str]:
    """Reasons why the comparison of two runs says little, as text."""
    said = []
    if before.profile != after.profile:
        said.append(f"the profiles differ: {before.profile} and {after.profile}")
    for run in (before, after):
        if run.cut_short:
            said.append(f"{run.id} was cut short: {run.cut_short}")
        if run.lost_workers:
            said.append(f"{run.id}: {'; '.join(run.lost_workers)}")
        if run.seconds_run < MIN_SECONDS:
            said.append(f"{run.id} lasted {run.seconds_run:.1f} s: too short for an interval that means anything")
        if run.limit == "generator":
            said.append(f"{run.id} measured the generator and not the service")
    return said


def _hit_ratio(before: Run, after: Run) -> Change | None:
    """The hit ratio's change. It is one figure for each run, so that its noise is that of a proportion."""
    one, other = before.inside, after.inside
    if one.hit_ratio is None or other.hit_ratio is None or not one.lookups or not other.lookups:
        return None
    variance = sum(
        ratio * (1 - ratio) / lookups
        for ratio, lookups in ((one.hit_ratio, one.lookups), (other.hit_ratio, other.lookups))
    )
    middle, spread = 100 * (other.hit_ratio - one.hit_ratio), 100 * Z99 * math.sqrt(variance)
    return Change(
        "hit ratio", "%", 100 * one.hit_ratio, 100 * other.hit_ratio, middle - spread, middle + spread, 2.0, False
    )
