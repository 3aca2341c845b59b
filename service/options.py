"""Which methods a path has: OPTIONS, and the Allow of a 405."""

from collections.abc import Iterable

from litestar import HttpMethod, Response, route
from litestar.handlers import HTTPRouteHandler


def options(path: str, *methods: str) -> HTTPRouteHandler:
    """A handler for OPTIONS of a path, since Litestar's own knows nothing of HEAD, nor of other handlers' methods."""

    @route(path, http_method=HttpMethod.OPTIONS, status_code=204, include_in_schema=False, sync_to_thread=False)
    def tell() -> Response[None]:
        return Response(None, headers={"Allow": ", ".join((*methods, "OPTIONS"))})

    return tell


def with_head(allow: str) -> str:
    """An Allow header of Litestar's router, which does not know that HEAD is wherever GET is."""
    methods: Iterable[str] = [method.strip() for method in allow.split(",")]
    return ", ".join(f"{method}, HEAD" if method == "GET" else method for method in methods)
