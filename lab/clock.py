"""A clock for durations that are compared with timestamps of other programs."""

import time
from collections.abc import Callable


def steady_clock() -> Callable[[], float]:
    """Unix seconds: the current time, then advanced by the monotonic clock, so that setting the clock has no effect."""
    wall, began = time.time(), time.monotonic()
    return lambda: wall + time.monotonic() - began
