"""Waits for conditions, instead of sleeping."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
PAUSE_SECONDS = 0.02
CORES = os.cpu_count() or 1


def patient(seconds: float) -> float:
    """A limit for a wait, longer on a machine that is busy now: it ends what hangs, and must not fail what is slow."""
    return seconds * max(1.0, os.getloadavg()[0] / CORES)


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
