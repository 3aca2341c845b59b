"""All that was measured in a run, as it grows."""

from msgspec import Struct, field

from lab.load.latencies import Latencies, merged
from lab.load.messages import RouteSample, Sample
from lab.load.service_levels import ServiceLevels

# Starts later than this mean that the generator, not the service, shapes the load.
LATE_SECONDS = 0.1
TOLERATED_SHARE = 0.05


class Second(Struct):
    """The `span` seconds before `elapsed`, about one. `reads` and `writes` are fine buckets (see `Latencies`)."""

    elapsed: float
    span: float
    phase: str
    target_rate: float
    offered: int
    ok: int
    errors: int
    users: int
    outstanding: int
    lag: float
    dispatch_lag: float
    reads: dict[int, int]
    writes: dict[int, int]


class Measured(Struct):
    """The sums over a run and its seconds. The preparing of tasks is counted apart: it is no part of the load."""

    prepared: Sample = field(default_factory=Sample)
    total: Sample = field(default_factory=Sample)
    latest: Sample = field(default_factory=Sample)
    seconds: list[Second] = field(default_factory=list)

    def add(self, sample: Sample) -> None:
        """Takes in a sample of about a second."""
        self.latest = sample
        by_kind = {True: Latencies(), False: Latencies()}
        for route in sample.routes:
            by_kind[route.method == "GET"].merge(route.latencies)
        self.seconds.append(
            Second(
                elapsed=sample.elapsed,
                span=sample.elapsed - (self.seconds[-1].elapsed if self.seconds else 0.0),
                phase=sample.phase,
                target_rate=sample.target_rate,
                offered=sample.offered,
                ok=sum(route.ok for route in sample.routes),
                errors=sum(route.errors for route in sample.routes),
                users=sample.users,
                outstanding=sample.outstanding,
                lag=sample.lag,
                dispatch_lag=sample.dispatch_lag,
                reads=by_kind[True].fine,
                writes=by_kind[False].fine,
            )
        )
        self.total.merge(_copy(sample))

    @property
    def answered(self) -> int:
        """Requests of the load that were answered or failed."""
        return sum(route.ok + route.errors for route in self.total.routes)

    @property
    def errors(self) -> int:
        """Requests of the load that failed and should not have."""
        return sum(route.errors for route in self.total.routes)

    @property
    def sent(self) -> int:
        """All requests that were sent, preparing included: what the service's counters should have risen by."""
        return self.answered + sum(route.ok + route.errors for route in self.prepared.routes)

    @property
    def latencies(self) -> Latencies:
        """Of all requests of the load."""
        return merged(route.latencies for route in self.total.routes)

    @property
    def service_levels(self) -> ServiceLevels:
        """Of all requests of the load."""
        return ServiceLevels.of(self.total.routes)

    @property
    def limit(self) -> str | None:
        """What in the generator bounded the load in more than a twentieth of the seconds, if anything."""
        held_up = [limit for second in self.seconds if (limit := limit_of(second))]
        if len(held_up) <= len(self.seconds) * TOLERATED_SHARE:
            return None
        return max(held_up, key=held_up.count)


def limit_of(sample: Sample | Second) -> str | None:
    """`generator` where it was too slow itself, `users` where no user was free, None where neither held it up."""
    if sample.dispatch_lag > LATE_SECONDS:
        return "generator"
    return "users" if sample.lag > LATE_SECONDS else None


def _copy(sample: Sample) -> Sample:
    fresh = Sample()
    for route in sample.routes:
        own = RouteSample(route.method, route.route)
        own.merge(route)
        fresh.routes.append(own)
    fresh.merge(Sample(offered=sample.offered, statuses=sample.statuses, failures=sample.failures))
    fresh.lag, fresh.dispatch_lag = sample.lag, sample.dispatch_lag
    return fresh
