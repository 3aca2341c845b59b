"""Rare interleavings: a cancelled writer, a failing cache, a failing increment of the epoch."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from service.infrastructure.breaker import Unavailable
from service.infrastructure.cluster import Script
from service.tasks import servers as servers_module
from service.tasks.changes import MAX_CHANGES
from service.tasks.model import NewTask, TaskChange
from service.tasks.values import task_key
from testbed import Postgres, RedisCluster, until
from tests.service.in_process_replicas import InProcessReplicas, in_process_replicas


@pytest.fixture
async def replicas(clean_cluster: RedisCluster, database_url: str) -> AsyncIterator[InProcessReplicas]:
    settings = {"DATABASE_URL": database_url, "REDIS_URL": clean_cluster.url, "REDIS_TIMEOUT_SECONDS": "2"}
    async with in_process_replicas(3, 0.0, **settings) as made:
        yield made


class Held:
    """A call that blocks until it is released."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.began = asyncio.Event()
        self.go_on = asyncio.Event()

    async def __call__(self, *args: Any) -> Any:
        self.began.set()
        await self.go_on.wait()
        return await self._inner(*args)


async def text(made: InProcessReplicas, replica: int, task_id: UUID) -> str | None:
    task = await made.replicas[replica].get(task_id)
    return None if task is None else ("new" if b'"new"' in task.body else "old")


async def all_read(made: InProcessReplicas, task_id: UUID, wanted: str | None) -> None:
    async def do_all() -> bool:
        return [await text(made, number, task_id) for number in range(3)] == [wanted] * 3

    await until(do_all, 5, f"{wanted} at every replica")


async def confirmed(made: InProcessReplicas) -> None:
    async def is_empty() -> bool:
        return not (await made.changes[0].look()).changes

    await until(is_empty, 5, "an empty outbox")


@pytest.mark.parametrize("is_delete", [False, True], ids=["change", "delete"])
async def test_a_write_is_visible_if_its_writer_was_cancelled_before_it_updated_the_cache(
    replicas: InProcessReplicas, monkeypatch: pytest.MonkeyPatch, is_delete: bool
) -> None:
    task = await replicas.replicas[0].create(NewTask("old"))
    held = Held(replicas.servers[0].set_newest)
    monkeypatch.setattr(replicas.servers[0], "set_newest", held)
    writer = replicas.replicas[0]
    call = writer.delete(task.id, None, "") if is_delete else writer.change(task.id, TaskChange(task="new"), None)
    writing = asyncio.create_task(call)  # type: ignore[arg-type]
    await held.began.wait()
    writing.cancel()
    monkeypatch.undo()
    await all_read(replicas, task.id, None if is_delete else "new")
    await confirmed(replicas)


async def fill_late(replicas: InProcessReplicas, monkeypatch: pytest.MonkeyPatch) -> UUID:
    """A reader loads the old row, the writer commits and dies, others invalidate; then the reader fills the cache."""
    task = await replicas.stores[0].create(NewTask("old"))
    await confirmed(replicas)
    held = Held(replicas.servers[1].set_newest)
    with monkeypatch.context() as patched:
        patched.setattr(replicas.servers[1], "set_newest", held)
        reading = asyncio.create_task(replicas.replicas[1].get(task.id))
        await held.began.wait()
        # without the cache, as by a replica that dies after the commit
        await replicas.stores[0].change(task.id, TaskChange(task="new"), None)
        await confirmed(replicas)
        held.go_on.set()
        await reading
    return task.id


