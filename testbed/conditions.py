"""Waits for conditions, instead of sleeping."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
PAUSE_SECONDS = 0.02
CORES = os.cpu_count() or 1
# so that what hangs ends soon on any machine
MAX_PATIENCE = 5.0


def patient(seconds: float) -> float:
    """A limit for a wait, up to `MAX_PATIENCE` times longer on a machine that is busy now: it is for what hangs."""
    return seconds * min(max(1.0, os.getloadavg()[0] / CORES), MAX_PATIENCE)


def wait_for(condition: Callable[[], T], timeout: float = 60.0, what: str = "the condition") -> T:
    """Returns the first true value of `condition`. Raises AssertionError after `timeout` seconds, later if busy."""
    began = time.monotonic()
    while not (value := condition()):
        assert time.monotonic() < began + patient(timeout), f"{what} did not come true within {timeout:g} s"
        time.sleep(PAUSE_SECONDS)
    return value


async def until(condition: Callable[[], Awaitable[T]], timeout: float = 60.0, what: str = "the condition") -> T:
    """`wait_for` with a coroutine as condition."""
    began = time.monotonic()
    while not (value := await condition()):
        assert time.monotonic() < began + patient(timeout), f"{what} did not come true within {timeout:g} s"
        await asyncio.sleep(PAUSE_SECONDS)
    return value
