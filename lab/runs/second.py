"""The measurements of one second of a run."""

from collections.abc import Sequence

from msgspec import Struct

from lab.runs.histogram import Histogram


class Second(Struct):
    """The `span` seconds (about one) before `elapsed`. Latencies are of all requests that ended in it.

    `lag` is how long the oldest request waited to be sent, `oldest` the age of the oldest outstanding request, `cpu`
    the CPU time a second of the generator's busiest process. Times in seconds.
    """

    elapsed: float
    span: float
    phase: str
    target_rate: float
    offered: int
    answered: int
    failed: int
    dropped: int
    users: int
    waiting: int
    outstanding: int
    lag: float
    dispatch_lag: float
    late_start: int
    late_dispatch: int
    oldest: float
    cpu: float
    reads: Histogram
    writes: Histogram

    @property
    def ended(self) -> int:
        """Requests that ended in it, with any outcome."""
        return self.answered + self.failed + self.dropped


def latencies_of(seconds: Sequence[Second]) -> Histogram:
    """The latencies of several seconds."""
    whole = Histogram()
    for each in seconds:
        whole.merge(each.reads)
        whole.merge(each.writes)
    return whole
