"""Queries traces; results have the format of Tempo's HTTP API (https://grafana.com/docs/tempo/latest/api_docs/)."""

import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, TracesData

from lab.tracestore.otlp import Value, attributes_of
from lab.tracestore.reading import reading, resource_attributes
from lab.tracestore.traceql import INTRINSIC_NAMES, KINDS, STATUSES, Query, QueryError, field_sql, parse

# how many of the newest spans are scanned for tags and their values
TAGS_FROM_SPANS = 2000
TRACE_ID_DIGITS = 32
END_OF_TIME = (1 << 63) - 1


@dataclass(frozen=True)
class Search:
    """A search. Durations in nanoseconds, times in nanoseconds since 1970."""

    query: Query = field(default_factory=lambda: parse(""))
    start: int = 0
    end: int = END_OF_TIME
    min_duration: int = 0
    max_duration: int = END_OF_TIME
    limit: int = 20
    spans_per_trace: int = 3
    is_slowest_first: bool = False


def trace(file: Path, trace_id: str) -> TracesData | None:
    """A trace by its hexadecimal id; None if it does not exist. Raises `QueryError`, `TooSlowError`."""
    try:
        key = bytes.fromhex(trace_id.zfill(TRACE_ID_DIGITS))
    except ValueError:
        key = b""
    if len(key) * 2 != TRACE_ID_DIGITS:
        raise QueryError(f"{trace_id!r} is not a trace id: at most {TRACE_ID_DIGITS} hexadecimal digits")
    with reading(file) as connection:
        rows = connection.execute(
            "SELECT o.resource, o.scope, s.data FROM traces t JOIN spans s ON s.trace = t.id"
            " JOIN origins o ON o.id = s.origin WHERE t.trace_id = ? ORDER BY o.resource, o.scope, s.start",
            (key,),
        ).fetchall()
    return _traces_data(rows) if rows else None


def search(file: Path, wanted: Search) -> dict[str, Any]:
    """Traces of which at least one span matches, newest or slowest first. Raises `TooSlowError`."""
    query = wanted.query
    order = "t.end - t.start" if wanted.is_slowest_first else "t.start"
    matching = "1"
    if not query.matches_all:
        matching = f"EXISTS (SELECT 1 FROM spans s WHERE s.trace = t.id AND {query.sql})"  # noqa: S608
    with reading(file) as connection:
        found = connection.execute(
            "SELECT t.id, t.trace_id, t.start, t.end - t.start, t.root_service, t.root_name FROM traces t"  # noqa: S608
            " WHERE t.start BETWEEN ? AND ? AND t.end - t.start BETWEEN ? AND ?"
            f" AND {matching} ORDER BY {order} DESC LIMIT ?",
            (wanted.start, wanted.end, wanted.min_duration, wanted.max_duration, *query.parameters, wanted.limit),
        ).fetchall()
        traces = [_found(connection, wanted, *row) for row in found]
    return {"traces": traces, "metrics": {"inspectedTraces": len(traces)}}


def tags(file: Path) -> dict[str, list[str]]:
    """The names of attributes by scope, of the newest spans; and those of intrinsics."""
    found: dict[str, set[str]] = {"resource": set(), "span": set()}
    for resource, span in _newest(file):
        found["resource"] |= resource.keys()
        found["span"] |= span.keys()
    return {**{scope: sorted(names) for scope, names in found.items()}, "intrinsic": sorted(INTRINSIC_NAMES)}


def tag_values(file: Path, tag: str) -> list[tuple[str, str]]:
    """(type, value) of each value that a field has among the newest spans. Raises `QueryError`, `TooSlowError`."""
    if tag in ("status", "kind"):
        return [("keyword", name) for name in (STATUSES if tag == "status" else KINDS)]
    # the older API names attributes without a scope
    if ":" not in tag and tag not in INTRINSIC_NAMES and tag.partition(".")[0] not in ("", "span", "resource"):
        tag = f".{tag}"
    sql, parameters = field_sql(tag)
    with reading(file) as connection:
        rows = connection.execute(
            f"SELECT DISTINCT {sql} FROM (SELECT * FROM spans ORDER BY rowid DESC LIMIT ?) s"  # noqa: S608
            " JOIN traces t ON t.id = s.trace",
            (*parameters, TAGS_FROM_SPANS),
        ).fetchall()
    return sorted(
        ("string" if isinstance(value, str) else "int" if isinstance(value, int) else "float", str(value))
        for (value,) in rows
        if value is not None
    )


