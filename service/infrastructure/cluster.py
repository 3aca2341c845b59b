"""Redis Cluster as the service uses it: bounded in time, batched, and cut off by a breaker where a node fails."""

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
    """A key holds a value of another Redis type than the command is for."""


class Script:
    """A Lua script, known to Redis by the SHA-1 of its text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest().encode()


class RedisCluster:
    """The cluster: commands with a time limit, and whether it is well."""

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
            # the time limit is on the batch: one timer instead of one for each answer
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
        """The answer to one keyed command. Raises `Unavailable`, and `ForeignValue`."""
        client = self._traced if self._is_traced() else self._client
        try:
            return await client.execute_command(*args)
        except FAILURES as error:
            raise _as_told(error) from error

    async def run(self, script: Script, key: str | bytes, *args: Any) -> Any:
        """The answer of a script that touches one key, or keys of one slot. Raises as `command`."""
        client = self._traced if self._is_traced() else self._client
        try:
            try:
                return await client.execute_command("EVALSHA", script.sha, b"1", key, *args)
            except NoScriptError:
                # which also makes the node know it from then on
                return await client.execute_command("EVAL", script.text, 1, key, *args)
        except FAILURES as error:
            raise _as_told(error) from error

    async def ping(self) -> None:
        """Asks every primary. Raises `Unavailable`, naming the first that does not answer."""
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
        """The cluster's current epoch, which rises with each failover. Raises `Unavailable`."""
        for node in self._client.nodes_manager.get_nodes_by_server_type("primary"):
            try:
                info = await within(self._settings.redis_timeout_seconds * 2, node.execute_command("CLUSTER INFO"))
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


def _as_told(error: BaseException) -> Exception:
    """The error that callers know."""
    if isinstance(error, ResponseError) and str(error).startswith("WRONGTYPE"):
        return ForeignValue(str(error))
    return Unavailable("redis", str(error) or "did not answer in time")
