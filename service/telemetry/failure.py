"""Why a request failed: what its span and its log line say."""

from dataclasses import dataclass

MOST_CAUSES = 10


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request ends in 5xx."""

    reason: str
    error_type: str
    """One of few values: an SQLSTATE, the class of an exception, or a word such as `overload`."""
    dependency: str = ""
    """The dependency that failed, if it was one."""
    asked: bool | None = None
    """Whether that dependency was asked. False: its circuit breaker was open."""
    error: BaseException | None = None
    """An error that nobody expected, to be told with its stack."""

    def attributes(self) -> dict[str, str | bool]:
        """As attributes of a span, without the error."""
        found: dict[str, str | bool] = {"error.type": self.error_type, "failure.reason": self.reason}
        if self.dependency:
            found["failure.dependency"] = self.dependency
        if self.asked is not None:
            found["failure.asked"] = self.asked
        return found


def error_type(error: BaseException) -> str:
    """What went wrong, as `error.type` wants it: the SQLSTATE, else the class of the innermost cause.

    https://opentelemetry.io/docs/specs/semconv/registry/attributes/error/#error-type
    """
    for _ in range(MOST_CAUSES):
        state = getattr(error, "sqlstate", None)
        if isinstance(state, str) and state:
            return state
        # `orig` is what the database's driver raised, inside an error of SQLAlchemy
        cause = getattr(error, "orig", None) or error.__cause__
        if not isinstance(cause, BaseException):
            break
        error = cause
    return class_name(error)


def class_name(error: BaseException) -> str:
    """The class of an error, with its module where it is not Python's own."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
