"""The table of failures: what each part of the service does while a dependency is down.

Every test runs steady load of each column through two replicas, causes a fault, and counts the statuses.
"""

import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from testbed import (
    Load,
    OtlpReceiver,
    Outcome,
    Postgres,
    Process,
    RedisCluster,
    Replica,
    replicas,
    until,
    wait_for,
)
from testbed.load import Shot

COUNT = 40
HURTS: dict[str, Callable[[Process], object]] = {
    "paused": lambda server: server.pause(),
    "killed": lambda server: server.kill(),
}
READS = ("cached read", "other read")
WRITES = ("write",)


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as made:
        yield made


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory,
    redis_cluster: RedisCluster,
    postgres: Postgres,
    receiver: OtlpReceiver,
) -> Iterator[list[Replica]]:
    """Two replicas on one database and one cluster."""
    redis_cluster.repair()
    with replicas(
        tmp_path_factory.mktemp("pair"),
        2,
        DATABASE_URL=postgres.new_database(),
        REDIS_URL=redis_cluster.url,
        # on a busy machine a healthy cluster takes longer than the default timeout
        REDIS_TIMEOUT_SECONDS="0.5",
        # and the client is late with its bodies
        BODY_TIMEOUT_SECONDS="60",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint,
        TRACE_SAMPLE_RATIO="0.5",
    ) as made:
        yield made


@pytest.fixture
def well(pair: list[Replica], redis_cluster: RedisCluster, postgres: Postgres) -> Iterator[list[Replica]]:
    """The replicas, with healthy servers, which are repaired after the test."""
    yield pair
    redis_cluster.repair()
    postgres.resume()
    postgres.start()
    for replica in pair:
        wait_for(lambda replica=replica: is_healthy(replica), 30, f"health of {replica.name}")  # type: ignore[misc]


def is_healthy(replica: Replica) -> bool:
    answer = httpx.get(f"{replica.url}/health", timeout=5)
    return answer.status_code == 200 and answer.json()["status"] == "healthy"


async def shots(urls: list[str], count: int = 60) -> dict[str, Shot]:
    """A request for each column of the table. The tasks of the cached reads are in the cache at every replica."""
    texts = map(str, itertools.count())
    async with httpx.AsyncClient(base_url=urls[0], timeout=5) as client:
        paths = [(await client.post("/tasks", json={"task": next(texts)})).headers["location"] for _ in range(count)]
        for path in paths:
            assert (await client.get(path)).status_code == 200
    cached = itertools.cycle(paths)
    cursor = "ffffffffffff7fffbfffffffffffffff"
    return {
        "cached read": lambda client: client.get(next(cached)),
        "other read": lambda client: client.get("/tasks", params={"cursor": cursor, "limit": 5}),
        "write": lambda client: client.post("/tasks", json={"task": next(texts)}),
        "/health": lambda client: client.get("/health"),
        "/health/ready": lambda client: client.get("/health/ready"),
    }


@pytest.fixture
async def load(well: list[Replica]) -> AsyncIterator[Load]:
    """Steady load on both replicas, all of it answered as expected before any fault."""
    urls = [replica.url for replica in well]
    async with Load(urls, await shots(urls)).running() as running:
        assert statuses(await running.each_answered(20)) == all_well()
        yield running


def statuses(outcomes: dict[str, list[Outcome]]) -> dict[str, set[int]]:
    """The received statuses, by kind of request."""
    return {kind: {each.status for each in found} for kind, found in outcomes.items()}


def all_well() -> dict[str, set[int]]:
    return {"cached read": {200}, "other read": {200}, "write": {201}, "/health": {200}, "/health/ready": {200}}


def report(what: str, outcomes: dict[str, list[Outcome]]) -> None:
    """Prints the table's row, with counts."""
    cells = {kind: dict(Counter(each.status for each in found)) for kind, found in outcomes.items()}
    slowest = max(each.seconds for found in outcomes.values() for each in found)
    print(f"\n{what}: {cells}, slowest {slowest:.3f} s")


def total(pair: list[Replica], name: str, **labels: str) -> float:
    return sum(replica.metrics().value(name, **labels) for replica in pair)


def body_is(outcome: Outcome, status: str) -> bool:
    return bool(outcome.body and outcome.body["status"] == status)


async def health_says(load: Load, status: str) -> None:
    """Waits until every replica's /health has this status; its answers are a second old at most."""

    async def says() -> bool:
        return all(body_is(each, status) for each in await load.answered("/health", 10))

    await until(says, 20, f"/health {status}")


