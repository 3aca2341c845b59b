"""The epoch of the cache: a number in the database that outdates everything cached before it was raised.

It is raised where cached values can no longer be trusted: when a write could not reach the cache, and when the
cluster has put a replica in place of a primary, whose last writes it may not have.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from service.database import Database
from service.resilience import Unavailable
from service.tasks.store import metadata
from service.telemetry.metrics import Metrics

log = structlog.stdlib.get_logger("service")

# Well under the second within which every replica shall see a write that could not reach the cache.
POLL_SECONDS = 0.3

cache_epoch = sa.Table(
    "cache_epoch",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("cluster_epoch", sa.BigInteger, nullable=False),
)


class Epoch:
    """The epoch as this replica knows it. `current` is at most `POLL_SECONDS` behind the database."""

    def __init__(self, database: Database, metrics: Metrics) -> None:
        self._database = database
        self._raised = metrics.cache_epoch_raised
        self.current = 0
        self._raising: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Makes the row where it is missing, and reads it. Raises `Unavailable`."""
        row = sa.select(cache_epoch.c.id)

        async def work(connection: AsyncConnection) -> None:
            if (await connection.execute(row)).first() is None:
                await connection.execute(sa.insert(cache_epoch).values(id=1, epoch=1, cluster_epoch=0))

        # another replica may make it in the same moment
        with suppress(sa.exc.IntegrityError):
            await self._database.run("INSERT", row, work, for_request=False)
        await self._read()

    async def raise_(self) -> None:
        """Outdates all that is cached. When it returns, an epoch that began after the call is in force.

        Many at once share one update, though never one that began before they asked. Raises `Unavailable`.
        """
        if self._raising is None or self._raising.done():
            self._raising = asyncio.create_task(self._raise())
            await asyncio.shield(self._raising)
            return
        if self._next is None or self._next.done():
            self._next = asyncio.create_task(self._raise_after(self._raising))
        await asyncio.shield(self._next)

    async def follow(self, cluster_epoch: Callable[[], Awaitable[int]]) -> None:
        """Keeps `current` up to date, and raises the epoch once whenever the cluster's own has changed."""
        seen: int | None = None
        while True:
            try:
                await self._read()
                cluster = await cluster_epoch()
                if cluster != seen:
                    await self._raise(cluster)
                    seen = cluster
            except Unavailable:
                pass  # while it cannot ask, it can read from neither
            except Exception:
                # to go on matters more than what it was: a replica that no longer follows believes stale values
                log.exception("the cache's epoch could not be followed")
            await asyncio.sleep(POLL_SECONDS)

    async def _raise_after(self, running: asyncio.Task[None]) -> None:
        await asyncio.wait([running])
        self._raising, self._next = asyncio.current_task(), None
        await self._raise()

    async def _raise(self, cluster: int | None = None) -> None:
        statement = (
            sa.update(cache_epoch).values(epoch=cache_epoch.c.epoch + 1).returning(cache_epoch.c.epoch)
            if cluster is None
            else sa.update(cache_epoch)
            .where(cache_epoch.c.cluster_epoch != cluster)
            .values(epoch=cache_epoch.c.epoch + 1, cluster_epoch=cluster)
            .returning(cache_epoch.c.epoch)
        )

        async def work(connection: AsyncConnection) -> int | None:
            raised: int | None = (await connection.execute(statement)).scalar_one_or_none()
            return raised

        raised = await self._database.run("UPDATE", statement, work, for_request=cluster is None)
        if raised is not None:
            self.current = max(self.current, raised)
            self._raised.inc()

    async def _read(self) -> None:
        rows = await self._database.read(sa.select(cache_epoch.c.epoch), for_request=False)
        self.current = max(self.current, rows[0].epoch if rows else 0)
