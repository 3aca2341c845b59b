"""A clock for durations that are compared with points in time of other programs."""

import time
from collections.abc import Callable


def steady_clock() -> Callable[[], float]:
    """Unix seconds: the time now plus what has passed since, whatever the system clock is set to meanwhile."""
    wall, began = time.time(), time.monotonic()
    return lambda: wall + time.monotonic() - began
