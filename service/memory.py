"""The cache for a service that runs alone: in this process, with a bound and a time to live."""

import time
from collections import OrderedDict


class MemoryCache:
    """Does what `tasks.cache.CacheServer` asks for. Keeps at most `capacity` entries, dropping the oldest used."""

    def __init__(self, capacity: int = 100_000) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    async def get(self, key: str) -> bytes | None:
        """The value of a key."""
        entry = self._entries.get(key)
        if entry is None or entry[0] <= time.monotonic():
            return None
        self._entries.move_to_end(key)
        return entry[1]

    async def get_two(self, first: str, second: str) -> tuple[bytes | None, bytes | None]:
        """The values of two keys of one slot."""
        return await self.get(first), await self.get(second)

    async def set(self, key: str, value: bytes, ttl_ms: int) -> None:
        """Sets a key for `ttl_ms` milliseconds."""
        self._entries[key] = (time.monotonic() + ttl_ms / 1000, value)
        self._entries.move_to_end(key)
        while len(self._entries) > self._capacity:
            self._entries.popitem(last=False)

    async def set_newest(self, key: str, epoch: int, version: int, rest: bytes, ttl_ms: int) -> None:
        """Sets `epoch:version:rest`, unless what is there has a higher version."""
        old = await self.get(key)
        if old is not None:
            old_epoch, old_version, _ = old.split(b":", 2)
            if int(old_version) > version:
                return
            epoch = max(epoch, int(old_epoch))
        await self.set(key, b"%d:%d:%b" % (epoch, version, rest), ttl_ms)

    async def shorten(self, key: str, ttl_ms: int) -> None:
        """Leaves a key, if it is there, `ttl_ms` milliseconds to live."""
        value = await self.get(key)
        if value is not None:
            await self.set(key, value, ttl_ms)
