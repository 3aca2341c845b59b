"""HEAD for the lab's servers: answered as GET, without a body (RFC 9110, 9.3.2)."""

from typing import Any

from litestar.types import ASGIApp, Receive, Scope, Send


def with_head(app: ASGIApp) -> ASGIApp:
    """The app, which sees a GET where a HEAD was sent, and whose answer to it is sent without its body."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await app(scope, receive, send)
            return

        async def without_body(message: Any) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        got: Any = {**scope, "method": "GET"}
        await app(got, receive, without_body)

    return answer
