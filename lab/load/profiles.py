"""The profiles: each a shape of arrivals over time and a kind of traffic."""

from typing import ClassVar

from lab.load.arrivals import Phase
from lab.load.requests import Operation, Traffic

MIX = {
    Operation.CREATE: 0.12,
    Operation.LIST: 0.15,
    Operation.READ: 0.55,
    Operation.CHANGE: 0.10,
    Operation.DELETE: 0.08,
}


class Profile:
    """A load to put on the stack. `rate` is its highest rate in arrivals a second, `seconds` its length."""

    name: ClassVar[str]
    default_rate: ClassVar[float] = 25.0
    default_seconds: ClassVar[float] = 60.0
    traffic: ClassVar[Traffic] = Traffic(MIX)
    begins_cold: ClassVar[bool] = False
    is_search: ClassVar[bool] = False
    """Whether it looks for a rate, so that its rounds follow from what comes of them."""

    def __init__(self, rate: float | None = None, seconds: float | None = None) -> None:
        self.rate = self.default_rate if rate is None else rate
        self.seconds = self.default_seconds if seconds is None else seconds

    def phases(self) -> list[Phase]:
        """The phases of a profile whose shape is known beforehand: by default one, at the full rate."""
        return [Phase(self.name, self.seconds, self.rate, self.rate)]


class Smoke(Profile):
    """A few requests of every kind, to see that all is wired: 5 a second for 15 s."""

    name = "smoke"
    default_rate = 5.0
    default_seconds = 15.0


class Ramp(Profile):
    """The guide's test: from a tenth of the rate to all of it, 5 to 50 a second in 60 s."""

    name = "ramp"
    default_rate = 50.0

    def phases(self) -> list[Phase]:
        """One straight line."""
        return [Phase("ramp", self.seconds, self.rate / 10, self.rate)]


class Steady(Profile):
    """The same rate all the time: the one to compare two runs with. 25 a second for 60 s."""

    name = "steady"


class Spike(Profile):
    """Ten times the ordinary rate for 20 s (or a third of the time), and back: does it recover?"""

    name = "spike"
    default_rate = 100.0

    def phases(self) -> list[Phase]:
        """Calm, spike, calm."""
        burst = min(20.0, self.seconds / 3)
        calm = (self.seconds - burst) / 2
        low = self.rate / 10
        return [
            Phase("before", calm, low, low),
            Phase("spike", burst, self.rate, self.rate),
            Phase("after", calm, low, low),
        ]


class Soak(Profile):
    """A moderate rate for long, to find what leaks or fills up: 20 a second for 10 min, or as long as `--time` says."""

    name = "soak"
    default_rate = 20.0
    default_seconds = 600.0


class HotKey(Profile):
    """One task takes half of the reads: Zipf's law with the exponent 1.73, at which 1/ζ(s) is a half."""

    name = "hot-key"
    default_rate = 50.0
    traffic = Traffic({Operation.READ: 0.9, Operation.CHANGE: 0.1}, prepared=1000, skew=1.73)


class ColdCache(Profile):
    """Reads of an emptied cache: each task in turn, so that the first pass misses always and the next hit."""

    name = "cold-cache"
    default_rate = 50.0
    traffic = Traffic({Operation.READ: 1.0}, prepared=1000, sweep=True)
    begins_cold = True


class WriteHeavy(Profile):
    """Four writes to one read: what invalidation and the database cost."""

    name = "write-heavy"
    traffic = Traffic(
        {
            Operation.CREATE: 0.35,
            Operation.LIST: 0.05,
            Operation.READ: 0.15,
            Operation.CHANGE: 0.30,
            Operation.DELETE: 0.15,
        }
    )


class Abuse(Profile):
    """One client sends nine tenths of the traffic, beside four that behave: only the one may be rejected.

    The stack's `RATE_LIMIT` must lie between what the abuser and what each of the others sends: by default 90 and
    2.5 requests a second, so `RATE_LIMIT=10/second` or `1000/minute` will do.
    """

    name = "abuse"
    default_rate = 100.0
    default_seconds = 30.0
    traffic = Traffic(MIX, prepared=5, clients=(0.9, 0.025, 0.025, 0.025, 0.025))


class Breakpoint(Profile):
    """Rises in steps until the service levels break twice in a row, then halves the gap: says at which rate.

    Steps of a fixed rate with a pause between, each judged alone; a step that breaks is tried again, since on a
    shared machine a single bad one says little. The rate rises by 30 % a step, and three bisections on a logarithmic
    scale narrow the answer to 3.3 %. A service that answers nothing at all twice in a row has collapsed, and is not
    asked any more. `rate` bounds the search.
    """

    name = "breakpoint"
    default_rate = 2000.0
    default_seconds = 300.0
    traffic = Traffic({Operation.READ: 0.8, Operation.CREATE: 0.1, Operation.CHANGE: 0.1})
    is_search = True


PROFILES: dict[str, type[Profile]] = {
    each.name: each
    for each in (
        Smoke,
        Ramp,
        Steady,
        Spike,
        Soak,
        HotKey,
        ColdCache,
        WriteHeavy,
        Abuse,
        Breakpoint,
    )
}
