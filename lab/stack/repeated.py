"""Repeats an action in the background, such as pausing and resuming parts."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

STOP_SECONDS = 20
# minimum rest between repetitions that take longer than their period, as a share of the period
MIN_REST = 0.2


@contextmanager
def repeated(period: float, act: Callable[[Callable[[float], bool]], None]) -> Iterator[None]:
    """Calls `act` every `period` seconds in a thread during the block; errors are ignored.

    `act` is given a function that waits some seconds, or until the block ends. If a call takes longer than the period,
    the next one starts after a short rest.
    """
    ends = threading.Event()

    def run() -> None:
        due = time.monotonic()
        while not ends.is_set():
            with suppress(Exception):
                act(ends.wait)
            due += period
            now = time.monotonic()
            if due < now:
                due = now + MIN_REST * period
            ends.wait(due - now)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join(STOP_SECONDS)


def concurrently(parts: Sequence[str], act: Callable[[str], None]) -> None:
    """Calls `act` on all parts at once; raises what the first failing call raised."""
    with ThreadPoolExecutor(max_workers=max(1, len(parts))) as pool:
        list(pool.map(act, parts))


@contextmanager
def paused_repeatedly(
    act: Callable[[str, str], None], parts: Sequence[str], every: float, pause: float
) -> Iterator[None]:
    """Pauses all parts for `pause` seconds, lets them run for `every` seconds, and so on, during the block.

    `act` is given `pause` or `resume`, and a part.
    """

    def once(wait: Callable[[float], bool]) -> None:
        concurrently(parts, lambda part: act("pause", part))
        wait(pause)
        concurrently(parts, lambda part: act("resume", part))

    with repeated(every + pause, once):
        yield