async def test_nothing_fails(well: list[Replica], load: Load) -> None:
    counted = total(well, "rate_limit_decisions_total", decision="allowed")
    hits = total(well, "cache_requests_total", cache="task", result="hit")
    found = await load.each_answered(COUNT)
    report("nothing fails", found)
    assert statuses(found) == all_well()
    assert all(body_is(each, "healthy") for each in found["/health"])
    assert all("ratelimit" in each.headers for kind in (*READS, *WRITES) for each in found[kind] if each.headers)
    assert total(well, "rate_limit_decisions_total", decision="allowed") >= counted + 3 * COUNT
    assert total(well, "cache_requests_total", cache="task", result="hit") >= hits + COUNT
    assert total(well, "rate_limit_decisions_total", decision="bypassed") == 0


@pytest.mark.parametrize("hurt", HURTS)
@pytest.mark.parametrize("role", ["master", "replica"])
async def test_one_redis_node_goes_down(
    load: Load, well: list[Replica], redis_cluster: RedisCluster, hurt: str, role: str
) -> None:
    master = redis_cluster.masters()[0]
    node = master if role == "master" else redis_cluster.replica_of(master)
    start = len(load.outcomes)
    HURTS[hurt](node)
    await load.each_answered(COUNT)
    if role == "master":
        await until(lambda: _has_three_masters(redis_cluster, node), 20, "a failover")
    after = await load.each_answered(20)
    node.resume()
    node.start()
    wait_for(redis_cluster.is_well, 30, "a cluster that is well")
    await health_says(load, "healthy")
    every: dict[str, list[Outcome]] = {}
    for each in load.outcomes[start:]:
        every.setdefault(each.kind, []).append(each)
    report(f"one {role} {hurt}", every)
    assert statuses(after) == all_well()
    # from the start of the fault to its end, only the documented statuses occur
    assert statuses(every) == all_well()
    assert {each.body["status"] for each in every["/health"]} <= {"healthy", "degraded"}
    await until(lambda: _breakers_are_closed(well, "redis"), 15, "closed breakers")


async def _has_three_masters(cluster: RedisCluster, without: object) -> bool:
    return len([node for node in cluster.masters() if node is not without]) == 3


async def _breakers_are_closed(pair: list[Replica], dependency: str) -> bool:
    return total(pair, "circuit_breaker_state", dependency=dependency) == 0


@pytest.mark.parametrize("hurt", HURTS)
async def test_reads_and_writes_succeed_while_the_whole_redis_cluster_is_down(
    load: Load, well: list[Replica], redis_cluster: RedisCluster, hurt: str
) -> None:
    for node in redis_cluster.nodes:
        HURTS[hurt](node)
    first = await load.each_answered(COUNT)
    await health_says(load, "degraded")
    bypassed = total(well, "rate_limit_decisions_total", decision="bypassed")
    allowed = total(well, "rate_limit_decisions_total", decision="allowed")
    steady = await load.each_answered(COUNT)
    report(f"whole cluster {hurt}, at first", first)
    report(f"whole cluster {hurt}, then", steady)
    assert statuses(first) == all_well()
    assert statuses(steady) == all_well()
    assert all(body_is(each, "degraded") for each in steady["/health"])
    assert total(well, "rate_limit_decisions_total", decision="bypassed") >= bypassed + COUNT
    assert total(well, "rate_limit_decisions_total", decision="allowed") == allowed
    assert total(well, "circuit_breaker_state", dependency="redis") > 0
    assert total(well, "circuit_breaker_transitions_total", dependency="redis", state="open") > 0
    redis_cluster.repair()
    await health_says(load, "healthy")
    await until(lambda: _breakers_are_closed(well, "redis"), 15, "closed breakers")
    hits = total(well, "cache_requests_total", cache="task", result="hit")
    back = await load.each_answered(2 * COUNT)
    report("cluster back", back)
    assert statuses(back) == all_well()
    assert total(well, "cache_requests_total", cache="task", result="hit") > hits


