"""The cache of tasks by id and of first pages of the list.

Redis may lose any entry at any time; stale entries are never served for long (docs/cache.md has the whole design). Each
value carries the version of its row, so that an older version never replaces a newer one. It also carries the epoch in
which it was written; a value of an earlier epoch is treated as a miss.
"""

import asyncio
import random
import time
from collections.abc import Awaitable
from typing import NamedTuple
from uuid import UUID, uuid4

from service.settings import Settings
from service.tasks.model import Task, encode
from service.tasks.servers import CacheServer
from service.tasks.values import PAGES_KEY, UNKNOWN, read_value, task_key
from service.telemetry.metrics import Metrics

# Longer than any read that may fill the cache (FILL_WITHIN_SECONDS), so that no read that began before a change can put
# the old value back after the tombstone has expired.
GUARD_TTL_MS = 30_000


class CachedTask(NamedTuple):
    """A cache entry: the task as JSON. An empty body means that no task has this id."""

    version: int
    body: bytes
    is_due: bool
    """In the last tenth of its TTL: the reader refreshes it in the background."""


class TaskCache:
    """The cache of tasks by id and of first pages. Every method raises `Unavailable` if the server does not respond."""

    def __init__(self, server: CacheServer, settings: Settings, metrics: Metrics) -> None:
        self._server = server
        self._ttl_ms = settings.cache_ttl_seconds * 1000
        self._unknown_ttl_ms = settings.cache_unknown_ttl_seconds * 1000
        self._get_seconds = metrics.cache_operation["get"]
        self._set_seconds = metrics.cache_operation["set"]
        self._invalidate_seconds = metrics.cache_operation["invalidate"]

    async def get(self, task_id: UUID, epoch: int, min_version: int) -> CachedTask | None:
        """The entry of a task; None if there is none of at least this epoch and this version."""
        started = time.perf_counter()
        # once, since str(UUID) runs in Python
        name = str(task_id)
        key = task_key(name)
        text = await self._server.get(key)
        self._get_seconds.observe(time.perf_counter() - started)
        if text is None:
            return None
        value = read_value(name, text)
        if value is None:
            # otherwise its version, whatever it means, could prevent the right value from being stored
            await self._server.discard(key, text)
            return None
        if value.epoch < epoch or value.version < min_version or value.body == UNKNOWN:
            return None
        return CachedTask(value.version, value.body, value.due_ms <= time.time() * 1000)

    async def fill(self, task_id: UUID, epoch: int, task: Task | None) -> None:
        """Caches what the database returned. `epoch` must have been read before the database was queried."""
        started = time.perf_counter()
        if task is None:
            await self._put(task_id, epoch, 0, b"", self._unknown_ttl_ms)
        else:
            await self._put(task_id, epoch, task.version, encode(task), self._ttl_ms)
        self._set_seconds.observe(time.perf_counter() - started)

    async def update(self, task: Task, epoch: int) -> None:
        """Caches a task that was created or changed, and invalidates all pages, so that every later read sees it."""
        started = time.perf_counter()
        await _all(self._put(task.id, epoch, task.version, encode(task), self._ttl_ms), self.invalidate_pages())
        self._invalidate_seconds.observe(time.perf_counter() - started)

    async def delete(self, task_id: UUID, version: int, epoch: int) -> None:
        """Replaces a task that was deleted at `version` by a tombstone of the next version; invalidates all pages."""
        started = time.perf_counter()
        await _all(self._put(task_id, epoch, version + 1, b"", GUARD_TTL_MS), self.invalidate_pages())
        self._invalidate_seconds.observe(time.perf_counter() - started)

    async def invalidate(self, task_id: UUID, version: int, epoch: int) -> None:
        """Invalidates every entry of the task that is older than this version, where the new value is not known."""
        rest = b"0:" + UNKNOWN
        await self._server.invalidate(task_key(task_id), epoch, version, rest, self._jittered(GUARD_TTL_MS))

    async def get_page(self, name: str, epoch: int) -> tuple[bytes | None, bytes]:
        """A first page as JSON, None if it is not cached or outdated; and the mark to pass to `fill_page` then."""
        started = time.perf_counter()
        current, value = await self._server.get_two(PAGES_KEY, f"{PAGES_KEY}:{name}")
        if current is None:
            current = await self.invalidate_pages()
        self._get_seconds.observe(time.perf_counter() - started)
        mark = b"%d:%b" % (epoch, current)
        if value is not None and value.startswith(mark + b":"):
            return value[len(mark) + 1 :], mark
        return None, mark

    async def fill_page(self, name: str, mark: bytes, body: bytes) -> None:
        """Caches a first page. `mark` must have been read before the page was."""
        started = time.perf_counter()
        await self._server.set(f"{PAGES_KEY}:{name}", mark + b":" + body, self._jittered(self._ttl_ms))
        self._set_seconds.observe(time.perf_counter() - started)

    async def invalidate_pages(self) -> bytes:
        """Invalidates all pages at once by setting a new mark: a page is valid only under the mark it was read with.

        The mark is random. A counter that was evicted would start again, and could match old pages.
        """
        mark = uuid4().hex.encode()
        await self._server.set(PAGES_KEY, mark, int(self._ttl_ms * 2))
        return mark

    async def _put(self, task_id: UUID, epoch: int, version: int, body: bytes, ttl_ms: float) -> None:
        ttl = self._jittered(ttl_ms)
        due = int(time.time() * 1000 + ttl * 0.9)
        await self._server.set_newest(task_key(task_id), epoch, version, b"%d:%b" % (due, body), ttl)

    def _jittered(self, ttl_ms: float) -> int:
        """The TTL plus or minus 10 %, so that entries that were cached together do not expire together."""
        return max(1, int(ttl_ms * random.uniform(0.9, 1.1)))  # noqa: S311 (no secret)


async def _all(*calls: Awaitable[object]) -> None:
    """Sends all calls in one round trip, and waits for all of them. Raises the first error."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
