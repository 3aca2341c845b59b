"""Compares episodes: a candidate with the alert in force, or a backtest with what Prometheus recorded in `ALERTS`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lab.alerts.tuning.backtest import Episode
from lab.alerts.tuning.form import Watched
from lab.alerts.tuning.history import History

# labels that a rule adds to its signal's
ADDED = {"alertname", "alertstate", "alert", "severity", "part"}


@dataclass(frozen=True)
class Change:
    """The difference between an episode `then` (in force) and `now` (candidate).

    `kind` is new, gone, earlier, later or same.
    """

    kind: str
    labels: Mapping[str, str]
    then: Episode | None
    now: Episode | None

    @property
    def seconds(self) -> float:
        """How much later it fires now; negative if earlier."""
        return (self.now.fired - self.then.fired) / 1000 if self.now and self.then else 0.0


def compare(then: Sequence[Episode], now: Sequence[Episode]) -> list[Change]:
    """Pairs episodes of the same label set that overlap, each at most once; the others are new or gone."""
    left = list(now)
    changes: list[Change] = []
    for old in then:
        match = next((new for new in left if _same(old.labels, new.labels) and _overlap(old, new)), None)
        if match is None:
            changes.append(Change("gone", old.labels, old, None))
            continue
        left.remove(match)
        shift = match.fired - old.fired
        changes.append(Change("earlier" if shift < 0 else "later" if shift else "same", old.labels, old, match))
    changes += [Change("new", new.labels, None, new) for new in left]
    return sorted(changes, key=lambda each: (each.now or each.then).fired)  # type: ignore[union-attr]


def episodes_in_alerts(history: History, watched: Watched, step: int) -> list[Episode]:
    """The episodes that Prometheus recorded in `ALERTS`, at the rule's evaluations, `step` ms apart."""
    labels = {"alertname": watched.alert, "alertstate": "firing"}
    found = []
    for series in history.select("ALERTS", labels):
        own = {key: value for key, value in series.labels.items() if key not in ADDED}
        for stretch in np.split(series.times, np.flatnonzero(np.diff(series.times) > 1.5 * step) + 1):
            begin, last = int(stretch[0]), int(stretch[-1])
            found.append(Episode(own, begin, begin, None if last + step > history.end else last + step))
    return sorted(found, key=lambda each: (each.fired, sorted(each.labels.items())))


def _same(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether two label sets agree in every label that both have; labels that the rule adds are ignored."""
    return all(one[key] == other[key] for key in one.keys() & other.keys() if key not in ADDED)


def _overlap(one: Episode, other: Episode) -> bool:
    return (one.ended is None or other.active < one.ended) and (other.ended is None or one.active < other.ended)
