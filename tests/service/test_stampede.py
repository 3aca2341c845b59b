"""Many readers of an expired key cause only one load for each replica."""

import asyncio
from pathlib import Path
from uuid import UUID

import httpx

from service.tasks.values import task_key
from testbed import RedisCluster, Replica, replicas

READERS = 500
REPLICAS = 3


def loads(replica: Replica) -> float:
    """Loads from the store, counted as cache fills: each load is followed by one."""
    return replica.metrics().value("cache_operation_duration_seconds_count", operation="set")


async def test_500_readers_of_an_expired_key_load_it_at_most_once_per_replica(
    tmp_path: Path, clean_cluster: RedisCluster, database_url: str
) -> None:
    settings = {"DATABASE_URL": database_url, "REDIS_URL": clean_cluster.url, "MAX_CONCURRENT_REQUESTS": "1000"}
    # a fill that Redis answers too late would be repeated
    settings["REDIS_TIMEOUT_SECONDS"] = "5"
    with replicas(tmp_path, REPLICAS, **settings) as three:
        path = httpx.post(f"{three[0].url}/tasks", json={"task": "hot"}).headers["location"]
        key = task_key(UUID(path.rsplit("/", 1)[1]))
        limits = httpx.Limits(max_connections=READERS)
        async with httpx.AsyncClient(limits=limits, timeout=30) as client:
            for replica in three:
                assert (await client.get(replica.url + path)).status_code == 200
            # as if the TTL of an hour had passed
            assert clean_cluster.master_of(key).client.delete(key) == 1
            before = [loads(replica) for replica in three]
            answers = await asyncio.gather(
                *(client.get(three[number % REPLICAS].url + path) for number in range(READERS))
            )
        loaded = [loads(replica) - was for replica, was in zip(three, before, strict=True)]
    print(f"\n{READERS} readers, loads by replica: {loaded}")
    assert {answer.status_code for answer in answers} == {200}
    assert max(loaded) <= 1
    assert sum(loaded) >= 1
