"""What a web app of the lab does with an error that none of its handlers expects."""

import logging
from typing import Any

from litestar import Request, Response


def internal_error(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, str]]:
    """The answer, with status 500; the stack trace goes to the log, since Litestar logs none without a logging config.

    For `exception_handlers={500: internal_error}`, which Litestar asks for exceptions that have no other handler.
    """
    logging.getLogger(__name__).error("%s %s failed", request.method, request.url.path, exc_info=error)
    return Response({"detail": "internal error: its stack trace is in the log of this server"}, status_code=500)
