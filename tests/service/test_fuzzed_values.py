"""Random bytes under every kind of key that the service has in Redis are a miss, and never fail a request."""

import random
from collections.abc import Iterator
from uuid import UUID

import httpx
import pytest

from service.rate_limit import FORMAT
from service.tasks.values import PAGES_KEY, read_value, task_key
from testbed import Postgres, RedisCluster, Replica
from testbed.redis_cluster import Node

SEED = 19
PAGE_KEY = f"{PAGES_KEY}:7:None"
NUMBERS = (b"-1", b"0", b"1e999", b"nan", b"inf", b"9" * 30, b"9223372036854775808", b"0x10", b" 1", b"1_0", b"")


@pytest.fixture(scope="module")
def replica(
    tmp_path_factory: pytest.TempPathFactory, redis_cluster: RedisCluster, postgres: Postgres
) -> Iterator[Replica]:
    redis_cluster.repair()
    settings = {
        "DATABASE_URL": postgres.new_database(),
        "REDIS_URL": redis_cluster.url,
        "REDIS_TIMEOUT_SECONDS": "5",
        "DATABASE_TIMEOUT_SECONDS": "10",
        "RATE_LIMIT": "1000000/minute",
        "TRUSTED_PROXIES": "127.0.0.1",
    }
    with Replica(tmp_path_factory.mktemp("fuzzed"), **settings) as made:
        yield made


def odd(chance: random.Random, old: bytes) -> bytes:
    """Random bytes, or a mutation of the previous value."""
    if not old or not chance.randrange(4):
        return chance.randbytes(chance.randrange(60))
    parts = old.split(b":", 3)
    if chance.randrange(2):
        parts[chance.randrange(len(parts))] = chance.choice(NUMBERS)
        return b":".join(parts)
    at = chance.randrange(len(old))
    return old[:at] + chance.randbytes(chance.randrange(4)) + old[at + chance.choice((0, 1, 8, 500)) :]


def put(node: Node, key: str, chance: random.Random) -> bytes:
    """Writes a random value of a random type under the key, and returns it if it is a string."""
    kind = chance.randrange(8)
    old = node.ask("GET", key) if kind < 5 and node.ask("TYPE", key) in ("string", b"string") else b""
    node.ask("DEL", key)
    if kind < 5:
        value = odd(chance, old.encode("utf-8", "surrogateescape") if isinstance(old, str) else old or b"")
        node.ask("SET", key, value)  # type: ignore[arg-type]
        return value
    node.ask(*(("RPUSH", key, "x"), ("SADD", key, "x"), ("HSET", key, "w60000", "x"))[kind - 5])
    return b""


def put_count(node: Node, key: str, chance: random.Random) -> None:
    """Writes odd numbers into a client's rate limit counter, or something that is not a counter."""
    if not chance.randrange(3):
        put(node, key, chance)
        return
    field = chance.choice(("w60000", "c60000", "p60000", "x"))
    node.ask("HSET", key, field, chance.choice((*NUMBERS, chance.randbytes(5))))  # type: ignore[arg-type]


@pytest.mark.case("foreign value")
@pytest.mark.parametrize("count", [40, pytest.param(600, marks=pytest.mark.long)], ids=["few", "many"])
def test_fuzzed_cache_values_are_misses_and_fail_no_request(
    replica: Replica, redis_cluster: RedisCluster, count: int
) -> None:
    chance = random.Random(SEED + count)
    with httpx.Client(base_url=replica.url, trust_env=False) as client:
        path = client.post("/tasks", json={"task": "0"}).headers["location"]
        name = path.rpartition("/")[2]
        key = task_key(UUID(name))
        for number in range(1, count + 1):
            address = f"203.0.113.{number % 5}"
            value = put(redis_cluster.master_of(key), key, chance)
            for page in (PAGES_KEY, PAGE_KEY)[: chance.randrange(3)]:
                put(redis_cluster.master_of(page), page, chance)
            limit = f"rate:{FORMAT}:{address}"
            put_count(redis_cluster.master_of(limit), limit, chance)
            client.headers["X-Forwarded-For"] = address
            answer = client.get(path)
            # a foreign counter may be above the limit
            assert answer.status_code in (200, 404, 429), (value, answer.text)
            redis_cluster.master_of(limit).ask("DEL", limit)
            if read_value(name, value) is None:
                answer = client.get(path)
                assert (answer.status_code, answer.json()["task"]) == (200, str(number - 1)), value
            # a read returns the last write, whatever the previous value was
            assert client.patch(path, json={"task": str(number)}).status_code == 200
            assert client.get("/tasks?limit=7").status_code == 200
            if read_value(name, value) is None:
                assert client.get(path).json()["task"] == str(number), value
                assert client.get("/tasks?limit=7").json()["items"][0]["task"] == str(number), value
            redis_cluster.master_of(key).ask("DEL", key)
