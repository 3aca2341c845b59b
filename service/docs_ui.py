"""The API's documentation at `/schema`: Swagger UI, with its files served from here."""

from pathlib import Path

import swagger_ui
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import SwaggerRenderPlugin
from litestar.router import Router
from litestar.static_files import create_static_files_router

from service import __version__

FILES = Path(swagger_ui.__file__).parent / "static"


def openapi() -> OpenAPIConfig:
    """OpenAPI 3.1 at `/schema/openapi.json`, the page at `/schema`."""
    return OpenAPIConfig(
        title="Glasshouse todo API",
        version=__version__,
        description="A todo list that can be watched while it works. Errors are RFC 9457 problem details.",
        path="/schema",
        render_plugins=[
            SwaggerRenderPlugin(
                js_url="/schema/files/swagger-ui-bundle.js",
                css_url="/schema/files/swagger-ui.css",
                standalone_preset_js_url="/schema/files/swagger-ui-standalone-preset.js",
                favicon="<link rel='icon' href='/schema/files/favicon-32x32.png'>",
            )
        ],
    )


def docs_files() -> Router:
    """The scripts and styles that the page at `/schema` needs."""
    return create_static_files_router(path="/schema/files", directories=[FILES], include_in_schema=False)
