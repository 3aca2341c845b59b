"""HEAD for the lab's servers: answered as GET, without a body (RFC 9110, 9.3.2)."""

from collections.abc import Awaitable, Callable
from typing import Any

# https://asgi.readthedocs.io/en/latest/specs/main.html#applications
App = Callable[[Any, Any, Any], Awaitable[None]]


def with_head(app: App) -> App:
    """The app, which sees a GET where a HEAD was sent, and whose answer to it is sent without its body."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await app(scope, receive, send)
            return

        async def without_body(message: Any) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await app({**scope, "method": "GET"}, receive, without_body)

    return answer
