"""The generator's own metrics. `RemoteWriter` adds the label `run`."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from lab.load.limits import limit_of
from lab.load.measured import Measured
from lab.load.requests import Operation
from lab.runs.latencies import Latencies
from lab.runs.service_levels import BUCKETS
from lab.runs.tally import Tally

LABELS = ["http_request_method", "http_route"]
# The last seconds, for whether the generator is the bottleneck now.
RECENT = 5


def metrics(measured: Measured, profile: str, phase: str, prepared: int = 0) -> Iterator[Metric]:
    """The current metrics of a run. All counters exist from its start."""
    total, now = measured.total, measured.latest
    yield _counter("load_requests_offered", "Requests that came due.", total.offered)
    yield _counter("load_requests_sent", "Requests that were written to a connection.", total.sent)
    yield _counter("load_preparation_requests", "Requests that created the tasks before the load.", prepared)
    requests = CounterMetricFamily("load_requests", "Requests by result.", labels=[*LABELS, "result"])
    durations = HistogramMetricFamily(
        "load_request_duration_seconds", "Latency from when a request was due, for all results.", labels=LABELS
    )
    for tally in _by_route(total.tallies):
        results = {"answered": tally.answered, "failed": tally.failed, "dropped": tally.dropped}
        for result, count in results.items():
            requests.add_metric([tally.method, tally.route, result], count)
        durations.add_metric([tally.method, tally.route], _buckets(tally.latencies), sum_value=tally.latencies.seconds)
    yield requests
    yield durations
    yield _gauge("load_users", "Users, each with at most one request in flight.", now.users)
    yield _gauge("load_target_rate", "Scheduled requests per second.", now.target_rate)
    yield _gauge("load_requests_waiting", "Requests that are due and wait for a free user.", now.waiting)
    yield _gauge("load_requests_outstanding", "Requests that are due and have no response.", now.outstanding)
    yield _gauge("load_oldest_request_seconds", "Age of the oldest request without a response.", now.oldest)
    yield _gauge("load_generator_lag_seconds", "Age of the oldest request that waits to be sent.", now.lag)
    yield _gauge("load_generator_cpu_ratio", "CPU time per second of the busiest process.", now.cpu)
    yield _gauge(
        "load_generator_saturated",
        "Whether the generator (its CPU or its users) is the bottleneck.",
        float(limit_of(measured.seconds[-RECENT:]) is not None),
    )
    info = GaugeMetricFamily(
        "load_phase_info", "Always 1; the labels have the profile and the current phase.", labels=["profile", "phase"]
    )
    info.add_metric([profile, phase], 1)
    yield info


def _counter(name: str, meaning: str, value: float) -> Metric:
    return CounterMetricFamily(name, meaning, value=value)


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value=value)


def _by_route(tallies: list[Tally]) -> list[Tally]:
    by_name: dict[tuple[str, str], Tally] = {}
    for operation in Operation:
        by_name[operation.method, operation.route] = Tally(operation.method, operation.route)
    for tally in tallies:
        by_name.setdefault((tally.method, tally.route), Tally(tally.method, tally.route)).merge(tally)
    return list(by_name.values())


def _buckets(latencies: Latencies) -> list[tuple[str, float]]:
    cumulated, buckets = 0, []
    for bound, count in zip([*map(str, BUCKETS), "+Inf"], latencies.buckets, strict=True):
        cumulated += count
        buckets.append((bound, float(cumulated)))
    return buckets
