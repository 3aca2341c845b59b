"""The cause of a failed request, for its span and its log line."""

from dataclasses import dataclass

MAX_CAUSES = 10


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request ends in 5xx."""

    reason: str
    error_type: str
    """Of low cardinality: an SQLSTATE, an exception's class, or a word such as `overload`."""
    dependency: str = ""
    """The dependency that failed, if any."""
    asked: bool | None = None
    """Whether the dependency was called. False: its circuit breaker was open."""
    error: BaseException | None = None
    """An unexpected error, to be logged with its stack trace."""

    def attributes(self) -> dict[str, str | bool]:
        """The span attributes, without the error."""
        found: dict[str, str | bool] = {"error.type": self.error_type, "failure.reason": self.reason}
        if self.dependency:
            found["failure.dependency"] = self.dependency
        if self.asked is not None:
            found["failure.asked"] = self.asked
        return found


def error_type(error: BaseException) -> str:
    """The value of the attribute `error.type`: the SQLSTATE, else the class of the innermost cause.

    https://opentelemetry.io/docs/specs/semconv/registry/attributes/error/#error-type
    """
    for _ in range(MAX_CAUSES):
        state = getattr(error, "sqlstate", None)
        if isinstance(state, str) and state:
            return state
        # SQLAlchemy's errors have the driver's error as `orig`
        cause = getattr(error, "orig", None) or error.__cause__
        if not isinstance(cause, BaseException):
            break
        error = cause
    return class_name(error)


def class_name(error: BaseException) -> str:
    """The class of an error, with its module unless it is a builtin."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
