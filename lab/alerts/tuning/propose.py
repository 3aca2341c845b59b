"""The trade-off between an alert's values: missed faults, false episodes and time to detect for each candidate."""

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
# significant digits of proposed thresholds
DIGITS = 2
BAR = 20


@dataclass(frozen=True)
class Candidate:
    """An alert with other values, and its score."""

    watched: Watched
    score: Score

    @property
    def cost(self) -> tuple[int, int]:
        """Missed faults, then false episodes: a missed fault is worse than a needless page."""
        return self.score.missed, self.score.false


@dataclass(frozen=True)
class Proposal:
    """All candidates, the proposed one, the one in force, and the reason."""

    candidates: Sequence[Candidate]
    chosen: Candidate
    now: Candidate
    reason: str


def propose(watched: Watched, places: Sequence[Place]) -> Proposal:
    """Scores a grid of thresholds and `for`. Raises `HistoryError` without a fault that must fire the alert."""
    now = Candidate(watched, backtest(watched, places, watched.numbers).score)
    if now.score.recall is None:
        raise HistoryError(
            f"no recorded fault must fire {watched.alert}, so missed faults cannot be counted: "
            f"record one with `glasshouse drill {watched.alert}`"
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
        raise HistoryError(f"{watched.alert} had no signal in that time: put the stack under load")
    shares = np.linspace(0, 1, THRESHOLDS)
    # quantiles cover the normal range, where most values are; the linear steps cover the range up to the worst value
    spread = [*np.quantile(np.unique(seen), shares), *np.linspace(seen.min(), seen.max(), THRESHOLDS)]
    return sorted({_rounded(float(each)) for each in spread} | {watched.numbers.threshold})


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _delay(candidate: Candidate) -> float:
    return candidate.score.median_delay or 0.0


def _middle(best: Sequence[Candidate]) -> Candidate:
    """Among candidates with equal cost and nearly the shortest time to detect, the one furthest from worse ones."""
    soonest = min(_delay(each) for each in best)
    good = [each for each in best if _delay(each) <= soonest * 1.25 + 5]
    # a longer `for` is less noisy, if it does not delay detection
    hold = max(each.watched.numbers.hold for each in good)
    line = sorted(
        (each for each in good if each.watched.numbers.hold == hold),
        key=lambda each: each.watched.numbers.threshold or 0.0,
    )
    return line[len(line) // 2]


def _reason(chosen: Candidate, now: Candidate, best: Sequence[Candidate]) -> str:
    score, faults = chosen.score, len(chosen.score.delays) + chosen.score.missed
    what = f"misses {score.missed} of {faults} faults and has {score.false} false episodes"
    if score.median_delay is not None:
        what += f"; {score.median_delay:.0f} s to detect (median), {score.worst_delay:.0f} s at worst"
    if chosen is now:
        return f"{what}: no candidate is better than the values in force"
    numbers = [each.watched.numbers.threshold for each in best if each.watched.numbers.threshold is not None]
    span = f", thresholds from {min(numbers):g} to {max(numbers):g}" if numbers else ""
    return (
        f"{what}. {len(best)} candidates score equally{span}; among those with nearly the shortest time to detect, this"
        f" one has the longest `for` and the middle threshold. In force: {now.score.missed} missed,"
        f" {now.score.false} false."
    )


def plot(proposal: Proposal) -> list[str]:
    """A text plot of false episodes (#) and missed faults (o) for each threshold, with the proposed `for`."""
    hold = proposal.chosen.watched.numbers.hold
    line = [each for each in proposal.candidates if each.watched.numbers.hold == hold]
    most = max((max(each.cost) for each in line), default=0) or 1
    lines = [f"for {hold / 1000:g} s: # false episodes, o missed faults, < proposed, = threshold in force"]
    for each in line:
        threshold = each.watched.numbers.threshold
        false, missed = (math.ceil(count / most * BAR) for count in (each.score.false, each.score.missed))
        marks = "<" * (each.watched == proposal.chosen.watched)
        marks += "=" * (threshold == proposal.now.watched.numbers.threshold)
        name = "condition" if threshold is None else f"{threshold:g}"
        lines.append(f"{name:>10} |{'#' * false:{BAR}}|{'o' * missed:{BAR}}| {marks}".rstrip())
    return lines
