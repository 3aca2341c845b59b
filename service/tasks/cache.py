"""Tasks and first pages in a cache that may lose anything at any time, and yet never says what is outdated for long.

How staleness is kept out is told in docs/cache.md. In short: a value carries the version of its row, and an older
version never replaces a newer one; and it carries the epoch it was written in, and one of an earlier epoch than the
present is not believed.
"""

import random
import time
from typing import NamedTuple, Protocol
from uuid import UUID, uuid4

from service.cluster import RedisCluster, Script
from service.settings import Settings
from service.tasks.model import Task, encode
from service.telemetry.metrics import Metrics

# Longer than any read can be under way, so that none that began before a delete fills the cache after it.
TOMBSTONE_TTL_MS = 30_000
# What is about to be changed lives no longer than this, if the replica that changes it dies before it says so.
ANNOUNCED_TTL_MS = 2_000
PAGES_KEY = "{tasks}:pages"


class CacheServer(Protocol):
    """What the cache needs of a server. Every method raises `Unavailable` when the server does not answer."""

    async def get(self, key: str) -> bytes | None:
        """The value of a key."""

    async def get_two(self, first: str, second: str) -> tuple[bytes | None, bytes | None]:
        """The values of two keys of one slot, in one round trip."""

    async def set(self, key: str, value: bytes, ttl_ms: int) -> None:
        """Sets a key for `ttl_ms` milliseconds."""

    async def set_newest(self, key: str, epoch: int, version: int, rest: bytes, ttl_ms: int) -> None:
        """Sets `epoch:version:rest`, unless what is there has a higher version. The higher epoch stays."""

    async def shorten(self, key: str, ttl_ms: int) -> None:
        """Leaves a key, if it is there, `ttl_ms` milliseconds to live."""


SET_NEWEST = Script("""
local epoch, version = tonumber(ARGV[1]), tonumber(ARGV[2])
local old_epoch, old_version = string.match(redis.call('GETRANGE', KEYS[1], 0, 40), '^(%d+):(%d+):')
if old_version then
  if tonumber(old_version) > version then return 0 end
  epoch = math.max(epoch, tonumber(old_epoch))
end
redis.call('SET', KEYS[1], string.format('%d:%d:', epoch, version) .. ARGV[3], 'PX', ARGV[4])
return 1
""")
SET = Script("redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])")


class RedisCache:
    """A `CacheServer` on Redis Cluster."""

    def __init__(self, cluster: RedisCluster) -> None:
        self._cluster = cluster

    async def get(self, key: str) -> bytes | None:
        """The value of a key, from its primary or a replica of it."""
        value: bytes | None = await self._cluster.command("GET", key)
        return value

    async def get_two(self, first: str, second: str) -> tuple[bytes | None, bytes | None]:
        """The values of two keys of one slot, in one round trip."""
        one, two = await self._cluster.command("MGET", first, second)
        return one, two

    async def set(self, key: str, value: bytes, ttl_ms: int) -> None:
        """Sets a key for `ttl_ms` milliseconds."""
        await self._cluster.run(SET, key, value, ttl_ms)

    async def set_newest(self, key: str, epoch: int, version: int, rest: bytes, ttl_ms: int) -> None:
        """Sets `epoch:version:rest`, unless what is there has a higher version."""
        await self._cluster.run(SET_NEWEST, key, epoch, version, rest, ttl_ms)

    async def shorten(self, key: str, ttl_ms: int) -> None:
        """Leaves a key, if it is there, `ttl_ms` milliseconds to live."""
        await self._cluster.command("PEXPIRE", key, ttl_ms)


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

    async def get(self, task_id: UUID, epoch: int) -> CachedTask | None:
        """What is cached of a task in this epoch or a later one."""
        started = time.perf_counter()
        value = await self._server.get(f"task:{task_id}")
        self._get_seconds.observe(time.perf_counter() - started)
        if value is None:
            return None
        written_in, version, due_ms, body = value.split(b":", 3)
        if int(written_in) < epoch:
            return None
        return CachedTask(int(version), body, int(due_ms) <= time.time() * 1000)

    async def fill(self, task_id: UUID, epoch: int, task: Task | None) -> None:
        """Keeps what the store said. `epoch` is the one that was current before the store was asked."""
        started = time.perf_counter()
        if task is None:
            await self._put(task_id, epoch, 0, b"", self._unknown_ttl_ms)
        else:
            await self._put(task_id, epoch, task.version, encode(task), self._ttl_ms)
        self._set_seconds.observe(time.perf_counter() - started)

    async def announce(self, task_id: UUID) -> None:
        """A task is about to be changed or deleted."""
        await self._server.shorten(f"task:{task_id}", ANNOUNCED_TTL_MS)
        await self._server.shorten(PAGES_KEY, ANNOUNCED_TTL_MS)

    async def wrote(self, task: Task, epoch: int) -> None:
        """A task was created or changed: every later read shall see it."""
        started = time.perf_counter()
        await self._put(task.id, epoch, task.version, encode(task), self._ttl_ms)
        await self._forget_pages()
        self._invalidate_seconds.observe(time.perf_counter() - started)

    async def deleted(self, task_id: UUID, version: int, epoch: int) -> None:
        """A task was deleted at `version`: a tombstone of the version after it stays for a while."""
        started = time.perf_counter()
        await self._put(task_id, epoch, version + 1, b"", TOMBSTONE_TTL_MS)
        await self._forget_pages()
        self._invalidate_seconds.observe(time.perf_counter() - started)

    async def get_page(self, name: str, epoch: int) -> tuple[bytes | None, bytes]:
        """A first page as JSON, if it is still current, and the mark to give to `fill_page` if it is not."""
        started = time.perf_counter()
        current, value = await self._server.get_two(PAGES_KEY, f"{PAGES_KEY}:{name}")
        if current is None:
            current = await self._forget_pages()
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

    async def _forget_pages(self) -> bytes:
        """Outdates all pages at once: each carries the mark that was current when it was read.

        The mark is random and no counter, since a counter that is evicted would start again and meet old pages.
        """
        mark = uuid4().hex.encode()
        await self._server.set(PAGES_KEY, mark, int(self._ttl_ms * 2))
        return mark

    async def _put(self, task_id: UUID, epoch: int, version: int, body: bytes, ttl_ms: float) -> None:
        ttl = self._jittered(ttl_ms)
        due = int(time.time() * 1000 + ttl * 0.9)
        await self._server.set_newest(f"task:{task_id}", epoch, version, b"%d:%b" % (due, body), ttl)

    def _jittered(self, ttl_ms: float) -> int:
        """Give or take a tenth, so that what was cached together does not expire together."""
        return max(1, int(ttl_ms * random.uniform(0.9, 1.1)))  # noqa: S311 (no secret)
