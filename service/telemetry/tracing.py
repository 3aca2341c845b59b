"""Sampling, and the spans of requests, named by OpenTelemetry's semantic conventions.

Provider, processor and exporter are those of OpenTelemetry's SDK. Its hooks serve two special needs: a span that is
created late must have the ids that its response has already contained (`RequestIds`), and an exemplar is attached only
when the collector has accepted its trace (`SpanDelivery`).
"""

import os
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, cast

from opentelemetry import trace
from opentelemetry.context import Context, attach
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from redis.asyncio.cluster import RedisCluster as Client

from service import __version__
from service.asgi import Scope
from service.settings import Settings
from service.telemetry.delivery import SpanDelivery
from service.telemetry.instruments import Durations, Exemplar
from service.telemetry.metrics import UNMATCHED, Metrics
from service.telemetry.queue import SpanQueue
from service.telemetry.request import (
    CACHE_RESULT,
    IS_RECORDED,
    PARENT,
    SPAN,
    SPAN_ID,
    TRACE_ID,
    TRACEPARENT,
    current,
    failure_of,
    span_id_of,
    trace_id_of,
)
from service.telemetry.spans import LeanSpan, LeanTracerProvider

SERVER_ERROR = 500
NO_PARENT = Context()
_propagator = TraceContextTextMapPropagator()


class RequestIds(RandomIdGenerator):
    """Random ids, except for the span of a request that has ended and has used its ids already."""

    def __init__(self) -> None:
        self.trace_id = 0
        self.span_id = 0

    def generate_trace_id(self) -> int:
        """The id of a new trace."""
        return self.trace_id or super().generate_trace_id()

    def generate_span_id(self) -> int:
        """The id of a new span."""
        return self.span_id or super().generate_span_id()


