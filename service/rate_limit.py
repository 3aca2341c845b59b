"""The rate limit by client, counted in Redis for all replicas together, or in memory if the service runs alone."""

import math
import re
import time
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple, Protocol

from limits import RateLimitItem
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from service.infrastructure.cluster import RedisCluster, Script
from service.settings import Network


class Decision(NamedTuple):
    """Whether a request is allowed, and the state of the tightest limit after it."""

    is_allowed: bool
    limit: int
    """The index of the tightest limit."""
    remaining: int
    """Requests left."""
    reset: int
    """Seconds until there are more; for a rejected request, seconds after which to retry."""


class Limiter(Protocol):
    """Counts requests by client."""

    async def hit(self, client: str) -> Decision:
        """Counts one request, if every limit allows it. Raises `Unavailable`."""


# The sliding window counter: the count of the current window, plus the share of the previous window's count that the
# sliding window still covers (https://blog.cloudflare.com/counting-things-a-lot-of-different-things/). It assumes that
# the previous window's requests were evenly spread. The algorithm is that of the `limits` library; the script is our
# own because it checks all limits before it counts, in one round trip instead of one for each limit, and keeps them in
# one hash that expires. Its fields are named by the length of the window, so that replicas with other limits,
# as during a deployment that changes them, share the counts of equal windows.
HIT = Script("""
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local n = #ARGV / 2
local fields = {}
for i = 1, n do
  local size = ARGV[2 * i]
  fields[3 * i - 2], fields[3 * i - 1], fields[3 * i] = 'w' .. size, 'c' .. size, 'p' .. size
end
local old = redis.pcall('HMGET', KEYS[1], unpack(fields))
-- somebody else's value, of another type or with fields that are no counts, counts for nothing
if old.err then
  redis.call('DEL', KEYS[1])
  old = {}
end
local function number(text)
  local found = text and tonumber(text)
  return found and found >= 0 and found < 1e15 and math.floor(found) or nil
end
local allowed, tight, least, reset, longest = 1, 1, -1, 0, 0
local set = {}
for i = 1, n do
  local limit, size = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local window = math.floor(now / size)
  local passed = now - window * size
  local at, count, previous = number(old[3 * i - 2]), number(old[3 * i - 1]) or 0, number(old[3 * i]) or 0
  if at ~= window then
    previous = (at == window - 1) and count or 0
    count = 0
  end
  local used = math.floor(previous * (size - passed) / size) + count
  local left = limit - used
  local wait = size - passed
  if left < 1 and previous > 0 and count < limit then
    wait = math.min(wait, math.max(1, math.ceil(size - passed - (limit - count - 1) * size / previous)))
  elseif left < 1 then
    wait = wait + math.max(0, math.ceil(size - (limit - 1) * size / math.max(count, 1)))
  end
  if left < 1 then allowed = 0 end
  if least < 0 or left < least then tight, least, reset = i, left, wait end
  if size > longest then longest = size end
  set[6 * i - 5], set[6 * i - 4], set[6 * i - 3] = fields[3 * i - 2], window, fields[3 * i - 1]
  set[6 * i - 2], set[6 * i - 1], set[6 * i] = count + 1, fields[3 * i], previous
end
if allowed == 1 then
  redis.call('HSET', KEYS[1], unpack(set))
  -- the windows of others may be longer
  if redis.call('PTTL', KEYS[1]) < longest * 2 then redis.call('PEXPIRE', KEYS[1], longest * 2) end
  least = least - 1
end
return {allowed, tight - 1, math.max(least, 0), reset}
""")


# Raise it with every change of the format of a key's value. Replicas with different formats count separately: while
# both run, a client may send twice the limit.
FORMAT = 2


