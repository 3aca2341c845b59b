"""What was measured in each second of a run."""

from collections.abc import Sequence

from msgspec import Struct

from lab.runs.histogram import Histogram


class Second(Struct):
    """The `span` seconds before `elapsed`, about one. Latencies are of what ended in it, however it ended.

    `lag` is how long the oldest request waited to be sent, `oldest` the age of the oldest without an answer, `cpu` the
    processor time a second of the generator's busiest process. Times in seconds.
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
        """Requests that ended in it, however they ended."""
        return self.answered + self.failed + self.dropped


def latencies_of(seconds: Sequence[Second]) -> Histogram:
    """The latencies of all of them."""
    whole = Histogram()
    for each in seconds:
        whole.merge(each.reads)
        whole.merge(each.writes)
    return whole
