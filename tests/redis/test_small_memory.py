"""Redis with too little memory for values behaves as the runbook of RedisMemoryNearLimit describes."""

from pathlib import Path

import httpx
import pytest

from lab.settings import ROOT
from testbed import Postgres, RedisCluster, Replica


@pytest.mark.case("small memory")
def test_with_maxmemory_below_redis_overhead_every_read_misses_and_rate_limits_are_bypassed(
    tmp_path: Path, redis_cluster: RedisCluster, postgres: Postgres
) -> None:
    page = (ROOT / "alerts/runbooks/RedisMemoryNearLimit.md").read_text()
    for word in ("`maxmemory`", "3mb", "hit ratio", "bypass", "CacheHitRatioLow", "RateLimitBypassed"):
        assert word in page
    redis_cluster.repair()
    settings = {"DATABASE_URL": postgres.new_database(), "REDIS_URL": redis_cluster.url, "RATE_LIMIT": "100000/minute"}
    before = {node: node.client.config_get("maxmemory*") for node in redis_cluster.masters()}
    try:
        with Replica(tmp_path, **settings) as replica, httpx.Client(base_url=replica.url) as client:
            path = client.post("/tasks", json={"task": "x"}).headers["location"]
            for node in before:
                # 3mb under load, which fills buffers; without load, a node's own overhead is less
                overhead = node.client.info("memory")["used_memory_overhead"]
                node.client.config_set("maxmemory-policy", "allkeys-lru")
                node.client.config_set("maxmemory", overhead)

            def counts() -> tuple[float, float]:
                found = replica.metrics()
                return (
                    found.value("cache_requests_total", cache="task", result="hit"),
                    found.value("rate_limit_decisions_total", decision="bypassed"),
                )

            hits, bypassed = counts()
            statuses = [client.get(path).status_code for _ in range(40)]
            assert statuses == [200] * 40
            assert counts()[0] - hits <= 1
            assert counts()[1] - bypassed >= 35
    finally:
        for node, values in before.items():
            for name in ("maxmemory", "maxmemory-policy"):
                node.client.config_set(name, values[name])
        redis_cluster.repair()