async def test_a_replica_takes_over_on_command(load: Load, well: list[Replica], redis_cluster: RedisCluster) -> None:
    master = redis_cluster.masters()[0]
    replica = redis_cluster.replica_of(master)
    start = len(load.outcomes)
    replica.ask("CLUSTER FAILOVER")

    async def took_over() -> bool:
        return replica in redis_cluster.masters() and redis_cluster.is_well()

    await until(took_over, 20, "the failover")
    await load.each_answered(COUNT)
    every: dict[str, list[Outcome]] = {}
    for each in load.outcomes[start:]:
        every.setdefault(each.kind, []).append(each)
    report("failover on command", every)
    assert statuses(every) == all_well()
    # the service knows the new primaries: no command goes to a wrong node, which would bypass cache and rate limit
    raised = total(well, "cache_epoch_raised_total")
    bypassed = total(well, "rate_limit_decisions_total", decision="bypassed")
    await load.each_answered(COUNT)
    assert total(well, "cache_epoch_raised_total") == raised
    assert total(well, "rate_limit_decisions_total", decision="bypassed") == bypassed


@pytest.mark.parametrize("hurt", HURTS)
async def test_the_database_goes_down(load: Load, well: list[Replica], postgres: Postgres, hurt: str) -> None:
    HURTS[hurt](postgres)
    await health_says(load, "unhealthy")
    allowed = total(well, "rate_limit_decisions_total", decision="allowed")
    found = await load.each_answered(COUNT)
    report(f"database {hurt}", found)
    # a read may be tried twice, and an operation takes 2 s at the most
    assert statuses(found) == {
        "cached read": {200},
        "other read": {503},
        "write": {503},
        "/health": {503},
        "/health/ready": {503},
    }
    for each in (*found["other read"], *found["write"]):
        assert each.headers is not None
        assert int(each.headers["retry-after"]) >= 1
        assert each.headers["content-type"] == "application/problem+json"
        assert "ratelimit" in each.headers
    assert all(body_is(each, "unhealthy") and "database" in each.body["error"] for each in found["/health"])
    assert total(well, "rate_limit_decisions_total", decision="allowed") >= allowed + 3 * COUNT
    live = httpx.get(f"{well[0].url}/health/live", timeout=2)
    assert live.status_code == 200
    postgres.resume()
    postgres.start()
    await health_says(load, "healthy")
    await until(lambda: _breakers_are_closed(well, "database"), 15, "closed breakers")
    back = await load.each_answered(COUNT)
    report("database back", back)
    assert statuses(back) == all_well()


async def test_the_trace_collector_goes_down(load: Load, well: list[Replica], receiver: OtlpReceiver) -> None:
    await until(lambda: _exports(well), 15, "exported spans")
    before = [replica.memory_bytes for replica in well]
    usual = await load.each_answered(COUNT)
    receiver.stop()
    away = await load.each_answered(COUNT)

    async def has_dropped() -> bool:
        return total(well, "telemetry_spans_dropped_total", reason="export_failed") > 0

    await until(has_dropped, 15, "counted drops")
    receiver.be_slow()
    receiver.start()
    posts = receiver.posts
    slow = await load.each_answered(COUNT)

    async def is_held_up() -> bool:
        return receiver.posts > posts

    await until(is_held_up, 15, "posts that wait")
    receiver.be_quick()
    exported = total(well, "telemetry_spans_exported_total")

    async def exports_again() -> bool:
        return total(well, "telemetry_spans_exported_total") > exported

    await until(exports_again, 20, "exported spans")
    for what, found in (("usual", usual), ("away", away), ("slow", slow)):
        report(f"collector {what}", found)
        assert statuses(found) == all_well()
        assert all(body_is(each, "healthy") for each in found["/health"])
    grown = [replica.memory_bytes - was for replica, was in zip(well, before, strict=True)]
    assert max(grown) < 30 << 20, grown


async def _exports(pair: list[Replica]) -> bool:
    return total(pair, "telemetry_spans_exported_total") > 0


async def test_a_service_starts_without_redis_and_logs_it(
    tmp_path: Path, redis_cluster: RedisCluster, database_url: str
) -> None:
    settings = {"DATABASE_URL": database_url, "REDIS_URL": "redis://127.0.0.1:1", "STARTUP_TIMEOUT_SECONDS": "1"}
    with Replica(tmp_path, **settings) as replica:
        answer = httpx.post(f"{replica.url}/tasks", json={"task": "x"})
        assert answer.status_code == 201
        health = httpx.get(f"{replica.url}/health").json()
        assert (health["status"], health["dependencies"]["redis"]["status"]) == ("degraded", "down")
        wait_for(lambda: "REDIS_URL names no cluster that answers" in replica.output(), 10, "the log line")
