"""What an alert would have done: its recorded signal against numbers, at each evaluation that took place."""

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
    """An alert's recorded series over one history, ready to be judged with any numbers.

    `times` are the evaluations that took place, in ms; every array has a value for each of them, NaN where there was
    none. `signals` and the `events` behind them are in the same order as `labels`.
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
        """Between two evaluations, in ms."""
        return int(np.median(np.diff(self.times))) if len(self.times) > 1 else 0


@dataclass(frozen=True)
class Episode:
    """A label set that fired, from `fired` to `ended` in ms (None: still does). `active` is when it became pending."""

    labels: Mapping[str, str]
    active: int
    fired: int
    ended: int | None


def trace(history: History, watched: Watched) -> Traced | None:
    """The alert's series in that history; None where it has none, as where it was not loaded."""
    thresholds = history.select(THRESHOLD, {"alert": watched.clock or watched.alert})
    if not thresholds:
        return None
    # the threshold is recorded at every evaluation, whatever there is to compare
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
    """An alert on a state: its condition held whenever `ALERTS` has it, be it pending or firing."""
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
    """What fired with these numbers, or with those that were in force at each moment; in order of firing."""
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
    """At which evaluations the rule's expression has a result. A comparison with what is not there has none."""
    given = numbers.threshold if numbers else None
    threshold: Values | float = traced.thresholds if given is None else given
    floor: Values | float | None = traced.floors if numbers is None else numbers.floor
    with np.errstate(invalid="ignore"):
        beyond = signal < threshold if traced.watched.is_below else signal > threshold
        if floor is None or traced.watched.numbers.floor is None:
            return beyond
        return beyond & (events >= floor)


def _sampled(series: Samples, times: Times, interval: int) -> Values:
    """The newest sample at each time; none where the one before was the last, since Prometheus marks it stale then."""
    index = np.searchsorted(series.times, times, side="right") - 1
    fresh = (index >= 0) & (times - series.times[index] < interval)
    return np.where(fresh, series.values[index], np.nan)


def _merged(series: Sequence[Samples], times: Times, interval: int) -> Values:
    """One value at each time, of whichever series has one."""
    found = np.full(len(times), np.nan)
    for each in series:
        values = _sampled(each, times, interval)
        found = np.where(np.isnan(found), values, found)
    return found


def _events_of(signal: Samples, events: Sequence[Samples], times: Times, interval: int) -> Values:
    """The events that share every label that both have."""
    mine = [
        each for each in events if all(signal.labels.get(key, value) == value for key, value in each.labels.items())
    ]
    return _merged(mine, times, interval)


def _restarts(history: History, times: Times) -> Times:
    starts = [round(value * 1000) for each in history.select(*STARTED) for value in np.unique(each.values).tolist()]
    return np.array(sorted(start for start in starts if len(times) and start > times[0]), np.int64)
