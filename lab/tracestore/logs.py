"""Queries log lines; results have the format of Loki's HTTP API (https://grafana.com/docs/loki/latest/reference/loki-http-api/)."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from lab.tracestore.logql import LogQuery, parse_logql
from lab.tracestore.otlp import Value, attributes_of, text_of
from lab.tracestore.reading import reading, resource_attributes
from lab.tracestore.traceql import QueryError
from lab.tracestore.traces import END_OF_TIME

MAX_LINES = 5000
SECOND = 1_000_000_000
# Loki's names of the severities of https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber
_LEVELS = ((4, "trace"), (8, "debug"), (12, "info"), (16, "warn"), (20, "error"), (24, "fatal"))


@dataclass(frozen=True)
class LogSearch:
    """A query with its time range (nanoseconds since 1970), limit and order."""

    query: LogQuery
    start: int
    end: int
    limit: int
    is_forward: bool


def log_search_of(parameters: Mapping[str, str]) -> LogSearch:
    """The parameters of Loki's `query_range`. Raises `QueryError`."""
    now = time.time_ns()
    limit = parameters.get("limit") or "100"
    if not limit.isdecimal() or len(limit) > len("1000000") or not 0 < int(limit) <= MAX_LINES:
        raise QueryError(f"limit={limit!r}: must be a number from 1 to {MAX_LINES}")
    return LogSearch(
        parse_logql(parameters.get("query", "")),
        _moment(parameters, "start", now - 3600 * SECOND),
        _moment(parameters, "end", now),
        int(limit),
        parameters.get("direction", "").lower() == "forward",
    )


def query_range(file: Path, wanted: LogSearch) -> dict[str, Any]:
    """The lines, grouped into streams of equal labels. Raises `QueryError`, `TooSlowError`."""
    streams: dict[tuple[tuple[str, str], ...], list[tuple[str, str]]] = {}
    for moment, labels, line in _lines(file, wanted):
        streams.setdefault(tuple(sorted(labels.items())), []).append((str(moment), line))
    result = [{"stream": dict(labels), "values": values} for labels, values in streams.items()]
    return {"status": "success", "data": {"resultType": "streams", "result": result, "stats": {}}}


def _lines(file: Path, wanted: LogSearch) -> Iterator[tuple[int, dict[str, str], str]]:
    query, order = wanted.query, "ASC" if wanted.is_forward else "DESC"
    sql = (
        "SELECT l.time, o.resource, o.scope, l.data FROM logs l JOIN origins o ON o.id = l.origin"  # noqa: S608
        f" WHERE l.time >= ? AND l.time < ?{' AND l.trace_id = ?' if query.trace_id else ''}"
        f" ORDER BY l.time {order}, l.id {order}"
    )
    left = wanted.limit
    with reading(file) as connection:
        for moment, resource, scope, data in connection.execute(
            sql, (wanted.start, wanted.end, *([_key(query.trace_id)] if query.trace_id else []))
        ):
            record = LogRecord.FromString(data)
            labels = _labels(record, resource, scope)
            line = query.line_of(labels, text_of(record.body))
            if line is not None:
                yield moment, labels, line
                left -= 1
                if not left:
                    return


def _labels(record: LogRecord, resource: bytes, scope: bytes) -> dict[str, str]:
    """Labels and structured metadata, named as Loki names them: https://grafana.com/docs/loki/latest/send-data/otel/."""
    labels = {_name(key): _text(value) for key, value in resource_attributes(resource).items()}
    if name := InstrumentationScope.FromString(scope).name:
        labels["scope_name"] = name
    labels |= {_name(key): _text(value) for key, value in attributes_of(record.attributes).items()}
    if record.severity_number:
        labels["severity_number"] = str(record.severity_number)
        level = next((level for most, level in _LEVELS if record.severity_number <= most), "unknown")
        labels["detected_level"] = level
    if record.severity_text:
        labels["severity_text"] = record.severity_text
    if record.trace_id:
        labels["trace_id"] = record.trace_id.hex()
    if record.span_id:
        labels["span_id"] = record.span_id.hex()
    return labels


def _name(key: str) -> str:
    return "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in key)


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _key(trace_id: str | None) -> bytes:
    try:
        return bytes.fromhex(trace_id or "")
    except ValueError:
        return b""


def _moment(parameters: Mapping[str, str], name: str, default: int) -> int:
    """Parses a time as Loki does: unix nanoseconds, unix seconds with or without a fraction, or RFC 3339."""
    text = parameters.get(name)
    if not text:
        return default
    try:
        if text.isdecimal():
            moment = int(text) if len(text) > len("9999999999") else int(text) * SECOND
        elif text.replace(".", "", 1).isdecimal():
            moment = int(float(text) * SECOND)
        else:
            written = datetime.fromisoformat(text)
            if written.tzinfo is None:
                raise ValueError("write the offset from UTC, or Z")
            moment = int(written.timestamp() * SECOND)
    except (ValueError, OverflowError) as error:
        raise QueryError(f"{name}={text!r} is not a time: {error}") from error
    if not 0 <= moment <= END_OF_TIME:
        raise QueryError(f"{name}={text!r} is not a valid time")
    return moment
