"""The latencies of a kind of request: percentiles from a histogram, shares of the service's buckets exactly."""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Self

from msgspec import Struct, field

from lab.runs.histogram import Histogram
from lab.runs.service_levels import BUCKETS


class Latencies(Struct):
    """Counts of latencies in seconds. `buckets` counts exactly up to each of `BUCKETS`, and beyond, not cumulated."""

    histogram: Histogram = field(default_factory=Histogram)
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    seconds: float = 0.0
    longest: float = 0.0

    @property
    def count(self) -> int:
        """How many latencies there are."""
        return sum(self.buckets)

    @property
    def mean(self) -> float:
        """The mean in seconds; 0 where there is nothing."""
        return self.seconds / self.count if self.count else 0.0

    def add(self, seconds: float) -> None:
        """Counts one latency."""
        self.histogram.add(seconds)
        self.buckets[bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds
        self.longest = max(self.longest, seconds)

    def merge(self, other: Self) -> None:
        """Adds all that `other` counted."""
        self.histogram.merge(other.histogram)
        self.buckets = [mine + theirs for mine, theirs in zip(self.buckets, other.buckets, strict=True)]
        self.seconds += other.seconds
        self.longest = max(self.longest, other.longest)

    def quantile(self, q: float) -> float:
        """The latency in seconds that a share `q` does not exceed, at most 1 % too high; 0 where there is nothing."""
        return min(self.histogram.quantile(q), self.longest)

    def within(self, bound: float) -> int:
        """How many took at most `bound` seconds, exactly; `bound` is one of `BUCKETS`."""
        return sum(self.buckets[: BUCKETS.index(bound) + 1])


def merged(parts: Iterable[Latencies]) -> Latencies:
    """All parts as one."""
    whole = Latencies()
    for part in parts:
        whole.merge(part)
    return whole
