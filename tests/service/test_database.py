"""The service's use of the database: round trips, timeouts, circuit breaker, TLS, and schema migrations."""

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from opentelemetry.sdk.resources import Resource
from sqlalchemy.ext.asyncio import create_async_engine

from service.infrastructure.breaker import CLOSED, OPEN, Unavailable
from service.infrastructure.database import Database
from service.migrations import migrate
from service.settings import load_settings
from service.tasks.model import NewTask, TaskChange
from service.tasks.store import TaskStore
from service.tasks.tables import metadata
from service.telemetry.metrics import Metrics
from service.telemetry.tracing import Tracing
from testbed import Postgres, Relay, environment, replicas, until

# the schema of release 0.1.0, created by SQLAlchemy's create_all
OLD_SCHEMA = """
CREATE TABLE tasks (id {uuid} NOT NULL PRIMARY KEY, task TEXT NOT NULL, done BOOLEAN NOT NULL, version INTEGER NOT NULL,
  created_at {time} NOT NULL, updated_at {time} NOT NULL);
CREATE INDEX tasks_done_id ON tasks (done, id);
CREATE TABLE deletions (task_id {uuid} NOT NULL PRIMARY KEY, request_id TEXT NOT NULL, version INTEGER NOT NULL,
  deleted_at {time} NOT NULL);
CREATE INDEX ix_deletions_deleted_at ON deletions (deleted_at);
CREATE TABLE cache_epoch ({serial}, epoch BIGINT NOT NULL, cluster_epoch BIGINT NOT NULL);
INSERT INTO cache_epoch (id, epoch, cluster_epoch) VALUES (1, 7, 6);
INSERT INTO tasks VALUES ('{id}', 'from before', false, 3, '2026-01-02 03:04:05+00', '2026-01-02 03:04:05+00');
"""
OLD_ID = "0193a5f0-7c1e-7d3a-9b1f-2f6c8e4d5a6b"
OLD_POSTGRES = OLD_SCHEMA.format(
    uuid="UUID", time="TIMESTAMP WITH TIME ZONE", serial="id SERIAL PRIMARY KEY", id=OLD_ID
)
OLD_SQLITE = OLD_SCHEMA.format(
    uuid="CHAR(32)", time="DATETIME", serial="id INTEGER NOT NULL PRIMARY KEY", id=OLD_ID.replace("-", "")
).replace("+00", ".000000")

Open = Callable[..., Awaitable[Database]]


@pytest.fixture
async def open_database(database_url: str) -> AsyncIterator[Open]:
    """Opens a database, migrated, with settings by name."""
    opened: list[Database] = []

    async def open_one(**environment: str) -> Database:
        settings = load_settings({"DATABASE_URL": database_url} | environment)
        await migrate(settings)
        metrics = Metrics(is_on=True, replica="test", max_concurrent_requests=1)
        opened.append(Database(settings, metrics, Tracing(settings, Resource({}), metrics)))
        return opened[-1]

    yield open_one
    for each in opened:
        await each.close()


async def test_a_read_and_a_write_are_one_round_trip_each(
    open_database: Open, postgres: Postgres, database_url: str
) -> None:
    with Relay(postgres.port) as relay:
        url = database_url.replace(f":{postgres.port}/", f":{relay.port}/")
        store = TaskStore(await open_database(DATABASE_URL=url, DATABASE_POOL_SIZE="1"))

        async def all_kinds() -> list[int]:
            counts, before = [], relay.asked
            for call in (
                lambda: store.create(NewTask("x")),
                lambda: store.get(task.id),
                lambda: store.page(10, None, None),
                lambda: store.change(task.id, TaskChange(done=True), None),
                lambda: store.delete(task.id, None, ""),
                lambda: store.delete(other.id, None, "a request"),
            ):
                await call()  # type: ignore[no-untyped-call]
                counts.append(relay.asked - before)
                before = relay.asked
            return counts

        # the first time, each statement is prepared
        for _ in range(2):
            task, other = await store.create(NewTask("one")), await store.create(NewTask("other"))
            counts = await all_kinds()
    assert counts == [1] * 6


