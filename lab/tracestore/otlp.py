"""Decodes OTLP requests into the store's rows (https://opentelemetry.io/docs/specs/otlp/)."""

import gzip
import io
import zlib
from collections.abc import Iterable
from typing import NamedTuple

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

MAX_BODY_BYTES = 4 << 20
TRACE_ID_BYTES = 16
SPAN_ID_BYTES = 8

Value = str | int | float | bool | list["Value"] | None


class OtlpError(ValueError):
    """An invalid OTLP request. `is_large` if it is valid but too large."""

    def __init__(self, problem: str, *, is_large: bool = False) -> None:
        super().__init__(problem)
        self.is_large = is_large


class Origin(NamedTuple):
    """The origin of a record: the serialized Resource and InstrumentationScope messages."""

    resource: bytes
    scope: bytes


class SpanRow(NamedTuple):
    """A span. Times in nanoseconds since 1970, durations in nanoseconds; `data` is the serialized Span message."""

    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    name: str
    kind: int
    status: int
    start: int
    duration: int
    service: str
    route: str | None
    code: int | None
    origin: Origin
    data: bytes


class LogRow(NamedTuple):
    """A log record. Time in nanoseconds since 1970; `data` is the serialized LogRecord message."""

    time: int
    trace_id: bytes | None
    origin: Origin
    data: bytes


class Decoded(NamedTuple):
    """A decoded request: rows to store, and how many records were rejected, with the first reason."""

    spans: tuple[SpanRow, ...] = ()
    logs: tuple[LogRow, ...] = ()
    rejected: int = 0
    reason: str = ""


def decompress(body: bytes, encoding: str) -> bytes:
    """The body without its content coding, `gzip` or none. Raises `OtlpError`."""
    if encoding in ("", "identity"):
        return body
    if encoding != "gzip":
        raise OtlpError(f"content coding {encoding!r} is not known: send gzip, or none")
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
            plain = file.read(MAX_BODY_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise OtlpError(f"not gzip: {error}") from error
    if len(plain) > MAX_BODY_BYTES:
        raise OtlpError(f"more than {MAX_BODY_BYTES} bytes after decompression", is_large=True)
    return plain


def decode_traces(body: bytes) -> Decoded:
    """An ExportTraceServiceRequest. Raises `OtlpError`."""
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise OtlpError(f"not an ExportTraceServiceRequest: {error}") from error
    rows: list[SpanRow] = []
    rejected, reason = 0, ""
    for group in request.resource_spans:
        resource, service = group.resource.SerializeToString(), service_of(group.resource.attributes)
        for scoped in group.scope_spans:
            origin = Origin(resource, scoped.scope.SerializeToString())
            for span in scoped.spans:
                if problem := _fault(span):
                    rejected, reason = rejected + 1, reason or problem
                else:
                    rows.append(_span_row(span, service, origin))
    return Decoded(spans=tuple(rows), rejected=rejected, reason=reason)


def decode_logs(body: bytes) -> Decoded:
    """An ExportLogsServiceRequest. Raises `OtlpError`."""
    try:
        request = ExportLogsServiceRequest.FromString(body)
    except DecodeError as error:
        raise OtlpError(f"not an ExportLogsServiceRequest: {error}") from error
    rows: list[LogRow] = []
    rejected, reason = 0, ""
    for group in request.resource_logs:
        resource = group.resource.SerializeToString()
        for scoped in group.scope_logs:
            origin = Origin(resource, scoped.scope.SerializeToString())
            for record in scoped.log_records:
                time = record.time_unix_nano or record.observed_time_unix_nano
                if not 0 < time < 1 << 63:
                    rejected, reason = rejected + 1, reason or "a log record without a time"
                    continue
                trace_id = record.trace_id if _is_id(record.trace_id, TRACE_ID_BYTES) else None
                rows.append(LogRow(time, trace_id, origin, record.SerializeToString()))
    return Decoded(logs=tuple(rows), rejected=rejected, reason=reason)


def traces_answer(decoded: Decoded) -> bytes:
    """The ExportTraceServiceResponse, with a partial success where spans were rejected."""
    answer = ExportTraceServiceResponse()
    if decoded.rejected:
        partial = ExportTracePartialSuccess(rejected_spans=decoded.rejected, error_message=decoded.reason)
        answer.partial_success.CopyFrom(partial)
    return answer.SerializeToString()


def logs_answer(decoded: Decoded) -> bytes:
    """The ExportLogsServiceResponse, with a partial success where records were rejected."""
    answer = ExportLogsServiceResponse()
    if decoded.rejected:
        partial = ExportLogsPartialSuccess(rejected_log_records=decoded.rejected, error_message=decoded.reason)
        answer.partial_success.CopyFrom(partial)
    return answer.SerializeToString()


def attributes_of(pairs: Iterable[KeyValue]) -> dict[str, Value]:
    """Attributes as a dictionary; bytes become hexadecimal digits, and a nested list of pairs its text."""
    return {pair.key: _value(pair.value) for pair in pairs}


def value_of(pairs: Iterable[KeyValue], key: str) -> Value:
    """One attribute, None where it is not there."""
    for pair in pairs:
        if pair.key == key:
            return _value(pair.value)
    return None


def service_of(pairs: Iterable[KeyValue]) -> str:
    """The service's name in a resource's attributes."""
    return str(value_of(pairs, "service.name") or "unknown_service")


def text_of(value: AnyValue) -> str:
    """A value as text; empty if it is missing."""
    found = _value(value)
    return "" if found is None else str(found)


def _value(value: AnyValue) -> Value:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return str(attributes_of(value.kvlist_value.values))
    if kind == "bytes_value":
        return value.bytes_value.hex()
    found: str | int | float | bool = getattr(value, kind)
    return found


def _fault(span: Span) -> str:
    """Why a span is rejected; empty if it is valid."""
    if not _is_id(span.trace_id, TRACE_ID_BYTES):
        return "a span whose trace id is not 16 bytes, or all zero"
    if not _is_id(span.span_id, SPAN_ID_BYTES):
        return "a span whose span id is not 8 bytes, or all zero"
    if not 0 < span.start_time_unix_nano < 1 << 63 or span.end_time_unix_nano >= 1 << 63:
        return "a span without a start, or with a time that is none"
    return ""


def _is_id(value: bytes, size: int) -> bool:
    return len(value) == size and any(value)


def _span_row(span: Span, service: str, origin: Origin) -> SpanRow:
    route, code = None, None
    for pair in span.attributes:
        if pair.key == "http.route":
            route = pair.value.string_value
        elif pair.key == "http.response.status_code":
            code = pair.value.int_value
    return SpanRow(
        span.trace_id,
        span.span_id,
        span.parent_span_id,
        span.name,
        span.kind,
        span.status.code,
        span.start_time_unix_nano,
        max(0, span.end_time_unix_nano - span.start_time_unix_nano),
        service,
        route,
        code,
        origin,
        span.SerializeToString(),
    )
