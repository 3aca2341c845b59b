"""The latencies of one kind of request: percentiles from a histogram, and exact counts for the service's buckets."""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Self

from msgspec import Struct, field

from lab.runs.histogram import Histogram
from lab.runs.service_levels import BUCKETS


class Latencies(Struct):
    """Counts of latencies in seconds. `buckets` has an exact, not cumulative, count for each of `BUCKETS` and +Inf."""

    histogram: Histogram = field(default_factory=Histogram)
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    seconds: float = 0.0
    longest: float = 0.0

    @property
    def count(self) -> int:
        """The number of latencies."""
        return sum(self.buckets)

    @property
    def mean(self) -> float:
        """The mean in seconds; 0 if it is empty."""
        return self.seconds / self.count if self.count else 0.0

    def add(self, seconds: float) -> None:
        """Counts one latency."""
        self.histogram.add(seconds)
        self.buckets[bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds
        self.longest = max(self.longest, seconds)

    def merge(self, other: Self) -> None:
        """Adds the counts of `other`."""
        self.histogram.merge(other.histogram)
        self.buckets = [mine + theirs for mine, theirs in zip(self.buckets, other.buckets, strict=True)]
        self.seconds += other.seconds
        self.longest = max(self.longest, other.longest)

    def quantile(self, q: float) -> float:
        """The quantile `q` in seconds, at most 1 % too high; 0 if it is empty."""
        return min(self.histogram.quantile(q), self.longest)

    def within(self, bound: float) -> int:
        """The exact number of latencies up to `bound` seconds, which is one of `BUCKETS`."""
        return sum(self.buckets[: BUCKETS.index(bound) + 1])


def merged(parts: Iterable[Latencies]) -> Latencies:
    """The sum of several."""
    whole = Latencies()
    for part in parts:
        whole.merge(part)
    return whole
