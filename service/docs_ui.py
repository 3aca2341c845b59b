"""The API documentation at `/schema`: Swagger UI, whose files the service serves itself, and the OpenAPI document.

Not Litestar's own pages, which load scripts from a CDN.
"""

import mimetypes
from collections.abc import Sequence
from pathlib import Path

import msgspec
import swagger_ui
from litestar import Router, get
from litestar.exceptions import NotFoundException
from litestar.types import ASGIApp

from service import __version__
from service.assets import Asset
from service.openapi import document
from service.options import options

FILES = Path(swagger_ui.__file__).parent / "static"
USED = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png")
# nothing from other origins, and no inline scripts (Swagger UI draws its icons as data: images)
POLICY = (
    b"content-security-policy",
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
)
START = b"""window.addEventListener("load", () => {
  SwaggerUIBundle({ url: "/schema/openapi.json", dom_id: "#swagger-ui", deepLinking: true });
});
"""
PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Glasshouse todo API {__version__}</title>
<link rel="icon" href="/schema/files/favicon-32x32.png">
<link rel="stylesheet" href="/schema/files/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/schema/files/swagger-ui-bundle.js"></script>
<script src="/schema/files/start.js"></script>
</body>
</html>
""".encode()


def docs_routes(routes: Sequence[Router]) -> Router:
    """The routes under `/schema`, with the documentation of `routes`."""
    page = Asset("text/html; charset=utf-8", lambda: PAGE, POLICY)
    openapi = Asset("application/vnd.oai.openapi+json", lambda: msgspec.json.encode(document(routes)), POLICY)
    files = {name: Asset(_type_of(name), (FILES / name).read_bytes, POLICY) for name in USED}
    files["start.js"] = Asset(_type_of("start.js"), lambda: START, POLICY)

    @get("/", sync_to_thread=False)
    def read_page() -> ASGIApp:
        return page

    @get("/openapi.json", sync_to_thread=False)
    def read_document() -> ASGIApp:
        return openapi

    @get("/files/{name:str}", sync_to_thread=False)
    def read_file(name: str) -> ASGIApp:
        if name not in files:
            raise NotFoundException()
        return files[name]

    option_routes = [options(path, "GET", "HEAD") for path in ("/", "/openapi.json", "/files/{name:str}")]
    return Router(
        "/schema", route_handlers=[*option_routes, read_page, read_document, read_file], include_in_schema=False
    )


def _type_of(name: str) -> str:
    kind, _ = mimetypes.guess_type(name)
    return f"{kind}; charset=utf-8" if name.endswith((".js", ".css")) else str(kind)