async def test_the_servers_statement_timeout_is_below_the_clients(open_database: Open) -> None:
    database = await open_database(DATABASE_TIMEOUT_SECONDS="2")
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    rows = await database.read(sa.select(*(sa.func.current_setting(name) for name in names)))
    assert tuple(rows[0]) == ("1800ms", "1500ms", "2s")
    with pytest.raises(Unavailable, match="statement timeout"):
        await database.read(sa.select(sa.func.pg_sleep(3)))


async def test_waiting_for_a_lock_does_not_count_as_a_failure_of_the_database(
    open_database: Open, postgres: Postgres, database_url: str
) -> None:
    database = await open_database(DATABASE_TIMEOUT_SECONDS="0.4", BREAKER_FAILURES="1")
    store = TaskStore(database)
    task = await store.create(NewTask("x"))
    engine = create_async_engine(database_url)
    async with engine.begin() as connection:
        await connection.execute(sa.text("LOCK TABLE tasks"))
        with pytest.raises(Unavailable, match="lock timeout"):
            await store.change(task.id, TaskChange(done=True), None)
        assert database.breaker.state == CLOSED
    await engine.dispose()
    assert await store.change(task.id, TaskChange(done=True), None)


async def test_an_exhausted_pool_does_not_count_as_a_failure_of_the_database(open_database: Open) -> None:
    database = await open_database(DATABASE_TIMEOUT_SECONDS="1", DATABASE_POOL_SIZE="1", BREAKER_FAILURES="1")
    sleeping = asyncio.create_task(database.read(sa.select(sa.func.pg_sleep(0.85))))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="no connection of the pool"):
        await database.read(sa.select(sa.literal(1)))
    assert database.breaker.state == CLOSED
    # the health check does not wait for the requests
    await database.ping()
    await sleeping


