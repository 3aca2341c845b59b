"""Tasks as the routes know them: read through the cache, written to the store and then to the cache."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple, TypeVar, cast
from uuid import UUID

from service.resilience import Unavailable
from service.tasks.cache import CachedTask, TaskCache
from service.tasks.epoch import Epoch
from service.tasks.model import NewTask, Task, TaskChange, TaskPage, encode
from service.tasks.store import TaskStore
from service.telemetry.instruments import Count
from service.telemetry.metrics import Metrics
from service.telemetry.request import note_cache

T = TypeVar("T")

# A reader joins a load that another reader began, unless it began so long ago that what it brings could be older
# than a write that was acknowledged meanwhile by more than the cache may be late.
JOIN_SECONDS = 0.25
# What took longer to load is not cached: what guards against older versions may have expired (ANNOUNCED_TTL_MS).
FILL_WITHIN_SECONDS = 1.0


class StoredTask(NamedTuple):
    """A task as JSON, and the version that its ETag carries."""

    version: int
    body: bytes


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
        # one reader that goes away does not end the load for the others
        return cast(T, await asyncio.shield(flight))

    def _landed(self, key: str, flight: asyncio.Task[object]) -> None:
        if self._flights.get(key, (0.0, None))[1] is flight:
            del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # seen, also where all who asked have gone


class TaskRepository:
    """Reads raise `Unavailable` only where neither cache nor store answers, writes where the store does not."""

    def __init__(self, store: TaskStore, cache: TaskCache, epoch: Epoch, metrics: Metrics) -> None:
        self._store = store
        self._cache = cache
        self._epoch = epoch
        self._task_results = metrics.cache_requests["task"]
        self._list_results = metrics.cache_requests["list"]
        self._flights = SingleFlight()
        self._refreshing: dict[UUID, asyncio.Task[StoredTask | None]] = {}

    async def get(self, task_id: UUID) -> StoredTask | None:
        """The task with this id."""
        is_filled = True
        try:
            cached = await self._cache.get(task_id, self._epoch.current)
        except Unavailable as error:
            _note(self._task_results, "error" if error.asked else "bypass")
            cached, is_filled = None, False
        else:
            _note(self._task_results, "miss" if cached is None else "hit")
        if cached is None:
            return await self._flights.do(f"task:{task_id}", lambda: self._load(task_id, is_filled))
        if cached.is_due:
            self._refresh(task_id)
        return _stored(cached)

    async def first_page(self, limit: int, done: bool | None) -> bytes:
        """The newest tasks, as the JSON of a `TaskPage`."""
        name = f"{limit}:{done}"
        try:
            cached, mark = await self._cache.get_page(name, self._epoch.current)
        except Unavailable as error:
            _note(self._list_results, "error" if error.asked else "bypass")
            return await self._flights.do(f"page:{name}", lambda: self._load_page(limit, done))
        _note(self._list_results, "miss" if cached is None else "hit")
        if cached is not None:
            return cached
        return await self._flights.do(f"page:{name}:{mark!r}", lambda: self._load_page(limit, done, name, mark))

    async def page(self, limit: int, before: UUID, done: bool | None) -> bytes:
        """The tasks that follow the one with the id `before`, as the JSON of a `TaskPage`. These are not cached."""
        return await self._read_page(limit, before, done)

    async def create(self, new: NewTask) -> Task:
        """Stores a new task."""
        # from before the write: what is told late must not count as newer than what outdated it meanwhile
        epoch = self._epoch.current
        task = await self._store.create(new)
        await self._tell(self._cache.wrote(task, epoch))
        return task

    async def change(self, task_id: UUID, change: TaskChange, expected: int | None) -> Task | None:
        """The task as changed, None where there is none. Raises `VersionConflict`."""
        await self._announce(task_id)
        epoch = self._epoch.current
        task = await self._store.change(task_id, change, expected)
        if task is not None:
            await self._tell(self._cache.wrote(task, epoch))
        return task

    async def delete(self, task_id: UUID, expected: int | None, request_id: str) -> bool:
        """Whether there was a task to delete. Raises `VersionConflict`."""
        await self._announce(task_id)
        epoch = self._epoch.current
        version = await self._store.delete(task_id, expected, request_id)
        if version is None:
            return False
        await self._tell(self._cache.deleted(task_id, version, epoch))
        return True

    async def _announce(self, task_id: UUID) -> None:
        """Shortens the life of what the cache holds, in case this replica dies between storing and telling."""
        # the cache will not hear of the write either then, and that is seen to
        with suppress(Unavailable):
            await self._cache.announce(task_id)

    async def _tell(self, told: Awaitable[None]) -> None:
        """Tells the cache of a write that is stored; where it does not hear, outdates all that it holds."""
        try:
            await told
        except Unavailable:
            await self._epoch.raise_()

    async def _load(self, task_id: UUID, is_filled: bool) -> StoredTask | None:
        epoch, began = self._epoch.current, time.monotonic()
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


def _stored(cached: CachedTask) -> StoredTask | None:
    return StoredTask(cached.version, cached.body) if cached.body else None
