"""HEAD for the lab's servers: the response to GET without its body (RFC 9110, 9.3.2)."""

from collections.abc import Awaitable, Callable
from typing import Any

# https://asgi.readthedocs.io/en/latest/specs/main.html#applications
App = Callable[[Any, Any, Any], Awaitable[None]]


def with_head(app: App) -> App:
    """An app that handles HEAD by passing a GET to `app`, and removing the body of the response."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await app(scope, receive, send)
            return

        async def without_body(message: Any) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await app({**scope, "method": "GET"}, receive, without_body)

    return answer
