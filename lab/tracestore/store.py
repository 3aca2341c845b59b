"""The store: a bounded queue, one thread that writes it in batches, and a bound on size and age."""

import logging
import sqlite3
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from lab.tracestore.database import is_unreadable, open_to_write, replace_unreadable
from lab.tracestore.metrics import QUEUE_FULL, TOO_LARGE, TOO_OLD, WRITE_FAILED, Metrics
from lab.tracestore.otlp import Decoded
from lab.tracestore.writing import evict_before, evict_oldest, used_bytes, write

log = logging.getLogger("tracestore")

QUEUE_BYTES = 16 << 20
# rows of one transaction: small enough for the page cache, and readers are never far behind
BATCH_BYTES = 4 << 20
# after removing the oldest records, this share of the limit is free, so that not every batch has to remove some
SLACK = 0.02
HOUSEKEEPING_SECONDS = 1.0


class QueueFullError(Exception):
    """The queue is full; the sender should retry later."""


@dataclass(frozen=True)
class Bounds:
    """The limits of the store: bytes of used pages, and the age of records in seconds."""

    bytes: int
    seconds: float


@dataclass(frozen=True)
class _Waiting:
    decoded: Decoded
    size: int
    is_written: "Future[None]"


class Store:
    """The store. `close` writes what is queued. Only one process at a time may use a file."""

    def __init__(self, file: Path, bounds: Bounds, metrics: Metrics) -> None:
        self.file = file
        self._bounds = bounds
        self._metrics = metrics
        metrics.queue_limit.set(QUEUE_BYTES)
        metrics.database_limit.set(bounds.bytes)
        self._connection = open_to_write(file)
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._is_closing = False
        self._keep_within_bounds()
        self._thread = threading.Thread(target=self._work, name="tracestore-writer", daemon=True)
        self._thread.start()

    def put(self, decoded: Decoded, size: int) -> "Future[None]":
        """Queues the records of a request of `size` bytes. The future is done when they are committed.

        Raises `QueueFullError`; the future raises `sqlite3.Error` where they could not be written.
        """
        waiting = _Waiting(decoded, size, Future())
        # cannot be cancelled: queued records are written even if the sender has gone
        waiting.is_written.set_running_or_notify_cancel()
        with self._changed:
            if self._is_closing or self._waiting_bytes + size > QUEUE_BYTES:
                self._count_dropped(decoded, QUEUE_FULL)
                raise QueueFullError(f"{self._waiting_bytes} bytes wait to be written already")
            self._waiting.append(waiting)
            self._waiting_bytes += size
            self._metrics.queue_bytes.set(self._waiting_bytes)
            self._changed.notify()
        return waiting.is_written

    def close(self) -> None:
        """Writes what is queued, and closes the file."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join()
        self._connection.close()

    def _work(self) -> None:
        due = time.monotonic()
        while (batch := self._next_batch()) is not None:
            if batch:
                self._write(batch)
            if time.monotonic() >= due:
                due = time.monotonic() + HOUSEKEEPING_SECONDS
                self._keep_within_bounds()

    def _next_batch(self) -> list[_Waiting] | None:
        """The next batch; empty after a second without records, None when the store is closing."""
        with self._changed:
            if not self._waiting and not self._is_closing:
                self._changed.wait(HOUSEKEEPING_SECONDS)
            if not self._waiting:
                return None if self._is_closing else []
            items = [self._waiting.popleft()]
            size = items[0].size
            while self._waiting and size + self._waiting[0].size <= BATCH_BYTES:
                items.append(self._waiting.popleft())
                size += items[-1].size
            self._waiting_bytes -= size
            self._metrics.queue_bytes.set(self._waiting_bytes)
        return items

    def _write(self, items: list[_Waiting]) -> None:
        began = time.perf_counter()
        try:
            write(self._connection, [item.decoded for item in items], int(time.time()))
        # any exception, because if the writer thread ended, every sender would wait forever
        except Exception as error:
            log.warning("could not write: %r", error)
            for item in items:
                self._count_dropped(item.decoded, WRITE_FAILED)
                item.is_written.set_exception(error)
            self._replace_if_unreadable(error)
            return
        self._metrics.commit_seconds.observe(time.perf_counter() - began)
        for item in items:
            self._metrics.received.labels("traces").inc(len(item.decoded.spans))
            self._metrics.received.labels("logs").inc(len(item.decoded.logs))
            item.is_written.set_result(None)

    def _keep_within_bounds(self) -> None:
        try:
            evicted = evict_before(self._connection, int(time.time() - self._bounds.seconds))
            self._count_evicted(evicted, TOO_OLD)
            if used_bytes(self._connection) > self._bounds.bytes:
                while used_bytes(self._connection) > self._bounds.bytes * (1 - SLACK):
                    evicted = evict_oldest(self._connection)
                    if not any(evicted):
                        break
                    self._count_evicted(evicted, TOO_LARGE)
            self._metrics.database_bytes.set(used_bytes(self._connection))
        except sqlite3.Error as error:
            log.warning("could not remove the oldest: %s", error)
            self._replace_if_unreadable(error)

    def _replace_if_unreadable(self, error: Exception) -> None:
        """Replaces the file by an empty one if it is corrupt, because later writes would fail as well."""
        if not is_unreadable(error):
            return
        try:
            self._connection.close()
            self._connection = replace_unreadable(self.file, error)
        except (OSError, sqlite3.Error) as again:
            log.warning("could not replace it: %s", again)

    def _count_dropped(self, decoded: Decoded, reason: str) -> None:
        self._metrics.dropped.labels("traces", reason).inc(len(decoded.spans))
        self._metrics.dropped.labels("logs", reason).inc(len(decoded.logs))

    def _count_evicted(self, evicted: tuple[int, int], reason: str) -> None:
        for signal, count in zip(("traces", "logs"), evicted, strict=True):
            self._metrics.evicted.labels(signal, reason).inc(count)
