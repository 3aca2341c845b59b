"""The rounds of a load: a single one with fixed phases, or steps that search for the highest rate."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar

from lab.load.arrivals import Phase


@dataclass(frozen=True)
class Outcome:
    """The result of a round: whether it met the service levels, and how many expected responses a second it had."""

    met: bool
    achieved: float


Rounds = Generator[list[Phase], Outcome, None]


class Fixed:
    """One round with fixed phases."""

    held: float | None = None
    collapsed: float | None = None

    def __init__(self, phases: list[Phase]) -> None:
        self._phases = phases

    def rounds(self) -> Rounds:
        """The one round."""
        yield self._phases


class BreakpointSearch:
    """Steps of a fixed rate up to `rate`, in about `seconds`. See `lab.load.profiles.Breakpoint`."""

    first_rate: ClassVar[float] = 40.0
    step_seconds: ClassVar[float] = 5.0
    growth: ClassVar[float] = 1.3
    bisections: ClassVar[int] = 3

    def __init__(self, rate: float, seconds: float) -> None:
        self.held: float | None = None
        """The highest rate so far at which the service levels were met."""
        self.collapsed: float | None = None
        """The rate at which the service stopped responding."""
        self._rate = rate
        self._left = seconds

    def rounds(self) -> Rounds:
        """Yields the phases of each round, and is sent its result."""
        rate = min(self.first_rate, self._rate)
        while self._left > 0 and (yield from self._holds(rate)):
            self.held = rate
            if rate >= self._rate:
                return
            rate = min(rate * self.growth, self._rate)
        missed = rate
        for _ in range(self.bisections):
            if self.held is None or self.collapsed is not None or self._left <= 0:
                return
            middle = (self.held * missed) ** 0.5
            if (yield from self._holds(middle)):
                self.held = middle
            else:
                missed = middle

    def _holds(self, rate: float) -> Generator[list[Phase], Outcome, bool]:
        answered = 0.0
        for _ in range(2):
            self._left -= self.step_seconds
            outcome = yield [Phase(f"{rate:.0f}/s", self.step_seconds, rate, rate)]
            if outcome.met:
                return True
            answered = outcome.achieved
        if not answered:
            self.collapsed = rate
        return False


Search = Fixed | BreakpointSearch


def search_of(phases: list[Phase] | None, rate: float, seconds: float) -> Search:
    """One round of `phases`; if there are none, the search for the highest rate."""
    return BreakpointSearch(rate, seconds) if phases is None else Fixed(phases)
