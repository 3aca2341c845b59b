"""All metrics of the service, as data, and the instruments created from it.

Names are OpenTelemetry's semantic conventions as Prometheus writes them
(https://opentelemetry.io/docs/specs/semconv/http/http-metrics/), in base units.
"""

import itertools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from service import __version__
from service.telemetry.cgroup import Cgroup, CgroupCollector
from service.telemetry.instruments import Count, CountCollector, Durations, DurationsCollector

REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0)
OPERATION_SECONDS = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
)

METHODS = ("GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS", "_OTHER")
# the label of requests that matched no route; in a span, the route is omitted
UNMATCHED = "unmatched"
ROUTES = ("/tasks", "/tasks/{task_id}", "/health", "/health/live", "/health/ready", "/schema", UNMATCHED)


@dataclass(frozen=True)
class Metric:
    """A metric. `labels` maps each label to all of its values, or to None if they are known only at run time."""

    name: str
    kind: Literal["counter", "gauge", "histogram", "info"]
    help: str
    labels: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()
    unit: str = ""
    is_hot: bool = False
    """Recorded while requests are handled, only on the event loop's thread: an instrument without locks."""

    @property
    def exposed_name(self) -> str:
        """The name in PromQL: a counter's ends in `_total`."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


REQUEST_DURATION = Metric(
    "http_server_request_duration_seconds",
    "histogram",
    "Duration of HTTP requests, from the end of their headers to the end of the response. Exemplars name kept traces.",
    # any status of HTTP
    {"http_request_method": METHODS, "http_route": ROUTES, "http_response_status_code": None},
    REQUEST_SECONDS,
    "seconds",
    is_hot=True,
)
ACTIVE_REQUESTS = Metric("http_server_active_requests", "gauge", "Requests in flight.", unit="requests")
ACTIVE_LIMIT = Metric(
    "http_server_active_requests_limit",
    "gauge",
    "Limit of requests in flight; more are shed.",
    unit="requests",
)
SHED = Metric("http_server_requests_shed", "counter", "Requests answered 503 because too many were in flight.")
CACHE_REQUESTS = Metric(
    "cache_requests",
    "counter",
    "Reads by the cache's result. Bypass: the cache was not queried, because its circuit breaker is open.",
    {"cache": ("task", "list"), "result": ("hit", "miss", "bypass", "error")},
    is_hot=True,
)
CACHE_OPERATION = Metric(
    "cache_operation_duration_seconds",
    "histogram",
    "Duration of cache operations that succeeded.",
    {"operation": ("get", "set", "invalidate")},
    OPERATION_SECONDS,
    "seconds",
    is_hot=True,
)
CACHE_EPOCH_RAISED = Metric(
    "cache_epoch_raised",
    "counter",
    "Times that this replica invalidated the whole cache, because single invalidations may have been lost.",
)
CACHE_UNVERIFIED = Metric(
    "cache_unverified_reads",
    "counter",
    "Responses from the cache while the database could not confirm that they are current; each has a Warning header.",
)
DB_OPERATION = Metric(
    "db_client_operation_duration_seconds",
    "histogram",
    "Duration of database operations of requests, including the wait for a connection.",
    {"db_operation_name": ("SELECT", "INSERT", "UPDATE", "DELETE")},
    OPERATION_SECONDS,
    "seconds",
)
DB_BACKGROUND = Metric(
    "db_client_background_duration_seconds",
    "histogram",
    "Duration of database operations in the background: polling the outbox, dropping old records.",
    {"db_operation_name": ("SELECT", "INSERT", "UPDATE", "DELETE")},
    OPERATION_SECONDS,
    "seconds",
)
DB_WAIT = Metric(
    "db_client_connection_wait_time_seconds",
    "histogram",
    "Time to get a connection from the pool, including connecting, or to give up.",
    {},
    OPERATION_SECONDS,
    "seconds",
)
REDIS_ROUND_TRIP = Metric(
    "redis_client_round_trip_duration_seconds",
    "histogram",
    "Duration of round trips to a Redis node, including failed ones. Each is a pipeline of one or more commands.",
    # any node of the cluster
    {"server_address": None, "server_port": None},
    OPERATION_SECONDS,
    "seconds",
    is_hot=True,
)
DB_CONNECTIONS = Metric(
    "db_client_connection_count",
    "gauge",
    "Connections of the pool, by state.",
    {"db_client_connection_state": ("idle", "used")},
    unit="connections",
)
DB_CONNECTIONS_MAX = Metric("db_client_connection_max", "gauge", "Size of the pool.", unit="connections")
RATE_LIMIT = Metric(
    "rate_limit_decisions",
    "counter",
    "Requests by the rate limit's decision. Bypassed: allowed without being counted, because Redis did not respond.",
    {"decision": ("allowed", "rejected", "bypassed")},
    is_hot=True,
)
BREAKER = Metric(
    "circuit_breaker_state",
    "gauge",
    "0 closed, 1 half open, 2 open; for Redis, the worst of its nodes.",
    {"dependency": ("redis", "database")},
)
BREAKER_TRANSITIONS = Metric(
    "circuit_breaker_transitions",
    "counter",
    "Changes of a circuit breaker's state, by the new state; for Redis, of all nodes together.",
    {"dependency": ("redis", "database"), "state": ("closed", "half_open", "open")},
)
LOOP_LAG = Metric(
    "event_loop_lag_seconds",
    "histogram",
    "Delay of a timer of the event loop.",
    {},
    OPERATION_SECONDS,
    "seconds",
)
TRACES = Metric(
    "telemetry_traces",
    "counter",
    "Requests by sampling decision: head, sampled at the start; tail, failed or slow, and recorded at the end.",
    {"decision": ("head", "tail", "none")},
    is_hot=True,
)
SPANS_EXPORTED = Metric("telemetry_spans_exported", "counter", "Spans that the collector accepted.")
SPANS_DROPPED = Metric(
    "telemetry_spans_dropped",
    "counter",
    "Spans that were lost. Rejected: the collector responded, and did not accept them.",
    {"reason": ("queue_full", "export_failed", "rejected")},
)
LOG_RECORDS_EXPORTED = Metric("telemetry_log_records_exported", "counter", "Log records that the collector accepted.")
LOG_RECORDS_DROPPED = Metric(
    "telemetry_log_records_dropped",
    "counter",
    "Log records that were not exported; standard output has all of them.",
    {"reason": ("queue_full", "export_failed", "rejected")},
)
SERVICE_INFO = Metric("service_info", "gauge", "This replica; always 1.", {"version": None, "replica": None})
# exposed by cgroup.py
CPU_THROTTLED = Metric(
    "process_cpu_throttled_seconds",
    "counter",
    "Time for which this replica was throttled at its CPU limit.",
    unit="seconds",
)
CPU_LIMIT = Metric("process_cpu_limit_cores", "gauge", "CPU limit of the cgroup, or the machine's cores.", unit="cores")
MEMORY_LIMIT = Metric(
    "process_memory_limit_bytes",
    "gauge",
    "Memory limit of the cgroup, or the machine's memory.",
    unit="bytes",
)

METRICS: tuple[Metric, ...] = (
    REQUEST_DURATION,
    ACTIVE_REQUESTS,
    ACTIVE_LIMIT,
    SHED,
    CACHE_REQUESTS,
    CACHE_OPERATION,
    CACHE_EPOCH_RAISED,
    CACHE_UNVERIFIED,
    DB_OPERATION,
    DB_BACKGROUND,
    DB_WAIT,
    DB_CONNECTIONS,
    DB_CONNECTIONS_MAX,
    REDIS_ROUND_TRIP,
    RATE_LIMIT,
    BREAKER,
    BREAKER_TRANSITIONS,
    LOOP_LAG,
    TRACES,
    SPANS_EXPORTED,
    SPANS_DROPPED,
    LOG_RECORDS_EXPORTED,
    LOG_RECORDS_DROPPED,
    CPU_THROTTLED,
    CPU_LIMIT,
    MEMORY_LIMIT,
    SERVICE_INFO,
)


# Series that exist from the start, so that Prometheus sees the first such request as an increase from zero.
EXPECTED_REQUESTS = tuple(
    (method, route, status)
    for method, route, success in (
        ("GET", "/tasks", 200),
        ("POST", "/tasks", 201),
        ("GET", "/tasks/{task_id}", 200),
        ("PATCH", "/tasks/{task_id}", 200),
        ("DELETE", "/tasks/{task_id}", 204),
    )
    for status in (success, 429, 500, 503)
)


class Nothing:
    """An instrument that records nothing, for `TELEMETRY=off`."""

    def inc(self, amount: float = 1) -> None:
        """Does nothing."""

    def set(self, value: float) -> None:
        """Does nothing."""

    def set_function(self, value: Callable[[], float]) -> None:
        """Does nothing."""

    def observe(self, amount: float) -> None:
        """Does nothing."""


class Metrics:
    """The instruments. Children are resolved once, so that no label lookup is needed while a request is handled."""

    def __init__(self, *, is_on: bool, replica: str, max_concurrent_requests: int) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.is_on = is_on
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.registry.register(CgroupCollector(Cgroup()))

        self._requests: dict[tuple[str, ...], Durations] = {
            (method, route, str(status)): Durations(REQUEST_SECONDS) for method, route, status in EXPECTED_REQUESTS
        }
        self._expose_durations(REQUEST_DURATION, self._requests)
        self.active_requests: Gauge = self._make(ACTIVE_REQUESTS)[()]
        self._make(ACTIVE_LIMIT)[()].set(max_concurrent_requests)
        self.shed: Counter = self._make(SHED)[()]
        cache_requests = self._make(CACHE_REQUESTS)
        self.cache_requests: dict[str, dict[str, Count]] = {
            cache: {result: cache_requests[cache, result] for result in ("hit", "miss", "bypass", "error")}
            for cache in ("task", "list")
        }
        self.cache_operation: dict[str, Durations] = self._by_label(CACHE_OPERATION)
        self.cache_epoch_raised: Counter = self._make(CACHE_EPOCH_RAISED)[()]
        self.cache_unverified: Counter = self._make(CACHE_UNVERIFIED)[()]
        self.db_operation: dict[str, Histogram] = self._by_label(DB_OPERATION)
        self.db_background: dict[str, Histogram] = self._by_label(DB_BACKGROUND)
        self.db_wait: Histogram = self._make(DB_WAIT)[()]
        self._redis_nodes: dict[tuple[str, ...], Durations] = self._expose_durations(REDIS_ROUND_TRIP, {})
        self._db_connections: dict[str, Gauge] = self._by_label(DB_CONNECTIONS)
        self._db_connections_max: Gauge = self._make(DB_CONNECTIONS_MAX)[()]
        self.rate_limit: dict[str, Count] = self._by_label(RATE_LIMIT)
        self.breaker: dict[str, Gauge] = self._by_label(BREAKER)
        self.breaker_transitions: dict[tuple[str, ...], Counter] = self._make(BREAKER_TRANSITIONS)
        self.loop_lag: Histogram = self._make(LOOP_LAG)[()]
        self.traces: dict[str, Count] = self._by_label(TRACES)
        self.spans_exported: Counter = self._make(SPANS_EXPORTED)[()]
        self.spans_dropped: dict[str, Counter] = self._by_label(SPANS_DROPPED)
        self.log_records_exported: Counter = self._make(LOG_RECORDS_EXPORTED)[()]
        self.log_records_dropped: dict[str, Counter] = self._by_label(LOG_RECORDS_DROPPED)
        Gauge(SERVICE_INFO.name, SERVICE_INFO.help, list(SERVICE_INFO.labels), registry=self.registry).labels(
            __version__, replica
        ).set(1)

    def request(self, method: str, route: str, status: int) -> Durations:
        """The histogram of requests with these labels. `route` is one of `ROUTES`, `method` one of `METHODS`."""
        key = (method, route, str(status))
        if key not in self._requests:
            self._requests[key] = Durations(REQUEST_SECONDS)
        return self._requests[key]

    def redis_node(self, host: str, port: int) -> Durations:
        """The histogram of round trips to a node."""
        node = host, str(port)
        found = self._redis_nodes.get(node)
        if found is None:
            found = self._redis_nodes[node] = Durations(OPERATION_SECONDS)
        return found

    def forget_redis_nodes(self, present: Collection[tuple[str, str]]) -> None:
        """Drops the series of all nodes but those that are `present`, by host and port."""
        for node in self._redis_nodes.keys() - present:
            del self._redis_nodes[node]

    def watch_pool(self, used: Callable[[], int], idle: Callable[[], int], most: int) -> None:
        """Exposes the database pool's connections, read at each scrape."""
        self._db_connections["used"].set_function(used)
        self._db_connections["idle"].set_function(idle)
        self._db_connections_max.set(most)

    def _by_label(self, metric: Metric) -> dict[str, Any]:
        return {values[0]: child for values, child in self._make(metric).items()}

    def _make(self, metric: Metric) -> dict[tuple[str, ...], Any]:
        """Creates all children of a metric whose label values are known, by those values."""
        known = [values for values in metric.labels.values() if values is not None]
        combinations = list(itertools.product(*known))
        if not self.is_on:
            return {values: Nothing() for values in combinations}
        if metric.is_hot and metric.kind == "histogram":
            return self._expose_durations(metric, {values: Durations(metric.buckets) for values in combinations})
        if metric.is_hot:
            counts = {values: Count() for values in combinations}
            self.registry.register(CountCollector(metric.name, metric.help, list(metric.labels), counts))
            return counts
        labels = list(metric.labels)
        family: Counter | Gauge | Histogram
        if metric.kind == "counter":
            family = Counter(metric.name, metric.help, labels, registry=self.registry)
        elif metric.kind == "histogram":
            family = Histogram(metric.name, metric.help, labels, buckets=metric.buckets, registry=self.registry)
        else:
            family = Gauge(metric.name, metric.help, labels, registry=self.registry)
        return {values: family.labels(*values) if labels else family for values in combinations}

    def _expose_durations(
        self, metric: Metric, durations: dict[tuple[str, ...], Durations]
    ) -> dict[tuple[str, ...], Durations]:
        if self.is_on:
            self.registry.register(DurationsCollector(metric.name, metric.help, list(metric.labels), durations))
        return durations


def metrics_table() -> str:
    """The Markdown table of docs/telemetry.md."""
    rows = ["| metric | type | unit | labels | meaning |", "| --- | --- | --- | --- | --- |"]
    for metric in METRICS:
        labels = "; ".join(
            f"`{label}`" + (f": {', '.join(f'`{value}`' for value in values)}" if values else "")
            for label, values in metric.labels.items()
        )
        row = (f"`{metric.exposed_name}`", metric.kind, metric.unit, labels, metric.help)
        rows.append("| " + " | ".join(row) + " |")
    return "\n".join(rows) + "\n"
