"""The one middleware that times every request, traces it and writes its log line."""

import logging
import time
from typing import cast

import structlog
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from opentelemetry import context, trace

from service.telemetry.metrics import METHODS, ROUTES, Metrics
from service.telemetry.tracing import ERROR, SERVER_ERROR, Tracing, trace_id_of

log = structlog.stdlib.get_logger("service.request")
_routes = frozenset(ROUTES)
_methods = frozenset(METHODS)


class TelemetryMiddleware:
    """Outermost, so that what it measures is what the client waits for. `/metrics` itself is not counted."""

    def __init__(self, app: ASGIApp, metrics: Metrics, tracing: Tracing, slow_seconds: float) -> None:
        self._app = app
        self._metrics = metrics
        self._tracing = tracing
        self._slow_seconds = slow_seconds
        self._active = 0
        self._logs_all = logging.getLogger().isEnabledFor(logging.DEBUG)
        metrics.active_requests.set_function(lambda: self._active)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hands the request on, and notes what came of it."""
        if scope["type"] != "http" or scope["path"] == "/metrics":
            await self._app(scope, receive, send)
            return
        status = SERVER_ERROR

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = time.perf_counter()
        self._active += 1
        span = self._tracing.begin(scope) if self._tracing.is_on else None
        token = context.attach(trace.set_span_in_context(span)) if span is not None else None
        try:
            await self._app(scope, receive, send_and_note)
        finally:
            self._active -= 1
            seconds = time.perf_counter() - started
            if token is not None:
                context.detach(token)
            method = scope["method"] if scope["method"] in _methods else "_OTHER"
            route = route_of(scope)
            self._metrics.request(method, route, status).observe(seconds)
            if self._tracing.is_on:
                self._tracing.end(span, scope, method, route, status, seconds)
            if status >= SERVER_ERROR or seconds >= self._slow_seconds or self._logs_all:
                self._log(scope, method, route, status, seconds, span)

    def _log(
        self, scope: HTTPScope, method: str, route: str, status: int, seconds: float, span: trace.Span | None
    ) -> None:
        write = (
            log.error
            if status >= SERVER_ERROR
            else log.warning
            if seconds >= self._slow_seconds
            else log.debug
        )
        write(
            "request",
            method=method,
            route=route,
            status=status,
            duration_seconds=round(seconds, 6),
            trace_id=trace_id_of(scope),
            span_id=f"{span.get_span_context().span_id:016x}" if span else "",
            exc_info=scope.get(ERROR),
        )


def route_of(scope: HTTPScope) -> str:
    """The template of the request's route, one of `ROUTES`."""
    template = cast(str, scope.get("path_template", ""))
    # Litestar's templates carry the type of a parameter
    template = template.replace(":str}", "}")
    if template in _routes:
        return template
    return "/schema" if template.startswith("/schema") else "unmatched"
