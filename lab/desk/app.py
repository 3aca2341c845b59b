"""The HTTP API of `desk`: webhooks from Alertmanager, pages for people, metrics for Prometheus."""

import sqlite3
from typing import Any

import msgspec
from litestar import Litestar, MediaType, Request, Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from lab.desk.disk import Disk
from lab.desk.faults import Faults, fault_handlers
from lab.desk.fence import refuse_strangers
from lab.desk.gateway_log import GatewayLog
from lab.desk.inbox import Inbox, Message
from lab.desk.notified import Notified
from lab.desk.page import render
from lab.desk.runbooks import Runbooks
from lab.desk.verdicts import verdict_handlers
from lab.internal_errors import internal_error

MAX_BODY_BYTES = 2 << 20
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; form-action 'self'"
    ),
    "x-content-type-options": "nosniff",
}


def create_app(
    inbox: Inbox, log: GatewayLog, disk: Disk, runbooks: Runbooks, notified: Notified | None = None
) -> Litestar:
    """The ASGI app of `desk`."""

    faults, notified = Faults(), notified or Notified()

    @get("/", media_type=MediaType.HTML)
    async def page() -> str:
        return render(inbox)

    @get("/inbox.json")
    async def feed() -> dict[str, Any]:
        return {
            "heartbeat": inbox.heartbeat,
            "received": inbox.received,
            "notifications": [msgspec.to_builtins(each) for each in inbox.newest()],
        }

    @get("/runbooks", media_type=MediaType.HTML)
    async def list_runbooks() -> str:
        return runbooks.index()

    @get("/runbooks/{name:str}", media_type=MediaType.HTML)
    async def runbook(name: FromPath[str]) -> str:
        page = runbooks.page(name)
        if page is None:
            raise NotFoundException(detail=f"there is no runbook {name}")
        return page

    @post("/alerts", status_code=204)
    async def take_alerts(request: Request[Any, Any, Any]) -> None:
        message = _message(await request.body())
        inbox.put(message)
        notified.count(message)

    @post("/heartbeat", status_code=204)
    async def take_heartbeat(request: Request[Any, Any, Any]) -> None:
        if _message(await request.body()).status == "firing":
            inbox.beat()

    @get("/metrics")
    async def metrics() -> Response[bytes]:
        parts = (log, disk, faults)
        text = "".join(each.exposition() for each in parts) + await notified.exposition()
        return Response(text.encode(), media_type=METRICS_TYPE)

    return Litestar(
        [
            page,
            feed,
            list_runbooks,
            runbook,
            take_alerts,
            take_heartbeat,
            metrics,
            *fault_handlers(faults),
            *verdict_handlers(inbox),
        ],
        openapi_config=None,
        logging_config=None,
        before_request=refuse_strangers,
        request_max_body_size=MAX_BODY_BYTES,
        response_headers=SECURITY_HEADERS,
        exception_handlers={ValueError: _refuse, RecursionError: _refuse, sqlite3.Error: _cannot, 500: internal_error},
    )


def _message(body: bytes) -> Message:
    return msgspec.json.decode(body, type=Message)


def _refuse(_: Request[Any, Any, Any], error: Exception) -> Response[dict[str, str]]:
    """The body is not a valid message, or nested too deeply."""
    return Response({"detail": str(error)}, status_code=400)


def _cannot(_: Request[Any, Any, Any], error: Exception) -> Response[dict[str, str]]:
    """The inbox cannot be read or written: Alertmanager retries what it could not deliver."""
    return Response({"detail": f"the inbox's file: {error}"}, status_code=503)
