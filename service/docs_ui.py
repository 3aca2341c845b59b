"""The API's documentation at `/schema`: Swagger UI, with its files served from here."""

from pathlib import Path
from typing import Any

import swagger_ui
from litestar._openapi.schema_generation import SchemaCreator
from litestar._openapi.schema_generation.plugins.struct import StructSchemaPlugin
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import SwaggerRenderPlugin
from litestar.openapi.spec import Schema
from litestar.plugins import OpenAPISchemaPlugin
from litestar.router import Router
from litestar.static_files import create_static_files_router
from litestar.typing import FieldDefinition
from msgspec import Struct

from service import __version__

FILES = Path(swagger_ui.__file__).parent / "static"


class StrictStructs(OpenAPISchemaPlugin):
    """Says in the document what the structs do: one with `forbid_unknown_fields` takes no others."""

    @staticmethod
    def is_plugin_supported_type(value: Any) -> bool:
        """Whether it is such a struct."""
        return isinstance(value, type) and issubclass(value, Struct) and value.__struct_config__.forbid_unknown_fields

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: SchemaCreator) -> Schema:
        """Litestar's own schema of the struct, closed."""
        schema = StructSchemaPlugin().to_openapi_schema(field_definition, schema_creator)
        schema.additional_properties = False
        return schema


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
