"""The OpenAPI document: what Litestar generates from the routes, completed with what it cannot know."""

from collections.abc import Sequence
from typing import Any

from litestar import Litestar, Router
from litestar._openapi.schema_generation import SchemaCreator
from litestar._openapi.schema_generation.plugins.struct import StructSchemaPlugin
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Schema
from litestar.plugins import OpenAPISchemaPlugin
from litestar.typing import FieldDefinition
from msgspec import Struct

from service import __version__

TAG = {"description": "The task's version and the answer's content coding.", "schema": {"type": "string"}}
WAIT = {"description": "Seconds to wait before the next try.", "schema": {"type": "integer", "minimum": 1}}
LOCATION = {"description": "Path of the task.", "schema": {"type": "string", "format": "uri-reference"}}
LIMITED: dict[str, Any] = {
    "RateLimit": {
        "description": "The tightest limit: its name, requests left (r), and seconds until there are more (t).",
        "schema": {"type": "string"},
    },
    "RateLimit-Policy": {
        "description": "Every limit: its name, requests (q), and window in seconds (w).",
        "schema": {"type": "string"},
    },
}
# headers of the responses, by status
HEADERS: dict[str, dict[str, Any]] = {
    "200": {"ETag": TAG},
    "201": {"ETag": TAG, "Location": LOCATION},
    "304": {"ETag": TAG},
    "429": {"Retry-After": WAIT},
    "503": {"Retry-After": WAIT},
}
# a page of tasks has no version
WITHOUT_TAG = {("/tasks", "get")}


class StrictStructs(OpenAPISchemaPlugin):
    """Documents structs with `forbid_unknown_fields` as objects without additional properties."""

    @staticmethod
    def is_plugin_supported_type(value: Any) -> bool:
        """Whether a type is such a struct."""
        return isinstance(value, type) and issubclass(value, Struct) and value.__struct_config__.forbid_unknown_fields

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: SchemaCreator) -> Schema:
        """Litestar's schema of the struct, with `additionalProperties: false`."""
        schema = StructSchemaPlugin().to_openapi_schema(field_definition, schema_creator)
        schema.additional_properties = False
        return schema


def document(routes: Sequence[Router]) -> dict[str, Any]:
    """OpenAPI 3.1 of these routes."""
    config = OpenAPIConfig(
        title="Glasshouse todo API",
        version=__version__,
        description="A todo list that can be watched while it works. Errors are RFC 9457 problem details.",
    )
    # this app only makes the document: it must not configure the process' logging, as Litestar does by default
    app = Litestar([*routes], openapi_config=config, plugins=[StrictStructs()], logging_config=None)
    found: dict[str, Any] = app.openapi_schema.to_schema()
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            if path.startswith("/tasks"):
                _complete(operation, is_tagged=(path, method) not in WITHOUT_TAG)
    return found


def _complete(operation: dict[str, Any], *, is_tagged: bool) -> None:
    """Adds the headers of responses, and the format of ids (which the service parses itself: an invalid one is 404)."""
    for status, answer in operation["responses"].items():
        headers = HEADERS.get(status, {}) | (LIMITED if status != "408" else {})
        kept = {name: header for name, header in headers.items() if is_tagged or name != "ETag"}
        answer["headers"] = answer.get("headers", {}) | kept
    for parameter in operation.get("parameters", []):
        schema = parameter["schema"]
        # an optional parameter may be omitted, but is never null
        for kind in schema.pop("oneOf", []):
            schema.update(kind if kind["type"] != "null" else {})
        if parameter["name"] == "task_id":
            schema["format"] = "uuid"
