"""An LRU cache with a TTL for each entry, in the memory of this process.

Our own, because it is twenty lines; cachetools' TLRUCache would be a dependency for the service that runs alone.
"""

import time
from collections import OrderedDict


class Memory:
    """Keeps at most `capacity` values, and evicts the least recently used."""

    def __init__(self, capacity: int = 100_000) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    def get(self, key: str) -> bytes | None:
        """The value of a key."""
        entry = self._entries.get(key)
        if entry is None or entry[0] <= time.monotonic():
            return None
        self._entries.move_to_end(key)
        return entry[1]

    def set(self, key: str, value: bytes, ttl_seconds: float) -> None:
        """Sets a key."""
        self._entries[key] = (time.monotonic() + ttl_seconds, value)
        self._entries.move_to_end(key)
        while len(self._entries) > self._capacity:
            self._entries.popitem(last=False)
