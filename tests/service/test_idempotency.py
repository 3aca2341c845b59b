"""`Idempotency-Key`: a create that can be retried."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from testbed import Gateway, Postgres, RedisCluster, Replica, replicas


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, redis_cluster: RedisCluster, postgres: Postgres
) -> Iterator[list[Replica]]:
    redis_cluster.repair()
    settings = {"DATABASE_URL": postgres.new_database(), "REDIS_URL": redis_cluster.url}
    with replicas(tmp_path_factory.mktemp("pair"), 2, **settings) as made:
        yield made


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=15) as made:
        yield made


async def create(client: httpx.AsyncClient, url: str, key: str | None, task: str = "once") -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await client.post(f"{url}/tasks", json={"task": task}, headers=headers)


async def test_concurrent_creates_with_one_key_create_one_task(client: httpx.AsyncClient, pair: list[Replica]) -> None:
    key = str(uuid4())
    answers = await asyncio.gather(*(create(client, pair[number % 2].url, key) for number in range(20)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.headers["location"] for answer in answers}) == 1
    page = (await client.get(f"{pair[0].url}/tasks?limit=100")).json()
    assert sum(answers[0].headers["location"].endswith(item["id"]) for item in page["items"]) == 1


async def test_concurrent_creates_with_one_key_on_a_single_replica_create_one_task(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    with Replica(tmp_path) as replica:
        answers = await asyncio.gather(*(create(client, replica.url, "alone") for _ in range(5)))
        assert len({answer.headers["location"] for answer in answers}) == 1


async def test_the_response_has_the_current_state_of_the_task(client: httpx.AsyncClient, pair: list[Replica]) -> None:
    made = await create(client, pair[0].url, "changed since")
    await client.patch(pair[0].url + made.headers["location"], json={"done": True})
    again = await create(client, pair[1].url, '"changed since"')
    assert (again.status_code, again.json()["done"], again.headers["etag"]) == (201, True, '"2"')


async def test_an_idempotency_key_is_forgotten_with_its_task(client: httpx.AsyncClient, pair: list[Replica]) -> None:
    made = await create(client, pair[0].url, "short")
    assert (await client.delete(pair[0].url + made.headers["location"])).status_code == 204
    again = await create(client, pair[0].url, "short")
    assert again.status_code == 201
    assert again.headers["location"] != made.headers["location"]


async def test_an_idempotency_key_of_another_task_is_rejected(client: httpx.AsyncClient, pair: list[Replica]) -> None:
    assert (await create(client, pair[0].url, "mine")).status_code == 201
    other = await create(client, pair[1].url, "mine", task="another")
    assert (other.status_code, other.headers["content-type"]) == (422, "application/problem+json")


@pytest.mark.parametrize("key", ["", '""', '"a', "x" * 256, "ümlaut".encode().decode("latin-1")])
async def test_an_invalid_idempotency_key_is_rejected(client: httpx.AsyncClient, pair: list[Replica], key: str) -> None:
    headers = [(b"Idempotency-Key", key.encode("latin-1"))]
    answer = await client.post(f"{pair[0].url}/tasks", json={"task": "x"}, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


async def test_without_a_key_each_create_makes_a_task(client: httpx.AsyncClient, pair: list[Replica]) -> None:
    answers = [await create(client, pair[0].url, None) for _ in range(2)]
    assert len({answer.headers["location"] for answer in answers}) == 2


async def test_the_gateway_retries_a_create_with_a_key(
    client: httpx.AsyncClient, pair: list[Replica], postgres: Postgres, redis_cluster: RedisCluster, tmp_path: Path
) -> None:
    """A replica dies while a create waits in the database: with a key the client gets its task."""
    settings = {
        "DATABASE_URL": postgres.new_database(),
        "REDIS_URL": redis_cluster.url,
        "DATABASE_TIMEOUT_SECONDS": "60",
    }
    name = settings["DATABASE_URL"].rsplit("/", 1)[1]
    with replicas(tmp_path / "replicas", 2, **settings) as two:
        with Gateway(tmp_path / "gateway", [replica.port for replica in two]) as gateway:
            postgres.set("synchronous_standby_names", "ghost")
            try:
                waiting = asyncio.create_task(create(client, gateway.url, "through the gateway"))
                stalled = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' LIMIT 1"
                while not (pid := await asyncio.to_thread(postgres.sql, stalled, name)):
                    await asyncio.sleep(0.02)
                port = await asyncio.to_thread(
                    postgres.sql, f"SELECT client_port FROM pg_stat_activity WHERE pid = {pid}", name
                )
                holder = next(replica for replica in two if int(port) in replica.local_ports())
                holder.kill()
            finally:
                postgres.set("synchronous_standby_names", "")
            answer = await waiting
            assert answer.status_code == 201
            page = (await client.get(f"{gateway.url}/tasks")).json()
            assert [item["id"] for item in page["items"]] == [answer.json()["id"]]
