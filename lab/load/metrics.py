"""The generator's own metrics, as text for Prometheus."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from lab.load.latencies import BOUNDS, Latencies
from lab.load.measured import Measured, limit_of
from lab.load.messages import RouteSample
from lab.load.requests import Operation

LABELS = ["http_request_method", "http_route"]


def exposition(measured: Measured, profile: str = "none", phase: str = "idle") -> str:
    """The metrics of a run so far, every series that can be among them, in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(measured, profile, phase))
    return generate_latest(registry).decode()


def idle_exposition() -> str:
    """The metrics when no load ever ran: all there, all zero."""
    return exposition(Measured())


class _Snapshot(Collector):
    def __init__(self, measured: Measured, profile: str, phase: str) -> None:
        self._measured, self._profile, self._phase = measured, profile, phase

    def collect(self) -> Iterator[Metric]:
        total, prepared, now = self._measured.total, self._measured.prepared, self._measured.latest
        busy = self._phase != "idle"
        offered = CounterMetricFamily("load_requests_offered", "Requests that came due.")
        offered.add_metric([], total.offered + prepared.offered)
        yield offered
        requests = CounterMetricFamily(
            "load_requests", "Requests that were answered or failed.", labels=[*LABELS, "result"]
        )
        durations = HistogramMetricFamily(
            "load_request_duration_seconds", "Latency from when a request was due.", labels=LABELS
        )
        for route in _routes([*total.routes, *prepared.routes]):
            requests.add_metric([route.method, route.route, "ok"], route.ok)
            requests.add_metric([route.method, route.route, "error"], route.errors)
            durations.add_metric(
                [route.method, route.route], _buckets(route.latencies), sum_value=route.latencies.seconds
            )
        yield requests
        yield durations
        yield _gauge("load_users", "Users, each with at most one request under way.", now.users if busy else 0)
        yield _gauge("load_target_rate", "Requests a second that are aimed at.", now.target_rate if busy else 0)
        yield _gauge("load_generator_lag_seconds", "How late requests start, at worst.", now.lag if busy else 0)
        yield _gauge(
            "load_generator_saturated",
            "Whether the generator (its processor time or its users) bounds the load.",
            float(busy and limit_of(now) is not None),
        )
        info = InfoMetricFamily("load_phase", "What the generator is doing.", labels=["profile"])
        info.add_metric([self._profile], {"phase": self._phase})
        yield info


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value=value)


def _routes(samples: list[RouteSample]) -> list[RouteSample]:
    by_name: dict[tuple[str, str], RouteSample] = {}
    for operation in Operation:
        by_name[operation.method, operation.route] = RouteSample(operation.method, operation.route)
    for sample in samples:
        by_name.setdefault((sample.method, sample.route), RouteSample(sample.method, sample.route)).merge(sample)
    return list(by_name.values())


def _buckets(latencies: Latencies) -> list[tuple[str, float]]:
    cumulated, buckets = 0, []
    for bound, count in zip([*map(str, BOUNDS), "+Inf"], latencies.coarse, strict=True):
        cumulated += count
        buckets.append((bound, float(cumulated)))
    return buckets
