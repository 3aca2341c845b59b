"""Replicas as repositories in this process, with a real Redis Cluster and database, and injectable delays."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.sdk.resources import Resource

from service.infrastructure.cluster import RedisCluster as Cluster
from service.infrastructure.database import Database
from service.migrations import migrate
from service.settings import load_settings
from service.tasks.cache import TaskCache
from service.tasks.changes import ChangeLog
from service.tasks.invalidation import Invalidation
from service.tasks.repository import TaskRepository
from service.tasks.servers import RedisServer
from service.tasks.store import TaskStore
from service.tasks.values import FORMAT
from service.telemetry.metrics import Metrics
from service.telemetry.tracing import Tracing


class Delayed:
    """A proxy that delays each call to an object, before and after it, by up to `max_delay` seconds."""

    def __init__(self, inner: object, chance: random.Random, max_delay: float) -> None:
        self._inner = inner
        self._chance = chance
        self._max_delay = max_delay

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        call = getattr(self._inner, name)

        async def delayed(*args: Any) -> Any:
            await self._wait()
            try:
                return await call(*args)
            finally:
                await self._wait()

        return delayed

    async def _wait(self) -> None:
        # mostly no delay, sometimes a long one: only a rare very late fill can bring an old value back
        share = self._chance.random() ** 4
        if share > 0.05:
            await asyncio.sleep(self._max_delay * share)


@dataclass
class InProcessReplicas:
    """Replicas that share a cluster and a database."""

    replicas: list[TaskRepository] = field(default_factory=list)
    stores: list[TaskStore] = field(default_factory=list)
    servers: list[RedisServer] = field(default_factory=list)
    databases: list[Database] = field(default_factory=list)
    changes: list[ChangeLog] = field(default_factory=list)
    invalidations: list[Invalidation] = field(default_factory=list)


@asynccontextmanager
async def in_process_replicas(seed: int, max_delay: float, **environment: str) -> AsyncIterator[InProcessReplicas]:
    """Three replicas with the same settings."""
    settings = load_settings({"DATABASE_POOL_SIZE": "20", "DATABASE_TIMEOUT_SECONDS": "20"} | environment)
    made = InProcessReplicas()
    await migrate(settings)
    async with AsyncExitStack() as stack:
        for number in range(3):
            metrics = Metrics(is_on=True, replica=f"todo-{number}", max_concurrent_requests=1000)
            tracing = Tracing(settings, Resource({}), metrics)
            database = Database(settings, metrics, tracing)
            stack.push_async_callback(database.close)
            cluster = Cluster(settings, metrics)
            await cluster.start()
            stack.push_async_callback(cluster.close)
            chance = random.Random(seed * 100 + number)
            store, server, changes = TaskStore(database), RedisServer(cluster), ChangeLog(database, FORMAT)
            delayed_store: Any = Delayed(store, chance, max_delay)
            delayed_server: Any = Delayed(server, chance, max_delay)
            cache = TaskCache(delayed_server, settings, metrics)
            invalidation = Invalidation(changes, cache, metrics)
            await invalidation.start()
            for work in (invalidation.poll(cluster.config_epoch), invalidation.send_confirmations(), cluster.watch()):
                task = asyncio.create_task(work)
                stack.callback(task.cancel)
            made.databases.append(database)
            made.changes.append(changes)
            made.stores.append(store)
            made.servers.append(server)
            made.invalidations.append(invalidation)
            made.replicas.append(TaskRepository(delayed_store, cache, invalidation, metrics))
        yield made
