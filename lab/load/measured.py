"""The measurements of a run in progress."""

from msgspec import Struct, field

from lab.load.limits import limit_of
from lab.load.messages import Sample
from lab.runs.histogram import Histogram
from lab.runs.latencies import Latencies, merged
from lab.runs.second import Second
from lab.runs.service_levels import ServiceLevels
from lab.runs.tally import Failure, Tally, service_levels


class Measured(Struct):
    """The totals of a run, and its seconds. Requests of the preparation are not included."""

    total: Sample = field(default_factory=Sample)
    latest: Sample = field(default_factory=Sample)
    seconds: list[Second] = field(default_factory=list)

    def add(self, sample: Sample) -> None:
        """Adds a sample of about one second."""
        self.latest = sample
        by_kind = {True: Histogram(), False: Histogram()}
        for tally in sample.tallies:
            by_kind[tally.method == "GET"].merge(tally.latencies.histogram)
        self.seconds.append(
            Second(
                elapsed=sample.elapsed,
                span=sample.elapsed - (self.seconds[-1].elapsed if self.seconds else 0.0),
                phase=sample.phase,
                target_rate=sample.target_rate,
                offered=sample.offered,
                answered=sum(each.answered for each in sample.tallies),
                failed=sum(each.failed for each in sample.tallies),
                dropped=sum(each.dropped for each in sample.tallies),
                users=sample.users,
                waiting=sample.waiting,
                outstanding=sample.outstanding,
                lag=sample.lag,
                dispatch_lag=sample.dispatch_lag,
                late_start=sample.late_start,
                late_dispatch=sample.late_dispatch,
                oldest=sample.oldest,
                cpu=sample.cpu,
                reads=by_kind[True],
                writes=by_kind[False],
            )
        )
        self.total.merge(sample)

    def close(self) -> None:
        """Called when the generator has ended: requests without a reported outcome count as failed."""
        unreported = self.total.offered - sum(each.ended for each in self.total.tallies)
        if unreported > 0:
            oldest = self.latest.oldest
            self.total.tallies.append(Tally("-", "lost generator", failed=unreported))
            example = f"the oldest was {oldest:.1f} s old"
            self.total.failures["requests lost with the generator"] = Failure(unreported, example)

    @property
    def answered(self) -> int:
        """Requests with an expected response."""
        return sum(each.answered for each in self.total.tallies)

    @property
    def failed(self) -> int:
        """Requests that failed."""
        return sum(each.failed for each in self.total.tallies)

    @property
    def dropped(self) -> int:
        """Requests that were never sent, because no user was free or their worker was lost."""
        return sum(each.dropped for each in self.total.tallies)

    @property
    def latencies(self) -> Latencies:
        """The latencies of all requests that ended."""
        return merged(each.latencies for each in self.total.tallies)

    @property
    def service_levels(self) -> ServiceLevels:
        """The service levels over all requests that ended."""
        return service_levels(self.total.tallies)

    @property
    def limit(self) -> str | None:
        """What limited the generator, if anything."""
        return limit_of(self.seconds)
