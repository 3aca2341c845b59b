"""Counts the outcomes of a run's requests: offered = answered + failed + dropped."""

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct, field

from lab.runs.latencies import Latencies
from lab.runs.service_levels import FAST_SECONDS, ServiceLevels


class Kind(StrEnum):
    """Why a request failed. An unexpected status is not in this list: its kind is `status 503` and so on."""

    NO_CONNECTION = "no connection"
    CLOSED = "connection closed before the response"
    TIMEOUT = "no complete response in time"
    UNANSWERED = "unanswered when the load was stopped"
    TRUNCATED = "truncated response"
    MALFORMED = "not HTTP"
    REDIRECT = "redirect"
    ENCODING = "wrong content coding"
    TOO_LARGE = "response too large"
    EMPTY = "empty response"
    NOT_JSON = "unexpected JSON"
    OTHER_TASK = "wrong task"
    NO_LOCATION = "created without Location"


class Failure(Struct):
    """Failures of one kind on one route, with details of one `example`."""

    count: int
    example: str


class Tally(Struct):
    """The outcomes of requests with one method and route.

    `latencies` has all of them: a failed or dropped request counts with its age at that moment. `fast` counts expected
    responses within 100 ms.
    """

    method: str
    route: str
    answered: int = 0
    failed: int = 0
    dropped: int = 0
    fast: int = 0
    latencies: Latencies = field(default_factory=Latencies)

    @property
    def ended(self) -> int:
        """Requests with a known outcome."""
        return self.answered + self.failed + self.dropped

    def answer(self, seconds: float) -> None:
        """Counts a request with an expected response."""
        self.answered += 1
        self.fast += seconds <= FAST_SECONDS
        self.latencies.add(seconds)

    def fail(self, seconds: float) -> None:
        """Counts a failed request, with its age."""
        self.failed += 1
        self.latencies.add(seconds)

    def drop(self, seconds: float) -> None:
        """Counts a request that was never sent, with its age."""
        self.dropped += 1
        self.latencies.add(seconds)

    def merge(self, other: "Tally") -> None:
        """Adds another tally of the same method and route."""
        self.answered += other.answered
        self.failed += other.failed
        self.dropped += other.dropped
        self.fast += other.fast
        self.latencies.merge(other.latencies)


def service_levels(tallies: Iterable[Tally]) -> ServiceLevels:
    """The service levels over all these requests."""
    tallies = list(tallies)
    offered = sum(each.ended for each in tallies)
    reads = [each for each in tallies if each.method == "GET"]
    asked = sum(each.ended for each in reads)
    return ServiceLevels(
        sum(each.answered for each in tallies) / offered if offered else 1.0,
        sum(each.fast for each in reads) / asked if asked else 1.0,
    )


def merge_failures(mine: dict[str, Failure], others: dict[str, Failure]) -> None:
    """Adds failures by route and kind, and keeps the first example."""
    for name, failure in others.items():
        if name in mine:
            mine[name].count += failure.count
        else:
            mine[name] = Failure(failure.count, failure.example)
