"""Keeps the cache true: sees to it that every change in the database reaches the cache, whoever made it.

A writer tells the cache itself, and confirms the change. One that is not confirmed (the writer died, was cancelled,
never learned that its commit took place, or could not reach the cache) is found in the database by every replica, and
told again until the cache has taken it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol
from uuid import UUID

import structlog

from service.infrastructure.breaker import Unavailable
from service.tasks.changes import MOST_CHANGES, Change, ChangeLog, Found
from service.telemetry.metrics import Metrics

log = structlog.stdlib.get_logger("service")

# A change that is not confirmed is told after one to two of these: together well under a second.
POLL_SECONDS = 0.3
# Writers' confirmations go to the database together. Well under `POLL_SECONDS`, so that nobody takes them for lost.
CONFIRM_SECONDS = 0.1
# With the database not seen for as long, what is cached may be older than a second.
VERIFIED_SECONDS = 1.0
# Few enough for one batch to be answered within Redis' time limit
CHUNK = 100


class Told(Protocol):
    """The cache, as far as it is told of changes. Raises `Unavailable`."""

    async def invalidate(self, task_id: UUID, version: int, epoch: int) -> None:
        """The task has at least this version: nothing older is believed or kept."""

    async def forget_pages(self) -> object:
        """No page that is cached is current."""


class Invalidation:
    """Follows the database: the epoch, and changes that are not confirmed. `epoch` is what this replica has seen."""

    def __init__(self, changes: ChangeLog, cache: Told, metrics: Metrics) -> None:
        self._changes = changes
        self._cache = cache
        self._raised = metrics.cache_epoch_raised
        self.epoch = 0
        self._seen: frozenset[Change] = frozenset()
        self._lost: frozenset[Change] = frozenset()
        self._least: dict[UUID, int] = {}
        self._told: set[Change] = set()
        self._verified_at = -VERIFIED_SECONDS

    @property
    def is_verified(self) -> bool:
        """Whether what the cache holds was held against the database a moment ago."""
        return time.monotonic() - self._verified_at < VERIFIED_SECONDS

    def least_version(self, task_id: UUID) -> int:
        """The version that a cached value of a task must have at least: the cache may not have taken it yet."""
        return self._least.get(task_id, 0) if self._least else 0

    @property
    def pages_are_current(self) -> bool:
        """Whether the cache has taken every change that has had its time."""
        return not self._lost

    def confirm(self, change: Change) -> None:
        """The cache has taken a change: to be noted in the database soon."""
        self._told.add(change)

    def hurry(self, change: Change) -> None:
        """The cache could not be told of a change: to be tried again with the next look."""
        self._lost |= {change}
        self._expect({change})

    async def start(self) -> None:
        """Begins to follow. What others left behind is told before the first request. Raises `Unavailable`."""
        found = await self._look()
        self._seen = found.changes
        await self._work_off(found)

    async def follow(self, cluster_epoch: Callable[[], Awaitable[int]] | None) -> None:
        """Looks every 0.3 s. The epoch is raised once whenever that of the cluster has changed.

        A replica that took over from a primary may lack its last writes.
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
                pass  # tried again with the next look
            except Exception:
                # to go on matters more than what it was: a replica that no longer follows believes stale values
                log.exception("changes could not be followed")

    async def confirm_told(self) -> None:
        """Notes in the database what the cache has taken, some times a second."""
        while True:
            await asyncio.sleep(CONFIRM_SECONDS)
            if not self._told:
                continue
            told, self._told = self._told, set()
            try:
                await self._changes.confirm(told)
            except Unavailable:
                pass  # then it is found, and told once more
            except Exception:
                log.exception("changes could not be confirmed")

    async def _look(self) -> Found:
        began = time.monotonic()
        found = await self._changes.look()
        if not found.is_registered:
            # the first replica of this format, or one whose format was given up: changes went unnoted
            await self._changes.register()
            await self._raise()
        elif found.epoch < self.epoch:
            # the database has lost a raise that this replica has seen
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
        if len(found.changes) > MOST_CHANGES:
            await self._raise()
            self._seen = self._lost = frozenset()
            return
        # what a writer here could not tell has been seen once already
        self._lost = found.changes & (self._seen | self._lost)
        self._seen = found.changes
        await self._tell(self._lost)

    async def _tell(self, changes: frozenset[Change]) -> None:
        """Tells the cache of changes. What it does not take is found again with the next look."""
        if not changes:
            return
        try:
            await self._cache.forget_pages()
        except Unavailable:
            return
        waiting = list(changes)
        for at in range(0, len(waiting), CHUNK):
            chunk = waiting[at : at + CHUNK]
            calls = (self._cache.invalidate(each.task_id, each.version, self.epoch) for each in chunk)
            answers = await asyncio.gather(*calls, return_exceptions=True)
            for change, answer in zip(chunk, answers, strict=True):
                if answer is None:
                    self._told.add(change)
                elif not isinstance(answer, Unavailable):
                    raise answer

    async def _raise(self) -> None:
        self._note_raise(await self._changes.raise_epoch(self.epoch))

    def _note_raise(self, raised: int | None) -> None:
        if raised is not None:
            self.epoch = max(self.epoch, raised)
            self._raised.inc()
