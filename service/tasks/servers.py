"""Backends of the cache: Redis Cluster, or the memory of this process if the service runs alone."""

from typing import Protocol

from service.infrastructure.cluster import ForeignValue, RedisCluster
from service.infrastructure.memory import Memory
from service.tasks.values import DISCARD, INVALIDATE, SET, SET_NEWEST, newest


class CacheServer(Protocol):
    """A backend of the cache. Every method raises `Unavailable` if it does not respond."""

    async def get(self, key: str) -> bytes | None:
        """The value of a key."""

    async def get_two(self, first: str, second: str) -> tuple[bytes | None, bytes | None]:
        """The values of two keys of one slot, in one round trip."""

    async def set(self, key: str, value: bytes, ttl_ms: int) -> None:
        """Sets a key for `ttl_ms` milliseconds."""

    async def set_newest(self, key: str, epoch: int, version: int, rest: bytes, ttl_ms: int) -> None:
        """Sets `epoch:version:rest` unless the present value has a higher version. Keeps the higher epoch."""

    async def invalidate(self, key: str, epoch: int, version: int, rest: bytes, ttl_ms: int) -> None:
        """Like `set_newest`, but keeps a present value of the same version."""

    async def discard(self, key: str, value: bytes) -> None:
        """Deletes a key if it still has this value."""


class RedisServer:
    """A `CacheServer` on Redis Cluster."""

    def __init__(self, cluster: RedisCluster) -> None:
        self._cluster = cluster

    async def get(self, key: str) -> bytes | None:
        """The value of a key, from its primary or a replica of it."""
        try:
            value: bytes | None = await self._cluster.command("GET", key.encode())
        except ForeignValue:
            return None
        return value

    async def get_two(self, first: str, second: str) -> tuple[bytes | None, bytes | None]:
        """The values of two keys of one slot, in one round trip."""
        one, two = await self._cluster.command("MGET", first, second)
        return one, two

    async def set(self, key: str, value: bytes, ttl_ms: int) -> None:
        """Sets a key for `ttl_ms` milliseconds."""
        await self._cluster.run(SET, key, value, ttl_ms)

    async def set_newest(self, key: str, epoch: int, version: int, rest: bytes, ttl_ms: int) -> None:
        """Sets `epoch:version:rest`, unless the present value has a higher version."""
        await self._cluster.run(SET_NEWEST, key, epoch, version, rest, ttl_ms)

    async def invalidate(self, key: str, epoch: int, version: int, rest: bytes, ttl_ms: int) -> None:
        """Like `set_newest`, but keeps a present value of the same version."""
        await self._cluster.run(INVALIDATE, key, epoch, version, rest, ttl_ms)

    async def discard(self, key: str, value: bytes) -> None:
        """Deletes a key if it still has this value."""
        await self._cluster.run(DISCARD, key, value)


class MemoryServer:
    """A `CacheServer` in this process."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def get(self, key: str) -> bytes | None:
        """The value of a key."""
        return self._memory.get(key)

    async def get_two(self, first: str, second: str) -> tuple[bytes | None, bytes | None]:
        """The values of two keys."""
        return self._memory.get(first), self._memory.get(second)

    async def set(self, key: str, value: bytes, ttl_ms: int) -> None:
        """Sets a key for `ttl_ms` milliseconds."""
        self._memory.set(key, value, ttl_ms / 1000)

    async def set_newest(self, key: str, epoch: int, version: int, rest: bytes, ttl_ms: int) -> None:
        """Sets `epoch:version:rest`, unless the present value has a higher version."""
        kept_epoch, is_newer = newest(self._memory.get(key), epoch, version)
        if is_newer:
            self._memory.set(key, b"%d:%d:%b" % (kept_epoch, version, rest), ttl_ms / 1000)

    async def invalidate(self, key: str, epoch: int, version: int, rest: bytes, ttl_ms: int) -> None:
        """Like `set_newest`, but keeps a present value of the same version."""
        if newest(self._memory.get(key), epoch, version - 1)[1]:
            await self.set_newest(key, epoch, version, rest, ttl_ms)

    async def discard(self, key: str, value: bytes) -> None:
        """Deletes a key if it still has this value."""
        if self._memory.get(key) == value:
            self._memory.set(key, b"", 0)
