"""The SQL statements on tasks.

Each is built once, for speed: building an UPDATE, and finding its compiled form in SQLAlchemy's cache, takes 80 µs. No
parameter has the name of a column, except for values to insert, because SQLAlchemy reserves those names.
"""

from collections.abc import Callable
from functools import cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import ReturningDelete

from service.tasks.tables import deletions, tasks

TASK_COLUMNS = (tasks.c.id, tasks.c.task, tasks.c.done, tasks.c.version, tasks.c.created_at, tasks.c.updated_at)

_is_the_task = tasks.c.id == sa.bindparam("of_task")
_is_expected = tasks.c.version == sa.bindparam("expected")

GET = sa.select(*TASK_COLUMNS).where(_is_the_task)
# its parameters are the columns
INSERT = sa.insert(tasks)
BY_IDEMPOTENCY_KEY = sa.select(*TASK_COLUMNS, tasks.c.idempotency_body).where(
    tasks.c.idempotency_key == sa.bindparam("key")
)
# its parameters are the columns
RECORD_DELETION = sa.insert(deletions)
DELETED_BEFORE = sa.select(deletions.c.version).where(
    deletions.c.task_id == sa.bindparam("of_task"), deletions.c.request_id == sa.bindparam("of_request")
)
FORGET_DELETIONS = sa.delete(deletions).where(deletions.c.deleted_at < sa.bindparam("before"))


@cache
def insert_once(dialect: str) -> sa.Insert:
    """Inserts a task unless its idempotency key exists; returns its id if it did. The parameters are the columns."""
    insert: Callable[..., Any] = sqlite.insert if dialect == "sqlite" else postgresql.insert
    statement: sa.Insert = (
        insert(tasks)
        .on_conflict_do_nothing(
            index_elements=[tasks.c.idempotency_key], index_where=tasks.c.idempotency_key.is_not(None)
        )
        .returning(tasks.c.id)
    )
    return statement


@cache
def page(is_first: bool, is_filtered: bool) -> sa.Select[*tuple[Any, ...]]:
    """The newest tasks, at most `most`; unless `is_first`, older than `before`; if `is_filtered`, with `is_done`.

    UUIDv7 ids sort by creation time, so the id is the key.
    """
    statement = sa.select(*TASK_COLUMNS).order_by(tasks.c.id.desc()).limit(sa.bindparam("most", type_=sa.Integer))
    if not is_first:
        statement = statement.where(tasks.c.id < sa.bindparam("before"))
    if is_filtered:
        statement = statement.where(tasks.c.done == sa.bindparam("is_done"))
    return statement


@cache
def update(columns: tuple[str, ...], is_conditional: bool) -> sa.Update:
    """Sets `columns` of a task to `new_COLUMN` at the time `now`; if `is_conditional`, only at version `expected`."""
    statement = (
        sa.update(tasks)
        .where(_is_the_task)
        .values(
            {name: sa.bindparam(f"new_{name}") for name in columns}
            | {"version": tasks.c.version + 1, "updated_at": sa.bindparam("now")}
        )
        .returning(*TASK_COLUMNS)
    )
    return statement.where(_is_expected) if is_conditional else statement


@cache
def delete(is_conditional: bool) -> ReturningDelete[UUID, int]:
    """Deletes a task; if `is_conditional`, only at version `expected`. Returns its id and version."""
    statement = sa.delete(tasks).where(_is_the_task).returning(tasks.c.id, tasks.c.version)
    return statement.where(_is_expected) if is_conditional else statement


@cache
def delete_and_record(is_conditional: bool) -> sa.Select[*tuple[Any, ...]]:
    """Like `delete`, and records in the same statement that `of_request` did it at the time `now`. For PostgreSQL."""
    gone = delete(is_conditional).cte("gone")
    record = sa.insert(deletions).from_select(
        ["task_id", "request_id", "version", "deleted_at"],
        sa.select(
            gone.c.id,
            sa.bindparam("of_request", type_=sa.Text),
            gone.c.version,
            sa.bindparam("now", type_=sa.DateTime(timezone=True)),
        ),
    )
    return sa.select(gone.c.version).add_cte(record.cte("record"))
