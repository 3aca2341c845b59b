"""The backtest of an alert: compares its recorded signal with given values at each evaluation that took place."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lab.alerts.tuning.form import EVENTS, FLOOR, SIGNAL, THRESHOLD, Numbers, Watched
from lab.alerts.tuning.history import History, Samples
from lab.alerts.tuning.recording import STARTED
from lab.alerts.tuning.semantics import Activation, Times, Timing, activations

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Traced:
    """An alert's recorded series over one history, which can be compared with any values.

    `times` are the evaluations that took place, in ms. Every array has one value for each of them, NaN if there was no
    sample. `signals` and `events` are in the order of `labels`.
    """

    watched: Watched
    times: Times
    labels: Sequence[Mapping[str, str]]
    signals: Sequence[Values]
    events: Sequence[Values]
    thresholds: Values
    floors: Values
    restarts: Times

    @property
    def interval(self) -> int:
        """Time between two evaluations, in ms."""
        return int(np.median(np.diff(self.times))) if len(self.times) > 1 else 0


@dataclass(frozen=True)
class Episode:
    """A label set that fired from `fired` to `ended` (None: still firing), pending since `active`. Times in ms."""

    labels: Mapping[str, str]
    active: int
    fired: int
    ended: int | None


def trace(history: History, watched: Watched) -> Traced | None:
    """The alert's series in that history; None if it has none, for example because its rule was not loaded."""
    thresholds = history.select(THRESHOLD, {"alert": watched.clock or watched.alert})
    if not thresholds:
        return None
    # the threshold is recorded at every evaluation, even if there is no signal
    times = np.unique(np.concatenate([each.times for each in thresholds]))
    interval = int(np.median(np.diff(times))) if len(times) > 1 else 1
    if watched.is_state:
        return _trace_state(history, watched, times, interval)
    signals = history.select(SIGNAL, watched.labels)
    events = history.select(EVENTS, watched.labels)
    floors = history.select(FLOOR, watched.labels)
    return Traced(
        watched,
        times,
        [{key: value for key, value in each.labels.items() if key != "alert"} for each in signals],
        [_sampled(each, times, interval) for each in signals],
        [_events_of(each, events, times, interval) for each in signals],
        _merged(thresholds, times, interval),
        _merged(floors, times, interval),
        _restarts(history, times),
    )


def _trace_state(history: History, watched: Watched, times: Times, interval: int) -> Traced:
    """An alert with a condition: it was true whenever `ALERTS` has a sample, pending or firing."""
    together: dict[frozenset[tuple[str, str]], Values] = {}
    for each in history.select("ALERTS", {"alertname": watched.alert}):
        labels = frozenset((key, value) for key, value in each.labels.items() if key != "alertstate")
        values = _sampled(each, times, interval)
        together[labels] = np.fmax(together[labels], values) if labels in together else values
    nothing = np.full(len(times), np.nan)
    return Traced(
        watched,
        times,
        [dict(labels) for labels in together],
        list(together.values()),
        [nothing] * len(together),
        np.zeros(len(times)),
        nothing,
        _restarts(history, times),
    )


def episodes(traced: Traced, numbers: Numbers | None = None) -> list[Episode]:
    """The episodes with these values, or with the values in force at each time; in order of firing."""
    timing = Timing(*((numbers or traced.watched.numbers).hold, (numbers or traced.watched.numbers).keep))
    found = [
        Episode(labels, each.active, each.fired, each.ended)
        for labels, each in _activations(traced, numbers, timing)
        if each.fired is not None
    ]
    return sorted(found, key=lambda each: (each.fired, sorted(each.labels.items())))


def _activations(
    traced: Traced, numbers: Numbers | None, timing: Timing
) -> Iterator[tuple[Mapping[str, str], Activation]]:
    for labels, signal, events in zip(traced.labels, traced.signals, traced.events, strict=True):
        active = is_active(traced, signal, events, numbers)
        for each in activations(traced.times, active, timing, traced.restarts):
            yield labels, each


def is_active(traced: Traced, signal: Values, events: Values, numbers: Numbers | None) -> NDArray[np.bool_]:
    """At which evaluations the rule's expression has a result. A comparison with a missing value (NaN) has none."""
    given = numbers.threshold if numbers else None
    threshold: Values | float = traced.thresholds if given is None else given
    floor: Values | float | None = traced.floors if numbers is None else numbers.floor
    with np.errstate(invalid="ignore"):
        beyond = signal < threshold if traced.watched.is_below else signal > threshold
        if floor is None or traced.watched.numbers.floor is None:
            return beyond
        return beyond & (events >= floor)


def _sampled(series: Samples, times: Times, interval: int) -> Values:
    """The newest sample at each time; NaN if it is an interval old, because Prometheus marks ended series stale."""
    index = np.searchsorted(series.times, times, side="right") - 1
    fresh = (index >= 0) & (times - series.times[index] < interval)
    return np.where(fresh, series.values[index], np.nan)


def _merged(series: Sequence[Samples], times: Times, interval: int) -> Values:
    """One value at each time, from the first series that has one."""
    found = np.full(len(times), np.nan)
    for each in series:
        values = _sampled(each, times, interval)
        found = np.where(np.isnan(found), values, found)
    return found


def _events_of(signal: Samples, events: Sequence[Samples], times: Times, interval: int) -> Values:
    """The events whose labels match the signal's in every label that both have."""
    mine = [
        each for each in events if all(signal.labels.get(key, value) == value for key, value in each.labels.items())
    ]
    return _merged(mine, times, interval)


def _restarts(history: History, times: Times) -> Times:
    starts = [round(value * 1000) for each in history.select(*STARTED) for value in np.unique(each.values).tolist()]
    return np.array(sorted(start for start in starts if len(times) and start > times[0]), np.int64)
