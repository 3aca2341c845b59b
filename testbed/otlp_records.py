"""Builds OTLP requests: traces like the service's, and log records."""

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

MILLISECOND = 1_000_000


def any_value(value: Any) -> AnyValue:
    """An attribute value of any type."""
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    return AnyValue(string_value=str(value))


def attributes(values: Mapping[str, Any]) -> list[KeyValue]:
    """Attributes of a span, a log record or a resource."""
    return [KeyValue(key=key, value=any_value(value)) for key, value in values.items()]


def resource(replica: str = "todo-1") -> Resource:
    """The service's resource."""
    return Resource(attributes=attributes({"service.name": "todo", "service.instance.id": replica}))


def request_spans(
    trace_id: bytes,
    route: str = "/tasks",
    *,
    milliseconds: float = 5,
    code: int = 200,
    start: int | None = None,
    **extra: Any,
) -> list[Span]:
    """A server span with a client span, of a request that began at `start` (nanoseconds since 1970)."""
    began = start or time.time_ns()
    root = random.randbytes(8)
    server = Span(
        trace_id=trace_id,
        span_id=root,
        name=f"GET {route}",
        kind=Span.SPAN_KIND_SERVER,
        start_time_unix_nano=began,
        end_time_unix_nano=began + int(milliseconds * MILLISECOND),
        attributes=attributes({"http.route": route, "http.response.status_code": code, **extra}),
    )
    if code >= 500:
        server.status.code = 2
        server.events.add(name="exception", time_unix_nano=began + 1, attributes=attributes({"exception.type": "Boom"}))
    client = Span(
        trace_id=trace_id,
        span_id=random.randbytes(8),
        parent_span_id=root,
        name="GET",
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=began + 1000,
        end_time_unix_nano=began + int(milliseconds * MILLISECOND) // 2,
        attributes=attributes({"db.system.name": "redis", "server.port": 7000}),
    )
    return [client, server]


def traces(spans: Sequence[Span], replica: str = "todo-1") -> bytes:
    """The body of a request with spans."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add(resource=resource(replica))
    group.scope_spans.add(scope=InstrumentationScope(name="service", version="1"), spans=spans)
    return request.SerializeToString()


def log_record(body: str, trace_id: bytes = b"", severity: str = "ERROR", at: int = 0, **values: Any) -> LogRecord:
    """A log record; `at` in nanoseconds since 1970, now if 0."""
    return LogRecord(
        time_unix_nano=at or time.time_ns(),
        severity_text=severity,
        severity_number={"INFO": 9, "WARN": 13, "ERROR": 17}[severity],
        body=any_value(body),
        trace_id=trace_id,
        attributes=attributes({name.replace("__", "."): value for name, value in values.items()}),
    )


def logs(records: Sequence[LogRecord], replica: str = "todo-1") -> bytes:
    """The body of a request with log records."""
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add(resource=resource(replica))
    group.scope_logs.add(scope=InstrumentationScope(name="service.request"), log_records=records)
    return request.SerializeToString()
