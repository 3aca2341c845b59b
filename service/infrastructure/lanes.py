"""Batches of commands on their way to the nodes of a Redis Cluster."""

import asyncio
from collections.abc import Awaitable, Callable
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
# redis-py's own trouble with a cluster (no node answers, a slot that nobody serves) is no RedisError
CLUSTER_ERRORS = (RedisError, RedisClusterException)
FAILURES = (*CLUSTER_ERRORS, OSError, TimeoutError)
READS = frozenset({"GET", "MGET"})
# Connections to each node that batches never take: for redirected commands, and for what asks how the node is (the
# health check, the probe of an open breaker, the two questions about the cluster's layout).
REDIRECTS_AT_ONCE = 4
APART = REDIRECTS_AT_ONCE + 4

Call = tuple[tuple[Any, ...], asyncio.Future[Any]]


class Lane:
    """The commands on their way to one node. What is asked for in one turn of the event loop goes as one batch.

    Batching exists for speed: redis-py spends some 100 µs of CPU on each command that it sends alone, more
    than all the rest of a cached read, and a fifth of that on a command in a pipeline.
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
        """The future answer to a command. Raises `Unavailable` at once where the breaker is open."""
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
        # with every connection in use, what waits goes with the batch that follows
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
                # No connection was free, or this process was itself held up, paused or out of its share of the
                # processor: that says nothing of the node.
                self.breaker.abandoned(permit)
            else:
                self._failed(permit, error)
            self._refuse(calls, str(error), error)
            return
        finally:
            self._client.round_trip(str(self.node.host), int(self.node.port)).observe(loop.time() - began)
        # a connection that breaks is reported as the answer to each command that waited on it
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
    """A connection that broke, or an answer that says the node cannot serve: down, loading, without its primary."""
    return isinstance(result, (OSError, RedisConnectionError, RedisTimeoutError)) or (
        isinstance(result, RedisError) and str(result).startswith(("CLUSTERDOWN", "LOADING", "MASTERDOWN"))
    )


async def within(seconds: float, work: Awaitable[Any]) -> Any:
    """The result of `work`, or `TimeoutError`.

    It is not awaited itself: with a name that does not resolve in time redis-py cancels what waits for it, and that
    must not end who asks.
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
    """redis-py's cluster client, with keyed commands going through a `Lane` for each node.

    Redirections (MOVED, ASK) and everything unusual go redis-py's own way.
    """

    def __init__(
        self,
        time_limit: float,
        batches_at_once: int,
        new_breaker: Callable[[str], Breaker],
        round_trip: Callable[[str, int], Durations],
        **options: Any,
    ) -> None:
        """`round_trip` gives the histogram of a node's host and port."""
        super().__init__(max_connections=batches_at_once + APART, **options)
        self.round_trip = round_trip
        self.node_chosen: Callable[[str, int], None] | None = None
        """Told which node a command is for; set in the traced copy alone."""
        self.time_limit = time_limit
        self.batches_at_once = batches_at_once
        self._new_breaker = new_breaker
        # in a dict, and not in attributes, since the traced copy of this client shares it
        self.lanes: dict[str, Lane] = {}
        self._looking: set[asyncio.Task[None]] = set()
        self._redirects = asyncio.Semaphore(REDIRECTS_AT_ONCE)

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        """The answer to a keyed command (GET, MGET, EVAL, EVALSHA).

        Raises `Unavailable`, or what Redis answered.
        """
        key = args[3] if args[0] in {"EVALSHA", "EVAL"} else args[1]
        try:
            return await self._lane(key, args[0] in READS).submit(args)
        except ReadOnlyError:
            # A script for a primary that has become a replica: on a connection for reads it is run there, and fails
            # at its first write, instead of being redirected.
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
        """Asks the cluster, beside the requests, who serves what; the task that does."""
        if not self._looking:
            task = asyncio.get_running_loop().create_task(self._look())
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)
        return set(self._looking)

    async def bring_back(self) -> None:
        """Pings the nodes whose breakers are not closed; where one answers, has a look at what it serves now."""
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
        """Pings a node on a connection that no batch uses, and closes its breaker. Raises one of `FAILURES`."""
        await within(seconds, node.execute_command("PING"))
        if lane := self.lanes.get(node.name):
            lane.breaker.answered()

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(1):
                await self.nodes_manager.initialize()
        except FAILURES:
            await asyncio.sleep(0.2)
