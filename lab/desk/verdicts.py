"""Verdicts on notifications: useful, or noise. Requests from other origins' pages are rejected."""

from typing import Any
from urllib.parse import urlsplit

from litestar import Request, get, post
from litestar.exceptions import PermissionDeniedException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import Redirect

from lab.desk.inbox import Inbox, Verdict

VERDICTS: dict[str, Verdict] = {"useful": "useful", "noise": "noise", "none": ""}


def verdict_handlers(inbox: Inbox) -> list[HTTPRouteHandler]:
    """The routes for the inbox's buttons, and for `glasshouse tune`."""

    @post("/notifications/{number:int}/{verdict:str}", status_code=303)
    async def take_verdict(number: FromPath[int], verdict: FromPath[str], request: Request[Any, Any, Any]) -> Redirect:
        origin, site = request.headers.get("origin", ""), request.headers.get("sec-fetch-site", "same-origin")
        if (origin and urlsplit(origin).netloc != request.headers.get("host")) or site not in {"same-origin", "none"}:
            raise PermissionDeniedException("only the inbox' own page may send verdicts")
        if verdict not in VERDICTS or not inbox.say(number, VERDICTS[verdict]):
            raise ValueError(f"there is no notification {number}, or {verdict!r} is not useful, noise or none")
        return Redirect("/", status_code=303)

    @get("/verdicts.json")
    async def list_verdicts() -> dict[str, dict[str, int]]:
        return inbox.verdicts()

    return [take_verdict, list_verdicts]


def buttons(number: int, verdict: Verdict) -> str:
    """The form beside a notification, as HTML."""
    if verdict:
        return f'<form method="post" action="/notifications/{number}/none">{verdict} <button>take back</button></form>'
    path = f"/notifications/{number}"
    return (
        f'<form method="post" action="{path}/useful"><button>useful</button>'
        f'<button formaction="{path}/noise">noise</button></form>'
    )
