"""A stopping replica completes its requests; a killed one loses no acknowledged write."""

import asyncio
import json
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from signal import SIGTERM

import httpx
import pytest

from testbed import OtlpReceiver, Postgres, RedisCluster, Replica, Wire, replicas, wait_for


def test_sigterm_drains_and_ends_in_time(tmp_path: Path) -> None:
    body = b'{"task": "begun before the end"}'
    head = f"POST /tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with (
        OtlpReceiver() as receiver,
        Replica(
            tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint, TRACE_SAMPLE_RATIO="1", DRAIN_SECONDS="1.5"
        ) as replica,
    ):
        with socket.create_connection(("127.0.0.1", replica.port), timeout=10) as client:
            client.sendall(head.encode() + body[:5])
            wait_for(lambda: replica.metrics().value("http_server_active_requests") >= 1, what="the begun request")
            began = time.monotonic()
            replica.signal(SIGTERM)
            wait_for(lambda: httpx.get(f"{replica.url}/health/ready").status_code == 503, 2, "readiness that is false")
            # still served until the gateway has stopped sending requests
            assert httpx.get(f"{replica.url}/tasks").status_code == 200
            assert httpx.get(f"{replica.url}/tasks").headers["connection"] == "close"
            wait_for(lambda: _refuses(replica), 8, "a closed port")
            client.sendall(body[5:])
            answer = client.recv(4096)
            assert answer.startswith(b"HTTP/1.1 201")
        wait_for(lambda: not replica.is_running, 10, "the end")
        assert replica.returncode == 0
        assert time.monotonic() - began < 10
        # exported before it ended
        assert sum(span.name == "POST /tasks" for span in receiver.spans) == 1


def _refuses(replica: Replica) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", replica.port)) != 0


def test_a_request_that_never_ends_does_not_block_shutdown(tmp_path: Path) -> None:
    head = b"POST /tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
    with (
        Replica(tmp_path, DRAIN_SECONDS="0") as replica,
        socket.create_connection(("127.0.0.1", replica.port), timeout=10) as client,
    ):
        client.sendall(head)
        wait_for(lambda: replica.metrics().value("http_server_active_requests") >= 1, what="the begun request")
        replica.signal(SIGTERM)
        wait_for(lambda: not replica.is_running, 10, "the end")


def test_a_hung_database_and_collector_do_not_block_shutdown(tmp_path: Path, clean_cluster: RedisCluster) -> None:
    with Postgres() as postgres, OtlpReceiver() as receiver:
        settings = {
            "DATABASE_URL": postgres.new_database(),
            "REDIS_URL": clean_cluster.url,
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            "TRACE_SAMPLE_RATIO": "1",
        }
        with Replica(tmp_path, **settings) as replica:
            assert httpx.post(f"{replica.url}/tasks", json={"task": "before the end"}).status_code == 201
            receiver.be_slow()
            postgres.pause()
            for node in clean_cluster.nodes:
                node.pause()
            try:
                assert httpx.get(f"{replica.url}/tasks", timeout=10).status_code == 503
                began = time.monotonic()
                replica.signal(SIGTERM)
                wait_for(lambda: not replica.is_running, 10, "the end")
                assert replica.returncode == 0
                print(f"\nended after {time.monotonic() - began:.1f} s")
            finally:
                for node in clean_cluster.nodes:
                    node.resume()


async def _create(replica: Replica, acknowledged: list[str]) -> None:
    """Creates tasks one after another until the replica stops responding."""
    async with Wire(replica.port) as wire:
        while True:
            try:
                status, body = await wire.send("POST", "/tasks", b'{"task": "must not be lost"}')
            except (OSError, EOFError):
                return
            if status == 201:
                acknowledged.append(json.loads(body)["id"])


@pytest.mark.timeout(180)
@pytest.mark.parametrize("tasks", [2_000, pytest.param(10_000, marks=pytest.mark.long)])
async def test_no_acknowledged_task_is_lost_when_everything_is_killed(
    tmp_path: Path, clean_cluster: RedisCluster, tasks: int
) -> None:
    acknowledged: list[str] = []
    with Postgres(is_durable=True) as postgres:
        settings = {"DATABASE_URL": postgres.new_database(), "REDIS_URL": clean_cluster.url}
        with replicas(tmp_path, 2, **settings) as pair:
            creating = [asyncio.create_task(_create(replica, acknowledged)) for replica in pair for _ in range(8)]
            while len(acknowledged) < tasks:
                assert not any(each.done() for each in creating)
                await asyncio.sleep(0.01)
            # during the creates, and the database first, so that the service cannot acknowledge a create that the
            # database lost
            for process in (postgres, *pair, *clean_cluster.nodes):
                process.kill()
            await asyncio.gather(*creating)
            postgres.start()
            clean_cluster.repair()
            for replica in pair:
                replica.start()
            found = set()
            async with httpx.AsyncClient(base_url=pair[0].url, timeout=10) as client:
                cursor: dict[str, str] = {}
                while True:
                    page = json.loads((await client.get("/tasks", params={"limit": 100, **cursor})).content)
                    found |= {task["id"] for task in page["items"]}
                    if page["next"] is None:
                        break
                    cursor = {"cursor": page["next"]}
                sample = acknowledged[:: len(acknowledged) // 50]
                read = [(await client.get(f"/tasks/{each}")).status_code for each in sample]
    lost = set(acknowledged) - found
    print(f"\n{len(acknowledged)} acknowledged, {len(found)} found, {len(lost)} lost")
    assert lost == set()
    assert set(read) == {200}


def test_a_stopping_replica_answers_every_request_that_it_accepted(tmp_path: Path) -> None:
    """Each request starts before the stop, and ends only after the port is closed."""
    body = b'{"task": "started before the stop"}'
    head = f"POST /tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with ExitStack() as stack, Replica(tmp_path, DRAIN_SECONDS="0") as replica:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", replica.port), timeout=30)) for _ in range(20)
        ]
        for number, client in enumerate(clients):
            client.sendall(head.encode() + body[:number])
        wait_for(lambda: replica.metrics().value("http_server_active_requests") >= len(clients), what="all of them")
        replica.signal(SIGTERM)
        wait_for(lambda: _refuses(replica), 20, "a closed port")
        for number, client in enumerate(clients):
            client.sendall(body[number:])
        assert [client.recv(4096)[:12] for client in clients] == [b"HTTP/1.1 201"] * len(clients)
