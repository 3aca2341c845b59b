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
    """A node that behaves as `behaviour` says."""

    behaviour = "answer"

    async def execute_command(self, *args: Any, asking: bool = False, **kwargs: Any) -> Any:
        """An answer, or the error of a connection that another task has closed."""
        if self.behaviour == "cancel":
            raise asyncio.CancelledError
        if self.behaviour == "hang":
            await asyncio.Event().wait()
        return True

    async def execute_pipeline(self, commands: list[Any]) -> bool:
        """As one command, for each."""
        for command in commands:
            command.result = await self.execute_command()
        return False


@pytest.fixture
async def lane() -> Lane:
    """The only lane of a client whose breakers open at the first failure, and at once let one call try."""

    def new_breaker(name: str) -> Breaker:
        return Breaker(name, 1, 0, lambda _state: None)

    node = OddNode("127.0.0.1", 1)
    client = BatchingClient(0.05, 2, new_breaker, lambda _host, _port: Durations([1.0]), startup_nodes=[node])
    made = client.lanes[node.name] = Lane(node, new_breaker(node.name), client)
    return made


@pytest.mark.parametrize("behaviour", ["cancel", "hang"])
async def test_a_probe_that_fails_oddly_leaves_the_next_one_to_succeed(lane: Lane, behaviour: str) -> None:
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
async def test_a_batch_that_fails_oddly_is_an_answer_for_who_waits(lane: Lane, behaviour: str) -> None:
    lane.node.behaviour = behaviour  # type: ignore[attr-defined]
    with pytest.raises(Unavailable):
        await asyncio.wait_for(lane.submit(("GET", "a")), 5)
    assert lane.breaker.state == OPEN


async def test_a_process_that_was_held_up_does_not_blame_the_node(lane: Lane) -> None:
    lane.node.behaviour = "hang"  # type: ignore[attr-defined]
    waiting = lane.submit(("GET", "a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    time.sleep(0.2)
    with pytest.raises(Unavailable):
        await asyncio.wait_for(waiting, 5)
    assert lane.breaker.state == CLOSED
