"""Values under the cache's keys: foreign values are misses, and no value is evicted or stored unnecessarily."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from service.tasks.values import PAGES_KEY, task_key
from testbed import Postgres, RedisCluster, Replica, wait_for
from testbed.redis_cluster import Node


@pytest.fixture(scope="module")
def replica(
    tmp_path_factory: pytest.TempPathFactory, redis_cluster: RedisCluster, postgres: Postgres
) -> Iterator[Replica]:
    redis_cluster.repair()
    settings = {"DATABASE_URL": postgres.new_database(), "REDIS_URL": redis_cluster.url, "REDIS_TIMEOUT_SECONDS": "5"}
    with Replica(tmp_path_factory.mktemp("values"), **settings) as made:
        yield made


@pytest.fixture
def task(replica: Replica) -> str:
    """The path of a new task that is in the cache."""
    path: str = httpx.post(f"{replica.url}/tasks", json={"task": "mine"}).headers["location"]
    assert httpx.get(replica.url + path).status_code == 200
    return path


def key_of(path: str) -> str:
    return task_key(UUID(path[7:]))


FOREIGN: dict[str, Callable[[Node, str], object]] = {
    "garbage": lambda node, key: node.client.set(key, "garbage"),
    "nothing": lambda node, key: node.client.set(key, ""),
    "no UTF-8": lambda node, key: node.ask("SET", key, b"\xff\xfe:\x00:1:{"),  # type: ignore[arg-type]
    "another task": lambda node, key: node.client.set(key, '9:9:9:{"id":"0193a5f0-7c1e-7d3a-9b1f-2f6c8e4d5a6b"}'),
    "half a task": lambda node, key: node.client.set(key, str(node.client.get(key))[:-9]),
    "invalid numbers": lambda node, key: node.client.set(key, "1:x:1:{}"),
    "a list": lambda node, key: (node.client.delete(key), node.client.rpush(key, "garbage")),
    "a hash": lambda node, key: (node.client.delete(key), node.client.hset(key, "a", "b")),
}


@pytest.mark.case("foreign value")
@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_foreign_value_is_a_miss_and_is_replaced(
    replica: Replica, redis_cluster: RedisCluster, task: str, foreign: str
) -> None:
    node, key = redis_cluster.master_of(key_of(task)), key_of(task)
    FOREIGN[foreign](node, key)
    errors = replica.metrics().value("cache_requests_total", cache="task", result="error")
    for _ in range(4):
        answer = httpx.get(replica.url + task)
        assert (answer.status_code, answer.json()["task"]) == (200, "mine")
    wait_for(lambda: 0 < node.client.pttl(key) <= 4_000_000, what="a value of ours")
    assert replica.metrics().value("cache_requests_total", cache="task", result="error") == errors


@pytest.mark.case("foreign value")
@pytest.mark.parametrize("foreign", [name for name in FOREIGN if "task" not in name])
@pytest.mark.parametrize("key", [PAGES_KEY, f"{PAGES_KEY}:7:None"])
def test_a_foreign_value_under_a_pages_key_is_a_miss_and_is_replaced(
    replica: Replica, redis_cluster: RedisCluster, task: str, foreign: str, key: str
) -> None:
    FOREIGN[foreign](redis_cluster.master_of(key), key)
    for _ in range(3):
        answer = httpx.get(f"{replica.url}/tasks?limit=7")
        assert (answer.status_code, answer.json()["items"][0]["id"]) == (200, task[7:])
    httpx.patch(replica.url + task, json={"done": True})
    wait_for(lambda: httpx.get(f"{replica.url}/tasks?limit=7").json()["items"][0]["done"], what="the change")


def test_a_rejected_write_evicts_nothing(replica: Replica, redis_cluster: RedisCluster, task: str) -> None:
    node, key = redis_cluster.master_of(key_of(task)), key_of(task)
    assert httpx.get(f"{replica.url}/tasks?limit=7").status_code == 200
    pages = redis_cluster.master_of(PAGES_KEY).client
    before = (node.client.get(key), node.client.pexpiretime(key), pages.get(PAGES_KEY), pages.pexpiretime(PAGES_KEY))
    wrong = {"If-Match": '"7"'}
    assert httpx.patch(replica.url + task, json={"done": True}, headers=wrong).status_code == 412
    assert httpx.delete(replica.url + task, headers=wrong).status_code == 412
    for method in ("PATCH", "DELETE"):
        unknown = f"{replica.url}/tasks/0193a5f0-7c1e-7d3a-9b1f-2f6c8e4d5a6b"
        body = {"task": "x"} if method == "PATCH" else None
        assert httpx.request(method, unknown, json=body).status_code == 404
    after = (node.client.get(key), node.client.pexpiretime(key), pages.get(PAGES_KEY), pages.pexpiretime(PAGES_KEY))
    assert after == before


def test_a_failed_write_does_not_extend_the_ttl_of_the_cached_value(
    replica: Replica, redis_cluster: RedisCluster, task: str
) -> None:
    """A value that is about to expire does so although a write to it fails: only a new value gets a new TTL."""
    node, key = redis_cluster.master_of(key_of(task)), key_of(task)
    old = node.client.get(key)
    assert node.client.pexpire(key, 300)
    assert httpx.patch(replica.url + task, json={"done": True}, headers={"If-Match": '"9"'}).status_code == 412

    wait_for(lambda: node.client.get(key) != old, 10, "the end of the old value")


def test_a_value_of_another_format_is_not_read(
    replica: Replica, redis_cluster: RedisCluster, tmp_path: Path, task: str
) -> None:
    """Release 0.1.0 kept its values under other keys."""
    key = f"task:{task[7:]}"
    redis_cluster.master_of(key).client.set(key, '9:9:9:{"id":"of another release"}', px=5_000)
    assert httpx.get(replica.url + task).json()["task"] == "mine"
