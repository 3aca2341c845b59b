"""The methods of a path: handlers for OPTIONS, and the Allow header of a 405."""

from collections.abc import Iterable

from litestar import HttpMethod, Response, route
from litestar.handlers import HTTPRouteHandler


def options(path: str, *methods: str) -> HTTPRouteHandler:
    """A handler for OPTIONS of a path. Litestar's own omits HEAD and the methods of other handlers."""

    @route(path, http_method=HttpMethod.OPTIONS, status_code=204, include_in_schema=False, sync_to_thread=False)
    def allowed() -> Response[None]:
        return Response(None, headers={"Allow": ", ".join((*methods, "OPTIONS"))})

    return allowed


def with_head(allow: str) -> str:
    """An Allow header of Litestar's router, with HEAD added wherever GET is allowed."""
    methods: Iterable[str] = [method.strip() for method in allow.split(",")]
    return ", ".join(f"{method}, HEAD" if method == "GET" else method for method in methods)
