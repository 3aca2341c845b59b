"""The whole stack from outside: through the gateway, with PromQL, and with faults."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from lab.stack.loopback import has_ipv6_loopback
from testbed.conditions import wait_for
from testbed.load import Load
from tests.stack.stacks import DOCKER_IS_LONG, DockerStack, NativeStack, Stack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


def make_task(stack: Stack, text: str = "Water the plants") -> Any:
    answer = stack.http.post("/tasks", json={"task": text})
    assert answer.status_code == 201, answer.text
    return answer.json()


def reads(path: str) -> dict[str, Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]]:
    return {"read": lambda client: client.get(path)}


def test_a_task_is_created_read_changed_and_deleted_through_the_gateway(stack: Stack) -> None:
    task = make_task(stack)
    path = f"/tasks/{task['id']}"
    assert stack.http.get(path).json() == task
    changed = stack.http.patch(path, json={"done": True}, headers={"If-Match": '"1"'})
    assert changed.status_code == 200
    assert changed.json()["done"] is True
    lost = stack.http.patch(path, json={"done": False}, headers={"If-Match": '"1"'})
    assert lost.status_code == 412
    assert any(item["id"] == task["id"] for item in stack.http.get("/tasks").json()["items"])
    assert stack.http.delete(path).status_code == 204
    wait_for(lambda: stack.http.get(path).status_code == 404, 1.5, "the delete to be seen")


def test_metrics_are_not_reachable_through_the_gateway(stack: Stack) -> None:
    answer = stack.http.get("/metrics")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_localhost_reaches_the_gateway_on_ipv4_and_ipv6(stack: Stack) -> None:
    if not has_ipv6_loopback():
        pytest.skip("this machine has no ::1")
    for host in ("127.0.0.1", "[::1]"):
        url = f"http://{host}:{stack.environment['GATEWAY_PORT']}/tasks"
        assert httpx.get(url, trust_env=False).status_code == 200


def test_a_far_too_large_body_is_rejected_with_problem_details(stack: Stack) -> None:
    for size in (70_000, 300_000):
        answer = stack.http.post("/tasks", json={"task": "x" * size})
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_client_cannot_choose_its_address(stack: Stack) -> None:
    def remaining(address: str) -> int:
        standing = stack.http.get("/tasks", headers={"X-Forwarded-For": address}).headers["ratelimit"]
        return int(standing.split("r=")[1].split(";")[0])

    most = remaining("192.0.2.1")
    assert min(remaining(f"192.0.2.{n}") for n in range(2, 30)) < most - 5


def test_every_target_is_scraped_and_every_replica_has_its_name(stack: Stack) -> None:
    wait_for(stack.is_scraped, 60, "every target")
    names = {series.labels["replica"] for series in stack.prometheus.query("service_info")}
    assert names == set(stack.replicas)


def test_a_second_start_reports_that_the_stack_is_running(native_stack: NativeStack) -> None:
    done = native_stack.glasshouse("up")
    assert done.returncode == 0
    assert "is already running" in done.stdout


async def test_killing_a_replica_under_load_loses_no_read(stack: Stack) -> None:
    load = Load([stack.gateway], reads(f"/tasks/{make_task(stack)['id']}"), rate=80)
    async with load.running():
        await load.answered("read", 80)
        await asyncio.to_thread(stack.act, "kill", "todo-2")
        await load.answered("read", 240)
    assert set(load.statuses("read")) == {200}
    wait_for(stack.is_scraped, 60, "the replica to be back")


@DOCKER_IS_LONG
async def test_a_rolling_restart_under_load_loses_no_request(stack: Stack) -> None:
    task = make_task(stack)
    shots = reads(f"/tasks/{task['id']}") | {"create": lambda client: client.post("/tasks", json={"task": "Rolling"})}
    load = Load([stack.gateway], shots, rate=25)
    async with load.running():
        for replica in stack.replicas:
            await load.each_answered(20)
            await asyncio.to_thread(stack.act, "restart", replica)
            await asyncio.to_thread(wait_for, stack.is_scraped, 60, "the replica to be back")
    assert set(load.statuses("read")) == {200}
    assert set(load.statuses("create")) == {201}


def test_a_restarted_redis_node_is_used_again(stack: Stack) -> None:
    stack.act("restart", "redis-1")

    def is_whole() -> bool:
        nodes = stack.prometheus.value("sum(redis_cluster_known_nodes) / count(redis_cluster_known_nodes)")
        is_ok = stack.prometheus.value("min(redis_cluster_state)")
        return is_ok == 1 and nodes == 6 and stack.health().get("status") == "healthy"

    wait_for(is_whole, 60, "the cluster to be whole")


async def test_the_gateway_discovers_new_replicas_under_load(docker_stack: DockerStack) -> None:
    load = Load([docker_stack.gateway], reads(f"/tasks/{make_task(docker_stack)['id']}"), rate=60)
    async with load.running():
        await load.answered("read", 60)
        await asyncio.to_thread(docker_stack.scale, 5)
        seen = lambda: docker_stack.up().get("todo") == [1.0] * 5  # noqa: E731
        await asyncio.to_thread(wait_for, seen, 30, "five replicas in Prometheus")
        await load.answered("read", 120)
    await asyncio.to_thread(docker_stack.scale, 3)
    assert set(load.statuses("read")) == {200}
    wait_for(docker_stack.is_scraped, 60, "three replicas")
