"""A write with an unknown outcome: reads see it within a second of its commit, and no old value returns.

Every test forces its interleaving, on a real PostgreSQL and a real Redis Cluster.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from testbed import Postgres, RedisCluster, Relay, Replica, replicas, until

LATE_SECONDS = 1.0


@pytest.fixture(scope="module")
def database(postgres: Postgres) -> str:
    """The name of a database for this module."""
    return postgres.new_database().rsplit("/", 1)[1]


@pytest.fixture(scope="module")
def settings(postgres: Postgres, redis_cluster: RedisCluster, database: str) -> dict[str, str]:
    return {"DATABASE_URL": postgres.url(database), "REDIS_URL": redis_cluster.url}


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, redis_cluster: RedisCluster, settings: dict[str, str]
) -> Iterator[list[Replica]]:
    """Two replicas on one database and one cluster."""
    redis_cluster.repair()
    with replicas(tmp_path_factory.mktemp("pair"), 2, **settings) as made:
        yield made


@pytest.fixture
def stall(postgres: Postgres) -> Iterator[Callable[[str], None]]:
    """With "ghost", waits for a synchronous standby that does not exist: commits are not acknowledged, nor visible."""
    yield lambda standby: postgres.set("synchronous_standby_names", standby)
    postgres.set("synchronous_standby_names", "")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=15) as made:
        yield made


async def create(client: httpx.AsyncClient, replica: Replica) -> str:
    """The path of a new task, "old", that is not cached."""
    answer = await client.post(f"{replica.url}/tasks", json={"task": "old"})
    assert answer.status_code == 201
    return str(answer.headers["location"])


async def first_page(client: httpx.AsyncClient, replica: Replica) -> set[str]:
    answer = await client.get(f"{replica.url}/tasks", params={"limit": 100})
    return {f"/tasks/{item['id']}:{item['task']}" for item in answer.json()["items"]}


class Watch:
    """Repeatedly reads a task and the first page at every replica, and records what it saw and when."""

    def __init__(self, client: httpx.AsyncClient, pair: list[Replica], path: str) -> None:
        self._client = client
        self._pair = pair
        self._path = path
        self.seen: dict[str, list[tuple[float, str]]] = {}

    async def run(self) -> None:
        """Runs until it is cancelled."""
        await asyncio.gather(*(self._read(replica) for replica in self._pair))

    async def _read(self, replica: Replica) -> None:
        while True:
            began = time.monotonic()
            answer = await self._client.get(replica.url + self._path)
            text = answer.json()["task"] if answer.status_code == 200 else str(answer.status_code)
            self.seen.setdefault(f"{replica.name} task", []).append((began, text))
            began = time.monotonic()
            page = await first_page(self._client, replica)
            found = next((each.rsplit(":", 1)[1] for each in page if each.startswith(self._path)), "404")
            self.seen.setdefault(f"{replica.name} page", []).append((began, found))
            await asyncio.sleep(0.01)

    def old_after(self, moment: float, new: str) -> list[tuple[str, float, str]]:
        """The texts other than `new` in reads that began after `moment`."""
        return [
            (reader, began - moment, text)
            for reader, reads in self.seen.items()
            for began, text in reads
            if began > moment and text != new
        ]

    def count_after(self, moment: float) -> int:
        return min((sum(began > moment for began, _ in reads) for reads in self.seen.values()), default=0)


async def watch_until_late(watch: Watch, committed: float) -> None:
    """Waits until every reader has read several times, more than a second after the commit became visible."""

    async def enough() -> bool:
        return watch.count_after(committed + LATE_SECONDS) >= 5

    await until(enough, 20, "reads after a second")


async def visible(postgres: Postgres, database: str, task: str, text: str) -> float:
    """The time at which the database itself returned the new text."""

    async def is_new() -> bool:
        found = await asyncio.to_thread(postgres.sql, f"SELECT task FROM tasks WHERE id = '{task}'", database)
        return found == text

    await until(is_new, 20, "the commit")
    return time.monotonic()


@pytest.mark.case("unknown outcome")
@pytest.mark.parametrize("is_cached", [False, True], ids=["cold key", "cached key"])
async def test_a_commit_that_was_answered_503_is_seen_within_a_second(
    client: httpx.AsyncClient,
    pair: list[Replica],
    postgres: Postgres,
    redis_cluster: RedisCluster,
    database: str,
    stall: Callable[[str], None],
    is_cached: bool,
) -> None:
    path = await create(client, pair[0])
    if is_cached:
        assert (await client.get(pair[0].url + path)).json()["task"] == "old"
    else:
        assert redis_cluster.evict(path[7:]) == 1
    stall("ghost")
    watch = Watch(client, pair, path)
    watching = asyncio.create_task(watch.run())
    answer = await client.patch(pair[0].url + path, json={"task": "new"})
    committed = await visible(postgres, database, path[7:], "new")
    await watch_until_late(watch, committed)
    watching.cancel()
    assert answer.status_code == 503
    assert watch.old_after(committed + LATE_SECONDS, "new") == []
    assert any(text == "old" for _, text in watch.seen["todo-2 task"])


async def test_a_create_that_was_answered_503_is_on_the_first_page_within_a_second(
    client: httpx.AsyncClient, pair: list[Replica], postgres: Postgres, stall: Callable[[str], None]
) -> None:
    for replica in pair:
        await first_page(client, replica)
    stall("ghost")
    answer = await client.post(f"{pair[0].url}/tasks", json={"task": "born in doubt"})
    committed = time.monotonic()
    assert answer.status_code == 503

    async def is_listed() -> bool:
        pages = [await first_page(client, replica) for replica in pair]
        return all(any(each.endswith(":born in doubt") for each in page) for page in pages)

    await until(is_listed, 10, "the new task on both first pages")
    assert time.monotonic() < committed + 5


async def test_a_delete_that_was_answered_503_is_seen_within_a_second(
    client: httpx.AsyncClient, pair: list[Replica], postgres: Postgres, database: str, stall: Callable[[str], None]
) -> None:
    path = await create(client, pair[1])
    stall("ghost")
    watch = Watch(client, pair, path)
    watching = asyncio.create_task(watch.run())
    answer = await client.delete(pair[0].url + path)
    committed = await visible(postgres, database, path[7:], "")
    await watch_until_late(watch, committed)
    watching.cancel()
    assert answer.status_code == 503
    assert watch.old_after(committed + LATE_SECONDS, "404") == []


async def test_a_commit_of_a_replica_that_died_is_seen_within_a_second(
    client: httpx.AsyncClient,
    pair: list[Replica],
    postgres: Postgres,
    database: str,
    settings: dict[str, str],
    tmp_path: Path,
    stall: Callable[[str], None],
) -> None:
    """The replica is killed while its commit waits for the standby: no process is left that knows of the write."""
    with Replica(tmp_path, "todo-9", DATABASE_TIMEOUT_SECONDS="60", **settings) as third:
        path = await create(client, pair[0])
        stall("ghost")
        watch = Watch(client, pair, path)
        watching = asyncio.create_task(watch.run())
        writing = asyncio.create_task(client.patch(third.url + path, json={"task": "new"}))
        stalled = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        await until(lambda: asyncio.to_thread(lambda: postgres.sql(stalled, database) != "0"), 10, "the stall")
        third.kill()
        with pytest.raises(httpx.HTTPError):
            await writing
    # long enough for all readers to have cached the old value again
    await watch_until_late(watch, time.monotonic() - LATE_SECONDS)
    assert all(text == "old" for text in [reads[-1][1] for reads in watch.seen.values()])
    stall("")
    committed = await visible(postgres, database, path[7:], "new")
    await watch_until_late(watch, committed)
    watching.cancel()
    assert watch.old_after(committed + LATE_SECONDS, "new") == []


async def is_hit(client: httpx.AsyncClient, replica: Replica, path: str, kind: str) -> bool:
    """Whether a read of this path comes from the cache now."""
    before = replica.metrics().value("cache_requests_total", cache=kind, result="hit")
    await client.get(replica.url + path)
    return replica.metrics().value("cache_requests_total", cache=kind, result="hit") > before


async def test_replicas_that_each_lost_another_server(
    client: httpx.AsyncClient, redis_cluster: RedisCluster, postgres: Postgres, tmp_path: Path
) -> None:
    """One replica reaches only the cache, the other only the database: the first cannot know of writes, and warns."""
    database = postgres.new_database().rsplit("/", 1)[1]
    with Relay(postgres.port) as relay:
        through = postgres.url(database).replace(f":{postgres.port}/", f":{relay.port}/")
        with (
            Replica(tmp_path, "todo-1", DATABASE_URL=through, REDIS_URL=redis_cluster.url) as has_redis,
            Replica(tmp_path, "todo-2", DATABASE_URL=postgres.url(database), REDIS_URL="redis://127.0.0.1:1") as other,
        ):
            path = await create(client, has_redis)
            for url, kind in ((path, "task"), ("/tasks?limit=100", "list")):
                # on a busy machine, filling the cache may time out
                await until(lambda: is_hit(client, has_redis, url, kind), 10, f"the {kind} in the cache")  # noqa: B023
            relay.cut()
            lost = time.monotonic()
            changed = await client.patch(other.url + path, json={"task": "new"})
            assert changed.status_code == 200

            async def is_said(url: str) -> bool:
                answer = await client.get(url)
                assert answer.json().get("task", "old") == "old"
                return answer.headers.get("warning") == '110 - "Response is Stale"'

            await until(lambda: is_said(has_redis.url + path), 10, "the warning")
            await until(lambda: is_said(f"{has_redis.url}/tasks?limit=100"), 10, "the warning of the list")
            print(f"\nsaid {time.monotonic() - lost:.2f} s after the database was lost")
            assert has_redis.metrics().value("cache_unverified_reads_total") >= 2
            # the other answers from its database, and need not warn
            answer = await client.get(other.url + path)
            assert (answer.json()["task"], "warning" in answer.headers) == ("new", False)
            # a replica that reaches both again applies the invalidation that the writer could not
            relay.restore()

            async def is_new() -> bool:
                answer = await client.get(has_redis.url + path)
                return bool(answer.json()["task"] == "new" and "warning" not in answer.headers)

            await until(is_new, 10, "the new value")


async def test_a_third_replica_invalidates_for_a_writer_that_lost_redis(
    client: httpx.AsyncClient, pair: list[Replica], settings: dict[str, str], tmp_path: Path
) -> None:
    with Replica(tmp_path, "todo-9", **(settings | {"REDIS_URL": "redis://127.0.0.1:1"})) as alone:
        path = await create(client, pair[0])
        for replica in pair:
            await first_page(client, replica)
        watch = Watch(client, pair, path)
        watching = asyncio.create_task(watch.run())
        raised = sum(replica.metrics().value("cache_epoch_raised_total") for replica in pair)
        assert (await client.patch(alone.url + path, json={"task": "new"})).status_code == 200
        await watch_until_late(watch, committed := time.monotonic())
        watching.cancel()
    assert watch.old_after(committed + LATE_SECONDS, "new") == []
    # nothing else was evicted
    assert sum(replica.metrics().value("cache_epoch_raised_total") for replica in pair) == raised
