"""A distribution of latencies that is small to send, exact to merge and fine enough for percentiles."""

import math
from bisect import bisect_left
from collections.abc import Iterable
from typing import Self

from msgspec import Struct, field

# The upper bounds of the service's own histogram, in seconds, so that inside and outside compare bucket by bucket.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0)

_LEAST = 1e-5
_GROWTH = math.log(1.02)


class Latencies(Struct):
    """Counts of latencies in seconds.

    `fine` has buckets that grow by 2 % from 10 µs, as in HdrHistogram, so that a percentile is off by 1 % at most.
    `coarse` counts exactly in the buckets of `BOUNDS` (the last beyond them), not cumulated.
    """

    fine: dict[int, int] = field(default_factory=dict)
    coarse: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0
    longest: float = 0.0

    @property
    def count(self) -> int:
        """How many latencies there are."""
        return sum(self.coarse)

    @property
    def mean(self) -> float:
        """The mean in seconds; 0 where there is nothing."""
        return self.seconds / self.count if self.count else 0.0

    def add(self, seconds: float) -> None:
        """Counts one latency."""
        bucket = max(0, int(math.log(max(seconds, _LEAST) / _LEAST) / _GROWTH))
        self.fine[bucket] = self.fine.get(bucket, 0) + 1
        self.coarse[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds
        self.longest = max(self.longest, seconds)

    def merge(self, other: Self) -> None:
        """Adds all that `other` counted."""
        for bucket, count in other.fine.items():
            self.fine[bucket] = self.fine.get(bucket, 0) + count
        self.coarse = [mine + theirs for mine, theirs in zip(self.coarse, other.coarse, strict=True)]
        self.seconds += other.seconds
        self.longest = max(self.longest, other.longest)

    def quantile(self, q: float) -> float:
        """The smallest latency in seconds that a share `q` does not exceed, within 1 %; 0 where there is nothing."""
        return min(quantile(self.fine, q), self.longest)

    def share_within(self, bound: float) -> float:
        """The share that took at most `bound` seconds, exact; `bound` is one of `BOUNDS`. 1 where there is nothing."""
        within = sum(self.coarse[: BOUNDS.index(bound) + 1])
        return within / self.count if self.count else 1.0


def merged(parts: Iterable[Latencies]) -> Latencies:
    """All parts as one."""
    whole = Latencies()
    for part in parts:
        whole.merge(part)
    return whole


def quantile(fine: dict[int, int], q: float) -> float:
    """The quantile of fine buckets in seconds: the middle of the bucket that the nearest rank falls in."""
    rank = max(1, math.ceil(q * sum(fine.values())))
    for bucket in sorted(fine):
        rank -= fine[bucket]
        if rank <= 0:
            return _LEAST * math.exp((bucket + 0.5) * _GROWTH)
    return 0.0
