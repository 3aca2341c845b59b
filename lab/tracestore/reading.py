"""Connections for reading, with SQL functions that decode the stored messages, and a time limit."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from lab.tracestore.database import open_to_read
from lab.tracestore.otlp import Value, attributes_of, value_of
from lab.tracestore.traceql import pattern_of

READ_SECONDS = 5.0
# how often SQLite checks the time limit, in steps of its virtual machine
_STEPS = 5000


class TooSlowError(Exception):
    """A query took longer than `READ_SECONDS`."""


@contextmanager
def reading(file: Path) -> Iterator[sqlite3.Connection]:
    """A connection for one query. Its body raises `TooSlowError` if it takes too long."""
    connection = open_to_read(file)
    try:
        deadline = time.monotonic() + READ_SECONDS
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
        for name, arguments, function in (
            ("span_attribute", 2, _span_attribute),
            ("resource_attribute", 2, _resource_attribute),
            ("regexp", 2, _regexp),
            ("as_number", 1, _as_number),
            ("as_text", 1, _as_text),
        ):
            connection.create_function(name, arguments, function, deterministic=True)
        yield connection
    except sqlite3.OperationalError as error:
        if "interrupted" not in str(error):
            raise
        raise TooSlowError(
            f"took longer than {READ_SECONDS:g} s: use a shorter time range, or a more selective query"
        ) from error
    finally:
        connection.close()


@lru_cache(256)
def resource_attributes(data: bytes) -> dict[str, Value]:
    """The attributes of a serialized Resource."""
    return attributes_of(Resource.FromString(data).attributes)


def scalar(value: Value) -> str | int | float | None:
    """A value as an SQL type; a list becomes text."""
    return str(value) if isinstance(value, list) else value


def _span_attribute(data: bytes, key: str) -> str | int | float | None:
    return scalar(value_of(Span.FromString(data).attributes, key))


def _resource_attribute(data: bytes, key: str) -> str | int | float | None:
    return scalar(resource_attributes(data).get(key))


def _regexp(pattern: str, value: object) -> bool | None:
    return None if value is None else pattern_of(pattern).fullmatch(str(value)) is not None


def _as_number(value: object) -> int | float | None:
    return value if isinstance(value, int | float) else None


def _as_text(value: object) -> str | None:
    return value if isinstance(value, str) else None
