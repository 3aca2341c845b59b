"""The telemetry middleware: measures every request, traces it, and logs it if it failed or was slow."""

import logging
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import structlog

from service.asgi import App, Message, Receive, Scope, Send
from service.telemetry.failure import Failure, error_type
from service.telemetry.instruments import Durations
from service.telemetry.metrics import METHODS, ROUTES, UNMATCHED, Metrics
from service.telemetry.request import enter, failure_of, note_failure, span_id_of, trace_id_of
from service.telemetry.tracing import SERVER_ERROR, Tracing

log = structlog.stdlib.get_logger("service.request")
_routes = frozenset(ROUTES)
_methods = frozenset(METHODS)


class TelemetryMiddleware:
    """Measures the whole time that the client waits: only `service.requests.reading` is outside of it."""

    def __init__(
        self,
        app: App,
        metrics: Metrics,
        tracing: Tracing,
        slow_seconds: float,
        template_of: Callable[[Scope], str],
    ) -> None:
        """`template_of` finds the route of a request with a method that the route does not have (405)."""
        self._app = app
        self._metrics = metrics
        self._tracing = tracing
        self._slow_seconds = slow_seconds
        self._template_of = template_of
        self._active = 0
        self._seen: dict[tuple[str, str, int], tuple[str, str, Durations]] = {}
        self._logs_all = logging.getLogger().isEnabledFor(logging.DEBUG)
        metrics.active_requests.set_function(lambda: self._active)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, and records its outcome."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = SERVER_ERROR

        # for speed: returns the server's coroutine instead of wrapping it in another
        def send_and_note(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if span is not None:
                    message["headers"] = [*message["headers"], _server_timing(scope)]
            return send(message)

        started = time.perf_counter()
        self._active += 1
        enter(scope)
        span = self._tracing.begin(scope) if self._tracing.is_on else None
        try:
            await self._app(scope, receive, send_and_note)
        except Exception as error:
            # no handler has turned it into a response; the server responds 500
            note_failure(scope, Failure(str(error), error_type(error), error=error))
            raise
        finally:
            self._active -= 1
            seconds = time.perf_counter() - started
            method, route, duration = self._labelled(scope, status)
            duration.observe(seconds)
            if self._tracing.is_on:
                self._tracing.end(scope, method, route, status, seconds, duration)
            if status >= SERVER_ERROR or seconds >= self._slow_seconds or self._logs_all:
                self._log(scope, method, route, status, seconds)

    def _labelled(self, scope: Scope, status: int) -> tuple[str, str, Durations]:
        """The request's method and route as label values, and its histogram."""
        template: str = scope.get("path_template", "")
        if status == HTTPStatus.METHOD_NOT_ALLOWED and not template:
            template = self._template_of(scope)
        method: str = scope["method"]
        known = self._seen.get((method, template, status))
        if known is not None:
            return known
        method = method if method in _methods else "_OTHER"
        route = route_of(template)
        found = method, route, self._metrics.request(method, route, status)
        # templates are few, but clients may send any method
        if method != "_OTHER":
            self._seen[method, template, status] = found
        return found

    def _log(self, scope: Scope, method: str, route: str, status: int, seconds: float) -> None:
        write = log.error if status >= SERVER_ERROR else log.warning if seconds >= self._slow_seconds else log.debug
        fields: dict[str, object] = {"method": method, "route": route, "status": status}
        fields["duration_seconds"] = round(seconds, 6)
        failure = failure_of(scope) if status >= SERVER_ERROR else None
        if failure is not None:
            fields |= {"reason": failure.reason, "error_type": failure.error_type}
            if failure.dependency:
                fields["dependency"] = failure.dependency
            if failure.asked is not None:
                fields["asked"] = failure.asked
        write("request", **fields, exc_info=failure and failure.error)


def _server_timing(scope: Scope) -> tuple[bytes, bytes]:
    """The Server-Timing header with the trace of a sampled request (https://www.w3.org/TR/server-timing/)."""
    return b"server-timing", f'traceparent;desc="00-{trace_id_of(scope)}-{span_id_of(scope)}-01"'.encode()


def route_of(template: str) -> str:
    """The value of the label `http_route` for Litestar's template of a route: one of `ROUTES`."""
    # Litestar's templates contain the types of parameters
    template = template.replace(":str}", "}")
    if template in _routes:
        return template
    return "/schema" if template.startswith("/schema") else UNMATCHED
