"""The causes of failures in spans and log records."""

from typing import Any

import pytest
import sqlalchemy as sa
from litestar import Request
from litestar.exceptions import InternalServerException
from structlog.testing import capture_logs

from service.infrastructure.breaker import CLOSED, HALF_OPEN, OPEN, Breaker, Unavailable
from service.problems import answer
from service.telemetry.failure import error_type
from service.telemetry.request import failure_of


class DriverError(Exception):
    sqlstate = "53300"


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError(), "TimeoutError"),
        (caused(Unavailable("database", "late"), TimeoutError()), "TimeoutError"),
        (caused(Unavailable("database", "full"), sa.exc.DBAPIError("", None, DriverError())), "53300"),
        (Unavailable("redis", "gone"), "service.infrastructure.breaker.Unavailable"),
    ],
)
def test_an_error_is_named_by_its_cause(error: BaseException, kind: str) -> None:
    assert error_type(error) == kind


@pytest.mark.parametrize(
    ("error", "reason", "dependency", "asked"),
    [
        (InternalServerException("no encoder for this"), "no encoder for this", "", None),
        (Unavailable("database", "did not answer in time"), "did not answer in time", "database", True),
        (Unavailable("database", "not asked", asked=False), "not asked", "database", False),
        (KeyError("x"), "'x'", "", None),
    ],
)
def test_every_5xx_says_why(error: Exception, reason: str, dependency: str, asked: bool | None) -> None:
    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/tasks", "headers": []}
    assert answer(Request(scope), error).status_code >= 500  # type: ignore[arg-type]
    failure = failure_of(scope)
    assert failure is not None
    assert (failure.reason, failure.dependency, failure.asked) == (reason, dependency, asked)


def test_a_breaker_logs_once_that_it_opened_and_once_that_it_closed() -> None:
    states: list[int] = []
    breaker = Breaker("database", 2, 0, states.append)
    with capture_logs() as said:
        for _ in range(3):
            breaker.failed(breaker.permit, TimeoutError("too late"))
        # a failed retry is not logged again
        breaker.failed(breaker.admit(), TimeoutError("too late"))
        breaker.succeeded(breaker.admit())
    assert states == [OPEN, HALF_OPEN, OPEN, HALF_OPEN, CLOSED]
    assert [line["event"] for line in said] == ["circuit breaker opened", "circuit breaker closed"]
    assert (said[0]["dependency"], said[0]["reason"]) == ("database", "too late")
