"""A circuit breaker: calls to a dependency that failed several times in a row are refused until a trial succeeds."""

import time
from collections.abc import Callable

import structlog

log = structlog.stdlib.get_logger("service.breaker")


class Unavailable(Exception):  # noqa: N818 (it reads as what happened)
    """A dependency that did not answer, or that is not asked because its breaker is open."""

    def __init__(self, dependency: str, reason: str, *, asked: bool = True) -> None:
        super().__init__(f"{dependency}: {reason}")
        self.dependency = dependency
        self.reason = reason
        self.asked = asked


CLOSED, HALF_OPEN, OPEN = 0, 1, 2
STATE_NAMES = {CLOSED: "closed", HALF_OPEN: "half_open", OPEN: "open"}


class Breaker:
    """`failures` in a row open it; after `open_seconds` one call, the trial, decides.

    Each call is admitted under a number, the permit, and reports how it ended under that number. What reports under
    an earlier permit than the present one (a call from before the breaker opened) changes nothing: only the trial
    closes or reopens it. Time is monotonic, so that a wall clock that is set changes nothing either.
    """

    def __init__(
        self,
        name: str,
        failures: int,
        open_seconds: float,
        changed: Callable[[int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`changed` is told of each new state."""
        self.name = name
        self._threshold = failures
        self._open_seconds = open_seconds
        self._changed = changed
        self._clock = clock
        self._failures = 0
        self._opened_at = 0.0
        self._is_said_open = False
        self.state = CLOSED
        """CLOSED, HALF_OPEN (a trial is under way) or OPEN."""
        self.permit = 0
        """The number under which calls are admitted while it is closed."""

    def admit(self) -> int:
        """The permit of a call that may be made now. Raises `Unavailable` where it may not."""
        if self.state == CLOSED:
            return self.permit
        if self.state == HALF_OPEN or self._clock() < self._opened_at + self._open_seconds:
            raise Unavailable(self.name, "not asked, it failed just now", asked=False)
        self.permit += 1
        self._become(HALF_OPEN)
        return self.permit

    def succeeded(self, permit: int) -> None:
        """The call with this permit was answered."""
        if permit != self.permit or self.state == OPEN:
            return
        self._failures = 0
        if self.state == HALF_OPEN:
            self._close()

    def failed(self, permit: int, error: BaseException) -> None:
        """The call with this permit was not answered."""
        if permit != self.permit or self.state == OPEN:
            return
        self._failures += 1
        if self.state == HALF_OPEN or self._failures >= self._threshold:
            self._opened_at = self._clock()
            self._become(OPEN, str(error) or type(error).__name__)

    def abandoned(self, permit: int) -> None:
        """The call with this permit was cancelled, which says nothing of the dependency: the next call is a trial."""
        if permit == self.permit and self.state == HALF_OPEN:
            self._become(OPEN)

    def answered(self) -> None:
        """The dependency answered a ping, which closes an open breaker. It does not hide failures of calls."""
        if self.state != CLOSED:
            self._close()

    def _close(self) -> None:
        # calls from before are under an earlier permit, so that their late failures do not count
        self.permit += 1
        self._failures = 0
        self._become(CLOSED)

    def _become(self, state: int, reason: str = "") -> None:
        self.state = state
        self._changed(state)
        # one line when it opens and one when it closes, and none for the trials between
        if state == OPEN and not self._is_said_open:
            self._is_said_open = True
            log.warning("circuit breaker opened", dependency=self.name, reason=reason)
        elif state == CLOSED and self._is_said_open:
            self._is_said_open = False
            log.info("circuit breaker closed", dependency=self.name)
