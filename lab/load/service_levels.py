"""The service levels, as a client sees them (inside they are in `alerts/slo.yml`)."""

from collections.abc import Iterable
from typing import Self

from msgspec import Struct

from lab.load.latencies import merged
from lab.load.messages import RouteSample

AVAILABILITY = 0.999
FAST_READS = 0.99
FAST_SECONDS = 0.1


class ServiceLevels(Struct, frozen=True):
    """Shares of requests answered without error, and of reads (GET) within 100 ms of when they were due."""

    availability: float
    fast_reads: float

    @classmethod
    def of(cls, routes: Iterable[RouteSample]) -> Self:
        """The service levels of these requests; 1 where there are none."""
        routes = list(routes)
        answered = sum(route.ok + route.errors for route in routes)
        errors = sum(route.errors for route in routes)
        reads = merged(route.latencies for route in routes if route.method == "GET")
        return cls(1 - errors / answered if answered else 1.0, reads.share_within(FAST_SECONDS))

    @property
    def met(self) -> bool:
        """Whether both objectives are met."""
        return self.availability >= AVAILABILITY and self.fast_reads >= FAST_READS
