"""Tasks as the routes know them: read through the cache, written to the store and then to the cache."""

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

# A reader joins a load that another reader began, unless it began so long ago that what it brings could be older
# than a write that was acknowledged meanwhile by more than the cache may be late.
JOIN_SECONDS = 0.25
# What took longer to load is not cached: what guards against older versions may have expired (GUARD_TTL_MS).
FILL_WITHIN_SECONDS = 1.0


class StoredTask(NamedTuple):
    """A task as JSON, and the version that its ETag carries."""

    version: int
    body: bytes
    is_stale: bool = False
    """From the cache, at a time when that could not be held against the database: maybe not the newest."""


class StoredPage(NamedTuple):
    """A `TaskPage` as JSON."""

    body: bytes
    is_stale: bool = False
    """As of a `StoredTask`."""


class SingleFlight:
    """One load for a key at a time, however many ask."""

    def __init__(self) -> None:
        self._flights: dict[str, tuple[float, asyncio.Task[object]]] = {}

    async def do(self, key: str, load: Callable[[], Awaitable[T]]) -> T:
        """What `load` returns or raises, for all who ask for `key` while it is under way."""
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
            flight.exception()  # seen, also where all who asked have gone


class TaskRepository:
    """Reads raise `Unavailable` only where neither cache nor store answers, writes where the store does not."""

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
            least = self._invalidation.least_version(task_id)
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
        """Stores a new task; with a key that was used before, that task as it is now. Raises `KeyConflict`."""
        # from before the write: what is told late must not count as newer than what outdated it meanwhile
        epoch = self._invalidation.epoch
        task = await self._store.create(new, idempotency)
        await self._tell(self._cache.wrote(task, epoch), Change(task.id, task.version))
        return task

    async def change(self, task_id: UUID, change: TaskChange, expected: int | None) -> Task | None:
        """The task as changed, None where there is none. Raises `VersionConflict`."""
        epoch = self._invalidation.epoch
        task = await self._store.change(task_id, change, expected)
        if task is not None:
            await self._tell(self._cache.wrote(task, epoch), Change(task_id, task.version))
        return task

    async def delete(self, task_id: UUID, expected: int | None, request_id: str) -> bool:
        """Whether there was a task to delete. Raises `VersionConflict`."""
        epoch = self._invalidation.epoch
        version = await self._store.delete(task_id, expected, request_id)
        if version is None:
            return False
        await self._tell(self._cache.deleted(task_id, version, epoch), Change(task_id, version + 1))
        return True

    async def _tell(self, told: Awaitable[None], change: Change) -> None:
        """Invalidates the cache entry. A change that is not confirmed is found in the database, and told again."""
        try:
            await told
        except Unavailable:
            self._invalidation.hurry(change)
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
            # else the next reader loads it again
            with suppress(Unavailable):
                await self._cache.fill(task_id, epoch, task)
        return StoredTask(task.version, encode(task)) if task else None

    def _refresh(self, task_id: UUID) -> None:
        """Loads a task before it expires, beside the requests, once however many notice."""
        if task_id not in self._refreshing:
            flight = asyncio.ensure_future(self._flights.do(f"task:{task_id}", lambda: self._load(task_id, True)))
            self._refreshing[task_id] = flight
            flight.add_done_callback(lambda done: self._refreshed(task_id, done))

    def _refreshed(self, task_id: UUID, flight: "asyncio.Task[StoredTask | None]") -> None:
        del self._refreshing[task_id]
        if not flight.cancelled():
            flight.exception()  # the value has some life left, and the next reader tries again

    async def _load_page(self, limit: int, done: bool | None, name: str = "", mark: bytes = b"") -> bytes:
        body = await self._read_page(limit, None, done)
        if mark:
            # else the next reader loads it again
            with suppress(Unavailable):
                await self._cache.fill_page(name, mark, body)
        return body

    async def _read_page(self, limit: int, before: UUID | None, done: bool | None) -> bytes:
        # one more than asked for tells whether there is a page after this one
        tasks = await self._store.page(limit + 1, before, done)
        items = tasks[:limit]
        cursor = items[-1].id.hex if len(tasks) > limit else None
        return encode(TaskPage(items, cursor))


def _note(results: dict[str, Count], result: str) -> None:
    results[result].inc()
    note_cache(result)
