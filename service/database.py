"""The database behind the store: a bounded pool, and around every operation a time limit, a breaker and telemetry."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import QueuePool

from service.resilience import STATE_NAMES, Breaker, Unavailable
from service.settings import Settings
from service.telemetry.metrics import Metrics
from service.telemetry.tracing import Tracing

T = TypeVar("T")

# any number that nothing else in this database uses: replicas that start together make the tables one after another
TABLES_LOCK = 0x61A55


class Database:
    """Runs operations on the engine that `DATABASE_URL` names. Raises `Unavailable` where it cannot."""

    def __init__(self, settings: Settings, metrics: Metrics, tracing: Tracing) -> None:
        self._limit = settings.database_timeout_seconds
        self._startup_limit = settings.startup_timeout_seconds
        self._metrics = metrics
        self._tracing = tracing
        self._left: set[asyncio.Task[Any]] = set()
        url = sa.make_url(settings.database_url)
        self.is_sqlite = url.get_backend_name() == "sqlite"
        options = (
            {"timeout": self._limit}
            if self.is_sqlite
            else {
                "timeout": self._limit,
                "command_timeout": self._limit,
                "server_settings": {"application_name": "todo"},
            }
        )
        self.engine = create_async_engine(
            url,
            pool_size=settings.database_pool_size,
            max_overflow=0,
            pool_timeout=self._limit,
            connect_args=options,
            # nor does what clients wrote belong into errors
            hide_parameters=True,
        )
        if self.is_sqlite:
            event.listen(self.engine.sync_engine, "connect", _use_write_ahead_log)
        self._span_attributes: dict[str, str | int] = {
            "db.system.name": url.get_backend_name(),
            "db.namespace": url.database or "",
            **(
                {"server.address": url.host or "localhost", "server.port": url.port or 5432}
                if not self.is_sqlite
                else {}
            ),
            # the name under which Tempo's service graph shows it
            "peer.service": url.get_backend_name(),
        }
        self.breaker = Breaker(
            "database",
            settings.breaker_failures,
            settings.breaker_open_seconds,
            self._breaker_changed,
        )
        if isinstance(self.engine.pool, QueuePool):
            # looked up at each scrape: closing the engine puts a new pool in the place of this one
            metrics.watch_pool(
                lambda: cast(QueuePool, self.engine.pool).checkedout(),
                lambda: cast(QueuePool, self.engine.pool).checkedin(),
                settings.database_pool_size,
            )

    async def create(self, metadata: sa.MetaData) -> None:
        """Makes the tables that are missing, waiting for the database to come up. Raises `Unavailable`."""
        deadline = time.monotonic() + self._startup_limit
        while True:
            try:
                async with asyncio.timeout(self._limit * 5), self.engine.begin() as connection:
                    if not self.is_sqlite:
                        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(TABLES_LOCK)))
                    await connection.run_sync(metadata.create_all)
                return
            except (SQLAlchemyError, OSError, TimeoutError) as error:
                if time.monotonic() > deadline:
                    raise Unavailable("database", _reason(error)) from error
                await asyncio.sleep(0.25)

    async def read(
        self, statement: sa.Select[tuple[T]] | sa.Select[tuple[T, ...]], *, for_request: bool = True
    ) -> list[sa.Row[tuple[T]]]:
        """The rows of a SELECT, asked a second time where the connection turns out to be broken."""

        async def work(connection: AsyncConnection) -> list[sa.Row[tuple[T]]]:
            return list((await connection.execute(statement)).all())  # type: ignore[arg-type]

        try:
            return await self.run("SELECT", statement, work, for_request=for_request)
        except Unavailable as error:
            if not isinstance(error.__cause__, DBAPIError):
                raise
            await asyncio.sleep(random.uniform(0.005, 0.025))  # noqa: S311 (no secret)
            return await self.run("SELECT", statement, work, for_request=for_request)

    async def run(
        self,
        operation: str,
        statement: sa.Executable,
        work: Callable[[AsyncConnection], Awaitable[T]],
        *,
        for_request: bool = True,
    ) -> T:
        """What `work` returns, done in one transaction. `statement` names the operation in traces.

        What is not `for_request` is counted apart, so that it does not hide how long users wait.
        """
        self.breaker.check()
        started = time.perf_counter()
        async with self._span(operation, statement):
            try:
                result = await self._in_time(self._transaction(work))
            except (OSError, TimeoutError, SQLAlchemyError) as error:
                if not _is_outage(error):
                    self.breaker.succeeded()
                    raise
                self.breaker.failed(error)
                raise Unavailable("database", _reason(error)) from error
            except BaseException:
                # not the database's fault
                self.breaker.succeeded()
                raise
            finally:
                durations = self._metrics.db_operation if for_request else self._metrics.db_background
                durations[operation].observe(time.perf_counter() - started)
        self.breaker.succeeded()
        return result

    async def ping(self) -> None:
        """Raises `Unavailable` where the database does not answer. Looks past the breaker, and closes it."""
        try:
            await self._in_time(self._transaction(lambda connection: connection.execute(sa.text("SELECT 1"))))
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            raise Unavailable("database", _reason(error)) from error

    async def _transaction(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        async with AsyncExitStack() as stack:
            started = time.perf_counter()
            try:
                connection = await stack.enter_async_context(self.engine.begin())
            finally:
                self._metrics.db_wait.observe(time.perf_counter() - started)
            return await work(connection)

    async def _in_time(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns. Raises TimeoutError at the limit.

        The work is left behind then, and not waited for: the driver takes seconds more to give up a connection
        to a server that hangs.
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
        """Closes the pool."""
        if self._left:
            await asyncio.wait(self._left, timeout=self._limit)
        await self.engine.dispose()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._left.discard(task)
        if not task.cancelled():
            task.exception()  # seen: who asked has been told that it took too long

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


def _collection(statement: sa.Executable) -> str:
    """The table that a statement is about."""
    if isinstance(statement, sa.Select):
        tables = statement.get_final_froms()
    else:
        tables = [statement.table] if isinstance(statement, sa.UpdateBase) else []
    return next((table.name for table in tables if isinstance(table, sa.Table)), "")


def _is_outage(error: BaseException) -> bool:
    """The database's state, as against a statement that is wrong."""
    return not isinstance(
        error, (sa.exc.ProgrammingError, sa.exc.DataError, sa.exc.IntegrityError, sa.exc.ArgumentError)
    )


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "did not answer in time"
    return str(getattr(error, "orig", None) or error).splitlines()[0] if str(error) else type(error).__name__


def _use_write_ahead_log(connection: object, _record: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.close()
