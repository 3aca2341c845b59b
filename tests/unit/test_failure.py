"""Why something failed, as spans and log lines name it."""

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from service.infrastructure.breaker import CLOSED, HALF_OPEN, OPEN, Breaker, Unavailable
from service.telemetry.failure import error_type


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


def test_a_breaker_says_once_that_it_opened_and_once_that_it_closed() -> None:
    states: list[int] = []
    breaker = Breaker("database", 2, 0, states.append)
    with capture_logs() as said:
        for _ in range(3):
            breaker.failed(breaker.permit, TimeoutError("too late"))
        # a try that fails again is no news
        breaker.failed(breaker.admit(), TimeoutError("too late"))
        breaker.succeeded(breaker.admit())
    assert states == [OPEN, HALF_OPEN, OPEN, HALF_OPEN, CLOSED]
    assert [line["event"] for line in said] == ["circuit breaker opened", "circuit breaker closed"]
    assert (said[0]["dependency"], said[0]["reason"]) == ("database", "too late")
