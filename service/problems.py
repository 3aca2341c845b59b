"""Errors as RFC 9457 problem details: the one place where an exception becomes a response.

Our own instead of Litestar's `ProblemDetailsPlugin`, which could replace only the encoding: this also serves the
middleware outside of Litestar, adds the trace id, and records the failure for the span and the log line.
"""

from http import HTTPStatus
from typing import Any, cast

import msgspec
import structlog
from litestar import Request
from litestar.exceptions import HTTPException, InternalServerException, ValidationException
from litestar.response import Response

from service.asgi import Scope, Send
from service.infrastructure.breaker import Unavailable
from service.options import with_head
from service.telemetry.failure import Failure, error_type
from service.telemetry.request import failure_of, note_failure, trace_id_of

log = structlog.stdlib.get_logger("service.request")

MEDIA_TYPE = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of every error."""

    title: str
    status: int
    detail: str = ""
    trace_id: str = ""
    """The request's trace. It is recorded if the request failed (5xx) or was sampled."""
    errors: list[dict[str, Any]] = []
    """For invalid input: each field, and what is wrong with it."""
    type: str = "about:blank"


encode = msgspec.json.Encoder().encode


def problem(status: int, detail: str, trace_id: str, errors: list[dict[str, Any]] | None = None) -> bytes:
    """A problem as JSON."""
    return encode(Problem(HTTPStatus(status).phrase, status, detail, trace_id, errors or []))


async def send_problem(scope: Scope, send: Send, status: int, detail: str) -> None:
    """Sends a problem from outside of Litestar."""
    body = problem(status, detail, trace_id_of(scope))
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def answer(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The response to a request that raised `error`."""
    scope = cast(Scope, request.scope)
    headers: dict[str, str] = {}
    errors: list[dict[str, Any]] = []
    if isinstance(error, ValidationException):
        # 422 for an invalid body, 400 for an invalid path, query or header parameter
        errors = [dict(each) for each in error.extra or [] if isinstance(each, dict)]
        is_parameter = any(each.get("source") in ("query", "path", "header", "cookie") for each in errors)
        status, detail = (400 if is_parameter else 422), "the request does not fit what is asked for"
    elif isinstance(error, InternalServerException) and "disconnected" in error.detail:
        # the client has gone: nobody reads the response, and the service has not failed
        status, detail = 400, "the request ended before its body did"
    elif isinstance(error, HTTPException):
        status, detail = error.status_code, error.detail
        headers = dict(error.headers or {})
        if "allow" in headers:
            headers["allow"] = with_head(headers["allow"])
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            note_failure(scope, Failure(detail, error_type(error), error=error))
    elif isinstance(error, Unavailable):
        status, detail = 503, f"{error.dependency} does not answer"
        headers = {"Retry-After": "1"}
        kind = error_type(error) if error.asked else "circuit_breaker_open"
        note_failure(scope, Failure(error.reason, kind, error.dependency, error.asked))
    else:
        status, detail = 500, "the service failed; see the trace"
        note_failure(scope, Failure(str(error), error_type(error), error=error))
    body = problem(status, detail, trace_id_of(scope), errors)
    return Response(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def answer_and_log(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Like `answer`, and logs the failure. For a service without telemetry, whose middleware would log it."""
    response = answer(request, error)
    failure = failure_of(cast(Scope, request.scope))
    if failure is not None:
        log.error(
            "request",
            method=request.method,
            route=request.scope.get("path_template", ""),
            reason=failure.reason,
            dependency=failure.dependency,
            exc_info=failure.error,
        )
    return response
