"""Replicas behind the gateway: clients do not notice when one of them stops or dies."""

import asyncio
import itertools
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from signal import SIGTERM
from uuid import uuid4

import httpx
import pytest

from testbed import Gateway, Load, Postgres, RedisCluster, Replica, replicas, wait_for
from testbed.load import Shot


@pytest.fixture(scope="module")
def three(
    tmp_path_factory: pytest.TempPathFactory, redis_cluster: RedisCluster, postgres: Postgres
) -> Iterator[list[Replica]]:
    redis_cluster.repair()
    settings = {
        "DATABASE_URL": postgres.new_database(),
        "REDIS_URL": redis_cluster.url,
        "TRUSTED_PROXIES": "127.0.0.1",
        "RATE_LIMIT": "1000000/hour",
    }
    with replicas(tmp_path_factory.mktemp("three"), 3, **settings) as made:
        yield made


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, three: list[Replica]) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("gateway"), [replica.port for replica in three]) as made:
        yield made


async def _created(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post("/tasks", json={"task": "x"})


async def _changed(client: httpx.AsyncClient) -> httpx.Response:
    """A PATCH with If-Match to a task of its own."""
    made = await _created(client)
    if made.status_code != 201:
        # a POST may fail where a PATCH may not; other tests check it
        return httpx.Response(200)
    return await client.patch(made.headers["location"], json={"done": True}, headers={"If-Match": made.headers["etag"]})


async def _deleted(client: httpx.AsyncClient) -> httpx.Response:
    made = await _created(client)
    return await client.delete(made.headers["location"]) if made.status_code == 201 else httpx.Response(204)


@pytest.fixture
async def load(gateway: Gateway) -> AsyncIterator[Load]:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=10) as client:
        read = itertools.cycle([(await _created(client)).headers["location"] for _ in range(50)])
    shots: dict[str, Shot] = {
        "GET": lambda client: client.get(next(read)),
        "POST": _created,
        "PATCH": _changed,
        "DELETE": _deleted,
    }
    async with Load([gateway.url], shots, rate=15).running() as running:
        await running.each_answered(10)
        yield running


def report(what: str, load: Load) -> None:
    print(f"\n{what}: { {kind: dict(load.statuses(kind)) for kind in ('GET', 'POST', 'PATCH', 'DELETE')} }")


# `make test` restarts the replicas of a whole stack
@pytest.mark.long
@pytest.mark.timeout(120)
async def test_a_rolling_restart_fails_no_request(load: Load, three: list[Replica]) -> None:
    for replica in three:
        assert await asyncio.to_thread(replica.stop) == 0
        await asyncio.to_thread(replica.start)
        await load.each_answered(5)
    report("rolling restart", load)
    assert set(load.statuses("GET")) == {200}
    assert set(load.statuses("POST")) == {201}
    assert set(load.statuses("PATCH")) == {200}
    assert set(load.statuses("DELETE")) == {204}


@pytest.mark.timeout(120)
async def test_a_killed_replica_fails_no_read_no_conditional_change_and_no_delete(
    load: Load, three: list[Replica]
) -> None:
    for replica in three[:2]:
        await asyncio.to_thread(replica.kill)
        await load.each_answered(15)
        await asyncio.to_thread(replica.start)
        await load.each_answered(10)
    report("replica killed", load)
    assert set(load.statuses("GET")) == {200}
    assert set(load.statuses("PATCH")) == {200}
    assert set(load.statuses("DELETE")) == {204}
    # a POST in flight to the killed replica is not retried, because it could be executed twice
    posts = load.statuses("POST")
    assert set(posts) <= {201, 503}
    assert posts[503] <= 8


@pytest.mark.case("hung replica")
@pytest.mark.timeout(240)
async def test_a_paused_replica_fails_no_read_no_conditional_change_and_no_delete(
    gateway: Gateway, three: list[Replica]
) -> None:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as client:
        made = [await _created(client) for _ in range(16)]
        paths = [each.headers["location"] for each in made]
        reads = itertools.cycle(paths[:8])
        shots: dict[str, Shot] = {"GET": lambda client: client.get(next(reads))}
        async with Load([gateway.url], shots, rate=20, timeout=30).running() as load:
            await load.each_answered(10)
            three[0].pause()
            try:
                began = time.monotonic()
                changes = [client.patch(path, json={"done": True}, headers={"If-Match": '"1"'}) for path in paths[8:12]]
                deletes = [client.delete(path) for path in paths[12:]]
                written = await asyncio.gather(*changes, *deletes)
                await load.each_answered(100, timeout=120)
            finally:
                three[0].resume()
    slowest = max(each.seconds for each in load.outcomes if each.began >= began)
    print(f"\nreplica paused: {dict(load.statuses('GET'))}, slowest GET {slowest:.2f} s")
    assert set(load.statuses("GET")) == {200}
    assert [answer.status_code for answer in written] == [200] * 4 + [204] * 4


def answers_of(replica: Replica, method: str, status: int) -> float:
    """How many requests a replica has answered with this status."""
    labels = {"http_request_method": method, "http_response_status_code": str(status)}
    return replica.metrics().value("http_server_request_duration_seconds_count", **labels)


