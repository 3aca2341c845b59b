"""The lanes to the nodes of a cluster, with a fake node."""

import asyncio
import time
from typing import Any

import pytest
from redis.asyncio.cluster import ClusterNode

from service.infrastructure.breaker import CLOSED, HALF_OPEN, OPEN, Breaker, Unavailable
from service.infrastructure.lanes import BatchingClient, Lane
from service.telemetry.instruments import Durations


class OddNode(ClusterNode):
    """A fake node with a configurable behaviour."""

    behaviour = "answer"

    async def execute_command(self, *args: Any, asking: bool = False, **kwargs: Any) -> Any:
        """Responds, or raises the error of a connection that another task has closed."""
        if self.behaviour == "cancel":
            raise asyncio.CancelledError
        if self.behaviour == "hang":
            await asyncio.Event().wait()
        return True

    async def execute_pipeline(self, commands: list[Any]) -> bool:
        """The response of `ask` for each command."""
        for command in commands:
            command.result = await self.execute_command()
        return False


@pytest.fixture
async def lane() -> Lane:
    """The only lane of a client whose breakers open at the first failure, and allow a trial call at once."""

    def new_breaker(name: str) -> Breaker:
        return Breaker(name, 1, 0, lambda _state: None)

    node = OddNode("127.0.0.1", 1)
    client = BatchingClient(0.05, 2, new_breaker, lambda _host, _port: Durations([1.0]), startup_nodes=[node])
    made = client.lanes[node.name] = Lane(node, new_breaker(node.name), client)
    return made


@pytest.mark.parametrize("behaviour", ["cancel", "hang"])
async def test_after_an_unexpected_error_in_a_probe_the_next_one_can_succeed(lane: Lane, behaviour: str) -> None:
    client = lane._client
    lane.breaker.failed(lane.breaker.admit(), TimeoutError())
    assert lane.breaker.state == OPEN
    lane.node.behaviour = behaviour  # type: ignore[attr-defined]
    await client.bring_back()
    assert lane.breaker.state in (OPEN, HALF_OPEN)
    lane.node.behaviour = "answer"  # type: ignore[attr-defined]
    await client.bring_back()
    assert lane.breaker.state == CLOSED


@pytest.mark.parametrize("behaviour", ["cancel", "hang"])
async def test_an_unexpected_failure_of_a_batch_is_reported_to_its_callers(lane: Lane, behaviour: str) -> None:
    lane.node.behaviour = behaviour  # type: ignore[attr-defined]
    with pytest.raises(Unavailable):
        await asyncio.wait_for(lane.submit(("GET", "a")), 5)
    assert lane.breaker.state == OPEN


async def test_a_stalled_process_does_not_open_the_nodes_breaker(lane: Lane) -> None:
    lane.node.behaviour = "hang"  # type: ignore[attr-defined]
    waiting = lane.submit(("GET", "a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    time.sleep(0.2)
    with pytest.raises(Unavailable):
        await asyncio.wait_for(waiting, 5)
    assert lane.breaker.state == CLOSED
