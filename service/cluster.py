"""Redis Cluster as the service uses it: bounded in time, batched, and cut off by a breaker where a node fails."""

import asyncio
import copy
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

from redis.asyncio.cluster import ClusterNode, PipelineCommand
from redis.asyncio.cluster import RedisCluster as Client
from redis.cluster import LoadBalancingStrategy
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from service.resilience import CLOSED, STATE_NAMES, Breaker, Unavailable
from service.settings import Address, Settings
from service.telemetry.instruments import Durations
from service.telemetry.metrics import Metrics

REDIRECTED = (MovedError, AskError, TryAgainError)
# redis-py's own trouble with a cluster (no node answers, a slot that nobody serves) is no RedisError
CLUSTER_ERRORS = (RedisError, RedisClusterException)
FAILURES = (*CLUSTER_ERRORS, OSError, TimeoutError)
PROBE_SECONDS = 1.0
READS = frozenset({"GET", "MGET"})

Call = tuple[tuple[Any, ...], asyncio.Future[Any]]


class Script:
    """A Lua script, known to Redis by the SHA-1 of its text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class Lane:
    """The commands on their way to one node. What is asked for in one turn of the event loop goes as one batch.

    Batching exists for speed: redis-py spends some 100 µs of CPU on each command that it sends alone, more
    than all the rest of a cached read, and a fifth of that on a command in a pipeline.
    """

    def __init__(self, node: ClusterNode, breaker: Breaker, client: "BatchingClient") -> None:
        self.node = node
        self.breaker = breaker
        self._client = client
        self._waiting: list[Call] = []
        self._batches: set[asyncio.Task[None]] = set()
        self._flush_is_due = False

    def submit(self, command: tuple[Any, ...]) -> asyncio.Future[Any]:
        """The future answer to a command. Raises `Unavailable` at once where the breaker is open."""
        if self.breaker.state != CLOSED:
            self.breaker.check()
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
            task = asyncio.get_running_loop().create_task(self._send(calls))
            self._batches.add(task)
            task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._batches.discard(task)
        self._flush()

    async def _send(self, calls: list[Call]) -> None:
        commands = [PipelineCommand(0, *command) for command, _ in calls]
        limit = self._client.time_limit
        began = asyncio.get_running_loop().time()
        due = began + limit
        try:
            async with asyncio.timeout(limit):
                await self.node.execute_pipeline(commands)
        except (Exception, asyncio.CancelledError) as error:
            # a process that was itself held up, paused or out of its share of the processor, says nothing of the node
            self._fail(calls, error, is_fault=asyncio.get_running_loop().time() < due + limit / 2)
            return
        finally:
            self._client.round_trip(str(self.node.host), int(self.node.port)).observe(
                asyncio.get_running_loop().time() - began
            )
        # a connection that breaks is reported as the answer to each command that waited on it
        broken = next((c.result for c in commands if _is_node_failure(c.result)), None)
        if broken is not None:
            self._fail(calls, cast(Exception, broken))
            return
        self.breaker.succeeded()
        for (_, future), command in zip(calls, commands, strict=True):
            if future.done():
                continue
            if isinstance(command.result, Exception):
                future.set_exception(command.result)
            else:
                future.set_result(command.result)

    def _fail(self, calls: list[Call], error: BaseException, *, is_fault: bool = True) -> None:
        if is_fault or self.breaker.state != CLOSED:
            self.breaker.failed(error)
            self._client.look_again()
        reason = f"{self.node.name} {str(error) or 'did not answer in time'}"
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


async def _within(seconds: float, work: Awaitable[Any]) -> Any:
    """The result of `work`, or `TimeoutError`.

    It is not awaited itself: with a name that does not resolve in time redis-py cancels what waits for it, and that
    must not end who asks.
    """
    asked = asyncio.ensure_future(work)
    await asyncio.wait({asked}, timeout=seconds)
    if not asked.done() or asked.cancelled():
        asked.cancel()
        raise TimeoutError
    return asked.result()


class BatchingClient(Client):
    """redis-py's cluster client, with keyed commands going through a `Lane` for each node.

    Redirections (MOVED, ASK) and everything unusual go redis-py's own way.
    """

    def __init__(
        self,
        settings: Settings,
        new_breaker: Callable[[str], Breaker],
        round_trip: Callable[[str, int], Durations],
        **options: Any,
    ) -> None:
        """`round_trip` gives the histogram of a node's host and port."""
        super().__init__(**options)
        self.round_trip = round_trip
        self.node_chosen: Callable[[str, int], None] | None = None
        """Told which node a command is for; set in the traced copy alone."""
        self.time_limit = settings.redis_timeout_seconds
        self.batches_at_once = settings.redis_connections
        self._new_breaker = new_breaker
        # in a dict, and not in attributes, since the traced copy of this client shares it
        self.lanes: dict[str, Lane] = {}
        self._looking: set[asyncio.Task[None]] = set()

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        """The answer to a keyed command (GET, MGET, PEXPIRE, EVAL, EVALSHA).

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
                async with asyncio.timeout(self.time_limit):
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
        """Asks the nodes that failed; where one answers, has a look at what it serves now."""
        failed = [lane for lane in self.lanes.values() if lane.breaker.state != CLOSED]
        if any(await asyncio.gather(*(self._answers(lane) for lane in failed))):
            self.look_again()

    async def _answers(self, lane: Lane) -> bool:
        try:
            lane.breaker.check()
        except Unavailable:
            return False
        try:
            await _within(self.time_limit, lane.node.execute_command("PING"))
        except FAILURES as error:
            lane.breaker.failed(error)
            return False
        lane.breaker.succeeded()
        return True

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(1):
                await self.nodes_manager.initialize()
        except FAILURES:
            await asyncio.sleep(0.2)


class RedisCluster:
    """The cluster: commands with a time limit, and whether it is well."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._client = BatchingClient(
            settings,
            self._new_breaker,
            metrics.redis_node,
            startup_nodes=[ClusterNode(host, port) for host, port in settings.redis_url],
            require_full_coverage=False,
            load_balancing_strategy=LoadBalancingStrategy.ROUND_ROBIN,
            max_connections=settings.redis_connections,
            socket_connect_timeout=settings.redis_timeout_seconds,
            # the time limit is on the batch: one timer instead of one for each answer
            socket_timeout=None,
            address_remap=self._remap if settings.redis_address_map else None,
        )
        self._traced = self._client
        self._is_traced: Callable[[], bool] = bool

    def trace(
        self,
        instrument: Callable[[Client], None],
        is_traced: Callable[[], bool],
        node_chosen: Callable[[str, int], None],
    ) -> None:
        """From now on, commands for which `is_traced()` go through a client that `instrument` has instrumented.

        `node_chosen` is told, inside of that, host and port of the node that is asked.

        It is a second face of the same client (connections, lanes, breakers), so that a request that is not
        traced never enters the instrumentation.
        """
        self._traced = copy.copy(self._client)
        self._traced.node_chosen = node_chosen
        instrument(self._traced)
        self._is_traced = is_traced

    async def start(self) -> None:
        """Connects, if the cluster is there; if it is not, every call raises `Unavailable` until it is."""
        try:
            async with asyncio.timeout(2):
                await self._client.initialize()
        except FAILURES:
            self._client.look_again()

    async def watch(self) -> None:
        """Brings nodes back that failed. A replica that failed is served nothing, so no request would notice."""
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            await self._client.bring_back()
            # a node that has left the cluster changes it, and no breaker
            self._metrics.breaker["redis"].set(self.breaker_state)
            present = {(node.host, str(node.port)) for node in self._client.get_nodes()}
            self._metrics.forget_redis_nodes(present)

    async def close(self) -> None:
        """Closes the connections."""
        # a node that no longer answers must not keep the rest from being closed
        with suppress(*FAILURES):
            await self._client.aclose()

    async def command(self, *args: Any) -> Any:
        """The answer to one keyed command. Raises `Unavailable`."""
        client = self._traced if self._is_traced() else self._client
        try:
            return await client.execute_command(*args)
        except FAILURES as error:
            raise Unavailable("redis", str(error) or "did not answer in time") from error

    async def run(self, script: Script, key: str, *args: Any) -> Any:
        """The answer of a script that touches one key, or keys of one slot. Raises `Unavailable`."""
        client = self._traced if self._is_traced() else self._client
        try:
            try:
                return await client.execute_command("EVALSHA", script.sha, 1, key, *args)
            except NoScriptError:
                # which also makes the node know it from then on
                return await client.execute_command("EVAL", script.text, 1, key, *args)
        except FAILURES as error:
            raise Unavailable("redis", str(error) or "did not answer in time") from error

    async def ping(self) -> None:
        """Asks every primary. Raises `Unavailable`, naming the first that does not answer."""
        primaries = self._client.nodes_manager.get_nodes_by_server_type("primary")
        if not primaries:
            self._client.look_again()
            raise Unavailable("redis", "no node of the cluster answers")
        await asyncio.gather(*(self._ping(node) for node in primaries))

    async def _ping(self, node: ClusterNode) -> None:
        try:
            await _within(self._settings.redis_timeout_seconds * 2, node.execute_command("PING"))
        except FAILURES as error:
            self._client.look_again()
            raise Unavailable("redis", f"{node.name} {str(error) or 'did not answer in time'}") from error

    async def config_epoch(self) -> int:
        """The cluster's current epoch, which rises with each failover. Raises `Unavailable`."""
        for node in self._client.nodes_manager.get_nodes_by_server_type("primary"):
            try:
                info = await _within(self._settings.redis_timeout_seconds * 2, node.execute_command("CLUSTER INFO"))
                return int(info["cluster_current_epoch"])
            except FAILURES:
                continue
        raise Unavailable("redis", "no primary answers")

    @property
    def breaker_state(self) -> int:
        """The worst state of the breakers of the cluster's nodes. One that has left the cluster counts no more."""
        nodes, lanes = self._client.nodes_manager.nodes_cache, self._client.lanes
        return max((lane.breaker.state for name, lane in lanes.items() if name in nodes), default=CLOSED)

    def _new_breaker(self, node: str) -> Breaker:
        return Breaker(
            f"redis {node}",
            self._settings.breaker_failures,
            self._settings.breaker_open_seconds,
            self._breaker_changed,
        )

    def _breaker_changed(self, state: int) -> None:
        self._metrics.breaker_transitions["redis", STATE_NAMES[state]].inc()
        self._metrics.breaker["redis"].set(self.breaker_state)

    def _remap(self, announced: Address) -> Address:
        return self._settings.redis_address_map.get(announced, announced)
