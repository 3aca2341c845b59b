"""Cache invalidation: makes sure that every change in the database reaches the cache, whichever replica made it.

A writer updates the cache itself and then confirms the change, which deletes it from the outbox. Every replica polls
the outbox. A change that stays unconfirmed (the writer died or was cancelled, never learned that its commit succeeded,
or could not reach the cache) is invalidated by the replicas that find it, repeatedly until the cache has taken it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol
from uuid import UUID

import structlog

from service.infrastructure.breaker import Unavailable
from service.tasks.changes import MAX_CHANGES, Change, ChangeLog, Found
from service.telemetry.metrics import Metrics

log = structlog.stdlib.get_logger("service")

# An unconfirmed change is invalidated when it is found a second time, so after 0.3 to 0.6 s.
POLL_SECONDS = 0.3
# Confirmations are sent to the database in batches. Well under `POLL_SECONDS`, so that no replica takes them for lost.
CONFIRM_SECONDS = 0.1
# If the outbox was not read for this long, cached values may be more than a second old.
VERIFIED_SECONDS = 1.0
# few enough for Redis to answer one batch within its time limit
CHUNK = 100


class InvalidatedCache(Protocol):
    """What is needed of the cache here. Raises `Unavailable`."""

    async def invalidate(self, task_id: UUID, version: int, epoch: int) -> None:
        """Invalidates every entry of the task that is older than this version."""

    async def invalidate_pages(self) -> object:
        """Invalidates all pages."""


class Invalidation:
    """Polls the epoch and the outbox. `epoch` is the highest epoch that this replica has seen."""

    def __init__(self, changes: ChangeLog, cache: InvalidatedCache, metrics: Metrics) -> None:
        self._changes = changes
        self._cache = cache
        self._raised = metrics.cache_epoch_raised
        self.epoch = 0
        self._seen: frozenset[Change] = frozenset()
        self._lost: frozenset[Change] = frozenset()
        self._least: dict[UUID, int] = {}
        self._to_confirm: set[Change] = set()
        self._verified_at = -VERIFIED_SECONDS

    @property
    def is_verified(self) -> bool:
        """Whether the outbox was read within the last second."""
        return time.monotonic() - self._verified_at < VERIFIED_SECONDS

    def min_version(self, task_id: UUID) -> int:
        """The lowest version of a task that may be served from the cache: a newer one is still in the outbox."""
        return self._least.get(task_id, 0) if self._least else 0

    @property
    def pages_are_current(self) -> bool:
        """Whether cached pages may be served: no change is known that the writer failed to send to the cache."""
        return not self._lost

    def confirm(self, change: Change) -> None:
        """Confirms, with the next batch, a change that the cache has taken."""
        self._to_confirm.add(change)

    def retry(self, change: Change) -> None:
        """Invalidates with the next poll a change that could not be sent to the cache."""
        self._lost |= {change}
        self._expect({change})

    async def start(self) -> None:
        """Polls once, so that changes that others left are handled before the first request. Raises `Unavailable`."""
        found = await self._look()
        self._seen = found.changes
        await self._work_off(found)

    async def poll(self, cluster_epoch: Callable[[], Awaitable[int]] | None) -> None:
        """Polls every 0.3 s. Raises the epoch after each failover of the Redis cluster, which changes its own epoch.

        A Redis replica that was promoted may lack the last writes of its primary.
        """
        seen: int | None = None
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self._work_off(await self._look())
                if cluster_epoch is not None and (cluster := await cluster_epoch()) != seen:
                    self._note_raise(await self._changes.raise_for(cluster, self.epoch))
                    seen = cluster
            except Unavailable:
                pass  # the next poll tries again
            except Exception:
                # whatever it was, polling must go on: a replica that stopped would serve stale values
                log.exception("the outbox could not be polled")

    async def send_confirmations(self) -> None:
        """Deletes from the outbox, ten times a second, what the cache has taken."""
        while True:
            await asyncio.sleep(CONFIRM_SECONDS)
            if not self._to_confirm:
                continue
            batch, self._to_confirm = self._to_confirm, set()
            try:
                await self._changes.confirm(batch)
            except Unavailable:
                pass  # the changes stay in the outbox, and are invalidated once more
            except Exception:
                log.exception("changes could not be confirmed")

    async def _look(self) -> Found:
        began = time.monotonic()
        found = await self._changes.look()
        if not found.is_registered:
            # the first replica of this format, or the format was unregistered: changes were not recorded meanwhile
            await self._changes.register()
            await self._raise()
        elif found.epoch < self.epoch:
            # the database has lost an epoch that this replica has seen
            await self._raise()
        self.epoch = max(self.epoch, found.epoch)
        self._verified_at = began
        self._least = {}
        self._expect(found.changes)
        return found

    def _expect(self, changes: Collection[Change]) -> None:
        for each in changes:
            self._least[each.task_id] = max(each.version, self._least.get(each.task_id, 0))

    async def _work_off(self, found: Found) -> None:
        if len(found.changes) > MAX_CHANGES:
            await self._raise()
            self._seen = self._lost = frozenset()
            return
        # found twice in a row, or passed to `retry` by a writer of this replica
        self._lost = found.changes & (self._seen | self._lost)
        self._seen = found.changes
        await self._invalidate(self._lost)

    async def _invalidate(self, changes: frozenset[Change]) -> None:
        """Invalidates changes in the cache. If that fails, they stay in the outbox for the next poll."""
        if not changes:
            return
        try:
            await self._cache.invalidate_pages()
        except Unavailable:
            return
        waiting = list(changes)
        for at in range(0, len(waiting), CHUNK):
            chunk = waiting[at : at + CHUNK]
            calls = (self._cache.invalidate(each.task_id, each.version, self.epoch) for each in chunk)
            answers = await asyncio.gather(*calls, return_exceptions=True)
            for change, answer in zip(chunk, answers, strict=True):
                if answer is None:
                    self._to_confirm.add(change)
                elif not isinstance(answer, Unavailable):
                    raise answer

    async def _raise(self) -> None:
        self._note_raise(await self._changes.raise_epoch(self.epoch))

    def _note_raise(self, raised: int | None) -> None:
        if raised is not None:
            self.epoch = max(self.epoch, raised)
            self._raised.inc()
