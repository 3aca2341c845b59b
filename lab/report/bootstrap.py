"""Tests whether a figure of two runs differs by more than the noise within the runs."""

import random
from collections.abc import Callable, Sequence

from msgspec import Struct

from lab.runs.second import Second

RESAMPLES = 1000
CONFIDENCE = 0.99
MIN_BLOCK_SECONDS = 5
MAX_BLOCKS = 40


class Slice(Struct):
    """Several seconds of a run. `reads` and `writes` are the counts of their histograms."""

    seconds: float
    answered: int
    bad: int
    reads: dict[int, int]
    writes: dict[int, int]


Figure = Callable[[Slice], float]


def intervals(
    before: Sequence[Slice], after: Sequence[Slice], figures: Sequence[Figure], seed: int = 0
) -> list[tuple[float, float]]:
    """The 99 % confidence interval of each figure's change from one run to the other.

    A circular moving-block bootstrap: both runs are resampled from blocks of consecutive seconds, with replacement, and
    the figures computed from the samples; the interval contains the middle 99 % of their differences. Blocks, and not
    single seconds or requests, because a slow second is often followed by another: latencies are correlated, and
    drawing them singly would make noise look smaller than it is. 99 %, because about nine figures are compared at once.
    If the rate changes over the run, that counts as noise too, so real differences may be missed. Sources: Künsch, "The
    jackknife and the bootstrap for general stationary observations", Annals of Statistics 17 (1989); Politis and
    Romano, "A circular block-resampling procedure for stationary data" (1992).
    """
    draw = random.Random(seed)  # noqa: S311 (no secret)
    blocks_before, blocks_after = _blocks(before), _blocks(after)
    changes: list[list[float]] = [[] for _ in figures]
    for _ in range(RESAMPLES):
        old, new = _drawn(blocks_before, draw), _drawn(blocks_after, draw)
        for each, figure in zip(changes, figures, strict=True):
            each.append(figure(new) - figure(old))
    tail = int(RESAMPLES * (1 - CONFIDENCE) / 2)
    return [(each[tail], each[-1 - tail]) for each in map(sorted, changes)]


def slice_of(second: Second) -> Slice:
    """A slice of one second."""
    bad = second.failed + second.dropped
    return Slice(second.span, second.answered, bad, second.reads.counts, second.writes.counts)


def taken_together(seconds: Sequence[Slice]) -> Slice:
    """The sum of several slices."""
    whole = Slice(0.0, 0, 0, {}, {})
    for each in seconds:
        _add(whole, each)
    return whole


def _blocks(seconds: Sequence[Slice]) -> tuple[list[Slice], int]:
    """All blocks of a run, one starting at each second (the last ones wrap around), and how many make up a run."""
    length = max(MIN_BLOCK_SECONDS, -(-len(seconds) // MAX_BLOCKS))
    twice = [*seconds, *seconds]
    blocks = [taken_together(twice[start : start + length]) for start in range(len(seconds))]
    return blocks, max(1, round(len(seconds) / length))


def _drawn(blocks: tuple[list[Slice], int], draw: random.Random) -> Slice:
    whole = Slice(0.0, 0, 0, {}, {})
    for block in draw.choices(blocks[0], k=blocks[1]):
        _add(whole, block)
    return whole


def _add(whole: Slice, part: Slice) -> None:
    whole.seconds += part.seconds
    whole.answered += part.answered
    whole.bad += part.bad
    for mine, others in ((whole.reads, part.reads), (whole.writes, part.writes)):
        for bucket, count in others.items():
            mine[bucket] = mine.get(bucket, 0) + count
