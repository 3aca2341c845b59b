"""Parses and evaluates conditions such as `p99<250ms` and `errors>5% for 10s`."""

import operator
import re
from collections.abc import Callable, Sequence

from msgspec import Struct

from lab.runs.check import Check
from lab.runs.second import Second, latencies_of

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999, "longest": 1.0}
SHARES = ("errors", "dropped")
COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
UNITS = {"ms": 0.001, "s": 1.0, "%": 0.01, "/s": 1.0, "": 1.0}
FORM = re.compile(r"\s*([a-z0-9.]+)\s*(<=|>=|<|>)\s*(\d+(?:\.\d+)?)\s*(ms|s|%|/s)?\s*(?:for\s+(\d+(?:\.\d+)?)\s*s)?\s*")
NAMES = (*QUANTILES, *SHARES, "rate", "lag")
MILLISECONDS_BELOW = 1.0


class ConditionError(ValueError):
    """An invalid condition; the message gives the syntax."""


class Condition(Struct, frozen=True):
    """`name` compared with `value`: a latency or a lag in seconds, a share from 0 to 1, or answers a second."""

    text: str
    name: str
    comparison: str
    value: float
    hold_seconds: float = 0.0

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """Parses a condition. Raises `ConditionError`."""
        found = FORM.fullmatch(text)
        if not found or found[1] not in NAMES or not _fits(found[1], found[4] or ""):
            raise ConditionError(
                f"{text!r}: must be like 'p99<250ms', 'errors>5% for 10s' or 'rate>=100/s'; "
                f"a latency and lag need ms or s, a share %; the names are {', '.join(NAMES)}"
            )
        return cls(text.strip(), found[1], found[2], float(found[3]) * UNITS[found[4] or ""], float(found[5] or 0))

    def holds(self, seconds: Sequence[Second]) -> bool:
        """Whether it holds for these seconds together."""
        return COMPARE[self.comparison](self.measure(seconds), self.value)

    def measure(self, seconds: Sequence[Second]) -> float:
        """The measured value. While no request ends, a latency is at least the age of the oldest outstanding one."""
        ended = sum(each.ended for each in seconds)
        if self.name in QUANTILES:
            oldest = 0.0 if ended else max((each.oldest for each in seconds), default=0.0)
            return max(oldest, latencies_of(seconds).quantile(QUANTILES[self.name]))
        if self.name == "lag":
            return max((each.lag for each in seconds), default=0.0)
        if self.name == "rate":
            span = sum(each.span for each in seconds)
            return sum(each.answered for each in seconds) / span if span else 0.0
        dropped = sum(each.dropped for each in seconds)
        bad = dropped if self.name == "dropped" else dropped + sum(each.failed for each in seconds)
        return bad / ended if ended else 0.0

    def shown(self, value: float) -> str:
        """A value with its unit."""
        if self.name in SHARES:
            return f"{value:.2%}"
        if self.name == "rate":
            return f"{value:.1f}/s"
        return f"{value * 1000:.1f} ms" if value < MILLISECONDS_BELOW else f"{value:.2f} s"

    def check(self, seconds: Sequence[Second]) -> Check:
        """The result of a condition as a threshold of the whole run."""
        return Check(self.text, self.shown(self.measure(seconds)), self.text, self.holds(seconds))


class Abort:
    """A condition that ends the load when it has held in every second of its duration."""

    def __init__(self, condition: Condition) -> None:
        self._condition = condition
        self._since: float | None = None

    def reason(self, second: Second) -> str | None:
        """Why to end the load after this second; None to go on."""
        if not self._condition.holds([second]):
            self._since = None
            return None
        if self._since is None:
            self._since = second.elapsed - second.span
        if second.elapsed - self._since < self._condition.hold_seconds:
            return None
        return f"aborted: {self._condition.text} (last {self._condition.shown(self._condition.measure([second]))})"


def _fits(name: str, unit: str) -> bool:
    if name in QUANTILES or name == "lag":
        return unit in ("ms", "s")
    return unit == "%" if name in SHARES else unit in ("", "/s")
