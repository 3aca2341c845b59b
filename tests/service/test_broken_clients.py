"""Slow, interrupted and invalid clients do not affect a replica."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from testbed import Load, Replica, wait_for

HALF = b"POST /tasks HTTP/1.1\r\nHost: x\r\nContent-Type: appl"
SLOW_BODY = b"POST /tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
CLIENTS = 100


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory) -> object:
    # longer than a busy machine needs; a body that timed out would not delay other requests, and prove nothing
    patient = {"BODY_TIMEOUT_SECONDS": "600", "DATABASE_TIMEOUT_SECONDS": "30"}
    with Replica(tmp_path_factory.mktemp("replica"), **patient) as made:
        yield made


@pytest.fixture
async def load(replica: Replica) -> AsyncIterator[Load]:
    """A load of ordinary clients during the test."""
    shots = {
        "read": lambda client: client.get("/tasks"),
        "write": lambda client: client.post("/tasks", json={"task": "x"}),
    }
    async with Load([replica.url], shots, rate=30).running() as running:
        await running.each_answered(10)
        yield running


def connected(replica: Replica) -> socket.socket:
    return socket.create_connection(("127.0.0.1", replica.port), timeout=10)


async def assert_all_is_well(load: Load) -> None:
    found = await load.each_answered(40)
    assert {each.status for each in found["read"]} == {200}
    assert {each.status for each in found["write"]} == {201}


async def test_half_a_request_does_not_delay_other_clients(replica: Replica, load: Load) -> None:
    with ExitStack() as stack:
        for _ in range(CLIENTS):
            stack.enter_context(connected(replica)).sendall(HALF)
        await assert_all_is_well(load)
    await assert_all_is_well(load)


async def test_a_body_of_one_byte_per_second_does_not_delay_other_clients(replica: Replica, load: Load) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(connected(replica)) for _ in range(CLIENTS)]
        for each in slow:
            each.sendall(SLOW_BODY)
        for _ in range(3):
            for each in slow:
                each.sendall(b" ")
            await assert_all_is_well(load)
        assert replica.metrics().value("http_server_active_requests") >= CLIENTS
    await assert_all_is_well(load)
    async with asyncio.timeout(60):
        while replica.metrics().value("http_server_active_requests") > 10:
            await asyncio.sleep(0.05)


async def test_a_header_of_64_kib_is_rejected(replica: Replica, load: Load) -> None:
    for _ in range(10):
        with connected(replica) as client:
            client.sendall(b"GET /tasks HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 65536 + b"\r\n\r\n")
            answer = client.recv(64)
            # rejected or served, but not a server error
            assert answer == b"" or answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 4")), answer
    await assert_all_is_well(load)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"GET /tasks HTTP/1.1\r\nContent-Length: -1\r\nHost: x\r\n\r\n",
        b"POST /tasks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
        b"POST /tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
    ],
)
async def test_malformed_requests_cause_no_server_error(replica: Replica, load: Load, sent: bytes) -> None:
    with connected(replica) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        answer = await asyncio.to_thread(client.recv, 64)
        assert b" 500" not in answer
    await assert_all_is_well(load)


async def test_a_client_that_disconnects_does_not_affect_others(replica: Replica, load: Load) -> None:
    body = b'{"task": "abandoned"}'
    for _ in range(50):
        with connected(replica) as client:
            client.sendall(SLOW_BODY.replace(b"1000", b"%d" % len(body)) + body)
    await assert_all_is_well(load)


def test_a_client_that_disconnects_while_sending_its_body_is_not_a_server_error(replica: Replica) -> None:
    def posts(status: str) -> float:
        labels = {"http_request_method": "POST", "http_response_status_code": status}
        return replica.metrics().value("http_server_request_duration_seconds_count", http_route="/tasks", **labels)

    before, faults = posts("400"), posts("500")
    for _ in range(10):
        with connected(replica) as client:
            client.sendall(SLOW_BODY)
    wait_for(lambda: posts("400") >= before + 10, what="the end of each request")
    assert posts("500") == faults


def test_a_body_that_does_not_arrive_in_time_gets_408(tmp_path: Path) -> None:
    with Replica(tmp_path, BODY_TIMEOUT_SECONDS="0.3") as replica, connected(replica) as client:
        client.sendall(SLOW_BODY)
        answer = b"".join(iter(lambda: client.recv(4096), b""))
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"application/problem+json" in answer
        assert replica.metrics().value("http_server_active_requests") == 0


async def test_requests_beyond_the_concurrency_limit_are_shed_at_once(tmp_path: Path) -> None:
    with Replica(tmp_path, MAX_CONCURRENT_REQUESTS="10") as small, ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(connected(small)).sendall(SLOW_BODY)
        async with httpx.AsyncClient(base_url=small.url) as client:
            async with asyncio.timeout(10):
                while small.metrics().value("http_server_active_requests") < 10:
                    await asyncio.sleep(0.02)
            answer = await client.get("/tasks")
            assert answer.status_code == 503
            assert answer.headers["content-type"] == "application/problem+json"
            assert int(answer.headers["retry-after"]) >= 1
            assert (await client.get("/health")).status_code == 200
            assert (await client.get("/health/ready")).status_code == 200
        shed = small.metrics()
        assert shed.value("http_server_requests_shed_total") == 1
        assert shed.value("http_server_active_requests_limit") == 10
