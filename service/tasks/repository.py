"""Reads tasks through the cache; writes them to the database and then to the cache."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple, TypeVar, cast
from uuid import UUID

from service.infrastructure.breaker import Unavailable
from service.tasks.cache import TaskCache
from service.tasks.changes import Change
from service.tasks.invalidation import Invalidation
from service.tasks.model import NewTask, Task, TaskChange, TaskPage, encode
from service.tasks.store import Idempotency, TaskStore
from service.telemetry.instruments import Count
from service.telemetry.metrics import Metrics
from service.telemetry.request import note_cache

T = TypeVar("T")

# Single flight: a read joins a load that another read has started, but not one that started longer ago than this. Its
# result could miss a write that was acknowledged meanwhile, and be stale for longer than promised.
JOIN_SECONDS = 0.25
# A slower load is not cached: the tombstone or marker that guards against old versions may have expired (GUARD_TTL_MS).
FILL_WITHIN_SECONDS = 1.0


class StoredTask(NamedTuple):
    """A task as JSON, and the version that its ETag carries."""

    version: int
    body: bytes
    is_stale: bool = False
    """From the cache, while the outbox could not be read: possibly not the newest version."""


class StoredPage(NamedTuple):
    """A `TaskPage` as JSON."""

    body: bytes
    is_stale: bool = False
    """As in `StoredTask`."""


class SingleFlight:
    """At most one load for a key at a time; concurrent readers share its result."""

    def __init__(self) -> None:
        self._flights: dict[str, tuple[float, asyncio.Task[object]]] = {}

    async def do(self, key: str, load: Callable[[], Awaitable[T]]) -> T:
        """The result of `load`, or of a load for the same key that is already running. Raises what `load` raises."""
        now = time.monotonic()
        began, flight = self._flights.get(key, (0.0, None))
        if flight is None or flight.done() or now - began > JOIN_SECONDS:
            flight = asyncio.ensure_future(load())
            self._flights[key] = (now, flight)
            flight.add_done_callback(lambda done: self._landed(key, done))
        # a cancelled request must not cancel the shared load
        return cast(T, await asyncio.shield(flight))

    def _landed(self, key: str, flight: asyncio.Task[object]) -> None:
        if self._flights.get(key, (0.0, None))[1] is flight:
            del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # marks it as retrieved, even if every reader was cancelled


class TaskRepository:
    """Reads raise `Unavailable` only if both cache and database fail; writes raise it if the database fails."""

    def __init__(self, store: TaskStore, cache: TaskCache, invalidation: Invalidation, metrics: Metrics) -> None:
        self._store = store
        self._cache = cache
        self._invalidation = invalidation
        self._task_results = metrics.cache_requests["task"]
        self._list_results = metrics.cache_requests["list"]
        self._unverified = metrics.cache_unverified
        self._flights = SingleFlight()
        self._refreshing: dict[UUID, asyncio.Task[StoredTask | None]] = {}

    async def get(self, task_id: UUID) -> StoredTask | None:
        """The task with this id."""
        is_filled = True
        try:
            least = self._invalidation.min_version(task_id)
            cached = await self._cache.get(task_id, self._invalidation.epoch, least)
        except Unavailable as error:
            _note(self._task_results, "error" if error.asked else "bypass")
            cached, is_filled = None, False
        else:
            _note(self._task_results, "miss" if cached is None else "hit")
        if cached is None:
            return await self._flights.do(f"task:{task_id}", lambda: self._load(task_id, is_filled))
        if cached.is_due:
            self._refresh(task_id)
        return StoredTask(cached.version, cached.body, self._is_stale()) if cached.body else None

    async def first_page(self, limit: int, done: bool | None) -> StoredPage:
        """The newest tasks, as the JSON of a `TaskPage`."""
        name = f"{limit}:{done}"
        if not self._invalidation.pages_are_current:
            _note(self._list_results, "miss")
            return StoredPage(await self._flights.do(f"page:{name}", lambda: self._load_page(limit, done)))
        try:
            cached, mark = await self._cache.get_page(name, self._invalidation.epoch)
        except Unavailable as error:
            _note(self._list_results, "error" if error.asked else "bypass")
            return StoredPage(await self._flights.do(f"page:{name}", lambda: self._load_page(limit, done)))
        _note(self._list_results, "miss" if cached is None else "hit")
        if cached is not None:
            return StoredPage(cached, self._is_stale())
        load = self._flights.do(f"page:{name}:{mark!r}", lambda: self._load_page(limit, done, name, mark))
        return StoredPage(await load)

    async def page(self, limit: int, before: UUID, done: bool | None) -> StoredPage:
        """The tasks that follow the one with the id `before`. These pages are not cached."""
        return StoredPage(await self._read_page(limit, before, done))

    async def create(self, new: NewTask, idempotency: Idempotency | None = None) -> Task:
        """Creates a task; if the idempotency key was used before, returns that task. Raises `KeyConflict`."""
        # read before the write: if the epoch is raised meanwhile, the value that is cached below must be invalid too
        epoch = self._invalidation.epoch
        task = await self._store.create(new, idempotency)
        await self._update_cache(self._cache.update(task, epoch), Change(task.id, task.version))
        return task

    async def change(self, task_id: UUID, change: TaskChange, expected: int | None) -> Task | None:
        """Changes a task and returns it; None if it does not exist. Raises `VersionConflict`."""
        epoch = self._invalidation.epoch
        task = await self._store.change(task_id, change, expected)
        if task is not None:
            await self._update_cache(self._cache.update(task, epoch), Change(task_id, task.version))
        return task

    async def delete(self, task_id: UUID, expected: int | None, request_id: str) -> bool:
        """Deletes a task. False if it does not exist. Raises `VersionConflict`."""
        epoch = self._invalidation.epoch
        version = await self._store.delete(task_id, expected, request_id)
        if version is None:
            return False
        await self._update_cache(self._cache.delete(task_id, version, epoch), Change(task_id, version + 1))
        return True

    async def _update_cache(self, update: Awaitable[None], change: Change) -> None:
        """Awaits the update of the cache, then confirms the change. If it fails, the change stays in the outbox."""
        try:
            await update
        except Unavailable:
            self._invalidation.retry(change)
        else:
            self._invalidation.confirm(change)

    def _is_stale(self) -> bool:
        if self._invalidation.is_verified:
            return False
        self._unverified.inc()
        return True

    async def _load(self, task_id: UUID, is_filled: bool) -> StoredTask | None:
        epoch, began = self._invalidation.epoch, time.monotonic()
        task = await self._store.get(task_id)
        if is_filled and time.monotonic() - began < FILL_WITHIN_SECONDS:
            # if this fails, the next read is a miss again
            with suppress(Unavailable):
                await self._cache.fill(task_id, epoch, task)
        return StoredTask(task.version, encode(task)) if task else None

    def _refresh(self, task_id: UUID) -> None:
        """Reloads a task in the background before its entry expires; only once at a time."""
        if task_id not in self._refreshing:
            flight = asyncio.ensure_future(self._flights.do(f"task:{task_id}", lambda: self._load(task_id, True)))
            self._refreshing[task_id] = flight
            flight.add_done_callback(lambda done: self._refreshed(task_id, done))

    def _refreshed(self, task_id: UUID, flight: "asyncio.Task[StoredTask | None]") -> None:
        del self._refreshing[task_id]
        if not flight.cancelled():
            flight.exception()  # ignored: the entry has not expired yet, and the next read tries again

    async def _load_page(self, limit: int, done: bool | None, name: str = "", mark: bytes = b"") -> bytes:
        body = await self._read_page(limit, None, done)
        if mark:
            # if this fails, the next read is a miss again
            with suppress(Unavailable):
                await self._cache.fill_page(name, mark, body)
        return body

    async def _read_page(self, limit: int, before: UUID | None, done: bool | None) -> bytes:
        # one more than requested, to know whether there is a next page
        tasks = await self._store.page(limit + 1, before, done)
        items = tasks[:limit]
        cursor = items[-1].id.hex if len(tasks) > limit else None
        return encode(TaskPage(items, cursor))


def _note(results: dict[str, Count], result: str) -> None:
    results[result].inc()
    note_cache(result)
