"""PgBouncer in transaction mode: more replicas than the server has connections for."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest

from service.migrations import LOCK, migrate
from service.settings import load_settings
from testbed import Postgres, RedisCluster, Replica, pgbouncer, replicas, until, wait_for
from testbed.pgbouncer import PgBouncer

pytestmark = pytest.mark.skipif(not pgbouncer.is_installed(), reason="pgbouncer is not installed")
CONNECTIONS = 3
WARNING = "the database has no statement_timeout"


@pytest.fixture
def pooler(postgres: Postgres) -> Iterator[PgBouncer]:
    with PgBouncer(postgres, connections=CONNECTIONS) as made:
        yield made


def settings(pooler: PgBouncer, database_url: str) -> dict[str, str]:
    return {"DATABASE_URL": pooler.through(database_url), "DATABASE_POOLER": "transaction"}


def test_many_replicas_share_a_few_connections(
    tmp_path: Path, postgres: Postgres, pooler: PgBouncer, redis_cluster: RedisCluster, database_url: str
) -> None:
    """All kinds of statements concurrently, each on another connection than the one before."""
    redis_cluster.flush()
    name = database_url.rpartition("/")[2]
    # each replica may run twelve concurrently
    with replicas(tmp_path, 2, **settings(pooler, database_url), REDIS_URL=redis_cluster.url) as pair:

        async def life(client: httpx.AsyncClient, number: int) -> None:
            one, other = pair[number % 2].url, pair[(number + 1) % 2].url
            key = {"Idempotency-Key": f'"{number}"'}
            created = await client.post(f"{one}/tasks", json={"task": f"task {number}"}, headers=key)
            assert created.status_code == 201, created.text
            path = created.headers["location"]
            again = await client.post(f"{other}/tasks", json={"task": f"task {number}"}, headers=key)
            assert again.headers["location"] == path
            changed = await client.patch(other + path, json={"done": True}, headers={"If-Match": '"1"'})
            assert (changed.status_code, changed.json()["version"]) == (200, 2), changed.text
            page = await client.get(f"{one}/tasks?limit=3&cursor={path[7:].replace('-', '')}")
            assert page.status_code == 200, page.text
            assert (await client.delete(one + path)).status_code == 204

        async def lives() -> None:
            async with httpx.AsyncClient(timeout=30) as client:
                await asyncio.gather(*(life(client, number) for number in range(40)))

        asyncio.run(lives())
        count = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND application_name = 'todo'"
        assert 1 <= int(postgres.sql(count, "postgres")) <= CONNECTIONS
        assert not any('"level": "error"' in each.output() for each in pair)
        assert WARNING in pair[0].output()
        # the outbox is confirmed with statements of many parameters
        wait_for(lambda: postgres.sql("SELECT count(*) FROM task_changes", name) == "0", what="all changes confirmed")


def test_a_database_with_its_own_statement_timeout_passes_the_check(
    tmp_path: Path, postgres: Postgres, pooler: PgBouncer, database_url: str
) -> None:
    """A pooler does not pass on session timeouts; a database without its own is reported."""
    name = database_url.rpartition("/")[2]
    postgres.sql(f"ALTER DATABASE {name} SET statement_timeout = '1800ms'", "postgres")
    with Replica(tmp_path, **settings(pooler, database_url)) as replica:
        assert WARNING not in replica.output()


async def test_a_migration_is_not_subject_to_the_statement_timeout_of_requests(
    postgres: Postgres, pooler: PgBouncer, database_url: str
) -> None:
    """A migration waits for that of another replica, without a time limit."""
    name = database_url.rpartition("/")[2]
    for limit in ("statement_timeout", "lock_timeout"):
        postgres.sql(f"ALTER DATABASE {name} SET {limit} = '200ms'", "postgres")
    waiting = (
        f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' "
        "AND wait_event = 'advisory' AND now() - query_start > '0.5 s'"
    )
    holder = await asyncpg.connect(postgres.url(name).replace("+asyncpg", ""))
    try:
        await holder.execute(f"SELECT pg_advisory_lock({LOCK})")
        migration = asyncio.create_task(migrate(load_settings(settings(pooler, database_url))))

        async def waits() -> bool:
            return await asyncio.to_thread(postgres.sql, waiting, "postgres") == "1"

        await until(waits, 20, "a migration that waits")
    finally:
        await holder.close()
    await migration
    assert postgres.sql("SELECT count(*) FROM tasks", name) == "0"
