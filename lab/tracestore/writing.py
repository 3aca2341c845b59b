"""Writing: storing a batch, and removing the oldest records."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from lab.tracestore.otlp import Decoded, LogRow, Origin, SpanRow

# how many are removed in one transaction at most, so that new records do not wait long
EVICTED_AT_ONCE = 500

_TABLES = ("traces", "logs")

_PUT_TRACE = """
INSERT INTO traces (trace_id, received, start, end, root_rank, root_name, root_service) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (trace_id) DO UPDATE SET
    start = min(start, excluded.start),
    end = max(end, excluded.end),
    root_name = iif(excluded.root_rank < root_rank, excluded.root_name, root_name),
    root_service = iif(excluded.root_rank < root_rank, excluded.root_service, root_service),
    root_rank = min(root_rank, excluded.root_rank)
RETURNING id
"""
# a sender without a response retries: the same span is stored once
_PUT_SPAN = "INSERT OR REPLACE INTO spans VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
# likewise the same log record, as in Loki
_PUT_LOG = """
INSERT INTO logs (received, time, trace_id, origin, data)
SELECT :received, :time, :trace_id, :origin, :data
WHERE NOT EXISTS (SELECT 1 FROM logs WHERE time = :time AND origin = :origin AND data = :data)
RETURNING id
"""
_PUT_ORIGIN = """
INSERT INTO origins (resource, scope) VALUES (?, ?)
ON CONFLICT (resource, scope) DO UPDATE SET resource = resource RETURNING id
"""


def write(connection: sqlite3.Connection, batch: Sequence[Decoded], received: int) -> None:
    """Writes the records of a batch in one transaction; `received` in unix seconds. Raises `sqlite3.Error`."""
    with _transaction(connection):
        origins: dict[Origin, int] = {}
        by_trace: dict[bytes, list[SpanRow]] = {}
        for decoded in batch:
            for span in decoded.spans:
                by_trace.setdefault(span.trace_id, []).append(span)
        for trace_id, spans in by_trace.items():
            _write_trace(connection, trace_id, spans, received, origins)
        for decoded in batch:
            for record in decoded.logs:
                _write_log(connection, record, received, origins)


def evict_before(connection: sqlite3.Connection, received: int) -> tuple[int, int]:
    """Removes some records received before `received`, in unix seconds. Returns how many (spans, log records)."""
    trace, record = (
        _one(
            connection,
            f"SELECT max(id) FROM (SELECT id, received FROM {table} ORDER BY id LIMIT ?) WHERE received < ?",  # noqa: S608
            EVICTED_AT_ONCE,
            received,
        )[0]
        for table in _TABLES
    )
    return (0, 0) if trace is None and record is None else _evict(connection, trace, record)


def evict_oldest(connection: sqlite3.Connection) -> tuple[int, int]:
    """Removes some of the oldest records of the signal with the older ones. Returns how many (spans, log records)."""
    oldest = []
    for table in _TABLES:
        first, last = _one(connection, f"SELECT min(id), max(id) FROM {table}")  # noqa: S608
        if first is None or last is None:
            oldest.append((float("inf"), None))
            continue
        until = min(first + EVICTED_AT_ONCE - 1, first + (last - first) // 20)
        (received,) = _one(connection, f"SELECT max(received) FROM {table} WHERE id <= ?", until)  # noqa: S608
        oldest.append((received or 0, until))
    (trace_age, trace), (record_age, record) = oldest
    # from both tables if their oldest rows are equally old, as after a burst
    return _evict(connection, trace if trace_age <= record_age else None, record if record_age <= trace_age else None)


def used_bytes(connection: sqlite3.Connection) -> int:
    """The bytes of used pages. The file does not shrink: free pages are reused."""
    (size,), (pages,), (free,) = (
        _one(connection, f"PRAGMA {name}") for name in ("page_size", "page_count", "freelist_count")
    )
    return int(size * (pages - free))


def _evict(connection: sqlite3.Connection, trace: int | None, record: int | None) -> tuple[int, int]:
    """Removes traces and log records up to these ids."""
    with _transaction(connection):
        spans = connection.execute("DELETE FROM spans WHERE trace <= ?", (trace,)).rowcount
        connection.execute("DELETE FROM traces WHERE id <= ?", (trace,))
        logs = connection.execute("DELETE FROM logs WHERE id <= ?", (record,)).rowcount
        connection.execute(
            "DELETE FROM origins WHERE last_trace < coalesce((SELECT min(id) FROM traces), last_trace + 1)"
            " AND last_log < coalesce((SELECT min(id) FROM logs), last_log + 1)"
        )
    return spans, logs


def _write_trace(
    connection: sqlite3.Connection,
    trace_id: bytes,
    spans: Sequence[SpanRow],
    received: int,
    origins: dict[Origin, int],
) -> None:
    root = min(spans, key=lambda span: (_rank(span), span.start))
    start = min(span.start for span in spans)
    end = max(span.start + span.duration for span in spans)
    (trace,) = _one(connection, _PUT_TRACE, trace_id, received, start, end, _rank(root), root.name, root.service)
    used = {span.origin: _origin(connection, span.origin, origins) for span in spans}
    connection.executemany(_PUT_SPAN, [(trace, *span[1:11], used[span.origin], span.data) for span in spans])
    connection.executemany(
        "UPDATE origins SET last_trace = max(last_trace, ?) WHERE id = ?", [(trace, origin) for origin in used.values()]
    )


def _write_log(connection: sqlite3.Connection, record: LogRow, received: int, origins: dict[Origin, int]) -> None:
    origin = _origin(connection, record.origin, origins)
    row = {
        "received": received,
        "time": record.time,
        "trace_id": record.trace_id,
        "origin": origin,
        "data": record.data,
    }
    for (number,) in connection.execute(_PUT_LOG, row).fetchall():
        connection.execute("UPDATE origins SET last_log = ? WHERE id = ?", (number, origin))


def _origin(connection: sqlite3.Connection, origin: Origin, known: dict[Origin, int]) -> int:
    if origin not in known:
        (known[origin],) = _one(connection, _PUT_ORIGIN, *origin)
    return known[origin]


def _rank(span: SpanRow) -> int:
    """Ranks spans as the trace's root, lowest first: no parent, then server spans, whose parents are elsewhere."""
    if not span.parent_id:
        return 0
    return 1 if span.kind == Span.SPAN_KIND_SERVER else 2


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _one(connection: sqlite3.Connection, sql: str, *parameters: object) -> tuple[Any, ...]:
    found: tuple[Any, ...] = connection.execute(sql, parameters).fetchone()
    return found
