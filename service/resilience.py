"""What keeps a fault in one place from spreading: circuit breakers, and a bound on concurrent work."""

import time
from collections.abc import Callable

import structlog
from purgatory.domain.model import Context

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
_STATES = {"closed": CLOSED, "half-opened": HALF_OPEN, "opened": OPEN}


class Breaker:
    """A circuit breaker: `failures` in a row open it, and after `open_seconds` one try decides.

    The states and their changes are purgatory's; this drives its model directly, since its own context
    manager goes through an asynchronous message bus at each call.
    """

    def __init__(self, name: str, failures: int, open_seconds: float, changed: Callable[[int], None]) -> None:
        """`changed` is told of each new state."""
        self.name = name
        self._context = Context(name, threshold=failures, ttl=open_seconds)
        self._open_seconds = open_seconds
        self._changed = changed
        self._trying = False
        self._told = CLOSED
        self._reason = ""
        self._is_said_open = False

    @property
    def state(self) -> int:
        """CLOSED, HALF_OPEN or OPEN."""
        return _STATES[self._context.state]

    def check(self) -> None:
        """Lets a call through, or raises `Unavailable`. Half open, one call at a time is let through."""
        if self._context.state == "closed":
            return
        opened_at = self._context.opened_at
        if self._trying or (opened_at is not None and time.time() <= opened_at + self._open_seconds):
            raise Unavailable(self.name, "not asked, it failed just now", asked=False)
        self._trying = True
        self._context.handle_new_request()
        self._note()

    def succeeded(self) -> None:
        """A call that was let through came back."""
        self._trying = False
        self._context.handle_end_request()
        self._note()

    def failed(self, error: BaseException) -> None:
        """A call that was let through failed."""
        self._trying = False
        self._reason = str(error) or type(error).__name__
        if self._context.state != "opened":
            self._context.handle_exception(error)
        self._note()

    def _note(self) -> None:
        self._context.messages.clear()
        if self.state != self._told:
            self._told = self.state
            self._changed(self.state)
            self._say()

    def _say(self) -> None:
        """One line when it opens and one when it closes, and none for the tries between."""
        if self.state == OPEN and not self._is_said_open:
            self._is_said_open = True
            log.warning("circuit breaker opened", dependency=self.name, reason=self._reason)
        elif self.state == CLOSED and self._is_said_open:
            self._is_said_open = False
            log.info("circuit breaker closed", dependency=self.name)
