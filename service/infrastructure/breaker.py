"""A circuit breaker: after several failures in a row, calls to a dependency are refused until a trial call succeeds."""

import time
from collections.abc import Callable

import structlog

log = structlog.stdlib.get_logger("service.breaker")


class Unavailable(Exception):  # noqa: N818 (it reads as what happened)
    """A dependency failed, or was not called because its circuit breaker is open (`asked` is False then)."""

    def __init__(self, dependency: str, reason: str, *, asked: bool = True) -> None:
        super().__init__(f"{dependency}: {reason}")
        self.dependency = dependency
        self.reason = reason
        self.asked = asked


CLOSED, HALF_OPEN, OPEN = 0, 1, 2
STATE_NAMES = {CLOSED: "closed", HALF_OPEN: "half_open", OPEN: "open"}


class Breaker:
    """Opens after `failures` in a row; after `open_seconds` it is half-open, and one trial call decides.

    Each call is admitted with a number, its permit, and reports its outcome with that number. Outcomes of calls that
    were admitted before the breaker last changed are ignored, so that only the trial closes or reopens it. The clock is
    monotonic: setting the wall clock has no effect.
    """

    def __init__(
        self,
        name: str,
        failures: int,
        open_seconds: float,
        changed: Callable[[int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`changed` is called with each new state."""
        self.name = name
        self._threshold = failures
        self._open_seconds = open_seconds
        self._changed = changed
        self._clock = clock
        self._failures = 0
        self._opened_at = 0.0
        self._is_logged_open = False
        self.state = CLOSED
        """CLOSED, HALF_OPEN (a trial call is running) or OPEN."""
        self.permit = 0
        """The current permit."""

    def admit(self) -> int:
        """The permit for a call. Raises `Unavailable` if no call may be made now."""
        if self.state == CLOSED:
            return self.permit
        if self.state == HALF_OPEN or self._clock() < self._opened_at + self._open_seconds:
            raise Unavailable(self.name, "not asked, it failed just now", asked=False)
        self.permit += 1
        self._become(HALF_OPEN)
        return self.permit

    def succeeded(self, permit: int) -> None:
        """Reports that the call with this permit succeeded."""
        if permit != self.permit or self.state == OPEN:
            return
        self._failures = 0
        if self.state == HALF_OPEN:
            self._close()

    def failed(self, permit: int, error: BaseException) -> None:
        """Reports that the call with this permit failed."""
        if permit != self.permit or self.state == OPEN:
            return
        self._failures += 1
        if self.state == HALF_OPEN or self._failures >= self._threshold:
            self._opened_at = self._clock()
            self._become(OPEN, str(error) or type(error).__name__)

    def abandoned(self, permit: int) -> None:
        """Reports that the call with this permit was cancelled. That says nothing about the dependency.

        If it was the trial, the next call is one.
        """
        if permit == self.permit and self.state == HALF_OPEN:
            self._become(OPEN)

    def answered(self) -> None:
        """Reports a successful ping, which closes a breaker that is not closed; it does not reset the failure count."""
        if self.state != CLOSED:
            self._close()

    def _close(self) -> None:
        # a new permit, so that late failures of earlier calls do not count
        self.permit += 1
        self._failures = 0
        self._become(CLOSED)

    def _become(self, state: int, reason: str = "") -> None:
        self.state = state
        self._changed(state)
        # one log line when it opens and one when it closes, none for the trials in between
        if state == OPEN and not self._is_logged_open:
            self._is_logged_open = True
            log.warning("circuit breaker opened", dependency=self.name, reason=reason)
        elif state == CLOSED and self._is_logged_open:
            self._is_logged_open = False
            log.info("circuit breaker closed", dependency=self.name)
