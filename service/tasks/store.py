"""Tasks in SQL: PostgreSQL, or SQLite if the service runs alone."""

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection
from uuid_utils.compat import uuid7

from service.infrastructure.database import Database
from service.tasks import statements
from service.tasks.model import NewTask, Task, TaskChange

DELETIONS_KEPT = timedelta(minutes=10)


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
        self._insert_once = statements.insert_once("sqlite" if database.is_sqlite else "postgresql")

    async def get(self, task_id: UUID) -> Task | None:
        """The task with this id."""
        rows = await self._database.read(statements.GET, {"of_task": task_id})
        return _task(rows[0]) if rows else None

    async def page(self, limit: int, before: UUID | None, done: bool | None) -> list[Task]:
        """At most `limit` tasks, newest first, that are older than the one with the id `before` (keyset pagination)."""
        statement = statements.page(before is None, done is not None)
        parameters = {"most": limit, "before": before, "is_done": done}
        rows = await self._database.read(statement, {k: v for k, v in parameters.items() if v is not None})
        return [_task(row) for row in rows]

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

            async def work(connection: AsyncConnection) -> Task:
                await connection.execute(statements.INSERT, values)
                return task

            return await self._database.run("INSERT", statements.INSERT, work)
        return await self._create_once(task, values, idempotency)

    async def _create_once(self, task: Task, values: dict[str, Any], idempotency: Idempotency) -> Task:
        values |= {"idempotency_key": idempotency.key, "idempotency_body": idempotency.body}

        async def work(connection: AsyncConnection) -> tuple[bool, Any]:
            if (await connection.execute(self._insert_once, values)).first() is not None:
                return True, None
            before = await connection.execute(statements.BY_IDEMPOTENCY_KEY, {"key": idempotency.key})
            return False, before.first()

        is_new, row = await self._database.run("INSERT", self._insert_once, work)
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
        statement = statements.update(tuple(values), expected is not None)
        parameters = {f"new_{name}": value for name, value in values.items()}
        parameters |= _of_task(task_id, expected) | {"now": datetime.now(UTC)}

        async def work(connection: AsyncConnection) -> Task | None:
            row = (await connection.execute(statement, parameters)).first()
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
        is_conditional = expected is not None
        statement = statements.delete(is_conditional)
        parameters = _of_task(task_id, expected)
        now = datetime.now(UTC)

        async def work(connection: AsyncConnection) -> int | None:
            row = (await connection.execute(statement, parameters)).first()
            if row is not None and request_id:
                record = {"task_id": task_id, "request_id": request_id, "version": row.version, "deleted_at": now}
                await connection.execute(statements.RECORD_DELETION, record)
            return int(row.version) if row is not None else None

        async def work_in_one(connection: AsyncConnection) -> int | None:
            both = statements.delete_and_record(is_conditional)
            row = (await connection.execute(both, parameters | {"of_request": request_id, "now": now})).first()
            return int(row.version) if row is not None else None

        is_one = bool(request_id) and not self._database.is_sqlite
        version = await self._database.run("DELETE", statement, work_in_one if is_one else work)
        return version if version is not None else await self._deleted_before(task_id, expected, request_id)

    async def _deleted_before(self, task_id: UUID, expected: int | None, request_id: str) -> int | None:
        """The result of a delete that found no row: as in `delete`."""
        before = {"of_task": task_id, "of_request": request_id}
        if request_id and (rows := await self._database.read(statements.DELETED_BEFORE, before)):
            return int(rows[0].version)
        if expected is not None and await self.get(task_id) is not None:
            raise VersionConflict
        return None

    async def forget_old_deletions(self) -> None:
        """Drops records of deletes that are too old for the gateway to repeat."""
        before = {"before": datetime.now(UTC) - DELETIONS_KEPT}

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(statements.FORGET_DELETIONS, before)

        await self._database.run("DELETE", statements.FORGET_DELETIONS, work, is_control=True)


def _of_task(task_id: UUID, expected: int | None) -> dict[str, Any]:
    return {"of_task": task_id} if expected is None else {"of_task": task_id, "expected": expected}


def _task(row: Any) -> Task:
    return Task(row.id, row.task, row.done, row.version, _utc(row.created_at), _utc(row.updated_at))


def _utc(moment: datetime) -> datetime:
    # SQLite keeps no time zone
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
