"""Statistics of the benchmarks: medians and their spread, percentiles, trends, and comparison with targets."""

import math
import operator
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """A median and the quartiles around it, in the unit of the sample."""

    median: float
    low: float
    high: float

    def text(self, digits: int = 2) -> str:
        """The median, with the quartiles in brackets."""
        return f"{self.median:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles of a sample, which must not be empty (`statistics.quantiles`, inclusive)."""
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def paired(first: Sequence[float], second: Sequence[float], how: Callable[[float, float], float]) -> Spread:
    """The spread of `how(a, b)` over the pairs.

    The values of a pair were measured shortly after one another, so other load on the machine affects both.
    """
    return spread([how(a, b) for a, b in zip(first, second, strict=True)])


def ratios(first: Sequence[float], second: Sequence[float]) -> Spread:
    """First divided by second, pair by pair."""
    return paired(first, second, operator.truediv)


def differences(first: Sequence[float], second: Sequence[float]) -> Spread:
    """First minus second, pair by pair."""
    return paired(first, second, operator.sub)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of a sample does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def growth(values: Sequence[float]) -> float:
    """How much a series rose from the first quarter of its second half to its last quarter, by their medians.

    The first half is ignored, because a process still fills its pools and caches then.
    """
    half = values[len(values) // 2 :]
    quarter = max(1, len(half) // 4)
    return statistics.median(half[-quarter:]) - statistics.median(half[:quarter])


@dataclass(frozen=True)
class Figure:
    """A measured value and its target: at least, or with `is_ceiling` at most."""

    name: str
    value: float
    target: float
    unit: str = ""
    is_ceiling: bool = False

    @property
    def is_met(self) -> bool:
        """Whether it meets its target."""
        return self.value <= self.target if self.is_ceiling else self.value >= self.target

    @property
    def wanted(self) -> str:
        """The target as text."""
        return f"{'at most' if self.is_ceiling else 'at least'} {self.target:g}{self.unit}"
