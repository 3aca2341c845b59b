"""The Redis Cluster client of the service: time limits, batching, and a circuit breaker for each node."""

import asyncio
import copy
import hashlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from redis.asyncio.cluster import ClusterNode
from redis.asyncio.cluster import RedisCluster as Client
from redis.cluster import LoadBalancingStrategy
from redis.exceptions import NoScriptError, ResponseError

from service.infrastructure.breaker import CLOSED, STATE_NAMES, Breaker, Unavailable
from service.infrastructure.lanes import FAILURES, BatchingClient, within
from service.settings import Settings
from service.telemetry.metrics import Metrics
from service.urls import Address

PROBE_SECONDS = 1.0


class ForeignValue(Exception):  # noqa: N818 (it reads as what happened)
    """The key holds a value of another Redis type than the command expects (WRONGTYPE)."""


class Script:
    """A Lua script, which EVALSHA names by the SHA-1 of its text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest().encode()


class RedisCluster:
    """The cluster: commands with a time limit, and health checks."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._client = BatchingClient(
            settings.redis_timeout_seconds,
            settings.redis_connections,
            self._new_breaker,
            metrics.redis_node,
            startup_nodes=[ClusterNode(host, port) for host, port in settings.redis_url.addresses],
            require_full_coverage=False,
            load_balancing_strategy=LoadBalancingStrategy.ROUND_ROBIN,
            socket_connect_timeout=settings.redis_timeout_seconds,
            # the whole batch has a time limit instead: one timer, not one for each response
            socket_timeout=None,
            address_remap=self._remap if settings.redis_address_map else None,
            **settings.redis_url.options,
        )
        self._traced = self._client
        self._is_traced: Callable[[], bool] = bool

    def trace(
        self,
        instrument: Callable[[Client], None],
        is_traced: Callable[[], bool],
        node_chosen: Callable[[str, int], None],
    ) -> None:
        """From now on, commands for which `is_traced()` is true use a client instrumented by `instrument`.

        `node_chosen` is called, inside the command's span, with host and port of the node. The instrumented client is a
        shallow copy that shares connections, lanes and breakers, so that requests that are not traced never enter the
        instrumentation.
        """
        self._traced = copy.copy(self._client)
        self._traced.node_chosen = node_chosen
        instrument(self._traced)
        self._is_traced = is_traced

    async def start(self) -> None:
        """Connects. If no node responds, every call raises `Unavailable` until one does."""
        try:
            async with asyncio.timeout(2):
                await self._client.initialize()
        except FAILURES:
            self._client.look_again()

    async def watch(self) -> None:
        """Probes failed nodes every second. A failed Redis replica gets no requests that could show its recovery."""
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            await self._client.bring_back()
            # also changes when a node leaves the cluster, which no breaker reports
            self._metrics.breaker["redis"].set(self.breaker_state)
            present = {(node.host, str(node.port)) for node in self._client.get_nodes()}
            self._metrics.forget_redis_nodes(present)

    async def close(self) -> None:
        """Closes the connections."""
        # a node that does not respond must not prevent the others from being closed
        with suppress(*FAILURES):
            await self._client.aclose()

    async def command(self, *args: Any) -> Any:
        """Runs a command with a key, and returns its reply. Raises `Unavailable` and `ForeignValue`."""
        client = self._traced if self._is_traced() else self._client
        try:
            return await client.execute_command(*args)
        except FAILURES as error:
            raise _translated(error) from error

    async def run(self, script: Script, key: str | bytes, *args: Any) -> Any:
        """Runs a script on one key, or on keys of one slot, and returns its reply. Raises like `command`."""
        client = self._traced if self._is_traced() else self._client
        try:
            try:
                return await client.execute_command("EVALSHA", script.sha, b"1", key, *args)
            except NoScriptError:
                # EVAL also caches the script on the node
                return await client.execute_command("EVAL", script.text, 1, key, *args)
        except FAILURES as error:
            raise _translated(error) from error

    async def ping(self) -> None:
        """Pings every primary. Raises `Unavailable`, which names the first that does not respond."""
        primaries = self._client.nodes_manager.get_nodes_by_server_type("primary")
        if not primaries:
            self._client.look_again()
            raise Unavailable("redis", "no node of the cluster answers")
        await asyncio.gather(*(self._ping(node) for node in primaries))

    async def _ping(self, node: ClusterNode) -> None:
        try:
            await self._client.ask_node(node, self._settings.redis_timeout_seconds * 2)
        except FAILURES as error:
            self._client.look_again()
            raise Unavailable("redis", f"{node.name} {str(error) or 'did not answer in time'}") from error

    async def config_epoch(self) -> int:
        """The cluster's current epoch, which increases with each failover. Raises `Unavailable`."""
        for node in self._client.nodes_manager.get_nodes_by_server_type("primary"):
            try:
                info = await within(self._settings.redis_timeout_seconds * 2, node.execute_command("CLUSTER INFO"))
                return int(info["cluster_current_epoch"])
            except FAILURES:
                continue
        raise Unavailable("redis", "no primary answers")

    @property
    def breaker_state(self) -> int:
        """The worst breaker state of the nodes that are in the cluster now."""
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


def _translated(error: BaseException) -> Exception:
    """The error to raise to callers."""
    if isinstance(error, ResponseError) and str(error).startswith("WRONGTYPE"):
        return ForeignValue(str(error))
    return Unavailable("redis", str(error) or "did not answer in time")
