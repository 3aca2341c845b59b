"""When an alert is pending and firing, with Prometheus' semantics (rules/alerting.go, `AlertingRule.Eval`).

Times are unix milliseconds, as in Prometheus, so that comparisons with `for` are exact.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64]
Flags = NDArray[np.bool_]

# With at least this `for`, Prometheus restores pending alerts after a restart (--rules.alert.for-grace-period).
GRACE_MS = 600_000


@dataclass(frozen=True)
class Activation:
    """One activation of an alert, in ms: active (pending) at first, then firing.

    `fired` is None if it never fired. `ended` is the first evaluation at which it was no longer active; None if the
    history ends before that.
    """

    active: int
    fired: int | None
    ended: int | None


@dataclass(frozen=True)
class Timing:
    """`for` and `keep_firing_for` of a rule, in ms."""

    hold: int = 0
    keep: int = 0


def activations(times: Times, active: Flags, timing: Timing, restarts: Times | None = None) -> list[Activation]:
    """The activations of one label set of an alert.

    `times` are the evaluations that took place, ascending; `active[i]` is whether the expression had a result for this
    label set at `times[i]`. A restart of Prometheus resets pending and firing alerts, unless `for` is so long that
    Prometheus restores them.
    """
    cuts: list[int] = []
    if restarts is not None and timing.hold < GRACE_MS:
        cuts = [int(cut) for cut in np.unique(np.searchsorted(times, restarts)) if 0 < cut < len(times)]
    found: list[Activation] = []
    for begin, end in zip([0, *cuts], [*cuts, len(times)], strict=True):
        after = int(times[end]) if end < len(times) else None
        found.extend(_segment(times[begin:end], active[begin:end], timing, after))
    return found


def _segment(times: Times, active: Flags, timing: Timing, after: int | None) -> Iterator[Activation]:
    """The activations between two restarts; `after` is the first evaluation after the second one, if any."""
    edges = np.diff(np.concatenate(([0], active.astype(np.int8), [0])))
    begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    if not len(begins):
        return
    count = len(times)
    # the first evaluation at which `for` has passed
    fires = np.searchsorted(times, times[begins] + timing.hold, side="left")
    # the first evaluation at which `keep_firing_for` has passed, counted from the first without a result
    last = np.append(times, np.iinfo(np.int64).max - timing.keep)
    stops = np.searchsorted(times, last[ends] + timing.keep, side="left") if timing.keep else ends

    def at(index: int) -> int | None:
        return int(times[index]) if index < count else after

    index = 0
    while index < len(begins):
        begin, end, fire = int(begins[index]), int(ends[index]), int(fires[index])
        index += 1
        if fire >= end:
            yield Activation(int(times[begin]), None, at(end))
            continue
        stop = int(stops[index - 1])
        # active again within `keep_firing_for`: the same activation continues
        while timing.keep and index < len(begins) and begins[index] <= stop:
            stop = int(stops[index])
            index += 1
        yield Activation(int(times[begin]), int(times[fire]), at(stop))
