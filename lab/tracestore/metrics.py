"""The store's own metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

SIGNALS = ("traces", "logs")
QUEUE_FULL, WRITE_FAILED = "queue_full", "write_failed"
TOO_LARGE, TOO_OLD = "size", "age"


class Metrics:
    """Counts records: spans for the signal traces, log records for the signal logs."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.received = Counter("tracestore_records_received", "Records kept.", ["signal"], registry=registry)
        self.rejected = Counter(
            "tracestore_records_rejected", "Records refused as invalid.", ["signal"], registry=registry
        )
        self.dropped = Counter(
            "tracestore_records_dropped", "Records not taken: the sender may retry.", ["signal", "reason"],
            registry=registry,
        )  # fmt: skip
        self.refused = Counter(
            "tracestore_requests_refused", "Requests refused unread: too much is on its way.", registry=registry
        )
        self.evicted = Counter(
            "tracestore_records_evicted", "Records removed, oldest first.", ["signal", "reason"], registry=registry
        )
        for signal in SIGNALS:
            self.received.labels(signal)
            self.rejected.labels(signal)
            for reason in (QUEUE_FULL, WRITE_FAILED):
                self.dropped.labels(signal, reason)
            for reason in (TOO_LARGE, TOO_OLD):
                self.evicted.labels(signal, reason)
        self.queue_bytes = Gauge("tracestore_queue_bytes", "Requests that wait to be written.", registry=registry)
        self.queue_limit = Gauge("tracestore_queue_limit_bytes", "Most that may wait.", registry=registry)
        self.database_bytes = Gauge("tracestore_database_bytes", "Pages in use.", registry=registry)
        self.database_limit = Gauge(
            "tracestore_database_limit_bytes", "Pages in use beyond which the oldest go.", registry=registry
        )
        self.commit_seconds = Histogram(
            "tracestore_commit_duration_seconds",
            "Duration of writing one batch.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
            registry=registry,
        )

    def exposition(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self._registry)
