"""`python -m benchmarks.bare asgi|litestar PORT`: minimal apps, on the same server as the service.

The difference in throughput between these and the service is the cost of what the service does in addition.
"""

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn
from litestar import Litestar, get

TASK = {
    "id": "019a0000-0000-7000-8000-000000000000",
    "task": "Water the plants",
    "done": False,
    "version": 1,
    "created_at": "2026-01-01T00:00:00.000000Z",
    "updated_at": "2026-01-01T00:00:00.000000Z",
}
BODY = str(TASK).replace("'", '"').replace("False", "false").encode()
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]

Message = MutableMapping[str, Any]


async def answer(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """An ASGI app that answers every request with a task."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": BODY})


@get("/tasks/{task_id:str}", sync_to_thread=False)
def read_task(task_id: str) -> dict[str, Any]:
    """A minimal Litestar route."""
    return TASK | {"id": task_id}


def main(kind: str, port: int) -> None:
    """Serves one of the two apps until it is stopped."""
    app: Any = answer if kind == "asgi" else Litestar([read_task], openapi_config=None, logging_config=None)
    # the same settings as service/__main__.py
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
