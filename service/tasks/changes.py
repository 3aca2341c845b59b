"""The cache's state in the database: its epoch, and the outbox of changes that the cache may not have seen yet."""

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from service.infrastructure.database import Database
from service.tasks.tables import cache_epoch, cache_formats, task_changes

# How many changes are read at once. If there are more, they are not handled one by one: the epoch is raised instead.
MAX_CHANGES = 1_000


class Change(NamedTuple):
    """A task and its new version; for a deleted task, the version after its last."""

    task_id: UUID
    version: int


class Found(NamedTuple):
    """The result of one poll. `changes` has at most `MAX_CHANGES` + 1 entries."""

    epoch: int
    is_registered: bool
    changes: frozenset[Change]


class ChangeLog:
    """The outbox for one format of cached values. Every method raises `Unavailable`."""

    def __init__(self, database: Database, value_format: int) -> None:
        self._database = database
        self._format = value_format
        changes = (
            sa.select(task_changes.c.task_id, task_changes.c.version)
            .where(task_changes.c.format == value_format)
            .limit(MAX_CHANGES + 1)
            .subquery()
        )
        self._look = (
            sa.select(cache_epoch.c.epoch, cache_formats.c.format, changes.c.task_id, changes.c.version)
            .select_from(
                cache_epoch.outerjoin(cache_formats, cache_formats.c.format == value_format).outerjoin(
                    changes, sa.true()
                )
            )
            .where(cache_epoch.c.id == 1)
        )
        self._confirm = sa.delete(task_changes).where(
            task_changes.c.format == value_format,
            task_changes.c.task_id == sa.bindparam("one_task"),
            task_changes.c.version == sa.bindparam("one_version"),
        )

    async def look(self) -> Found:
        """The epoch and the unconfirmed changes, in one round trip."""
        rows = await self._database.read(self._look, is_control=True)
        changes = frozenset(Change(row.task_id, row.version) for row in rows if row.task_id is not None)
        return Found(rows[0].epoch if rows else 0, bool(rows and rows[0].format is not None), changes)

    async def confirm(self, changes: Collection[Change]) -> None:
        """Deletes changes from the outbox, after the cache has taken them."""
        parameters = [{"one_task": each.task_id, "one_version": each.version} for each in changes]

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(self._confirm, parameters)

        await self._database.run("DELETE", self._confirm, work, is_control=True)

    async def register(self) -> None:
        """Inserts the rows of the epoch and of this format if they are missing; the trigger then records changes."""
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        epoch = insert(cache_epoch).values(id=1, epoch=1, cluster_epoch=0).on_conflict_do_nothing()
        registration = insert(cache_formats).values(format=self._format).on_conflict_do_nothing()

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(epoch)
            await connection.execute(registration)

        await self._database.run("INSERT", registration, work, is_control=True)

    async def give_up_others(self) -> None:
        """Unregisters formats that no replica polls any more, as after a deployment that changed the format.

        A replica that polls never lets more than `MAX_CHANGES` accumulate. If one of that format starts again, it
        finds its format unregistered, and raises the epoch.
        """
        most = sa.select(task_changes.c.format).group_by(task_changes.c.format).having(sa.func.count() > MAX_CHANGES)
        give_up = sa.delete(cache_formats).where(
            cache_formats.c.format != self._format, cache_formats.c.format.in_(most)
        )
        drop = sa.delete(task_changes).where(task_changes.c.format.not_in(sa.select(cache_formats.c.format)))

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(give_up)
            await connection.execute(drop)

        await self._database.run("DELETE", drop, work, is_control=True)

    async def raise_epoch(self, known: int) -> int:
        """Invalidates the whole cache and empties the outbox. Returns the new epoch.

        It is higher than `known`, the highest epoch that this replica has seen, even if the database has lost that one.
        """
        drop = sa.delete(task_changes).where(task_changes.c.format == self._format)
        higher = sa.case((cache_epoch.c.epoch < known, known), else_=cache_epoch.c.epoch) + 1
        statement = sa.update(cache_epoch).values(epoch=higher).returning(cache_epoch.c.epoch)
        if not self._database.is_sqlite:
            statement = statement.add_cte(drop.cte("gone"))

        async def work(connection: AsyncConnection) -> int:
            if self._database.is_sqlite:
                await connection.execute(drop)
            return int((await connection.execute(statement)).scalar_one())

        return await self._database.run("UPDATE", statement, work, is_control=True)

    async def raise_for(self, cluster_epoch: int, known: int) -> int | None:
        """Raises the epoch once for each epoch of the Redis cluster. The new epoch; None if that was done before."""
        higher = sa.case((cache_epoch.c.epoch < known, known), else_=cache_epoch.c.epoch) + 1
        statement = (
            sa.update(cache_epoch)
            .where(cache_epoch.c.cluster_epoch != cluster_epoch)
            .values(epoch=higher, cluster_epoch=cluster_epoch)
            .returning(cache_epoch.c.epoch)
        )

        async def work(connection: AsyncConnection) -> int | None:
            raised: int | None = (await connection.execute(statement)).scalar_one_or_none()
            return raised

        return await self._database.run("UPDATE", statement, work, is_control=True)