async def test_a_reader_that_loaded_before_a_lost_write_does_not_cache_the_old_value(
    replicas: InProcessReplicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = await fill_late(replicas, monkeypatch)
    assert b'"old"' not in (await replicas.servers[0].get(task_key(task_id)) or b"")
    for _ in range(3):
        for number in range(3):
            assert await text(replicas, number, task_id) == "new"


async def test_without_the_version_check_the_old_value_is_cached(
    replicas: InProcessReplicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = servers_module.SET_NEWEST.text.replace("if tonumber(old_version) > version then return 0 end", "")
    assert broken != servers_module.SET_NEWEST.text, "the script has no version check to break"
    monkeypatch.setattr(servers_module, "SET_NEWEST", Script(broken))
    task_id = await fill_late(replicas, monkeypatch)
    # these replicas know of the change, but one that starts now would serve this
    assert b'"old"' in (await replicas.servers[0].get(task_key(task_id)) or b"")


async def test_an_invalidation_is_retried_until_the_cache_accepts_it(
    replicas: InProcessReplicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = await replicas.replicas[0].create(NewTask("old"))
    await confirmed(replicas)
    tried = 0

    async def refuse(*_: Any) -> None:
        nonlocal tried
        tried += 1
        raise Unavailable("redis", "not now")

    for server in replicas.servers:
        for name in ("set_newest", "invalidate", "set"):
            monkeypatch.setattr(server, name, refuse)
    assert await replicas.replicas[0].change(task.id, TaskChange(task="new"), None)
    await until(lambda: asyncio.sleep(0, tried >= 8), 10, "some tries")
    assert (await replicas.changes[0].look()).changes
    monkeypatch.undo()
    await all_read(replicas, task.id, "new")
    await confirmed(replicas)


async def test_a_failed_raise_of_the_epoch_is_repeated(
    replicas: InProcessReplicas, monkeypatch: pytest.MonkeyPatch, postgres: Postgres, database_url: str
) -> None:
    """More changes than are applied one by one, and a database that at first fails to raise the epoch."""
    task = await replicas.replicas[0].create(NewTask("old"))
    await confirmed(replicas)
    refused = 0

    async def refuse(*_: Any) -> int:
        nonlocal refused
        refused += 1
        raise Unavailable("database", "not now")

    for changes in replicas.changes:
        monkeypatch.setattr(changes, "raise_epoch", refuse)
    name = database_url.rsplit("/", 1)[1]
    postgres.sql(
        "WITH f AS (SELECT format FROM cache_formats) INSERT INTO task_changes "
        f"SELECT format, gen_random_uuid(), 1 FROM f, generate_series(1, {MAX_CHANGES + 500})",
        name,
    )
    await replicas.stores[0].change(task.id, TaskChange(task="new"), None)
    await until(lambda: asyncio.sleep(0, refused >= 6), 10, "some tries")
    before = [each.epoch for each in replicas.invalidations]
    monkeypatch.undo()
    await all_read(replicas, task.id, "new")
    await confirmed(replicas)

    async def all_know() -> bool:
        return min(each.epoch for each in replicas.invalidations) > max(before)

    await until(all_know, 5, "the raised epoch")


async def test_an_epoch_that_the_database_lost_is_restored(
    replicas: InProcessReplicas, postgres: Postgres, database_url: str
) -> None:
    seen = await replicas.changes[0].raise_epoch(40)
    assert seen > 40

    async def all_know() -> bool:
        return all(each.epoch >= seen for each in replicas.invalidations)

    await until(all_know, 5, "the raised epoch")
    postgres.sql("UPDATE cache_epoch SET epoch = 1", database_url.rsplit("/", 1)[1])

    async def is_higher() -> bool:
        return (await replicas.changes[0].look()).epoch > seen

    await until(is_higher, 5, "an epoch above the one that was lost")


async def test_using_an_unregistered_format_again_raises_the_epoch(
    replicas: InProcessReplicas, postgres: Postgres, database_url: str
) -> None:
    before = replicas.invalidations[0].epoch
    postgres.sql("DELETE FROM cache_formats", database_url.rsplit("/", 1)[1])

    async def is_raised() -> bool:
        return replicas.invalidations[0].epoch > before and (await replicas.changes[0].look()).is_registered

    await until(is_raised, 5, "a registered format")


async def test_a_format_that_no_replica_polls_is_unregistered(
    replicas: InProcessReplicas, postgres: Postgres, database_url: str
) -> None:
    name = database_url.rsplit("/", 1)[1]
    postgres.sql("INSERT INTO cache_formats VALUES (1), (7)", name)
    fill = "INSERT INTO task_changes SELECT 1, gen_random_uuid(), 1 FROM generate_series(1, {count})"
    postgres.sql(fill.format(count=MAX_CHANGES), name)
    await replicas.changes[0].give_up_others()
    assert postgres.sql("SELECT count(*) FROM cache_formats", name) == "3"
    postgres.sql(fill.format(count=1), name)
    await replicas.changes[0].give_up_others()
    assert postgres.sql("SELECT format FROM cache_formats WHERE format <> 2", name) == "7"
    assert postgres.sql("SELECT count(*) FROM task_changes WHERE format = 1", name) == "0"


async def test_a_write_updates_the_cache_in_one_round_trip(
    replicas: InProcessReplicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One round trip: here the value and the mark of the pages wait for each other."""
    task = await replicas.replicas[0].create(NewTask("old"))
    server = replicas.servers[0]
    both = asyncio.Barrier(2)

    def together(call: Any) -> Any:
        async def wait_and_call(*args: Any) -> Any:
            await asyncio.wait_for(both.wait(), 5)
            return await call(*args)

        return wait_and_call

    monkeypatch.setattr(server, "set_newest", together(server.set_newest))
    monkeypatch.setattr(server, "set", together(server.set))
    assert await replicas.replicas[0].change(task.id, TaskChange(task="new"), None)
    assert await replicas.replicas[0].delete(task.id, None, "")
    assert await replicas.replicas[0].create(NewTask("other"))