class Tracing:
    """The sampling decision is made when a request begins: one that is not sampled has no spans and no instrumentation.

    If it then fails or is slow, it is recorded when it ends, as a single span with its true start time.
    """

    def __init__(self, settings: Settings, resource: Resource, metrics: Metrics) -> None:
        endpoint = settings.traces_endpoint
        self.is_on = bool(endpoint) and metrics.is_on
        self._ratio = settings.trace_sample_ratio
        self._slow_seconds = settings.trace_slow_seconds
        self._decisions = metrics.traces
        if not self.is_on:
            return
        # the stable semantic conventions for databases; the Redis instrumentation reads this when it is set up
        os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "database,http")
        self._ids = RequestIds()
        self._provider = LeanTracerProvider(resource=resource, shutdown_on_exit=False, id_generator=self._ids)
        delivery = SpanDelivery(
            endpoint, settings.traces_timeout, metrics.spans_exported, metrics.spans_dropped, _name_exemplar
        )
        self._provider.add_span_processor(SpanQueue(settings, delivery, metrics.spans_dropped["queue_full"]))
        self._tracer = self._provider.lean_tracer("service", __version__)

    def begin(self, scope: Scope) -> LeanSpan | None:
        """Decides on sampling. The server span of a sampled request, None for any other.

        The sampled flag of `traceparent` (https://www.w3.org/TR/trace-context/) decides; without one, the ratio does.
        """
        parent = None
        header: bytes | None = scope.get(TRACEPARENT)
        if header is not None:
            parent = _propagator.extract({"traceparent": header.decode("latin-1")})
            caller = trace.get_current_span(parent).get_span_context()
            if not caller.is_valid:
                parent = None
            else:
                scope[TRACE_ID], scope[PARENT] = caller.trace_id, parent
                if not caller.trace_flags.sampled:
                    return None
        if parent is None:
            if random.random() >= self._ratio:  # noqa: S311 (no secret)
                return None
            parent = NO_PARENT
        span = self._tracer.start_span(scope["method"], parent, SpanKind.SERVER)
        context = span.get_span_context()
        scope[SPAN], scope[TRACE_ID], scope[SPAN_ID] = span, context.trace_id, context.span_id
        scope[IS_RECORDED] = True
        attach(trace.set_span_in_context(span))
        return span

    def end(self, scope: Scope, method: str, route: str, status: int, seconds: float, durations: Durations) -> None:
        """Ends the span of a sampled request; creates it for one that failed or was slow. `route` may be UNMATCHED.

        `durations` is the histogram that has counted the request, which gets the trace as an exemplar.
        """
        span: LeanSpan | None = scope.get(SPAN)
        if span is not None:
            self._decisions["head"].inc()
        elif status >= SERVER_ERROR or seconds >= self._slow_seconds:
            self._decisions["tail"].inc()
            span = self._late_span(scope, seconds)
            scope[IS_RECORDED] = True
        else:
            self._decisions["none"].inc()
            return
        attributes: dict[str, str | int | bool] = {
            "http.request.method": method,
            "http.response.status_code": status,
            "url.scheme": scope["scheme"],
            "url.path": scope["path"],
        }
        # by the conventions, an unknown method is `HTTP` in the span's name, and the route is omitted if none matched
        name = method if method != "_OTHER" else "HTTP"
        if route != UNMATCHED:
            attributes["http.route"] = route
            name = f"{name} {route}"
        if method != scope["method"]:
            attributes["http.request.method_original"] = scope["method"]
        if CACHE_RESULT in scope:
            attributes["cache.result"] = scope[CACHE_RESULT]
        if status >= SERVER_ERROR:
            failure = failure_of(scope)
            attributes |= failure.attributes() if failure else {"error.type": str(status)}
            span.set_status(StatusCode.ERROR)
            if failure is not None and failure.error is not None:
                span.record_exception(failure.error)
        span.update_name(name)
        span.set_attributes(attributes)
        # by the monotonic clock, which cannot be set back
        ended = (span.start_time or 0) + int(seconds * 1e9)
        span.exemplar = Exemplar(durations, seconds, span.context.trace_id, ended)
        span.end(ended)

    def client_span(self, name: str, attributes: Mapping[str, str | int]) -> AbstractContextManager[object]:
        """A span around a call to another server."""
        return self._tracer.start_as_current_span(name, kind=SpanKind.CLIENT, attributes=attributes)

    def is_recording(self) -> bool:
        """Whether the current request is sampled."""
        scope = current()
        return scope is not None and SPAN in scope

    def close(self) -> None:
        """Exports what is queued, within the time of one export."""
        if self.is_on:
            self._provider.shutdown()

    def instrument_redis(self, client: Client) -> None:
        """Instruments one client with OpenTelemetry's Redis instrumentation."""
        RedisInstrumentor.instrument_client(client, tracer_provider=self._provider, request_hook=_name_redis)

    def _late_span(self, scope: Scope, seconds: float) -> LeanSpan:
        self._ids.trace_id, self._ids.span_id = int(trace_id_of(scope), 16), int(span_id_of(scope), 16)
        try:
            return self._tracer.start_span(
                scope["method"],
                scope.get(PARENT, NO_PARENT),
                SpanKind.SERVER,
                start_time=time.time_ns() - int(seconds * 1e9),
            )
        finally:
            self._ids.trace_id = self._ids.span_id = 0


def _name_exemplar(span: ReadableSpan) -> None:
    """Attaches the exemplar of a request, now that the collector has accepted its trace."""
    if isinstance(span, LeanSpan) and span.exemplar is not None:
        span.exemplar.attach()


def note_redis_node(host: str, port: int) -> None:
    """Sets the attributes of the current span that name the Redis node."""
    trace.get_current_span().set_attributes({"server.address": host, "server.port": port})


def _name_redis(span: Span, _client: object, args: Sequence[Any], _options: object) -> None:
    # those of the instrumentation contain nothing but the operation's name, since values are never recorded
    cast(LeanSpan, span).replace_attributes({"db.system.name": "redis", "db.operation.name": str(args[0])})
