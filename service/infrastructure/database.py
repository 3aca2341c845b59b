"""Access to the database: bounded pools, and a time limit, a circuit breaker and telemetry for each operation."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar, cast

import asyncpg
import sqlalchemy as sa
import structlog
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import QueuePool

from service.infrastructure.breaker import STATE_NAMES, Breaker, Unavailable
from service.settings import Settings
from service.telemetry.metrics import Metrics
from service.telemetry.tracing import Tracing

T = TypeVar("T")

# A pool of its own for health checks and background work, so that they never wait for requests to return a connection.
CONTROL_CONNECTIONS = 2
# The server's timeouts are shorter than the client's: a statement that the server cancels is rolled back, so that its
# outcome is known.
STATEMENT_SHARE = 0.9
LOCK_SHARE = 0.75
POOL_SHARE = 0.75
LOCK_NOT_AVAILABLE = "55P03"
# For a pooler that gives each transaction another connection. The server forgets a statement without a name with the
# next one; asyncpg sends it with what executes it in one transaction, so that both go to the same connection.
UNNAMED: dict[str, Any] = {"prepared_statement_cache_size": 0, "prepared_statement_name_func": str}

log = structlog.stdlib.get_logger("service")


class Database:
    """Runs operations on the database of `DATABASE_URL`. Raises `Unavailable` if it does not respond.

    On PostgreSQL every statement is its own transaction (autocommit), which takes one round trip. On SQLite an
    operation is a transaction, and may consist of several statements.
    """

    def __init__(self, settings: Settings, metrics: Metrics, tracing: Tracing) -> None:
        self._limit = settings.database_timeout_seconds
        self._url = settings.database_url
        self._is_pooled = settings.database_pooler == "transaction"
        self._metrics = metrics
        self._tracing = tracing
        self._left: set[asyncio.Task[Any]] = set()
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        self.engine = self._new_engine(settings.database_pool_size)
        # background writes need not wait for the disk or for a standby
        self._control = self._new_engine(CONTROL_CONNECTIONS, synchronous_commit="off")
        server: dict[str, str | int] = (
            {}
            if self.is_sqlite
            else {"server.address": self._url.host or "localhost", "server.port": self._url.port or 5432}
        )
        self._span_attributes: dict[str, str | int] = {
            "db.system.name": self._url.get_backend_name(),
            "db.namespace": self._url.database or "",
            **server,
        }
        self.breaker = Breaker(
            "database",
            settings.breaker_failures,
            settings.breaker_open_seconds,
            self._breaker_changed,
        )
        if isinstance(self.engine.pool, QueuePool):
            # looked up at each scrape, since disposing the engine replaces its pool
            metrics.watch_pool(
                lambda: cast(QueuePool, self.engine.pool).checkedout(),
                lambda: cast(QueuePool, self.engine.pool).checkedin(),
                settings.database_pool_size,
            )

    def _new_engine(self, size: int, **server_settings: str) -> AsyncEngine:
        options: dict[str, Any] = {
            "pool_size": size,
            "max_overflow": 0,
            "pool_timeout": self._limit * POOL_SHARE,
            # errors are logged, and must not contain what clients wrote
            "hide_parameters": True,
        }
        if self.is_sqlite:
            return create_async_engine(self._url, connect_args={"timeout": self._limit}, **options)
        milliseconds = self._limit * 1000
        session = {
            "statement_timeout": str(int(milliseconds * STATEMENT_SHARE) or 1),
            "lock_timeout": str(int(milliseconds * LOCK_SHARE) or 1),
            "idle_in_transaction_session_timeout": str(int(milliseconds) or 1),
            **server_settings,
        }
        return create_postgres_engine(
            self._url,
            is_pooled=self._is_pooled,
            limits={"timeout": self._limit, "command_timeout": self._limit},
            # behind a pooler, clients share sessions
            session={} if self._is_pooled else session,
            isolation_level="AUTOCOMMIT",
            **options,
        )

    async def read(
        self,
        statement: sa.Select[*tuple[Any, ...]],
        parameters: dict[str, Any] | None = None,
        *,
        is_control: bool = False,
    ) -> list[Any]:
        """The rows of a SELECT. Retried once if the driver reports an error, such as a broken connection."""

        async def work(connection: AsyncConnection) -> list[Any]:
            return list((await connection.execute(statement, parameters)).all())

        try:
            return await self.run("SELECT", statement, work, is_control=is_control)
        except Unavailable as error:
            if not isinstance(error.__cause__, DBAPIError):
                raise
            await asyncio.sleep(random.uniform(0.005, 0.025))  # noqa: S311 (no secret)
            return await self.run("SELECT", statement, work, is_control=is_control)

    async def run(
        self,
        operation: str,
        statement: sa.Executable,
        work: Callable[[AsyncConnection], Awaitable[T]],
        *,
        is_control: bool = False,
    ) -> T:
        """Runs `work` and returns its result. `statement` describes the operation in traces.

        With `is_control` it uses the pool for background work, commits asynchronously, and has a metric of its own, so
        that it does not distort the durations that users experience.
        """
        permit = self.breaker.admit()
        started = time.monotonic()
        try:
            async with self._span(operation, statement):
                result = await self._in_time(self._transact(self._control if is_control else self.engine, work))
        except (OSError, TimeoutError, SQLAlchemyError, asyncpg.InterfaceError) as error:
            if not _is_outage(error):
                self.breaker.succeeded(permit)
                raise
            if _is_contention(error):
                self.breaker.succeeded(permit)
            elif isinstance(error, PoolTimeoutError) or time.monotonic() - started > self._limit * 1.5:
                # no connection was free, or this process was itself stalled: that says nothing about the database
                self.breaker.abandoned(permit)
            else:
                self.breaker.failed(permit, error)
            raise Unavailable("database", reason(error)) from error
        except BaseException:
            # cancelled, or an error that the database did not cause
            self.breaker.abandoned(permit)
            raise
        finally:
            durations = self._metrics.db_background if is_control else self._metrics.db_operation
            durations[operation].observe(time.monotonic() - started)
        self.breaker.succeeded(permit)
        return result

    async def ping(self) -> None:
        """Raises `Unavailable` if the database does not respond. Ignores the breaker, and closes it on success."""
        try:
            await self._in_time(
                self._transact(self._control, lambda connection: connection.execute(sa.text("SELECT 1")))
            )
        except (SQLAlchemyError, OSError, TimeoutError, asyncpg.InterfaceError) as error:
            raise Unavailable("database", reason(error)) from error
        self.breaker.answered()

    async def note_missing_limits(self) -> None:
        """Logs a warning if, behind a pooler, the server has no time limit of its own. Raises `Unavailable`."""
        if not self._is_pooled or self.is_sqlite:
            return
        settings = sa.table("pg_settings", sa.column("name"), sa.column("setting"))
        asked = sa.select(settings.c.setting).where(settings.c.name == "statement_timeout")
        milliseconds = int((await self.read(asked, is_control=True))[0].setting)
        if not 0 < milliseconds <= self._limit * 1000:
            log.warning(
                "the database has no statement_timeout within DATABASE_TIMEOUT_SECONDS: statements that this service "
                "abandons continue on the server, and hold a connection of the pooler",
                statement_timeout_ms=milliseconds,
                setting="DATABASE_POOLER",
            )

    async def _transact(self, engine: AsyncEngine, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        async with AsyncExitStack() as stack:
            started = time.monotonic()
            try:
                # with autocommit there is no transaction to begin or to end
                open_connection = engine.begin if self.is_sqlite else engine.connect
                connection = await stack.enter_async_context(open_connection())
            finally:
                if engine is self.engine:
                    self._metrics.db_wait.observe(time.monotonic() - started)
            return await work(connection)

    async def _in_time(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`. Raises TimeoutError at the limit.

        The work is cancelled then but not awaited, because the driver takes further seconds to abort a connection to a
        server that hangs.
        """
        task = asyncio.create_task(work)
        try:
            await asyncio.wait((task,), timeout=self._limit)
            if task.done():
                return task.result()
        finally:
            if not task.done():
                task.cancel()
                self._left.add(task)
                task.add_done_callback(self._forget)
        raise TimeoutError

    async def close(self) -> None:
        """Closes the pools."""
        if self._left:
            await asyncio.wait(self._left, timeout=self._limit)
        await self.engine.dispose()
        await self._control.dispose()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._left.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as retrieved: the caller has already got a TimeoutError

    @asynccontextmanager
    async def _span(self, operation: str, statement: sa.Executable) -> AsyncIterator[None]:
        if not self._tracing.is_recording():
            yield
            return
        text = str(statement.compile(dialect=self.engine.dialect))  # type: ignore[attr-defined]
        attributes = self._span_attributes | {
            "db.operation.name": operation,
            "db.query.text": text,
        }
        collection = _collection(statement)
        if collection:
            attributes["db.collection.name"] = collection
        with self._tracing.client_span(f"{operation} {collection}".strip(), attributes):
            yield

    def _breaker_changed(self, state: int) -> None:
        self._metrics.breaker_transitions["database", STATE_NAMES[state]].inc()
        self._metrics.breaker["database"].set(state)