@pytest.mark.case("database breaker")
async def test_setting_the_wall_clock_back_does_not_keep_a_breaker_open(
    open_database: Open, postgres: Postgres, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Relay(postgres.port) as relay:
        url = database_url.replace(f":{postgres.port}/", f":{relay.port}/")
        database = await open_database(DATABASE_URL=url, BREAKER_FAILURES="1", BREAKER_OPEN_SECONDS="0.05")
        relay.cut()
        with pytest.raises(Unavailable):
            await database.read(sa.select(sa.literal(1)))
        assert database.breaker.state == OPEN
        relay.restore()
        monkeypatch.setattr("time.time", lambda: 0.0)

        async def answers() -> bool:
            try:
                return bool(await database.read(sa.select(sa.literal(1))))
            except Unavailable:
                return False

        await until(answers, 5, "an answer")
    assert database.breaker.state == CLOSED


@pytest.mark.case("database breaker")
async def test_a_successful_ping_closes_the_breaker(open_database: Open, postgres: Postgres, database_url: str) -> None:
    with Relay(postgres.port) as relay:
        url = database_url.replace(f":{postgres.port}/", f":{relay.port}/")
        database = await open_database(DATABASE_URL=url, BREAKER_FAILURES="1", BREAKER_OPEN_SECONDS="3600")
        relay.cut()
        with pytest.raises(Unavailable):
            await database.read(sa.select(sa.literal(1)))
        assert database.breaker.state == OPEN
        relay.restore()
        await database.ping()
        assert database.breaker.state == CLOSED
        assert await database.read(sa.select(sa.literal(1)))


async def test_a_cancelled_trial_does_not_close_the_breaker(
    open_database: Open, postgres: Postgres, database_url: str
) -> None:
    with Relay(postgres.port) as relay:
        url = database_url.replace(f":{postgres.port}/", f":{relay.port}/")
        database = await open_database(DATABASE_URL=url, BREAKER_FAILURES="1", BREAKER_OPEN_SECONDS="0.001")
        relay.cut()
        with pytest.raises(Unavailable):
            await database.read(sa.select(sa.literal(1)))
        relay.restore()
        trials: list[asyncio.Task[Any]] = []

        async def is_tried() -> bool:
            # repeated, because a call may come too early or use the connection that was cut
            if not trials or trials[-1].done():
                trials.append(asyncio.create_task(database.read(sa.select(sa.func.pg_sleep(1)))))
                await asyncio.sleep(0)
            return database.breaker.state != OPEN

        await until(is_tried, what="a trial")
        *early, trial = trials
        await asyncio.gather(*early, return_exceptions=True)
        trial.cancel()
        with pytest.raises(asyncio.CancelledError):
            await trial
        assert database.breaker.state == OPEN


# --- migrations


def psql_file(postgres: Postgres, url: str, text: str) -> str:
    return postgres.sql(text, url.rsplit("/", 1)[1])


async def test_the_migrations_create_the_tables_of_the_statements(database_url: str) -> None:
    await migrate(load_settings({"DATABASE_URL": database_url}))
    engine = create_async_engine(database_url)
    async with engine.connect() as connection:
        found = await connection.run_sync(lambda sync: compare_metadata(MigrationContext.configure(sync), metadata))
    await engine.dispose()
    assert found == []


@pytest.mark.parametrize("kind", ["postgres", "sqlite"])
def test_replicas_that_start_together_migrate_the_data_of_release_0_1_0(
    tmp_path: Path, postgres: Postgres, database_url: str, kind: str
) -> None:
    if kind == "postgres":
        psql_file(postgres, database_url, OLD_POSTGRES)
    else:
        file = tmp_path / "old.db"
        with sqlite3.connect(file) as connection:
            connection.executescript(OLD_SQLITE)
        database_url = f"sqlite+aiosqlite:///{file}"
    with replicas(tmp_path, 3, DATABASE_URL=database_url) as three:
        for replica in three:
            answer = httpx.get(f"{replica.url}/tasks/{OLD_ID}", timeout=10)
            assert (answer.status_code, answer.json()["task"], answer.json()["version"]) == (200, "from before", 3)
            assert answer.json()["created_at"] == "2026-01-02T03:04:05Z"
        changed = httpx.patch(f"{three[0].url}/tasks/{OLD_ID}", json={"done": True}, timeout=10)
        assert (changed.status_code, changed.json()["version"]) == (200, 4)
        assert httpx.delete(f"{three[1].url}/tasks/{OLD_ID}", timeout=10).status_code == 204
        assert not any("Traceback" in replica.output() for replica in three)


async def test_a_schema_of_a_later_release_is_left_as_it_is(postgres: Postgres, database_url: str) -> None:
    await migrate(load_settings({"DATABASE_URL": database_url}))
    psql_file(postgres, database_url, "UPDATE alembic_version SET version_num = '9999'")
    await migrate(load_settings({"DATABASE_URL": database_url}))
    assert psql_file(postgres, database_url, "SELECT version_num FROM alembic_version") == "9999"


# --- the options of the URL


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Postgres, Path]]:
    """A PostgreSQL with TLS, and its self-signed certificate."""
    with Postgres() as server:
        directory = server.directory
        certificate, key = directory / "server.crt", directory / "server.key"
        make_certificate(certificate, key)
        for file in (certificate, key):
            server.own(file)
        server.set("ssl_cert_file", str(certificate))
        server.set("ssl_key_file", str(key))
        server.set("ssl", "on")
        copy = tmp_path_factory.mktemp("tls") / "root.crt"
        shutil.copy(certificate, copy)
        yield server, copy


def make_certificate(certificate: Path, key: Path) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )


@pytest.mark.case("URL options")
@pytest.mark.parametrize(
    ("options", "is_encrypted"),
    [
        ("", True),
        ("?sslmode=disable", False),
        ("?ssl=disable", False),
        ("?sslmode=prefer&application_name=mine", True),
        ("?sslmode=require", True),
        ("?sslmode=verify-ca&sslrootcert={root}", True),
        ("?sslmode=verify-full&sslrootcert={root}", True),
    ],
)
async def test_sslmode_does_what_libpq_does(
    open_database: Open, tls: tuple[Postgres, Path], options: str, is_encrypted: bool
) -> None:
    server, root = tls
    database = await open_database(DATABASE_URL=server.new_database() + options.format(root=root))
    rows = await database.read(sa.text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))  # type: ignore[arg-type]
    assert rows[0].ssl is is_encrypted


@pytest.mark.case("URL options")
@pytest.mark.parametrize("options", ["?sslmode=require", "?sslmode=verify-full"])
def test_a_server_that_violates_sslmode_is_one_line_of_error(tmp_path: Path, database_url: str, options: str) -> None:
    settings = environment(DATABASE_URL=database_url + options, STARTUP_TIMEOUT_SECONDS="0.1")
    done = subprocess.run(
        [sys.executable, "-m", "service"],
        env=settings,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith("todo: DATABASE_URL names no database that can be used: ")
