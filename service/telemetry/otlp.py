"""Spans as OTLP protobuf (https://opentelemetry.io/docs/specs/otlp/, opentelemetry/proto/trace/v1/trace.proto).

It exists for speed, and takes a fifth of the official encoder's time (a test holds the two against each other).
That one builds a message object for every span and every attribute, which costs more than all else about a span.
The encoding of an attribute is kept, since the same few come again with every request.
"""

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache

from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.util.types import AttributeValue

from service.telemetry.spans import Event, RecordedSpan

# the field `flags`: sampled, and that it is known whether the parent is remote, and whether it is
LOCAL_PARENT = b"\x85\x01" + (0x101).to_bytes(4, "little")
REMOTE_PARENT = b"\x85\x01" + (0x301).to_bytes(4, "little")

_times = struct.Struct("<BQBQ").pack


def encode_request(resource: Resource, spans: Sequence[RecordedSpan]) -> bytes:
    """An ExportTraceServiceRequest with the spans of one resource."""
    by_scope: dict[tuple[str, str], list[bytes]] = {}
    for span in spans:
        by_scope.setdefault(span.scope, []).append(_field(2, _span(span)))
    parts = [_field(1, _attributes(1, resource.attributes))]
    for (name, version), encoded in by_scope.items():
        scope_bytes = _field(1, name.encode()) + (_field(2, version.encode()) if version else b"")
        parts.append(_field(2, _field(1, scope_bytes) + b"".join(encoded)))
    return _field(1, b"".join(parts))


def _span(span: RecordedSpan) -> bytes:
    parts = [
        b"\x0a\x10" + span.trace_id.to_bytes(16, "big") + b"\x12\x08" + span.span_id.to_bytes(8, "big"),
        _named(span.name, span.kind),
        _times(0x39, span.start_time, 0x41, span.end_time),
        _attributes(9, span.attributes),
        REMOTE_PARENT if span.is_parent_remote else LOCAL_PARENT,
    ]
    if span.parent_id:
        parts.append(b"\x22\x08" + span.parent_id.to_bytes(8, "big"))
    if span.events:
        parts.extend([_field(11, _event(event)) for event in span.events])
    if span.status is not StatusCode.UNSET:
        parts.append(_field(15, bytes((0x18, span.status.value))))
    return b"".join(parts)


@lru_cache(256)
def _named(name: str, kind: SpanKind) -> bytes:
    # the API counts kinds from 0 (internal), the protocol from 1
    return _string(5, name) + bytes((0x30, kind.value + 1))


def _event(event: Event) -> bytes:
    name, moment, attributes = event
    return b"\x09" + moment.to_bytes(8, "little") + _string(2, name) + _attributes(3, attributes)


def _attributes(number: int, attributes: Mapping[str, AttributeValue]) -> bytes:
    # the type is part of the key: 1 and True are equal, and are not the same attribute
    return b"".join([_attribute(number, key, value, type(value)) for key, value in attributes.items()])  # type: ignore[arg-type]


@lru_cache(4096)
def _attribute(number: int, key: str, value: AttributeValue, _kind: type) -> bytes:
    return _field(number, _string(1, key) + _field(2, _value(value)))


def _value(value: AttributeValue) -> bytes:
    if isinstance(value, str):
        return _string(1, value)
    if isinstance(value, bool):
        return bytes((0x10, value))
    if isinstance(value, int):
        return b"\x18" + _varint(value & 0xFFFFFFFFFFFFFFFF)
    if isinstance(value, float):
        return b"\x21" + struct.pack("<d", value)
    if isinstance(value, Sequence):
        return _field(5, b"".join(_field(1, _value(each)) for each in value))
    raise TypeError(f"no attribute can be {value!r}")


def _string(number: int, text: str) -> bytes:
    return _field(number, text.encode())


def _field(number: int, data: bytes) -> bytes:
    """A field of bytes, with its number (at most 15) and its length."""
    return bytes((number << 3 | 2,)) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
