"""The arrival schedule: fixed in advance, and independent of how fast the service responds (open loop)."""

import math
from collections.abc import Iterator, Sequence
from itertools import islice

from msgspec import Struct


class Phase(Struct, frozen=True):
    """A phase of a run, in which the rate changes linearly from `start_rate` to `end_rate` (arrivals/s)."""

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
        """How many arrivals are due in it."""
        return (self.start_rate + self.end_rate) / 2 * self.seconds


def due_times(phases: Sequence[Phase]) -> Iterator[float]:
    """Seconds from the start at which each arrival is due, evenly spaced at the current rate.

    Arrival k is due when the integral of the rate reaches k + ½. Even spacing, as in
    wrk2 and Artillery, instead of a Poisson process: so runs do not differ by the randomness of the arrivals.
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
    """The arrivals of one worker: every `workers`-th, starting with number `worker`."""
    return islice(times, worker, None, workers)


def _time_to(arrivals: float, rate: float, slope: float) -> float:
    """The time t at which rate·t + slope·t²/2 reaches `arrivals`, in the form that is stable for a slope near 0."""
    return 2 * arrivals / (rate + math.sqrt(max(0.0, rate * rate + 2 * slope * arrivals)))