def _newest(file: Path) -> list[tuple[dict[str, Value], dict[str, Value]]]:
    with reading(file) as connection:
        rows = connection.execute(
            "SELECT o.resource, s.data FROM spans s JOIN origins o ON o.id = s.origin ORDER BY s.rowid DESC LIMIT ?",
            (TAGS_FROM_SPANS,),
        ).fetchall()
    return [(resource_attributes(resource), attributes_of(Span.FromString(data).attributes)) for resource, data in rows]


def _found(
    connection: sqlite3.Connection,
    wanted: Search,
    row: int,
    trace_id: bytes,
    start: int,
    duration: int,
    service: str,
    name: str,
) -> dict[str, Any]:
    stats = connection.execute(
        "SELECT service, count(*), sum(status = ?) FROM spans WHERE trace = ? GROUP BY service",
        (STATUSES["error"], row),
    ).fetchall()
    return {
        "traceID": trace_id.hex(),
        "rootServiceName": service,
        "rootTraceName": name,
        "startTimeUnixNano": str(start),
        "durationMs": duration // 1_000_000,
        "spanSets": [_span_set(connection, wanted, row)],
        "serviceStats": {each: {"spanCount": spans, "errorCount": failed} for each, spans, failed in stats},
    }


def _span_set(connection: sqlite3.Connection, wanted: Search, row: int) -> dict[str, Any]:
    query = wanted.query
    selected = [field_sql(name) for name in query.selected]
    columns = "".join(f", {sql}" for sql, _ in selected)
    matching = f"FROM spans s JOIN traces t ON t.id = s.trace WHERE s.trace = ? AND {query.sql}"
    (matched,) = connection.execute(f"SELECT count(*) {matching}", (row, *query.parameters)).fetchone()
    rows = connection.execute(
        f"SELECT s.span_id, s.name, s.start, s.duration{columns} {matching} ORDER BY s.start LIMIT ?",
        (
            *(parameter for _, parameters in selected for parameter in parameters),
            row,
            *query.parameters,
            wanted.spans_per_trace,
        ),
    )
    spans = [
        {
            "spanID": span_id.hex(),
            "name": name,
            "startTimeUnixNano": str(start),
            "durationNanos": str(duration),
            "attributes": [
                {"key": field.removeprefix("span.").removeprefix("resource.").removeprefix("."), "value": _any(value)}
                for field, value in zip(query.selected, values, strict=True)
                if value is not None
            ],
        }
        for span_id, name, start, duration, *values in rows
    ]
    return {"spans": spans, "matched": matched}


def _any(value: str | float) -> dict[str, Any]:
    """A value in the JSON of OTLP's AnyValue."""
    if isinstance(value, str):
        return {"stringValue": value}
    return {"intValue": str(value)} if isinstance(value, int) else {"doubleValue": value}


def _traces_data(rows: list[tuple[bytes, bytes, bytes]]) -> TracesData:
    """The spans of a trace under their resources and scopes; `rows` come grouped by both."""
    data = TracesData()
    resource_bytes: bytes | None = None
    scope_bytes: bytes | None = None
    group, scoped = ResourceSpans(), ScopeSpans()
    for resource, scope, span in rows:
        if resource != resource_bytes:
            group = data.resource_spans.add(resource=Resource.FromString(resource))
            resource_bytes, scope_bytes = resource, None
        if scope != scope_bytes:
            scoped = group.scope_spans.add(scope=InstrumentationScope.FromString(scope))
            scope_bytes = scope
        scoped.spans.append(Span.FromString(span))
        # an exporter may leave out a status that is unset, Tempo never does, and Grafana fails without it
        scoped.spans[-1].status.SetInParent()
    return data
