"""Pipelining of commands to the nodes of a Redis Cluster."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from redis.asyncio.cluster import ClusterNode, PipelineCommand
from redis.asyncio.cluster import RedisCluster as Client
from redis.cluster import LoadBalancingStrategy
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    MaxConnectionsError,
    MovedError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from service.infrastructure.breaker import CLOSED, Breaker, Unavailable
from service.telemetry.instruments import Durations

REDIRECTED = (MovedError, AskError, TryAgainError)
# redis-py's own errors about a cluster (no node responds, a slot is not served) are not subclasses of RedisError
CLUSTER_ERRORS = (RedisError, RedisClusterException)
FAILURES = (*CLUSTER_ERRORS, OSError, TimeoutError)
READS = frozenset({"GET", "MGET"})
# Connections to each node that batches never use: four for redirected commands, and four for the health check, the
# probe of an open breaker, and the two queries about the cluster's layout.
REDIRECTS_AT_ONCE = 4
APART = REDIRECTS_AT_ONCE + 4

Call = tuple[tuple[Any, ...], asyncio.Future[Any]]


class Lane:
    """The connection to one node: sends all commands of one iteration of the event loop as one pipeline.

    For speed: redis-py needs about 100 µs of CPU for a command that it sends alone, more than the rest of a cached
    read, and a fifth of that for a command in a pipeline.
    """

    def __init__(self, node: ClusterNode, breaker: Breaker, client: "BatchingClient") -> None:
        self.node = node
        self.breaker = breaker
        self._client = client
        self._permit = 0
        self._waiting: list[Call] = []
        self._batches: set[asyncio.Task[None]] = set()
        self._flush_is_due = False

    def submit(self, command: tuple[Any, ...]) -> asyncio.Future[Any]:
        """Queues a command and returns the future of its reply. Raises `Unavailable` if the breaker is open."""
        self._permit = self.breaker.admit()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((command, future))
        if not self._flush_is_due:
            self._flush_is_due = True
            loop.call_soon(self._flush)
        return future

    def _flush(self) -> None:
        self._flush_is_due = False
        # if every connection is in use, the commands wait for the next batch
        if self._waiting and len(self._batches) < self._client.batches_at_once:
            calls, self._waiting = self._waiting, []
            task = asyncio.get_running_loop().create_task(self._send(calls, self._permit))
            self._batches.add(task)
            task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._batches.discard(task)
        self._flush()

    async def _send(self, calls: list[Call], permit: int) -> None:
        commands = [PipelineCommand(0, *command) for command, _ in calls]
        loop = asyncio.get_running_loop()
        limit = self._client.time_limit
        began = loop.time()
        due = began + limit
        try:
            async with asyncio.timeout(limit):
                await self.node.execute_pipeline(commands)
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                self.breaker.abandoned(permit)
                self._refuse(calls, "the service stops", error)
                raise
            if isinstance(error, MaxConnectionsError) or loop.time() >= due + limit / 2:
                # No connection was free, or this process was itself stalled (paused, throttled): that says nothing
                # about the node.
                self.breaker.abandoned(permit)
            else:
                self._failed(permit, error)
            self._refuse(calls, str(error), error)
            return
        finally:
            self._client.round_trip(str(self.node.host), int(self.node.port)).observe(loop.time() - began)
        # redis-py returns a broken connection as the result of each command that was waiting on it
        broken = next((c.result for c in commands if _is_node_failure(c.result)), None)
        if broken is not None:
            self._failed(permit, broken)
            self._refuse(calls, str(broken), broken)
            return
        self.breaker.succeeded(permit)
        for (_, future), command in zip(calls, commands, strict=True):
            if future.done():
                continue
            if isinstance(command.result, Exception):
                future.set_exception(command.result)
            else:
                future.set_result(command.result)

    def _failed(self, permit: int, error: BaseException) -> None:
        self.breaker.failed(permit, error)
        self._client.look_again()

    def _refuse(self, calls: list[Call], reason: str, error: BaseException) -> None:
        reason = f"{self.node.name} {reason or 'did not answer in time'}"
        for _, future in calls:
            if not future.done():
                failure = Unavailable("redis", reason)
                failure.__cause__ = error
                future.set_exception(failure)


def _is_node_failure(result: Any) -> bool:
    """Whether a result is a broken connection, or an error of a node that cannot serve: down, loading, no primary."""
    return isinstance(result, (OSError, RedisConnectionError, RedisTimeoutError)) or (
        isinstance(result, RedisError) and str(result).startswith(("CLUSTERDOWN", "LOADING", "MASTERDOWN"))
    )


async def within(seconds: float, work: Awaitable[Any]) -> Any:
    """The result of `work`. Raises TimeoutError.

    `work` runs in a task of its own: if a host name does not resolve in time, redis-py cancels the task that waits for
    it, and that must not be the caller's.
    """
    asked = asyncio.ensure_future(work)
    try:
        await asyncio.wait({asked}, timeout=seconds)
    finally:
        asked.cancel()
    if not asked.done() or asked.cancelled():
        raise TimeoutError
    return asked.result()


class BatchingClient(Client):
    """redis-py's cluster client, which sends commands with a key through the `Lane` of their node.

    Redirections (MOVED, ASK) and everything else are left to redis-py.
    """

    def __init__(
        self,
        time_limit: float,
        batches_at_once: int,
        new_breaker: Callable[[str], Breaker],
        round_trip: Callable[[str, int], Durations],
        **options: Any,
    ) -> None:
        """`round_trip` returns the histogram for a node's host and port."""
        super().__init__(max_connections=batches_at_once + APART, **options)
        self.round_trip = round_trip
        self.node_chosen: Callable[[str, int], None] | None = None
        """Called with the node of each command; only set in the instrumented copy."""
        self.time_limit = time_limit
        self.batches_at_once = batches_at_once
        self._new_breaker = new_breaker
        # a dict, so that the instrumented copy shares it
        self.lanes: dict[str, Lane] = {}
        self._looking: set[asyncio.Task[None]] = set()
        self._redirects = asyncio.Semaphore(REDIRECTS_AT_ONCE)

    async def initialize(self, *args: Any, **kwargs: Any) -> Client:
        """Connects and loads the slot map. Raises one of `FAILURES`."""
        with self._remembering_nodes():
            return await super().initialize(*args, **kwargs)

    @contextmanager
    def _remembering_nodes(self) -> Iterator[None]:
        """Keeps the startup nodes if nodes answer but none has a slot, as before the cluster is created.

        redis-py then replaces them by the nodes of the empty slot map, and fails with an IndexError.
        """
        startup_nodes = dict(self.nodes_manager.startup_nodes)
        try:
            yield
        except IndexError as error:
            self.nodes_manager.startup_nodes = startup_nodes
            raise RedisClusterException("no node of the cluster has slots") from error

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        """The reply to a command with a key (GET, MGET, EVAL, EVALSHA).

        Raises `Unavailable`, or the error that Redis replied.
        """
        key = args[3] if args[0] in {"EVALSHA", "EVAL"} else args[1]
        try:
            return await self._lane(key, args[0] in READS).submit(args)
        except ReadOnlyError:
            # The primary has become a replica. Its connections are in READONLY mode, in which it runs the script and
            # fails at the first write instead of redirecting.
            await asyncio.wait(self.look_again(), timeout=self.time_limit)
            return await self._lane(key, args[0] in READS).submit(args)
        except REDIRECTED:
            self.look_again()
            try:
                async with asyncio.timeout(self.time_limit), self._redirects:
                    return await super().execute_command(*args, **kwargs)
            except FAILURES as error:
                raise Unavailable("redis", str(error) or "did not answer in time") from error

    def _lane(self, key: str | bytes, is_read: bool) -> Lane:
        slot = key_slot(key.encode() if isinstance(key, str) else key)
        strategy = LoadBalancingStrategy.ROUND_ROBIN if is_read else None
        try:
            node = self.nodes_manager.get_node_from_slot(slot, is_read, strategy)
        except (*CLUSTER_ERRORS, KeyError) as error:
            self.look_again()
            raise Unavailable("redis", "no node serves this key") from error
        lane = self.lanes.get(node.name)
        if lane is None or lane.node is not node:
            breaker = lane.breaker if lane else self._new_breaker(node.name)
            lane = self.lanes[node.name] = Lane(node, breaker, self)
        if self.node_chosen is not None:
            self.node_chosen(str(node.host), int(node.port))
        return lane

    def look_again(self) -> set[asyncio.Task[None]]:
        """Reloads the slot map in the background. Returns the task."""
        if not self._looking:
            task = asyncio.get_running_loop().create_task(self._look())
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)
        return set(self._looking)

    async def bring_back(self) -> None:
        """Pings the nodes whose breakers are not closed. If one responds, reloads the slot map."""
        failed = [lane for lane in self.lanes.values() if lane.breaker.state != CLOSED]
        if any(await asyncio.gather(*(self._answers(lane) for lane in failed))):
            self.look_again()

    async def _answers(self, lane: Lane) -> bool:
        try:
            await self.ask_node(lane.node, self.time_limit)
        except FAILURES:
            return False
        return True

    async def ask_node(self, node: ClusterNode, seconds: float) -> None:
        """Pings a node on a connection that batches do not use, and closes its breaker. Raises one of `FAILURES`."""
        await within(seconds, node.execute_command("PING"))
        if lane := self.lanes.get(node.name):
            lane.breaker.answered()

    async def _look(self) -> None:
        try:
            with self._remembering_nodes():
                async with asyncio.timeout(1):
                    await self.nodes_manager.initialize()
        except FAILURES:
            await asyncio.sleep(0.2)
