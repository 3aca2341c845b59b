"""No mutation of a valid request (bytes changed, removed, inserted, doubled) makes a response 5xx."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from testbed import Gateway, Replica

SEED = 20
SHORT, LONG = 1_500, 10_000
AT_ONCE = 100
# longer than BODY_TIMEOUT_SECONDS, so that requests whose body does not arrive are answered
PATIENCE_SECONDS = 1.0
# bytes with a meaning somewhere in a request
SPECIAL = (
    b"\x00",
    b"\r\n",
    b"\r\n\r\n",
    b"%",
    b"%00",
    b"%ff",
    b"/",
    b"?",
    b"&",
    b"=",
    b";q=nan",
    b"*",
    b'"',
    b",",
    b":",
    b"\xff",
)


def requests(path: str) -> list[bytes]:
    """Valid requests of every kind."""
    created = b'{"task": "W\xc3\xa4sser die Pflanzen", "done": false}'
    changed = b'{"done": true}'
    json = "Content-Type: application/json\r\nContent-Length: {}\r\n"
    reads = [
        f"GET {path} HTTP/1.1\r\nAccept: text/html;q=0.5, application/json\r\nAccept-Encoding: gzip;q=0.5, br\r\n",
        f'GET {path} HTTP/1.1\r\nIf-None-Match: "7", W/"1-gzip"\r\nUser-Agent: a\r\n',
        "GET /tasks?limit=10&done=true HTTP/1.1\r\nAccept: */*\r\n",
        f"GET /tasks?cursor={path[-36:].replace('-', '')} HTTP/1.1\r\nX-Forwarded-For: 203.0.113.9:1, [::1]:2\r\n",
        "HEAD /tasks HTTP/1.1\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n",
        "GET /health/ready HTTP/1.1\r\nX-Request-ID: 0af7651916cd43dd\r\n",
        "GET /schema/files/start.js HTTP/1.1\r\nRange: bytes=0-9\r\n",
        "OPTIONS /tasks HTTP/1.1\r\nOrigin: http://a.example\r\n",
        "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        f'DELETE {path} HTTP/1.1\r\nIf-Match: "9", "8-br"\r\n',
    ]
    writes = [
        ("POST /tasks HTTP/1.1\r\n" + json.format(len(created)), created),
        (f'PATCH {path} HTTP/1.1\r\nIf-Match: "1"\r\n' + json.format(len(changed)), changed),
        (
            "POST /tasks HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n",
            b"2b\r\n" + created + b"\r\n0\r\n\r\n",
        ),
    ]
    rest = "Host: a.example:80\r\nConnection: close\r\n\r\n"
    return [(head + rest).encode() for head in reads] + [(head + rest).encode() + body for head, body in writes]


def mutated(request: bytes, chance: random.Random) -> bytes:
    """The request with one to four changes."""
    sent = bytearray(request)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(sent) + 1)
        match chance.randrange(6):
            case 0 if sent:
                sent[min(at, len(sent) - 1)] = chance.randrange(256)
            case 1:
                sent[at:at] = chance.choice(SPECIAL)
            case 2:
                del sent[at : at + chance.randint(1, 8)]
            case 3:
                sent[at:at] = sent[at : at + chance.randint(1, 40)]
            case 4 if sent:
                sent[min(at, len(sent) - 1)] ^= 1 << chance.randrange(8)
            case _:
                sent[at:at] = bytes(chance.randrange(256) for _ in range(chance.randint(1, 4)))
    return bytes(sent)


async def answered(port: int, sent: bytes) -> bytes:
    """The received bytes until the connection ends, or the server waits for more data."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = b""
    try:
        writer.write(sent)
        while part := await asyncio.wait_for(reader.read(65536), PATIENCE_SECONDS):
            found += part
    except (ConnectionError, TimeoutError):
        pass
    finally:
        writer.close()
    return found


def statuses(answer: bytes) -> list[int]:
    """The status of each response."""
    parts = answer.split(b"HTTP/1.1 ")[1:]
    return [int(part[:3]) for part in parts if part[:3].isdigit()]


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    settings = {"RATE_LIMIT": "off", "TRUSTED_PROXIES": "127.0.0.1", "BODY_TIMEOUT_SECONDS": "0.5"}
    with Replica(tmp_path_factory.mktemp("replica"), **settings) as made:
        yield made


async def mutate(replica: Replica, port: int, count: int) -> None:
    """Sends mutated requests, and checks that each response has an allowed status."""
    chance = random.Random(SEED)
    path = httpx.post(f"{replica.url}/tasks", json={"task": "x"}).headers["location"]
    valid = requests(path)
    for request in valid:
        answer = statuses(await answered(port, request))
        assert len(answer) == 1, request
        assert answer[0] < 500, request
    seen: dict[int, int] = {}
    failed: list[bytes] = []
    places = asyncio.Semaphore(AT_ONCE)

    async def send(sent: bytes) -> None:
        async with places:
            for status in statuses(await answered(port, sent)):
                seen[status] = seen.get(status, 0) + 1
                # 503 is allowed: the machine may be too busy for the database's timeout
                if status >= 500 and status != 503:
                    failed.append(sent)

    await asyncio.gather(*(send(mutated(chance.choice(valid), chance)) for _ in range(count)))
    print(dict(sorted(seen.items())))
    assert failed == []
    assert len(seen) >= 5, "the mutations cause too few different statuses"
    assert '"status": 500' not in replica.output()
    # the service still works
    assert httpx.get(f"{replica.url}/tasks").status_code == 200


@pytest.mark.parametrize("count", [SHORT, pytest.param(LONG, marks=pytest.mark.long)])
async def test_no_mutation_of_a_request_makes_the_service_fail(replica: Replica, count: int) -> None:
    await mutate(replica, replica.port, count)


@pytest.mark.parametrize("count", [SHORT, pytest.param(LONG, marks=pytest.mark.long)])
async def test_no_mutation_of_a_request_makes_the_gateway_fail(replica: Replica, tmp_path: Path, count: int) -> None:
    with Gateway(tmp_path, [replica.port]) as gateway:
        await mutate(replica, gateway.port, count)
