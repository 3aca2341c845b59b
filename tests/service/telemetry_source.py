"""A source of spans and log records, as the service configures it."""

import contextvars
from typing import Any

import structlog
from prometheus_client import generate_latest

from service.settings import load_settings
from service.telemetry.log_export import LogExport
from service.telemetry.metrics import Metrics
from service.telemetry.request import enter, trace_id_of
from service.telemetry.resource import resource_of
from service.telemetry.tracing import Tracing
from testbed.replica import Samples

ROUTE = "/tasks/{task_id}"


class TelemetrySource:
    """Telemetry as the service configures it from the environment: requests create spans, and log lines log records."""

    def __init__(self, environment: dict[str, str]) -> None:
        settings = load_settings({"TRACE_SAMPLE_RATIO": "1"} | environment)
        self.metrics = Metrics(is_on=True, replica="todo-1", max_concurrent_requests=1)
        resource = resource_of("todo-1")
        self.tracing = Tracing(settings, resource, self.metrics)
        self.logs = LogExport(settings, resource, self.metrics)

    def request(self, count: int = 1, status: int = 200, **scope: Any) -> str:
        """Handles requests, and returns the trace id of the last."""
        for _ in range(count):
            trace_id = contextvars.copy_context().run(self._request, status, scope)
        return trace_id

    def _request(self, status: int, more: dict[str, Any]) -> str:
        scope = {"method": "GET", "path": "/tasks/1", "scheme": "http", "headers": [], **more}
        enter(scope)
        if self.tracing.is_on:
            self.tracing.begin(scope)
        structlog.stdlib.get_logger("service.test").warning("a line", seconds=0.5)
        durations = self.metrics.request("GET", ROUTE, status)
        durations.observe(0.02)
        if self.tracing.is_on:
            self.tracing.end(scope, "GET", ROUTE, status, 0.02, durations)
        return trace_id_of(scope)

    def value(self, name: str, **labels: str) -> float:
        """A sample of the metrics."""
        return Samples(generate_latest(self.metrics.registry).decode()).value(name, **labels)

    def exemplars(self) -> str:
        """Everything that contains a trace id."""
        return str([row for row in self.metrics.request("GET", ROUTE, 200).buckets() if len(row) > 2])

    def close(self) -> None:
        """Exports everything in the queues."""
        self.tracing.close()
        self.logs.close()
