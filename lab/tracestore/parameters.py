"""The parameters of Tempo's search (https://grafana.com/docs/tempo/latest/api_docs/#search)."""

import shlex
import time
from collections.abc import Mapping

from lab.tracestore.traceql import INTRINSIC_NAMES, QueryError, nanoseconds, parse
from lab.tracestore.traces import END_OF_TIME, Search

MAX_TRACES = 1000
MAX_SPANS = 100
# seconds after now: a span's clock may be ahead of this one
AHEAD_SECONDS = 3600
SECOND = 1_000_000_000


def search_of(parameters: Mapping[str, str]) -> Search:
    """Parses `q` or `tags`, `minDuration`, `maxDuration`, `limit`, `spss`, `start` and `end` (in seconds).

    `order=slowest` is this store's own; Tempo has no order. Raises `QueryError`.
    """
    least, most = parameters.get("minDuration"), parameters.get("maxDuration")
    return Search(
        query=parse(parameters.get("q") or _conditions(parameters.get("tags", ""))),
        start=_moment(parameters, "start", 0),
        end=_moment(parameters, "end", int(time.time()) + AHEAD_SECONDS),
        min_duration=nanoseconds(least) if least else 0,
        max_duration=nanoseconds(most) if most else END_OF_TIME,
        limit=max(1, min(_number(parameters, "limit", 20), MAX_TRACES)),
        spans_per_trace=max(1, min(_number(parameters, "spss", 3), MAX_SPANS)),
        is_slowest_first=parameters.get("order") == "slowest",
    )


def _conditions(tags: str) -> str:
    """TraceQL for the older search syntax, logfmt as in `tags=service.name=todo name="GET /tasks"`."""
    try:
        pairs = [word.partition("=") for word in shlex.split(tags)]
    except ValueError as error:
        raise QueryError(f"tags={tags!r}: {error}") from error
    if any(not key or not sign for key, sign, _ in pairs):
        raise QueryError(f"tags={tags!r}: write key=value, with quotes around a value that has spaces")
    return "{" + " && ".join(_condition(key, value) for key, _, value in pairs) + "}" if pairs else ""


def _condition(key: str, value: str) -> str:
    if key in ("status", "kind"):
        return f"{key} = {value}"
    field = key if key in INTRINSIC_NAMES else f".{key}"
    quoted = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"({field} = {quoted} || {field} = {value})" if value.isdecimal() else f"{field} = {quoted}"


def _moment(parameters: Mapping[str, str], name: str, default: int) -> int:
    """A time in seconds, as nanoseconds; a time beyond SQLite's integers becomes the last one that they can hold."""
    return min(_number(parameters, name, default) * SECOND, END_OF_TIME)


def _number(parameters: Mapping[str, str], name: str, default: int) -> int:
    text = parameters.get(name) or str(default)
    if not text.isdecimal() or len(text) > len("4000000000"):
        raise QueryError(f"{name}={text!r} is not a number")
    return int(text)
