"""Tasks in a relational database: PostgreSQL, or SQLite for a service that runs alone."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection
from uuid_utils.compat import uuid7

from service.database import Database
from service.tasks.model import NewTask, Task, TaskChange

metadata = sa.MetaData()
tasks = sa.Table(
    "tasks",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("done", sa.Boolean, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    sa.Index("tasks_done_id", "done", "id"),
)
# Which request deleted what, kept for some minutes: a gateway whose replica died after the delete and before the
# answer asks the next replica, and that one finds that the request was already done.
deletions = sa.Table(
    "deletions",
    metadata,
    sa.Column("task_id", sa.Uuid, primary_key=True),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=False, index=True),
)
DELETIONS_KEPT = timedelta(minutes=10)


class VersionConflict(Exception):  # noqa: N818 (it reads as what happened)
    """The task has another version than the client thought: somebody else changed it first."""


class TaskStore:
    """Tasks in SQL. Every method raises `Unavailable` when the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, task_id: UUID) -> Task | None:
        """The task with this id."""
        rows = await self._database.read(sa.select(tasks).where(tasks.c.id == task_id))
        return _task(rows[0]) if rows else None

    async def page(self, limit: int, before: UUID | None, done: bool | None) -> list[Task]:
        """At most `limit` tasks, newest first, that are older than the one with the id `before`.

        UUIDv7 ids sort by the time they were made, so the id is the key that the pages go by.
        """
        statement = sa.select(tasks).order_by(tasks.c.id.desc()).limit(limit)
        if before is not None:
            statement = statement.where(tasks.c.id < before)
        if done is not None:
            statement = statement.where(tasks.c.done == done)
        return [_task(row) for row in await self._database.read(statement)]

    async def create(self, new: NewTask) -> Task:
        """Stores a new task, at version 1."""
        now = datetime.now(UTC)
        task = Task(uuid7(), new.task, new.done, 1, now, now)
        statement = sa.insert(tasks).values(
            id=task.id, task=task.task, done=task.done, version=1, created_at=now, updated_at=now
        )

        async def work(connection: AsyncConnection) -> Task:
            await connection.execute(statement)
            return task

        return await self._database.run("INSERT", statement, work)

    async def change(self, task_id: UUID, change: TaskChange, expected: int | None) -> Task | None:
        """The task as changed, None where there is none. Raises `VersionConflict` where it is not at `expected`.

        A change that finds itself made already (the version after `expected`, with just these values) has been
        made by this request before, at a replica that died before it could answer, and is answered as if made now.
        """
        values = change.values()
        statement = (
            sa.update(tasks)
            .where(tasks.c.id == task_id)
            .values(**values, version=tasks.c.version + 1, updated_at=datetime.now(UTC))
            .returning(*tasks.c)
        )
        if expected is not None:
            statement = statement.where(tasks.c.version == expected)

        async def work(connection: AsyncConnection) -> Task | None:
            row = (await connection.execute(statement)).first()
            if row is not None:
                return _task(row)
            row = (await connection.execute(sa.select(tasks).where(tasks.c.id == task_id))).first()
            if row is None or expected is None:
                return None
            if row.version == expected + 1 and all(getattr(row, name) == value for name, value in values.items()):
                return _task(row)
            raise VersionConflict

        return await self._database.run("UPDATE", statement, work)

    async def delete(self, task_id: UUID, expected: int | None, request_id: str) -> int | None:
        """The version at which the task was deleted, None where there is none. Raises `VersionConflict`.

        A request that deleted it before, at a replica that died before it could answer, is told so again.
        """
        statement = sa.delete(tasks).where(tasks.c.id == task_id).returning(tasks.c.version)
        if expected is not None:
            statement = statement.where(tasks.c.version == expected)

        async def work(connection: AsyncConnection) -> int | None:
            version = (await connection.execute(statement)).scalar_one_or_none()
            if version is not None:
                if request_id:
                    now = datetime.now(UTC)
                    await connection.execute(
                        sa.insert(deletions).values(
                            task_id=task_id, request_id=request_id, version=version, deleted_at=now
                        )
                    )
                return int(version)
            before = sa.select(deletions.c.version).where(
                deletions.c.task_id == task_id, deletions.c.request_id == request_id
            )
            if request_id and (row := (await connection.execute(before)).first()):
                return int(row.version)
            if (
                expected is not None
                and (await connection.execute(sa.select(tasks.c.id).where(tasks.c.id == task_id))).first()
            ):
                raise VersionConflict
            return None

        return await self._database.run("DELETE", statement, work)

    async def forget_old_deletions(self) -> None:
        """Drops the records of deletes that no gateway can still be asking about."""
        statement = sa.delete(deletions).where(deletions.c.deleted_at < datetime.now(UTC) - DELETIONS_KEPT)

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(statement)

        await self._database.run("DELETE", statement, work, for_request=False)


def _task(row: sa.Row[Any]) -> Task:
    return Task(row.id, row.task, row.done, row.version, _utc(row.created_at), _utc(row.updated_at))


def _utc(moment: datetime) -> datetime:
    # SQLite keeps no time zone
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
