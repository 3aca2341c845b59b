"""When requests are due: a schedule that is fixed beforehand and does not ask how the service fares."""

import math
from collections.abc import Iterator, Sequence
from itertools import islice

from msgspec import Struct


class Phase(Struct, frozen=True):
    """A stretch of a run in which the rate goes in a straight line from `start_rate` to `end_rate` (arrivals/s)."""

    name: str
    seconds: float
    start_rate: float
    end_rate: float

    def rate_at(self, elapsed: float) -> float:
        """The rate `elapsed` seconds into the phase."""
        share = min(1.0, max(0.0, elapsed / self.seconds))
        return self.start_rate + (self.end_rate - self.start_rate) * share

    @property
    def arrivals(self) -> float:
        """How many arrivals are due in it, on the whole."""
        return (self.start_rate + self.end_rate) / 2 * self.seconds


def due_times(phases: Sequence[Phase]) -> Iterator[float]:
    """Seconds from the start at which each arrival is due, evenly spaced by the rate of the moment.

    Arrival k is due when the integral of the rate reaches k + ½. Even spacing, as wrk2 and Artillery do it, and not
    a Poisson process: two runs then differ by what the service did and not by the luck of the arrivals.
    """
    began = 0.0
    target = 0.5
    for phase in phases:
        slope = (phase.end_rate - phase.start_rate) / phase.seconds
        while target <= phase.arrivals:
            yield began + _time_to(target, phase.start_rate, slope)
            target += 1
        target -= phase.arrivals
        began += phase.seconds


def share_of(times: Iterator[float], worker: int, workers: int) -> Iterator[float]:
    """Every `workers`-th arrival, beginning with number `worker`: all workers together send each arrival once."""
    return islice(times, worker, None, workers)


def _time_to(arrivals: float, rate: float, slope: float) -> float:
    """The time t at which rate·t + slope·t²/2 reaches `arrivals`, in the form that is stable for a slope near 0."""
    return 2 * arrivals / (rate + math.sqrt(max(0.0, rate * rate + 2 * slope * arrivals)))