def create_postgres_engine(
    url: sa.URL, *, is_pooled: bool, limits: dict[str, float], session: dict[str, str], **options: Any
) -> AsyncEngine:
    """An engine on asyncpg, which interprets the URL's options like libpq.

    `limits` are asyncpg's `timeout` and `command_timeout`, `session` the server settings of each connection.
    """
    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
    more: dict[str, Any] = {"statement_cache_size": 0} if is_pooled else {}

    async def connect(**_: Any) -> Any:
        return await asyncpg.connect(dsn, server_settings={"application_name": "todo"} | session, **limits, **more)

    arguments = {"async_creator_fn": connect} | (UNNAMED if is_pooled else {})
    return create_async_engine(url.set(query={}), connect_args=arguments, **options)


def _collection(statement: sa.Executable) -> str:
    """The table of a statement, for `db.collection.name`."""
    if isinstance(statement, sa.Select):
        tables = statement.get_final_froms()
    else:
        tables = [statement.table] if isinstance(statement, sa.UpdateBase) else []
    return next((table.name for table in tables if isinstance(table, sa.Table)), "")


def _is_outage(error: BaseException) -> bool:
    """Whether the error is due to the state of the database, and not to the statement."""
    return not isinstance(
        error, (sa.exc.ProgrammingError, sa.exc.DataError, sa.exc.IntegrityError, sa.exc.ArgumentError)
    )


def _is_contention(error: BaseException) -> bool:
    """Whether another transaction held a lock for too long. The database itself is healthy then."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) == LOCK_NOT_AVAILABLE


def reason(error: BaseException) -> str:
    """The error in one line, without parameters of the statement."""
    if isinstance(error, TimeoutError):
        return "did not answer in time"
    if isinstance(error, PoolTimeoutError):
        return "no connection of the pool was free in time"
    return str(getattr(error, "orig", None) or error).splitlines()[0] if str(error) else type(error).__name__
