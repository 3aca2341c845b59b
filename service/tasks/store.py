"""Tasks in SQL: PostgreSQL, or SQLite if the service runs alone."""

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from uuid_utils.compat import uuid7

from service.infrastructure.database import Database
from service.tasks.model import NewTask, Task, TaskChange
from service.tasks.tables import deletions, tasks

DELETIONS_KEPT = timedelta(minutes=10)
TASK_COLUMNS = (tasks.c.id, tasks.c.task, tasks.c.done, tasks.c.version, tasks.c.created_at, tasks.c.updated_at)


class VersionConflict(Exception):  # noqa: N818 (it reads as what happened)
    """The task is not at the version that the request expects: another client has changed it."""


class KeyConflict(Exception):  # noqa: N818 (it reads as what happened)
    """The idempotency key was used before, for another task."""


class Idempotency(NamedTuple):
    """The client's idempotency key, and a digest of the request's body."""

    key: str
    body: str


class TaskStore:
    """Tasks in SQL. Every method raises `Unavailable` if the database does not respond."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._insert = sqlite.insert if database.is_sqlite else postgresql.insert

    async def get(self, task_id: UUID) -> Task | None:
        """The task with this id."""
        rows = await self._database.read(sa.select(*TASK_COLUMNS).where(tasks.c.id == task_id))
        return _task(rows[0]) if rows else None

    async def page(self, limit: int, before: UUID | None, done: bool | None) -> list[Task]:
        """At most `limit` tasks, newest first, that are older than the one with the id `before` (keyset pagination).

        UUIDv7 ids sort by creation time, so the id is the key.
        """
        statement = sa.select(*TASK_COLUMNS).order_by(tasks.c.id.desc()).limit(limit)
        if before is not None:
            statement = statement.where(tasks.c.id < before)
        if done is not None:
            statement = statement.where(tasks.c.done == done)
        return [_task(row) for row in await self._database.read(statement)]

    async def create(self, new: NewTask, idempotency: Idempotency | None = None) -> Task:
        """Inserts a task at version 1. If the idempotency key was used before, returns that task as it is now.

        Raises `KeyConflict` if the earlier request had another body.
        """
        now = datetime.now(UTC)
        task = Task(uuid7(), new.task, new.done, 1, now, now)
        values = {
            "id": task.id,
            "task": task.task,
            "done": task.done,
            "version": 1,
            "created_at": now,
            "updated_at": now,
        }
        if idempotency is None:
            plain = sa.insert(tasks).values(values)

            async def work(connection: AsyncConnection) -> Task:
                await connection.execute(plain)
                return task

            return await self._database.run("INSERT", plain, work)
        return await self._create_once(task, values, idempotency)

    async def _create_once(self, task: Task, values: dict[str, Any], idempotency: Idempotency) -> Task:
        statement = (
            self._insert(tasks)
            .values(**values, idempotency_key=idempotency.key, idempotency_body=idempotency.body)
            .on_conflict_do_nothing(
                index_elements=[tasks.c.idempotency_key], index_where=tasks.c.idempotency_key.is_not(None)
            )
            .returning(tasks.c.id)
        )
        before = sa.select(*TASK_COLUMNS, tasks.c.idempotency_body).where(tasks.c.idempotency_key == idempotency.key)

        async def work(connection: AsyncConnection) -> tuple[bool, Any]:
            if (await connection.execute(statement)).first() is not None:
                return True, None
            return False, (await connection.execute(before)).first()

        is_new, row = await self._database.run("INSERT", statement, work)
        if is_new:
            return task
        if row is None:
            # deleted between the two statements: the key is free again
            return await self._create_once(task, values, idempotency)
        if row.idempotency_body != idempotency.body:
            raise KeyConflict
        return _task(row)

    async def change(self, task_id: UUID, change: TaskChange, expected: int | None) -> Task | None:
        """Updates and returns a task; None if it does not exist. Raises `VersionConflict` if it is not at `expected`.

        The gateway repeats a request whose replica died before it responded. So if the task is at the version after
        `expected` and already has these values, the change counts as made by this request, and succeeds.
        """
        values = change.values()
        statement = (
            sa.update(tasks)
            .where(tasks.c.id == task_id)
            .values(**values, version=tasks.c.version + 1, updated_at=datetime.now(UTC))
            .returning(*TASK_COLUMNS)
        )
        if expected is not None:
            statement = statement.where(tasks.c.version == expected)

        async def work(connection: AsyncConnection) -> Task | None:
            row = (await connection.execute(statement)).first()
            return _task(row) if row is not None else None

        changed = await self._database.run("UPDATE", statement, work)
        if changed is not None or expected is None:
            return changed
        found = await self.get(task_id)
        if found is None:
            return None
        if found.version == expected + 1 and all(getattr(found, name) == value for name, value in values.items()):
            return found
        raise VersionConflict

    async def delete(self, task_id: UUID, expected: int | None, request_id: str) -> int | None:
        """Deletes a task and returns its last version; None if it does not exist. Raises `VersionConflict`.

        The gateway repeats a request whose replica died before it responded. So if a request with this `request_id` has
        deleted the task before, the result is the same again.
        """
        statement = sa.delete(tasks).where(tasks.c.id == task_id).returning(tasks.c.id, tasks.c.version)
        if expected is not None:
            statement = statement.where(tasks.c.version == expected)
        now = datetime.now(UTC)

        async def work(connection: AsyncConnection) -> int | None:
            row = (await connection.execute(statement)).first()
            if row is not None and request_id:
                kept = sa.insert(deletions).values(
                    task_id=task_id, request_id=request_id, version=row.version, deleted_at=now
                )
                await connection.execute(kept)
            return int(row.version) if row is not None else None

        async def work_in_one(connection: AsyncConnection) -> int | None:
            gone = statement.cte("gone")
            columns = ["task_id", "request_id", "version", "deleted_at"]
            kept = sa.insert(deletions).from_select(
                columns, sa.select(gone.c.id, sa.literal(request_id), gone.c.version, sa.literal(now))
            )
            row = (await connection.execute(sa.select(gone.c.version).add_cte(kept.cte("kept")))).first()
            return int(row.version) if row is not None else None

        is_one = bool(request_id) and not self._database.is_sqlite
        version = await self._database.run("DELETE", statement, work_in_one if is_one else work)
        return version if version is not None else await self._deleted_before(task_id, expected, request_id)

    async def _deleted_before(self, task_id: UUID, expected: int | None, request_id: str) -> int | None:
        """The result of a delete that found no row: as in `delete`."""
        before = sa.select(deletions.c.version).where(
            deletions.c.task_id == task_id, deletions.c.request_id == request_id
        )
        if request_id and (rows := await self._database.read(before)):
            return int(rows[0].version)
        if expected is not None and await self.get(task_id) is not None:
            raise VersionConflict
        return None

    async def forget_old_deletions(self) -> None:
        """Drops records of deletes that are too old for the gateway to repeat."""
        statement = sa.delete(deletions).where(deletions.c.deleted_at < datetime.now(UTC) - DELETIONS_KEPT)

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(statement)

        await self._database.run("DELETE", statement, work, is_control=True)


def _task(row: Any) -> Task:
    return Task(row.id, row.task, row.done, row.version, _utc(row.created_at), _utc(row.updated_at))


def _utc(moment: datetime) -> datetime:
    # SQLite keeps no time zone
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
