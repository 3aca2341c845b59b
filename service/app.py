"""Builds the service from its settings."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import structlog
from litestar import Litestar

from service.admission import AdmissionMiddleware
from service.asgi import App, Scope
from service.docs_ui import docs_routes
from service.health import Dependency, HealthChecks, health_routes
from service.infrastructure.breaker import CLOSED, Unavailable
from service.infrastructure.cluster import RedisCluster
from service.infrastructure.database import Database
from service.infrastructure.lanes import FAILURES
from service.infrastructure.memory import Memory
from service.migrations import migrate
from service.problems import answer, answer_and_log
from service.rate_limit import Limiter, MemoryLimiter, RedisLimiter
from service.replica import replica_name
from service.requests import reading
from service.responses import serving, with_headers
from service.scrape import MetricsApp
from service.settings import Settings
from service.tasks.cache import TaskCache
from service.tasks.changes import ChangeLog
from service.tasks.invalidation import Invalidation
from service.tasks.repository import TaskRepository
from service.tasks.routes import task_routes
from service.tasks.servers import MemoryServer, RedisServer
from service.tasks.store import TaskStore
from service.tasks.values import FORMAT
from service.telemetry.log_export import LogExport
from service.telemetry.metrics import Metrics
from service.telemetry.middleware import TelemetryMiddleware
from service.telemetry.resource import resource_of
from service.telemetry.tracing import Tracing, note_redis_node

log = structlog.stdlib.get_logger("service")

MAX_BODY_BYTES = 64 * 1024
LAG_PAUSE_SECONDS = 0.1
HOUSEKEEPING_SECONDS = 60.0
CLOSE_SECONDS = 2.5
ROUTED_METHODS = ("GET", "POST", "PATCH", "DELETE")


class Service:
    """The todo service. A request passes what `__init__` creates from bottom to top (docs/architecture.md)."""

    def __init__(self, settings: Settings) -> None:
        replica = settings.replica or replica_name()
        self._settings = settings
        self._metrics = metrics = Metrics(
            is_on=settings.telemetry == "on",
            replica=replica,
            max_concurrent_requests=settings.max_concurrent_requests,
        )
        resource = resource_of(replica)
        self._logs = LogExport(settings, resource, metrics)
        self._tracing = tracing = Tracing(settings, resource, metrics)
        self._database = Database(settings, metrics, tracing)
        self._cluster = RedisCluster(settings, metrics) if settings.redis_url else None
        self._store = TaskStore(self._database)
        server = RedisServer(self._cluster) if self._cluster else MemoryServer(Memory())
        cache = TaskCache(server, settings, metrics)
        self._changes = ChangeLog(self._database, FORMAT)
        self._invalidation = Invalidation(self._changes, cache, metrics)
        tasks = TaskRepository(self._store, cache, self._invalidation, metrics)
        self._health = HealthChecks(self._dependencies())
        routes = [task_routes(tasks), health_routes(self._health)]
        self._litestar = Litestar(
            [*routes, *([docs_routes(routes)] if settings.api_docs == "on" else [])],
            # with telemetry, the middleware logs the error
            exception_handlers={Exception: answer if metrics.is_on else answer_and_log},
            lifespan=[self._lifespan],
            logging_config=None,
            openapi_config=None,
            request_max_body_size=MAX_BODY_BYTES,
        )
        self._admission = AdmissionMiddleware(
            serving(cast(App, self._litestar)),
            settings,
            self._limiter(),
            metrics,
            self._template_of,
            self._health.takes_writes,
        )
        app = with_headers(self._admission)
        if metrics.is_on:
            app = TelemetryMiddleware(app, metrics, tracing, settings.trace_slow_seconds, self._template_of)
        self.asgi: App = reading(app)
        """The app for clients."""
        self.metrics_asgi: App = MetricsApp(metrics.registry)
        """The app for Prometheus."""

    async def prepare(self) -> None:
        """Upgrades the database's schema, before the server starts. Raises `Unavailable`."""
        await migrate(self._settings)

    def drain(self) -> None:
        """Makes `/health/ready` return 503, so that no more requests are sent; marked ones are handed on."""
        self._health.is_draining = True
        self._admission.is_draining = True

    def _limiter(self) -> Limiter | None:
        if not self._settings.rate_limit:
            return None
        if self._cluster is None:
            return MemoryLimiter(self._settings.rate_limit)
        return RedisLimiter(self._cluster, self._settings.rate_limit)

    def _dependencies(self) -> dict[str, Dependency]:
        dependencies = {
            "database": Dependency(self._database.ping, lambda: self._database.breaker.state, is_vital=True)
        }
        cluster = self._cluster
        if cluster is not None:
            dependencies["redis"] = Dependency(cluster.ping, lambda: cluster.breaker_state, is_vital=False)
        return dependencies

    def _template_of(self, scope: Scope) -> str:
        """The template of the path's route, for any method; empty if no route matches."""
        for method in (scope["method"], *ROUTED_METHODS):
            # the router raises for an unknown path or method
            with suppress(Exception):
                return str(self._litestar.asgi_router.handle_routing(scope["path"], method)[-1])
        return ""

    @asynccontextmanager
    async def _lifespan(self, _app: Litestar) -> AsyncIterator[None]:
        cluster = self._cluster
        if cluster is not None:
            if self._tracing.is_on:
                cluster.trace(self._tracing.instrument_redis, self._tracing.is_recording, note_redis_node)
            await cluster.start()
        await self._invalidation.start()
        await self._database.note_missing_limits()
        work: list[Coroutine[Any, Any, None]] = [
            self._watch_lag(),
            self._drop_old_records(),
            self._invalidation.send_confirmations(),
            self._invalidation.poll(cluster.config_epoch if cluster else None),
        ]
        if cluster is not None:
            work += [self._await_redis(cluster), cluster.watch()]
        asyncio.get_running_loop().set_exception_handler(_note_lost)
        running = [asyncio.create_task(each) for each in work]
        for task in running:
            task.add_done_callback(_note_end)
        # For speed: what exists now lives until the end, and need not be traversed at each garbage collection.
        gc.collect()
        gc.freeze()
        # Requests create few reference cycles, so that collecting after every 700 new objects, the default, finds
        # little. The limit is not much higher, because a compressed response is part of a cycle of some 250 KiB.
        gc.set_threshold(4_000, 20, 20)
        yield
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        closing = [
            self._database.close(),
            asyncio.to_thread(self._tracing.close),
            asyncio.to_thread(self._logs.close),
        ]
        if self._cluster is not None:
            closing.append(self._cluster.close())
        # a hung dependency must not block shutdown
        await asyncio.wait([asyncio.ensure_future(each) for each in closing], timeout=CLOSE_SECONDS)

    async def _await_redis(self, cluster: RedisCluster) -> None:
        """Logs an error, once, if Redis does not respond within the start-up time. The service runs without it."""
        deadline = time.monotonic() + self._settings.startup_timeout_seconds
        while True:
            try:
                await cluster.ping()
                return
            except Unavailable as error:
                if time.monotonic() > deadline:
                    log.error(
                        "REDIS_URL names no cluster that answers; serving without a cache until one does",
                        error=str(error),
                        setting="REDIS_URL",
                    )
                    return
            await asyncio.sleep(0.5)

    async def _watch_lag(self) -> None:
        while True:
            due = time.perf_counter() + LAG_PAUSE_SECONDS
            await asyncio.sleep(LAG_PAUSE_SECONDS)
            self._metrics.loop_lag.observe(max(0.0, time.perf_counter() - due))

    async def _drop_old_records(self) -> None:
        while True:
            try:
                if self._database.breaker.state == CLOSED:
                    await self._store.forget_old_deletions()
                    await self._changes.give_up_others()
            except Unavailable:
                pass  # not urgent: tried again in a minute
            await asyncio.sleep(HOUSEKEEPING_SECONDS)


def _note_lost(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Ignores failures of abandoned connections to Redis, whose DNS lookup or handshake nothing awaits any more."""
    if not isinstance(context.get("exception"), FAILURES):
        loop.default_exception_handler(context)


def _note_end(task: asyncio.Task[None]) -> None:
    """Logs the error that ended a background task, since nothing awaits it."""
    if not task.cancelled() and (error := task.exception()):
        log.error("a background task has failed", work=str(task.get_coro()), exc_info=error)


def create_app(settings: Settings) -> Service:
    """The todo service, ready to be served."""
    return Service(settings)
