"""Content negotiation and strict validation of requests, before Litestar parses them."""

import re
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from litestar import Request
from litestar.exceptions import ClientException, HTTPException, ValidationException

from service.requests import ACCEPT
from service.tasks.model import NewTask, TaskChange
from service.weights import weighted

DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    "POST": msgspec.json.Decoder(NewTask),
    "PATCH": msgspec.json.Decoder(TaskChange),
}
# the media ranges that include JSON, the most specific first
RANGES = ("application/json", "application/*", "*/*")
# stricter than Litestar, which also accepts 1e1 for a whole number and 1 for a boolean
QUERY = {"limit": re.compile("[1-9][0-9]{0,2}"), "done": re.compile("true|false")}
# longer headers are not cached, so that a client cannot fill the memory with them
CACHED_BYTES = 256


async def negotiate(request: Request[Any, Any, Any]) -> None:
    """Raises 406 if the client does not accept JSON, 415 if the body is not declared as JSON, 400 or 422 if invalid.

    Requiring application/json also protects from other sites' pages: a browser sends that type only after a CORS
    preflight, which this service never grants.
    """
    scope: Any = request.scope
    accept: bytes = scope[ACCEPT]
    if accept and not accepts_json(accept):
        raise HTTPException(status_code=406, detail="only application/json is offered")
    decoder = DECODERS.get(scope["method"])
    if decoder is None:
        if scope["query_string"]:
            check_query(scope["query_string"])
        return
    is_json = False
    for name, value in scope["headers"]:
        if name == b"content-type":
            is_json = _is_json(value)
            if not is_json:
                break
        elif name == b"content-encoding" and value.strip().lower() != b"identity":
            raise HTTPException(
                status_code=415, detail="the body must not be encoded", headers={"Accept-Encoding": "identity"}
            )
    if not is_json:
        raise HTTPException(status_code=415, detail="the body must be application/json")
    check_body(await request.body(), decoder)


def accepts_json(accept: bytes) -> bool:
    """Whether an Accept header allows JSON."""
    return _cached(accept) if len(accept) <= CACHED_BYTES else _accepts_json(accept)


def _accepts_json(accept: bytes) -> bool:
    if not accept.strip():
        return True
    qualities = weighted(accept)
    return next((qualities[each] for each in RANGES if each in qualities), 0.0) > 0


_cached = lru_cache(1000)(_accepts_json)


def check_body(body: bytes, decoder: msgspec.json.Decoder[Any]) -> None:
    """Raises 400 if the body is not JSON, 422 if it is missing or a field has another type.

    Stricter than Litestar, which accepts 1 and "true" for a boolean.
    """
    if not body:
        raise HTTPException(status_code=422, detail="there is no body")
    try:
        decoder.decode(body)
    except msgspec.ValidationError as error:
        message, _, at = str(error).partition(" - at `$")
        key = at.strip("`.") or "data"
        raise ValidationException(extra=[{"message": message, "key": key, "source": "body"}]) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ClientException(detail="the body is not JSON in UTF-8") from error


def check_query(query: bytes) -> None:
    """Raises 400 for a parameter that is repeated, or that does not have the form that the OpenAPI document gives."""
    seen: set[str] = set()
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name in seen:
            raise ClientException(detail=f"{name[:64]}: give it once")
        seen.add(name)
        if name in QUERY and not QUERY[name].fullmatch(value):
            raise ClientException(detail=f"{name}: must match {QUERY[name].pattern}")


def _is_json(content_type: bytes) -> bool:
    return content_type.split(b";")[0].strip().lower() == b"application/json"
