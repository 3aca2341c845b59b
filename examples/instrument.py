"""A Litestar service of your own, instrumented so that the dashboards of Glasshouse show it.

`python examples/instrument.py`, then open http://127.0.0.1:8100/hello/you and http://127.0.0.1:8100/metrics.
"""

import os
import time

import uvicorn
from litestar import Litestar, Response, get
from litestar.exceptions import ServiceUnavailableException
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, Histogram, generate_latest

# name, labels and buckets are those of docs/telemetry.md; the request panels, rules and alerts need only this metric
REQUESTS = Histogram(
    "http_server_request_duration_seconds",
    "Duration of HTTP requests.",
    ["http_request_method", "http_route", "http_response_status_code"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 10),
)
# names this replica in the panels that compare replicas
Gauge("service_info", "This replica; always 1.", ["version", "replica"]).labels("1.0", "mine-1").set(1)


class Instrumented(ASGIMiddleware):
    """Measures each request from its start to the end of its response."""

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Passes the request on, and records its duration."""
        started, status = time.perf_counter(), 500

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await next_app(scope, receive, send_and_note)
        finally:
            # the route's template, never the raw path: each label value creates its own series
            labels = str(scope.get("method")), scope["path_template"], str(status)
            REQUESTS.labels(*labels).observe(time.perf_counter() - started)


@get("/hello/{name:str}")
async def hello(name: str) -> str:
    """Greets."""
    return f"hello, {name}"


@get("/broken")
async def broken() -> None:
    """Always fails, so that the error panels have data."""
    raise ServiceUnavailableException


@get("/metrics", sync_to_thread=False)
def metrics() -> Response[bytes]:
    """The metrics for Prometheus; in production on a port that clients cannot reach."""
    # Litestar adds the charset itself
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST.removesuffix("; charset=utf-8"))


app = Litestar([hello, broken, metrics], middleware=[Instrumented()])

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8100")), log_level="warning")
