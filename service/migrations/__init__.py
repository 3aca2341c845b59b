"""Alembic migrations of the schema. Each is safe while replicas of the previous release are still running."""

import asyncio
import time
from pathlib import Path

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from service.infrastructure.breaker import Unavailable
from service.infrastructure.database import create_postgres_engine, reason
from service.settings import Settings

log = structlog.stdlib.get_logger("service")

# The advisory lock's number, which nothing else in this database uses. It makes replicas that start together migrate
# one after the other.
LOCK = 0x61A55
RETRY_SECONDS = 0.25
# limits of the role or the database are meant for requests, not for migrations
LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
# long enough to change a large table, and to wait for another replica that does
UPGRADE_SECONDS = 600.0


async def migrate(settings: Settings) -> None:
    """Waits for the database, and upgrades its schema. Raises `Unavailable`."""
    url = settings.database_url
    is_sqlite = url.get_backend_name() == "sqlite"
    limit = settings.database_timeout_seconds
    if is_sqlite:
        # waits, instead of failing, while another process migrates
        engine = create_async_engine(url, isolation_level="AUTOCOMMIT", connect_args={"timeout": UPGRADE_SECONDS})
    else:
        is_pooled = settings.database_pooler == "transaction"
        engine = create_postgres_engine(url, is_pooled=is_pooled, limits={"timeout": limit}, session={})
    deadline = time.monotonic() + settings.startup_timeout_seconds
    try:
        while True:
            try:
                # the short limit is only for connecting; a migration may take long
                async with asyncio.timeout(limit * 2) as connecting:
                    async with engine.connect() as connection:
                        connecting.reschedule(asyncio.get_running_loop().time() + UPGRADE_SECONDS)
                        await _upgrade_locked(connection, is_sqlite)
                return
            except (SQLAlchemyError, OSError, TimeoutError) as error:
                if time.monotonic() > deadline:
                    raise Unavailable("database", reason(error)) from error
                await asyncio.sleep(RETRY_SECONDS)
    finally:
        # connections belong to this event loop, and the server runs another
        await engine.dispose()


async def _upgrade_locked(connection: AsyncConnection, is_sqlite: bool) -> None:
    if is_sqlite:
        # with WAL, readers do not wait for a writer. It is a property of the file, and cannot be set in a transaction
        await connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        await connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            await connection.run_sync(upgrade)
        except BaseException:
            await connection.exec_driver_sql("ROLLBACK")
            raise
        await connection.exec_driver_sql("COMMIT")
        return
    async with connection.begin():
        for limit in LIMITS:
            await connection.exec_driver_sql(f"SET LOCAL {limit} = 0")
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
        await connection.run_sync(upgrade)


def upgrade(connection: sa.Connection, revision: str = "head") -> None:
    """Runs the migrations up to a revision, in the connection's transaction."""
    # imported here, since only the start needs it
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, revision)
    except CommandError as error:
        if "Can't locate revision" not in str(error):
            raise
        # the service was rolled back to an older release; each migration keeps what the previous release needs
        log.warning("the database's schema is newer than this release", error=str(error))