class RedisLimiter:
    """A `Limiter` for all replicas that share a Redis Cluster."""

    def __init__(self, cluster: RedisCluster, limits: Sequence[RateLimitItem]) -> None:
        self._cluster = cluster
        # as bytes, since redis-py would encode each number for each request
        self._arguments = [b"%d" % n for item in limits for n in (item.amount, item.get_expiry() * 1000)]

    async def hit(self, client: str) -> Decision:
        """Counts one request, if every limit allows it. Raises `Unavailable`."""
        allowed, limit, remaining, reset_ms = await self._cluster.run(
            HIT, f"rate:{FORMAT}:{client}".encode(), *self._arguments
        )
        return Decision(allowed == 1, limit, remaining, -(-reset_ms // 1000))


class MemoryLimiter:
    """A `Limiter` for a service that runs alone: the `limits` library, in this process."""

    def __init__(self, limits: Sequence[RateLimitItem]) -> None:
        self._limits = limits
        self._strategy = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def hit(self, client: str) -> Decision:
        """Counts one request, if every limit allows it."""
        # with several limits, all are tested before any counts; a single one counts nothing if it is used up
        if len(self._limits) > 1:
            for index, item in enumerate(self._limits):
                if not await self._strategy.test(item, client):
                    return await self._rejected(index, client)
        standing: list[Decision] = []
        for index, item in enumerate(self._limits):
            if not await self._strategy.hit(item, client):
                return await self._rejected(index, client)
            stats = await self._strategy.get_window_stats(item, client)
            reset = max(0, math.ceil(stats.reset_time - time.time()))
            standing.append(Decision(True, index, stats.remaining, reset))
        return min(standing, key=lambda decision: decision.remaining)

    async def _rejected(self, index: int, client: str) -> Decision:
        stats = await self._strategy.get_window_stats(self._limits[index], client)
        return Decision(False, index, 0, max(1, math.ceil(stats.reset_time - time.time())))


# bytes; some ten proxies
LONGEST_CHAIN = 500
# an address with a port, as some proxies write it: 203.0.113.9:50001, [2001:db8::1]:443 and [2001:db8::1]
WITH_PORT = re.compile(r"(?:([0-9.]+):[0-9]+|\[([^\]]+)\](?::[0-9]+)?)")


class Clients:
    """Identifies the client of a request, by its address in a canonical form.

    `X-Forwarded-For` is read from the right, where the nearest proxy appended, for as long as the addresses are those
    of trusted proxies. The first other address is the client's; what is left of it was sent by the client, and ignored.
    """

    def __init__(self, trusted: Sequence[Network], ipv6_prefix: int = 64) -> None:
        self._trusted = trusted
        self._ipv6_prefix = ipv6_prefix
        self._cached = lru_cache(10_000)(self._of)

    def of(self, peer: str, forwarded_for: bytes) -> str:
        """The client of a request from `peer` with this `X-Forwarded-For`, of which only the right end is used."""
        return self._cached(peer, forwarded_for[-LONGEST_CHAIN:])

    def _of(self, peer: str, forwarded_for: bytes) -> str:
        """The client's address; for IPv6 its network, since one client usually has the whole of it."""
        chain = [part.strip() for part in forwarded_for.decode("latin-1").split(",") if part.strip()]
        client, address = peer, address_of(peer)
        while chain and address is not None and any(address in network for network in self._trusted):
            client = chain.pop()
            address = address_of(client)
        if address is None:
            # a Unix socket, or an invalid entry of a broken proxy
            return client[:64]
        if isinstance(address, IPv6Address):
            return str(ip_network((address, self._ipv6_prefix), strict=False))
        return str(address)


def address_of(text: str) -> IPv4Address | IPv6Address | None:
    """Parses an address, ignoring port, brackets and zone. IPv4-mapped IPv6 becomes IPv4. None if it is invalid."""
    found = WITH_PORT.fullmatch(text)
    if found:
        text = found[1] or found[2]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def policy_header(limits: Sequence[RateLimitItem]) -> bytes:
    """The `RateLimit-Policy` header (draft-ietf-httpapi-ratelimit-headers-10)."""
    return b", ".join(b'"%b";q=%d;w=%d' % (limit_name(item), item.amount, item.get_expiry()) for item in limits)


def limit_name(item: RateLimitItem) -> bytes:
    """A limit's name in the headers, such as `100-per-15-minute`."""
    return f"{item.amount}-per-{item.multiples}-{item.GRANULARITY.name}".encode()
