"""The ASGI app for Prometheus: `/metrics`, on a port of its own that clients of the API cannot reach."""

from collections.abc import Iterable
from http import HTTPStatus

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from service.asgi import Receive, Scope, Send

PATH = "/metrics"
PLAIN = "text/plain; charset=utf-8"


class MetricsApp:
    """Serves `/metrics`: Prometheus' text format, or OpenMetrics with exemplars if the scraper accepts it.

    It runs on the event loop that serves requests, because the counters of `instruments.py` have no locks. And if the
    loop hangs, the scrape fails too, so that the replica is seen as down.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one scrape. Other paths are 404, other methods 405."""
        if scope["path"] != PATH:
            await _answer(scope, send, HTTPStatus.NOT_FOUND, b"metrics are at /metrics\n", PLAIN)
        elif scope["method"] not in ("GET", "HEAD"):
            allow = [(b"allow", b"GET, HEAD")]
            await _answer(scope, send, HTTPStatus.METHOD_NOT_ALLOWED, b"metrics can only be read\n", PLAIN, allow)
        else:
            accept = b",".join(value for name, value in scope["headers"] if name == b"accept")
            encoder, content_type = choose_encoder(accept.decode("latin-1"))
            await _answer(scope, send, HTTPStatus.OK, encoder(self._registry), content_type)


async def _answer(
    scope: Scope,
    send: Send,
    status: HTTPStatus,
    body: bytes,
    content_type: str,
    more: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    headers = [(b"content-type", content_type.encode()), (b"content-length", b"%d" % len(body)), *more]
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body, "more_body": False})
