"""A latency histogram (HdrHistogram): small to send, mergeable without loss, and precise enough for percentiles."""

from collections.abc import Mapping
from typing import Any, Self

from hdrh.histogram import HdrHistogram

# Microseconds; values outside are counted at the end of the range.
MIN_MICROSECONDS = 1
MAX_MICROSECONDS = 600_000_000
# Two significant digits: a percentile is at most 1 % above the true one, at 20 KB a histogram in memory.
DIGITS = 2
ERROR = 0.01


class Histogram:
    """Counts of latencies in seconds, as an HdrHistogram (http://hdrhistogram.org) of microseconds."""

    def __init__(self, histogram: Any = None) -> None:
        self._histogram = HdrHistogram(MIN_MICROSECONDS, MAX_MICROSECONDS, DIGITS) if histogram is None else histogram

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.counts == other.counts

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def decode(cls, text: str) -> Self:
        """A histogram from its standard form (HdrHistogram V2, deflated, base64). Raises `ValueError`."""
        try:
            return cls(HdrHistogram.decode(text.encode()))
        # its decoder has errors of its own, and lets through those of zlib, base64 and struct
        except Exception as error:
            raise ValueError(f"not a histogram: {error}") from error

    def encode(self) -> str:
        """Its standard form, which other tools read too."""
        encoded: bytes = self._histogram.encode()
        return encoded.decode()

    @property
    def count(self) -> int:
        """The number of latencies."""
        return int(self._histogram.get_total_count())

    @property
    def counts(self) -> dict[int, int]:
        """Highest microseconds of each bucket that is not empty → count."""
        rows = self._histogram.get_recorded_iterator()
        return {int(row.value_iterated_to): int(row.count_added_in_this_iter_step) for row in rows}

    def add(self, seconds: float) -> None:
        """Counts one latency."""
        self._histogram.record_value(min(MAX_MICROSECONDS, max(MIN_MICROSECONDS, round(seconds * 1e6))))

    def merge(self, other: "Histogram") -> None:
        """Adds the counts of `other`."""
        self._histogram.add(other._histogram)

    def quantile(self, q: float) -> float:
        """The quantile `q` in seconds, at most 1 % too high; 0 if it is empty."""
        return float(self._histogram.get_value_at_percentile(100 * q)) / 1e6


def quantile_of_counts(counts: Mapping[int, int], q: float) -> float:
    """The quantile in seconds of a histogram's `counts`, by the same rule as `Histogram.quantile`."""
    rank = max(1, int(q * sum(counts.values()) + 0.5))
    for microseconds in sorted(counts):
        rank -= counts[microseconds]
        if rank <= 0:
            return microseconds / 1e6
    return 0.0


def enc_hook(value: Any) -> Any:
    """For msgspec: a histogram as text."""
    if isinstance(value, Histogram):
        return value.encode()
    raise NotImplementedError(f"cannot encode {type(value).__name__}")


def dec_hook(kind: type, value: Any) -> Any:
    """For msgspec: a histogram from text."""
    if kind is Histogram:
        return Histogram.decode(value)
    raise NotImplementedError(f"cannot decode {kind.__name__}")
