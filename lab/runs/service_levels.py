"""The service levels and the latency buckets of the lab.

The service (`REQUEST_SECONDS` in service/telemetry/metrics.py) and the alerts (lab/alerts/slo.py) have the same;
tests/lab/runs/test_service_levels.py compares the three.
"""

from msgspec import Struct

AVAILABILITY = 0.999
FAST_READS = 0.99
FAST_SECONDS = 0.1
# Upper bounds in seconds of the histogram of request durations.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0)


class ServiceLevels(Struct, frozen=True):
    """Shares of all offered requests.

    `availability`: those with an expected response. `fast_reads`: of the reads (GET), those with an expected response
    within 100 ms of when they were due. 1 if nothing was offered.
    """

    availability: float
    fast_reads: float

    @property
    def met(self) -> bool:
        """Whether both objectives were met."""
        return self.availability >= AVAILABILITY and self.fast_reads >= FAST_READS
