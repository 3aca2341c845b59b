"""Counters and histograms for what is noted several times in every request.

They exist for speed: prometheus-client's take a lock and some calls at each bucket, which came to a fifteenth of a
cached read. These are plain integers, right only because nothing but the event loop's thread writes them; a scrape,
on that thread too, reads them through prometheus-client's own `Collector`.
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
    """A histogram of seconds. `bounds` are the upper bounds of its buckets, rising, without the infinite one."""

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
        """Names the trace of one duration that was counted. `ended` is in nanoseconds since 1970. For any thread."""
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
        """All durations together."""
        return self._sum


class Exemplar(NamedTuple):
    """The trace of one duration that was counted. `ended` is in nanoseconds since 1970."""

    durations: Durations
    seconds: float
    trace_id: int
    ended: int

    def name(self) -> None:
        """Names the trace beside its bucket."""
        self.durations.exemplify(self.seconds, self.trace_id, self.ended)


class CountCollector(Collector):
    """Exposes counters as one metric, by the values of its labels."""

    def __init__(self, name: str, help_text: str, labels: Sequence[str], counts: dict[tuple[str, ...], Count]) -> None:
        self._metric = (name, help_text, labels)
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        """The counters as they are."""
        name, help_text, labels = self._metric
        family = CounterMetricFamily(name, help_text, labels=labels)
        for values, count in self._counts.items():
            family.add_metric(values, count.value)
        yield family


class DurationsCollector(Collector):
    """Exposes histograms as one metric, by the values of its labels."""

    def __init__(
        self, name: str, help_text: str, labels: Sequence[str], durations: dict[tuple[str, ...], Durations]
    ) -> None:
        self._metric = (name, help_text, labels)
        self._durations = durations

    def collect(self) -> Iterable[Metric]:
        """The histograms as they are."""
        name, help_text, labels = self._metric
        family = HistogramMetricFamily(name, help_text, labels=labels)
        for values, durations in self._durations.items():
            family.add_metric(values, durations.buckets(), durations.sum)
        yield family
