"""What the generator's processes and the command tell each other, as JSON: one message a line."""

import msgspec
from msgspec import Struct, field

from lab.load.arrivals import Phase
from lab.load.latencies import Latencies


class Plan(Struct, frozen=True, tag="plan"):
    """To the generator, once: what to do. `tasks` are the id and the ETag of each prepared task."""

    profile: str
    rate: float
    seconds: float
    users: int
    seed: int
    host: str
    tasks: list[tuple[str, str]]


class Round(Struct, frozen=True, tag="round"):
    """From the conductor to each worker: send your share of the arrivals of these phases, beginning now."""

    plan: Plan
    number: int
    began: float
    phases: list[Phase]
    worker: int
    workers: int


class RouteSample(Struct):
    """What came of the requests of one method and route. `latencies` has all of them, errors too."""

    method: str
    route: str
    ok: int = 0
    errors: int = 0
    latencies: Latencies = field(default_factory=Latencies)

    def merge(self, other: "RouteSample") -> None:
        """Adds another sample of the same method and route."""
        self.ok += other.ok
        self.errors += other.errors
        self.latencies.merge(other.latencies)


class Sample(Struct, tag="sample"):
    """What happened since the sample before it, in one worker or in all.

    `lag` is how late the latest start was (seconds), and `dispatch_lag` how much of it was the generator's own doing,
    the rest being the wait for a free user. `outstanding` counts requests that are due and not yet answered.
    """

    elapsed: float = 0.0
    round: int = 0
    phase: str = ""
    target_rate: float = 0.0
    offered: int = 0
    routes: list[RouteSample] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    lag: float = 0.0
    dispatch_lag: float = 0.0
    users: int = 0
    outstanding: int = 0
    finished: bool = False

    def merge(self, other: "Sample") -> None:
        """Adds what another worker counted, or the same one later. Time and phase stay as they are."""
        self.offered += other.offered
        known = {(each.method, each.route): each for each in self.routes}
        for route in other.routes:
            mine = known.get((route.method, route.route))
            if mine is None:
                self.routes.append(route)
            else:
                mine.merge(route)
        for mine_counts, others in ((self.statuses, other.statuses), (self.failures, other.failures)):
            for name, count in others.items():
                mine_counts[name] = mine_counts.get(name, 0) + count
        self.lag = max(self.lag, other.lag)
        self.dispatch_lag = max(self.dispatch_lag, other.dispatch_lag)


class End(Struct, frozen=True, tag="end"):
    """The generator's last word: the rate that the profile found, if it looked for one."""

    found: float | None = None


class Failed(Struct, frozen=True, tag="failed"):
    """The generator cannot go on, and why."""

    reason: str


FromGenerator = Sample | End | Failed

encode = msgspec.json.Encoder().encode
decode_plan = msgspec.json.Decoder(Plan).decode
decode_round = msgspec.json.Decoder(Round).decode
decode_sample = msgspec.json.Decoder(Sample).decode
decode_from_generator: msgspec.json.Decoder[FromGenerator] = msgspec.json.Decoder(FromGenerator)
