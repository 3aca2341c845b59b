"""The built-in profiles: a shape of arrivals over time, and a mix of requests."""

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
    """A built-in load. `rate` is its highest rate in arrivals a second, `seconds` its duration."""

    name: ClassVar[str]
    default_rate: ClassVar[float] = 25.0
    default_seconds: ClassVar[float] = 60.0
    traffic: ClassVar[Traffic] = Traffic(MIX)
    begins_cold: ClassVar[bool] = False
    is_search: ClassVar[bool] = False
    """Whether it searches for a rate: each round depends on the one before."""

    def __init__(self, rate: float | None = None, seconds: float | None = None) -> None:
        self.rate = self.default_rate if rate is None else rate
        self.seconds = self.default_seconds if seconds is None else seconds

    def phases(self) -> list[Phase]:
        """The phases of a profile with a fixed shape: by default one, at the full rate."""
        return [Phase(self.name, self.seconds, self.rate, self.rate)]


class Smoke(Profile):
    """A few requests of every kind, to check that everything works: 5 a second for 15 s."""

    name = "smoke"
    # in equal shares, since with `MIX` a few requests may include no DELETE
    traffic = Traffic(dict.fromkeys(MIX, 0.2))
    default_rate = 5.0
    default_seconds = 15.0


class Ramp(Profile):
    """The guide's test: from a tenth of the rate to all of it, 5 to 50 a second in 60 s."""

    name = "ramp"
    default_rate = 50.0

    def phases(self) -> list[Phase]:
        """One linear ramp."""
        return [Phase("ramp", self.seconds, self.rate / 10, self.rate)]


class Steady(Profile):
    """A constant rate, the profile for comparing two runs: 25 a second for 60 s."""

    name = "steady"


class Spike(Profile):
    """Ten times the usual rate for 20 s (or a third of the time), and back: does it recover?"""

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
    """A moderate rate for a long time, to find leaks: 20 a second for 10 min, or as long as `--time` says."""

    name = "soak"
    default_rate = 20.0
    default_seconds = 600.0


class HotKey(Profile):
    """Half of the reads are of one task: Zipf's law with the exponent 1.73, for which 1/ζ(s) is a half."""

    name = "hot-key"
    default_rate = 50.0
    traffic = Traffic({Operation.READ: 0.9, Operation.CHANGE: 0.1}, prepared=1000, skew=1.73)


class ColdCache(Profile):
    """Reads from a flushed cache: each task in turn, so that the first pass misses and the later ones hit."""

    name = "cold-cache"
    default_rate = 50.0
    traffic = Traffic({Operation.READ: 1.0}, prepared=1000, sweep=True)
    begins_cold = True


class WriteHeavy(Profile):
    """Four writes for each read: the cost of invalidation and of the database."""

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
    """One client sends 90 % of the traffic, four others the rest: only the first may be rate limited.

    The stack's `RATE_LIMIT` must be between the abuser's rate and that of each other client, by default 90 and 2.5
    requests a second: for example `RATE_LIMIT=10/second` or `1000/minute`.
    """

    name = "abuse"
    default_rate = 100.0
    default_seconds = 30.0
    traffic = Traffic(MIX, prepared=5, clients=(0.9, 0.025, 0.025, 0.025, 0.025))


class Breakpoint(Profile):
    """Raises the rate in steps until the service levels are missed twice in a row, then bisects for the highest rate.

    Each step has a fixed rate and is judged alone, with a pause after it. A step that misses the service levels is
    repeated, because a single bad step proves little on a shared machine. The rate rises by 30 % a step, and three
    bisections on a logarithmic scale narrow the result to 3.3 %. If the service answers nothing at all twice in a row,
    it has collapsed, and the search ends. `rate` is the upper bound of the search.
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
