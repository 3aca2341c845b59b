"""Counters and histograms without locks, for what is recorded several times in every request.

For speed: those of prometheus-client take a lock and several calls for each bucket, a fifteenth of the CPU time of a
cached read. These are plain integers. That is safe only because the event loop's thread alone writes them; a scrape
runs on the same thread, and reads them through prometheus-client's `Collector`.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as ExemplarSample
from prometheus_client.utils import floatToGoString

INFINITY = float("inf")


class Count:
    """A counter."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self) -> None:
        """Counts one more."""
        self.value += 1


class Durations:
    """A histogram of seconds. `bounds` are the upper bounds of the buckets in ascending order, without +Inf."""

    __slots__ = ("_bounds", "_counts", "_exemplars", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._exemplars: list[tuple[float, int, int] | None] = [None] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Counts one duration."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def exemplify(self, seconds: float, trace_id: int, ended: int) -> None:
        """Sets the exemplar of an observed duration, in any thread. `ended` is in nanoseconds since 1970."""
        self._exemplars[bisect_left(self._bounds, seconds)] = (seconds, trace_id, ended)

    def buckets(self) -> list[tuple[str, float, ExemplarSample] | tuple[str, float]]:
        """Each bucket's upper bound, as text, the durations up to it, and its exemplar if it has one."""
        total = 0
        rows: list[tuple[str, float, ExemplarSample] | tuple[str, float]] = []
        for bound, count, named in zip((*self._bounds, INFINITY), self._counts, self._exemplars, strict=True):
            total += count
            exemplar = named and ExemplarSample({"trace_id": f"{named[1]:032x}"}, named[0], named[2] / 1e9)
            le = floatToGoString(bound)  # type: ignore[no-untyped-call]
            rows.append((le, total, exemplar) if exemplar else (le, total))
        return rows

    @property
    def sum(self) -> float:
        """The sum of all durations, in seconds."""
        return self._sum


class Exemplar(NamedTuple):
    """The trace of an observed duration. `ended` is in nanoseconds since 1970."""

    durations: Durations
    seconds: float
    trace_id: int
    ended: int

    def attach(self) -> None:
        """Attaches the trace to its bucket."""
        self.durations.exemplify(self.seconds, self.trace_id, self.ended)


class CountCollector(Collector):
    """Exposes counters as one metric; keys are the label values."""

    def __init__(self, name: str, help_text: str, labels: Sequence[str], counts: dict[tuple[str, ...], Count]) -> None:
        self._metric = (name, help_text, labels)
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        """The current counters."""
        name, help_text, labels = self._metric
        family = CounterMetricFamily(name, help_text, labels=labels)
        for values, count in self._counts.items():
            family.add_metric(values, count.value)
        yield family


class DurationsCollector(Collector):
    """Exposes histograms as one metric; keys are the label values."""

    def __init__(
        self, name: str, help_text: str, labels: Sequence[str], durations: dict[tuple[str, ...], Durations]
    ) -> None:
        self._metric = (name, help_text, labels)
        self._durations = durations

    def collect(self) -> Iterable[Metric]:
        """The current histograms."""
        name, help_text, labels = self._metric
        family = HistogramMetricFamily(name, help_text, labels=labels)
        for values, durations in self._durations.items():
            family.add_metric(values, durations.buckets(), durations.sum)
        yield family