def answering(gateway: Path) -> list[str]:
    """The address of the replica that answered each request, from the gateway's log."""
    lines = (gateway / "access.log").read_text().splitlines()
    return [json.loads(line)["upstream_addr"].rpartition(", ")[2] for line in lines if line.endswith("}")]


def is_ready(replica: Replica) -> bool:
    """Whether the replica reports itself as ready; one that does not answer is not."""
    try:
        return httpx.get(f"{replica.url}/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def ask_everything(client: httpx.Client) -> set[int]:
    """The statuses of a read, a POST with and without a key, a PATCH with and without an ETag, and a DELETE."""
    made = client.post("/tasks", json={"task": "x"})
    keyed = client.post("/tasks", json={"task": "x"}, headers={"Idempotency-Key": str(uuid4())})
    if {made.status_code, keyed.status_code} != {201}:
        return {made.status_code, keyed.status_code}
    path = made.headers["location"]
    answers = [
        client.get(f"/tasks?cursor={'0' * 32}"),
        client.patch(path, json={"done": True}),
        client.patch(path, json={"task": "y"}, headers={"If-Match": '"2"'}),
        client.delete(path),
    ]
    return {each.status_code for each in answers}


def test_a_draining_replica_gets_no_new_requests(tmp_path: Path, postgres: Postgres) -> None:
    shared = {"DATABASE_URL": postgres.new_database(), "DRAIN_SECONDS": "3"}
    with (
        replicas(tmp_path, 2, **shared) as pair,
        Gateway(tmp_path / "gateway", [each.port for each in pair]) as gateway,
    ):
        with httpx.Client(base_url=gateway.url) as client:
            leaving = pair[0]
            for _ in range(4):
                assert ask_everything(client) == {200, 204}
            assert f":{leaving.port}" in "".join(answering(tmp_path / "gateway"))
            leaving.signal(SIGTERM)
            wait_for(lambda: not is_ready(leaving), what="a replica that is not ready")
            # a request that does not come from the gateway has nowhere else to go
            assert httpx.get(f"{leaving.url}/tasks").status_code == 200
            before = len(answering(tmp_path / "gateway"))
            assert [ask_everything(client) for _ in range(3)] == [{200, 204}] * 3
            wait_for(lambda: len(answering(tmp_path / "gateway")) == before + 18, what="the log of all requests")
            assert {each.rpartition(":")[2] for each in answering(tmp_path / "gateway")[before:]} == {str(pair[1].port)}


def test_a_replica_that_lost_its_database_gets_no_request_that_another_can_serve(
    tmp_path: Path, postgres: Postgres
) -> None:
    with Postgres() as lost, Replica(tmp_path, "todo-2", DATABASE_URL=postgres.new_database()) as well:
        with Replica(tmp_path, "todo-1", DATABASE_URL=lost.new_database(), CACHE_TTL_SECONDS="60") as unwell:
            with Gateway(tmp_path / "gateway", [unwell.port, well.port]) as gateway:
                with httpx.Client(base_url=gateway.url, timeout=20) as client:
                    lost.kill()
                    wait_for(
                        lambda: httpx.get(f"{unwell.url}/health/ready").status_code == 503, what="the outage noticed"
                    )
                    assert [ask_everything(client) for _ in range(10)] == [{200, 204}] * 10
                    assert answers_of(unwell, "GET", 502) + answers_of(unwell, "POST", 502) > 0
                    well.kill()
                    # no other replica is left: its answer is passed on unchanged
                    for method, path in (("GET", f"/tasks?cursor={'0' * 32}"), ("POST", "/tasks")):
                        answer = client.request(method, path, json={"task": "x"} if method == "POST" else None)
                        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1"), method
                        assert answer.json()["trace_id"]


def test_the_gateway_overwrites_a_client_address_that_the_client_sends(gateway: Gateway) -> None:
    left = []
    for address in ("203.0.113.9", "203.0.113.10"):
        answer = httpx.get(f"{gateway.url}/tasks", headers={"X-Forwarded-For": address})
        found = re.search(r";r=(\d+);", answer.headers["ratelimit"])
        assert found
        left.append(int(found[1]))
    assert left[1] == left[0] - 1


def test_every_replica_gets_a_share(gateway: Gateway, three: list[Replica]) -> None:
    def served() -> list[float]:
        return [
            replica.metrics().value("http_server_request_duration_seconds_count", http_route="/tasks")
            for replica in three
        ]

    def is_even() -> bool:
        before = served()
        with httpx.Client(base_url=gateway.url) as client:
            for _ in range(60):
                client.get("/tasks")
        shares = [now - was for now, was in zip(served(), before, strict=True)]
        return sum(shares) == 60 and min(shares) >= 15

    # a replica that failed gets requests again after one second
    wait_for(is_even, 20, "an even share")


@pytest.mark.case("outage")
def test_without_replicas_the_gateway_answers_with_retry_after(tmp_path: Path) -> None:
    with Gateway(tmp_path, [1]) as alone:
        answer = httpx.get(f"{alone.url}/tasks")
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["retry-after"] == "1"
        wait_for(lambda: "read|503|" in (tmp_path / "requests.log").read_text(), what="the request log's line")
