"""Raw samples from any Prometheus API (https://prometheus.io/docs/prometheus/latest/querying/api/).

Prometheus, Mimir, Thanos and VictoriaMetrics implement it. Responses are read in chunks and stored as arrays, so three
days need only a few megabytes.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lab.alerts.tuning.semantics import Times
from lab.prometheus import Prometheus, well_formed

# length of one query for raw samples
CHUNK_MS = 6 * 3600 * 1000
# Prometheus allows 11,000 points per series in a range query
MAX_POINTS = 10_000


class HistoryError(Exception):
    """A history that cannot be used; the message has the reason and what to do."""


@dataclass(frozen=True)
class Samples:
    """One series: its labels without the name, times in unix ms, ascending, and values."""

    name: str
    labels: Mapping[str, str]
    times: Times
    values: NDArray[np.float64]

    def within(self, begin: int, end: int) -> "Samples":
        """The samples from `begin` to `end`, both in ms and inclusive."""
        part = slice(*np.searchsorted(self.times, [begin, end + 1]))
        return Samples(self.name, self.labels, self.times[part], self.values[part])


class History(Protocol):
    """A source of samples. `begin` and `end` are unix ms."""

    name: str
    begin: int
    end: int

    def select(self, name: str, labels: Mapping[str, str]) -> list[Samples]:
        """The raw series of that name with these labels. Raises `HistoryError`."""


class PrometheusHistory:
    """The samples of a Prometheus API from `begin` to `end`, in unix seconds."""

    def __init__(self, prometheus: Prometheus, begin: float, end: float) -> None:
        self.name = prometheus.url
        self.begin, self.end = round(begin * 1000), round(end * 1000)
        self._prometheus = prometheus

    def select(self, name: str, labels: Mapping[str, str]) -> list[Samples]:
        """Raw samples. Raises `PrometheusError`."""
        selector = name + "{" + ",".join(f'{key}="{value}"' for key, value in sorted(labels.items())) + "}"
        found = _Collected()
        for begin, end in _chunks(self.begin, self.end, CHUNK_MS):
            width = max(1, end - begin)
            data = self._prometheus.get("query", query=f"{selector}[{width}ms]", time=end / 1000)
            with well_formed(self.name):
                found.add(data["result"])
        return found.samples(self.begin, self.end)

    def evaluate(self, expression: str, interval: int, offset: int = 0) -> tuple[Times, list[Samples]]:
        """Evaluates an expression as a rule would: the evaluation times, and one series per label set.

        Evaluations are `interval` ms apart, `offset` ms after multiples of it. Raises `PrometheusError`.
        """
        first = self.begin + (offset - self.begin) % interval
        found = _Collected()
        for begin, end in _chunks(first, self.end, interval * MAX_POINTS):
            data = self._prometheus.get(
                "query_range", query=expression, start=begin / 1000, end=(end - 1) / 1000, step=interval / 1000
            )
            with well_formed(self.name):
                found.add(data["result"])
        return np.arange(first, self.end, interval, dtype=np.int64), found.samples(self.begin, self.end)


class _Collected:
    """Joins the chunks of each series."""

    def __init__(self) -> None:
        self._parts: dict[tuple[tuple[str, str], ...], list[tuple[Times, NDArray[np.float64]]]] = {}

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Adds the `result` of a response."""
        for row in rows:
            metric, values = row["metric"], row["values"]
            times = np.array([round(time * 1000) for time, _ in values], np.int64)
            numbers = np.array([float(value) for _, value in values])
            self._parts.setdefault(tuple(sorted(metric.items())), []).append((times, numbers))

    def samples(self, begin: int, end: int) -> list[Samples]:
        """The joined series; a sample that is in two chunks counts once."""
        found = []
        for key, parts in self._parts.items():
            times, first = np.unique(np.concatenate([times for times, _ in parts]), return_index=True)
            values = np.concatenate([values for _, values in parts])[first]
            labels = dict(key)
            found.append(Samples(labels.pop("__name__", ""), labels, times, values).within(begin, end))
        return [each for each in found if len(each.times)]


def _chunks(begin: int, end: int, width: int) -> Iterator[tuple[int, int]]:
    for start in range(begin, end, width):
        yield start, min(start + width, end)
