"""Tasks and first pages in a cache that may lose anything at any time, and yet never says what is outdated for long.

How staleness is kept out is told in docs/cache.md. In short: a value carries the version of its row, and an older
version never replaces a newer one; and it carries the epoch it was written in, and one of an earlier epoch than the
present is not believed.
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

# Longer than any read can be under way, so that none that began before a change fills the cache after it.
GUARD_TTL_MS = 30_000


class CachedTask(NamedTuple):
    """What the cache knows of an id: its task as JSON, or with an empty body that there is none."""

    version: int
    body: bytes
    is_due: bool
    """Near the end of its life, and to be refreshed before it ends."""


class TaskCache:
    """The cache of tasks by id, and of first pages. Every method raises `Unavailable` when it does not answer."""

    def __init__(self, server: CacheServer, settings: Settings, metrics: Metrics) -> None:
        self._server = server
        self._ttl_ms = settings.cache_ttl_seconds * 1000
        self._unknown_ttl_ms = settings.cache_unknown_ttl_seconds * 1000
        self._get_seconds = metrics.cache_operation["get"]
        self._set_seconds = metrics.cache_operation["set"]
        self._invalidate_seconds = metrics.cache_operation["invalidate"]

    async def get(self, task_id: UUID, epoch: int, least_version: int) -> CachedTask | None:
        """What is cached of a task in this epoch and at this version, or later ones."""
        started = time.perf_counter()
        # made once, since uuid makes it in Python
        name = str(task_id)
        key = task_key(name)
        text = await self._server.get(key)
        self._get_seconds.observe(time.perf_counter() - started)
        if text is None:
            return None
        value = read_value(name, text)
        if value is None:
            # or its version, whatever it is, would keep ours from taking its place
            await self._server.discard(key, text)
            return None
        if value.epoch < epoch or value.version < least_version or value.body == UNKNOWN:
            return None
        return CachedTask(value.version, value.body, value.due_ms <= time.time() * 1000)

    async def fill(self, task_id: UUID, epoch: int, task: Task | None) -> None:
        """Keeps what the store said. `epoch` is the one that was current before the store was asked."""
        started = time.perf_counter()
        if task is None:
            await self._put(task_id, epoch, 0, b"", self._unknown_ttl_ms)
        else:
            await self._put(task_id, epoch, task.version, encode(task), self._ttl_ms)
        self._set_seconds.observe(time.perf_counter() - started)

    async def wrote(self, task: Task, epoch: int) -> None:
        """A task was created or changed: every later read shall see it."""
        started = time.perf_counter()
        await _all(self._put(task.id, epoch, task.version, encode(task), self._ttl_ms), self.forget_pages())
        self._invalidate_seconds.observe(time.perf_counter() - started)

    async def deleted(self, task_id: UUID, version: int, epoch: int) -> None:
        """A task was deleted at `version`: a tombstone of the version after it stays for a while."""
        started = time.perf_counter()
        await _all(self._put(task_id, epoch, version + 1, b"", GUARD_TTL_MS), self.forget_pages())
        self._invalidate_seconds.observe(time.perf_counter() - started)

    async def invalidate(self, task_id: UUID, version: int, epoch: int) -> None:
        """A task has at least this version, and its value is not at hand: nothing older is believed or kept."""
        rest = b"0:" + UNKNOWN
        await self._server.invalidate(task_key(task_id), epoch, version, rest, self._jittered(GUARD_TTL_MS))

    async def get_page(self, name: str, epoch: int) -> tuple[bytes | None, bytes]:
        """A first page as JSON, if it is still current, and the mark to give to `fill_page` if it is not."""
        started = time.perf_counter()
        current, value = await self._server.get_two(PAGES_KEY, f"{PAGES_KEY}:{name}")
        if current is None:
            current = await self.forget_pages()
        self._get_seconds.observe(time.perf_counter() - started)
        mark = b"%d:%b" % (epoch, current)
        if value is not None and value.startswith(mark + b":"):
            return value[len(mark) + 1 :], mark
        return None, mark

    async def fill_page(self, name: str, mark: bytes, body: bytes) -> None:
        """Keeps a first page that was read after its `mark` was."""
        started = time.perf_counter()
        await self._server.set(f"{PAGES_KEY}:{name}", mark + b":" + body, self._jittered(self._ttl_ms))
        self._set_seconds.observe(time.perf_counter() - started)

    async def forget_pages(self) -> bytes:
        """Outdates all pages at once: each carries the mark that was current when it was read.

        The mark is random and no counter, since a counter that is evicted would start again and meet old pages.
        """
        mark = uuid4().hex.encode()
        await self._server.set(PAGES_KEY, mark, int(self._ttl_ms * 2))
        return mark

    async def _put(self, task_id: UUID, epoch: int, version: int, body: bytes, ttl_ms: float) -> None:
        ttl = self._jittered(ttl_ms)
        due = int(time.time() * 1000 + ttl * 0.9)
        await self._server.set_newest(task_key(task_id), epoch, version, b"%d:%b" % (due, body), ttl)

    def _jittered(self, ttl_ms: float) -> int:
        """Give or take a tenth, so that what was cached together does not expire together."""
        return max(1, int(ttl_ms * random.uniform(0.9, 1.1)))  # noqa: S311 (no secret)


async def _all(*calls: Awaitable[object]) -> None:
    """Makes all calls in one round trip, and waits for all of them. Raises what the first of them raised."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
