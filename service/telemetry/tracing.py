"""Which requests are traced, and their spans, named by OpenTelemetry's semantic conventions."""

import os
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any

from opentelemetry import trace
from opentelemetry.context import attach
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from redis.asyncio.cluster import RedisCluster as Client

from service import __version__
from service.asgi import Scope
from service.telemetry.export import SpanExport
from service.telemetry.instruments import Durations, Exemplar
from service.telemetry.metrics import Metrics
from service.telemetry.spans import NO_PARENT, RecordedSpan, SpanTracerProvider

# keys of a request's ASGI scope
TRACE_ID = "service.trace_id"
PARENT = "service.parent"
ERROR = "service.error"
SERVER_ERROR = 500
_is_recording = ContextVar("is_recording", default=False)
_NOTHING: AbstractContextManager[None] = nullcontext()
_propagator = TraceContextTextMapPropagator()


def trace_id_of(scope: Scope) -> str:
    """The request's trace id, 32 hexadecimal digits; made now, if nothing has asked for it yet."""
    if TRACE_ID not in scope:
        scope[TRACE_ID] = random.getrandbits(128)
    return f"{scope[TRACE_ID]:032x}"


class Tracing:
    """Decides before anything is built: a request that is not sampled makes no span, and enters no instrumentation.

    If it then fails or is slow, it is recorded when it ends, as one span with its true start.
    """

    def __init__(self, endpoint: str, sample_ratio: float, slow_seconds: float, replica: str, metrics: Metrics) -> None:
        self.is_on = bool(endpoint) and metrics.is_on
        self._ratio = sample_ratio
        self.slow_seconds = slow_seconds
        self._metrics = metrics
        self._decisions = metrics.traces
        if not self.is_on:
            return
        # the stable conventions for databases; read by the Redis instrumentation when it is set up
        os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "database,http")
        resource = Resource({"service.name": "todo", "service.version": __version__, "service.instance.id": replica})
        self._export = SpanExport(endpoint, resource, metrics)
        self._provider = SpanTracerProvider(self._export.add)
        self._tracer = self._provider.get_tracer("service", __version__)

    def begin(self, scope: Scope) -> RecordedSpan | None:
        """The server span of a request that is sampled as it begins, None for any other.

        A caller's `traceparent` (https://www.w3.org/TR/trace-context/) decides; without one, the ratio does.
        """
        parent = None
        for name, value in scope["headers"]:
            if name == b"traceparent":
                parent = _propagator.extract({"traceparent": value.decode("latin-1")})
                break
        if parent is None:
            if random.random() >= self._ratio:  # noqa: S311 (no secret)
                return None
            parent = NO_PARENT
        else:
            caller = trace.get_current_span(parent).get_span_context()
            if caller.is_valid:
                scope[TRACE_ID], scope[PARENT] = caller.trace_id, parent
                if not caller.trace_flags.sampled:
                    return None
            elif random.random() >= self._ratio:  # noqa: S311 (no secret)
                return None
        span = self._tracer.start_span(scope["method"], parent, SpanKind.SERVER)
        scope[TRACE_ID] = span.trace_id
        # uvicorn runs each request in a context of its own, so what is set here ends with it
        attach(trace.set_span_in_context(span))
        _is_recording.set(True)
        return span

    def end(
        self,
        span: RecordedSpan | None,
        scope: Scope,
        method: str,
        route: str,
        status: int,
        seconds: float,
        durations: Durations,
    ) -> RecordedSpan | None:
        """Ends a request's span, or makes it where the request failed or was slow, and returns it.

        `durations` is the histogram that has counted the request, and gets the trace as an exemplar.
        """
        if span is None:
            if status < SERVER_ERROR and seconds < self.slow_seconds:
                self._decisions["none"].inc()
                return None
            self._decisions["tail"].inc()
            span = self._tracer.start_span(
                method,
                scope.get(PARENT, NO_PARENT),
                SpanKind.SERVER,
                start_time=time.time_ns() - int(seconds * 1e9),
                trace_id=int(trace_id_of(scope), 16),
            )
        else:
            self._decisions["head"].inc()
        span.name = f"{method} {route}"
        span.attributes = {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": status,
            "url.scheme": scope["scheme"],
        }
        span.path = scope["path"]
        if status >= SERVER_ERROR:
            error = scope.get(ERROR)
            span.set_attribute("error.type", type(error).__name__ if error else str(status))
            span.set_status(StatusCode.ERROR)
            if error is not None:
                span.record_exception(error)
        span.exemplar = Exemplar(durations, seconds, span.trace_id, time.time_ns())
        span.end()
        return span

    def cache_span(self, operation: str) -> AbstractContextManager[object]:
        """A span around one use of the cache, where the request is recorded."""
        if not self.is_recording():
            return _NOTHING
        return self._tracer.start_as_current_span(f"cache {operation}", attributes={"cache.operation": operation})

    def client_span(self, name: str, attributes: Mapping[str, str]) -> AbstractContextManager[object]:
        """A span around a call of another server."""
        return self._tracer.start_as_current_span(name, kind=SpanKind.CLIENT, attributes=attributes)

    def is_recording(self) -> bool:
        """Whether the request that is being handled here makes spans."""
        return _is_recording.get()

    def close(self) -> None:
        """Sends what is queued."""
        if self.is_on:
            self._export.close()

    def instrument_redis(self, client: Client) -> None:
        """Puts OpenTelemetry's Redis instrumentation in front of one client."""
        RedisInstrumentor.instrument_client(client, tracer_provider=self._provider, request_hook=_name_redis)


def _name_redis(span: Span, _client: object, args: Sequence[Any], _options: object) -> None:
    span.set_attributes({"db.system.name": "redis", "db.operation.name": str(args[0]), "peer.service": "redis"})
