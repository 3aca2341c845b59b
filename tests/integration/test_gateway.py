"""Replicas behind the gateway: that one of them stops or dies is not seen by clients."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

from tests.servers import Gateway, Load, Postgres, RedisCluster, Replica, replicas, wait_for
from tests.servers.load import Shot


@pytest.fixture(scope="module")
def three(
    tmp_path_factory: pytest.TempPathFactory, redis_cluster: RedisCluster, postgres: Postgres
) -> Iterator[list[Replica]]:
    redis_cluster.repair()
    settings = {
        "DATABASE_URL": postgres.new_database(),
        "REDIS_URL": redis_cluster.url,
        "TRUSTED_PROXIES": "127.0.0.1",
        "RATE_LIMIT": "1000000/hour",
    }
    with replicas(tmp_path_factory.mktemp("three"), 3, **settings) as made:
        yield made


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, three: list[Replica]) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("gateway"), [replica.port for replica in three]) as made:
        yield made


async def _created(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post("/tasks", json={"task": "x"})


async def _changed(client: httpx.AsyncClient) -> httpx.Response:
    """A PATCH with If-Match, of a task of its own."""
    made = await _created(client)
    if made.status_code != 201:
        # a POST may fail where a PATCH may not, and is looked at by itself
        return httpx.Response(200)
    return await client.patch(made.headers["location"], json={"done": True}, headers={"If-Match": made.headers["etag"]})


async def _deleted(client: httpx.AsyncClient) -> httpx.Response:
    made = await _created(client)
    return await client.delete(made.headers["location"]) if made.status_code == 201 else httpx.Response(204)


@pytest.fixture
async def load(gateway: Gateway) -> AsyncIterator[Load]:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=10) as client:
        read = itertools.cycle([(await _created(client)).headers["location"] for _ in range(50)])
    shots: dict[str, Shot] = {
        "GET": lambda client: client.get(next(read)),
        "POST": _created,
        "PATCH": _changed,
        "DELETE": _deleted,
    }
    async with Load([gateway.url], shots, rate=15).running() as running:
        await running.each_answered(10)
        yield running


def report(what: str, load: Load) -> None:
    print(f"\n{what}: { {kind: dict(load.statuses(kind)) for kind in ('GET', 'POST', 'PATCH', 'DELETE')} }")


@pytest.mark.timeout(120)
async def test_a_rolling_restart_fails_no_request(load: Load, three: list[Replica]) -> None:
    for replica in three:
        assert await asyncio.to_thread(replica.stop) == 0
        await asyncio.to_thread(replica.start)
        await load.each_answered(5)
    report("rolling restart", load)
    assert set(load.statuses("GET")) == {200}
    assert set(load.statuses("POST")) == {201}
    assert set(load.statuses("PATCH")) == {200}
    assert set(load.statuses("DELETE")) == {204}


@pytest.mark.timeout(120)
async def test_a_killed_replica_fails_no_read_no_conditional_change_and_no_delete(
    load: Load, three: list[Replica]
) -> None:
    for replica in three[:2]:
        await asyncio.to_thread(replica.kill)
        await load.each_answered(15)
        await asyncio.to_thread(replica.start)
        await load.each_answered(10)
    report("replica killed", load)
    assert set(load.statuses("GET")) == {200}
    assert set(load.statuses("PATCH")) == {200}
    assert set(load.statuses("DELETE")) == {204}
    # a POST that was on its way to the replica that died is not tried again, lest it be done twice
    posts = load.statuses("POST")
    assert set(posts) <= {201, 503}
    assert posts[503] <= 8


def test_the_gateway_tells_who_the_client_is_whatever_it_says_itself(gateway: Gateway) -> None:
    left = []
    for address in ("203.0.113.9", "203.0.113.10"):
        answer = httpx.get(f"{gateway.url}/tasks", headers={"X-Forwarded-For": address})
        found = re.search(r";r=(\d+);", answer.headers["ratelimit"])
        assert found
        left.append(int(found[1]))
    assert left[1] == left[0] - 1


def test_every_replica_gets_a_share(gateway: Gateway, three: list[Replica]) -> None:
    def served() -> list[float]:
        return [
            replica.metrics().value("http_server_request_duration_seconds_count", http_route="/tasks")
            for replica in three
        ]

    def is_even() -> bool:
        before = served()
        with httpx.Client(base_url=gateway.url) as client:
            for _ in range(60):
                client.get("/tasks")
        shares = [now - was for now, was in zip(served(), before, strict=True)]
        return sum(shares) == 60 and min(shares) >= 15

    # a replica that was away is asked again when a second has passed
    wait_for(is_even, 20, "an even share")


def test_a_gateway_without_replicas_says_when_to_come_again(tmp_path: Path) -> None:
    with Gateway(tmp_path, [1]) as alone:
        answer = httpx.get(f"{alone.url}/tasks")
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["retry-after"] == "1"
        wait_for(lambda: "read|503|" in (tmp_path / "requests.log").read_text(), what="the request log's line")


def test_what_was_given_up_at_every_replica_is_asked_again_where_that_is_safe(tmp_path: Path) -> None:
    asked: list[str] = []

    class BreaksOffFirst(BaseHTTPRequestHandler):
        """Answers every second request, and breaks off the others."""

        def answer(self) -> None:
            asked.append(self.command)
            if asked.count(self.command) == 2:
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()
            self.close_connection = True

        do_GET = do_DELETE = do_PATCH = do_POST = answer  # noqa: N815 (the base class asks for these names)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), BreaksOffFirst) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with Gateway(tmp_path, [server.server_port]) as alone, httpx.Client(base_url=alone.url) as client:
            statuses = {
                "GET": client.get("/tasks").status_code,
                "DELETE": client.delete("/tasks/1").status_code,
                "PATCH": client.patch("/tasks/1", headers={"If-Match": '"1"'}).status_code,
                "POST": client.post("/tasks").status_code,
            }
        server.shutdown()
    assert statuses == {"GET": 200, "DELETE": 200, "PATCH": 200, "POST": 503}
    assert asked.count("POST") == 1
