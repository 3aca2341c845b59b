"""The trade-off of an alert's numbers: what each threshold and `for` would miss, raise falsely, and take to detect."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lab.alerts.tuning.corpus import Place, backtest
from lab.alerts.tuning.form import Watched
from lab.alerts.tuning.history import HistoryError
from lab.alerts.tuning.judged import Score

HOLDS_MS = (0, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000)
THRESHOLDS = 15
# digits that a person would write
DIGITS = 2
BAR = 20


@dataclass(frozen=True)
class Candidate:
    """An alert with other numbers, and what it would have been worth."""

    watched: Watched
    score: Score

    @property
    def cost(self) -> tuple[int, int]:
        """Faults missed, then false episodes: a fault that nobody hears of is worse than a needless call."""
        return self.score.missed, self.score.false


@dataclass(frozen=True)
class Proposal:
    """Every candidate, the one that is proposed, the one in force, and why."""

    candidates: Sequence[Candidate]
    chosen: Candidate
    now: Candidate
    reason: str


def propose(watched: Watched, places: Sequence[Place]) -> Proposal:
    """Judges a grid of thresholds and times. Raises `HistoryError` where no fault says what is to be seen."""
    now = Candidate(watched, backtest(watched, places, watched.numbers).score)
    if now.score.recall is None:
        raise HistoryError(
            f"no fault here must raise {watched.alert}, so that nothing says what a number would miss: "
            f"`glasshouse drill {watched.alert}` makes one"
        )
    holds = sorted({*HOLDS_MS, watched.numbers.hold})
    candidates = [
        Candidate(turned, backtest(turned, places, turned.numbers).score)
        for threshold in _thresholds(watched, places)
        for hold in holds
        for turned in [watched.turned(threshold=threshold, hold=hold)]
    ]
    least = min(each.cost for each in candidates)
    best = [each for each in candidates if each.cost == least]
    chosen = _middle(best)
    if now.cost == least and _delay(now) <= _delay(chosen):
        chosen = now
    return Proposal(candidates, chosen, now, _reason(chosen, now, best))


def _thresholds(watched: Watched, places: Sequence[Place]) -> Sequence[float | None]:
    if watched.numbers.threshold is None:
        return [None]
    values = [
        signal[np.isfinite(signal)]
        for place in places
        if (traced := place.trace(watched)) is not None
        for signal in traced.signals
    ]
    seen = np.concatenate(values) if values else np.array([])
    if not len(seen):
        raise HistoryError(f"{watched.alert} had nothing to compare in that time: put the stack under load")
    shares = np.linspace(0, 1, THRESHOLDS)
    # both the ordinary, where most values are, and the range between it and the worst
    spread = [*np.quantile(np.unique(seen), shares), *np.linspace(seen.min(), seen.max(), THRESHOLDS)]
    return sorted({_rounded(float(each)) for each in spread} | {watched.numbers.threshold})


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _delay(candidate: Candidate) -> float:
    return candidate.score.median_delay or 0.0


def _middle(best: Sequence[Candidate]) -> Candidate:
    """Of those that are equally right and detect about as soon as the soonest, the one furthest from the wrong ones."""
    soonest = min(_delay(each) for each in best)
    good = [each for each in best if _delay(each) <= soonest * 1.25 + 5]
    # a longer time is calmer, where it costs nothing
    hold = max(each.watched.numbers.hold for each in good)
    line = sorted(
        (each for each in good if each.watched.numbers.hold == hold),
        key=lambda each: each.watched.numbers.threshold or 0.0,
    )
    return line[len(line) // 2]


def _reason(chosen: Candidate, now: Candidate, best: Sequence[Candidate]) -> str:
    score, faults = chosen.score, len(chosen.score.delays) + chosen.score.missed
    what = f"misses {score.missed} of {faults} faults and is raised falsely {score.false} times"
    if score.median_delay is not None:
        what += f"; {score.median_delay:.0f} s to detect (median), {score.worst_delay:.0f} s at worst"
    if chosen is now:
        return f"what is in force {what}: no candidate is better"
    numbers = [each.watched.numbers.threshold for each in best if each.watched.numbers.threshold is not None]
    span = f", thresholds from {min(numbers):g} to {max(numbers):g}" if numbers else ""
    return (
        f"{what}. {len(best)} candidates are as right{span}; of those that detect about as soon as the soonest, this"
        f" one is in the middle, with the longest time. In force: {now.score.missed} missed, {now.score.false} false."
    )


def plot(proposal: Proposal) -> list[str]:
    """False episodes (#) and missed faults (o) for each threshold, at the chosen time."""
    hold = proposal.chosen.watched.numbers.hold
    line = [each for each in proposal.candidates if each.watched.numbers.hold == hold]
    most = max((max(each.cost) for each in line), default=0) or 1
    lines = [f"for {hold / 1000:g} s: # false episodes, o missed faults, < proposed, = threshold in force"]
    for each in line:
        threshold = each.watched.numbers.threshold
        false, missed = (math.ceil(count / most * BAR) for count in (each.score.false, each.score.missed))
        marks = "<" * (each.watched == proposal.chosen.watched)
        marks += "=" * (threshold == proposal.now.watched.numbers.threshold)
        name = "state" if threshold is None else f"{threshold:g}"
        lines.append(f"{name:>10} |{'#' * false:{BAR}}|{'o' * missed:{BAR}}| {marks}".rstrip())
    return lines
