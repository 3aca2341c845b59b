"""The store's HTTP API: OTLP in; Tempo's and Loki's API out; its own metrics."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

from google.protobuf.json_format import MessageToDict
from litestar import Litestar, MediaType, Request, Response, get, post
from litestar.config.allowed_hosts import AllowedHostsConfig
from litestar.config.compression import CompressionConfig
from litestar.exceptions import HTTPException
from litestar.params import FromPath
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from lab.internal_errors import internal_error
from lab.tracestore import traces
from lab.tracestore.logs import log_search_of, query_range
from lab.tracestore.metrics import Metrics
from lab.tracestore.otlp import (
    MAX_BODY_BYTES,
    Decoded,
    OtlpError,
    decode_logs,
    decode_traces,
    decompress,
    logs_answer,
    traces_answer,
)
from lab.tracestore.parameters import search_of
from lab.tracestore.reading import TooSlowError
from lab.tracestore.store import QueueFullError, Store
from lab.tracestore.traceql import QueryError

PROTOBUF = "application/x-protobuf"
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
RETRY_SECONDS = "1"
# bytes of bodies that are being read, decoded or written: many concurrent senders must not fill the memory
IN_FLIGHT_BYTES = 32 << 20
# codes of google.rpc.Status (https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto)
INVALID_ARGUMENT, UNAVAILABLE = 3, 14


def create_app(store: Store, metrics: Metrics, hosts: list[str]) -> Litestar:
    """The API of a store, which it closes when it ends. `hosts` are the names it answers to: no web page of elsewhere
    reaches it by a name that resolves to this machine.
    """

    in_flight = 0

    @post("/v1/traces", status_code=200)
    async def take_traces(request: Request[Any, Any, Any]) -> Response[bytes]:
        return await _take(request, "traces", decode_traces, traces_answer)

    @post("/v1/logs", status_code=200)
    async def take_logs(request: Request[Any, Any, Any]) -> Response[bytes]:
        return await _take(request, "logs", decode_logs, logs_answer)

    async def _take(
        request: Request[Any, Any, Any],
        signal: str,
        decode: Callable[[bytes], Decoded],
        answer: Callable[[Decoded], bytes],
    ) -> Response[bytes]:
        nonlocal in_flight
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != PROTOBUF:
            return _status(415, INVALID_ARGUMENT, f"only OTLP's protobuf is taken here, as {PROTOBUF}")
        size = _declared(request.headers.get("content-length", ""))
        if in_flight + size > IN_FLIGHT_BYTES:
            metrics.refused.inc()
            return _status(
                503, UNAVAILABLE, f"{in_flight} bytes are on their way already", {"Retry-After": RETRY_SECONDS}
            )
        in_flight += size
        try:
            return await _keep(request, signal, decode, answer)
        finally:
            in_flight -= size

    async def _keep(
        request: Request[Any, Any, Any],
        signal: str,
        decode: Callable[[bytes], Decoded],
        answer: Callable[[Decoded], bytes],
    ) -> Response[bytes]:
        body = await request.body()
        try:
            decoded, size = await asyncio.to_thread(
                _decode, decode, body, request.headers.get("content-encoding", "").strip().lower()
            )
            # responds after the commit, so that accepted records survive a crash
            await asyncio.wrap_future(store.put(decoded, size))
        except OtlpError as error:
            return _status(413 if error.is_large else 400, INVALID_ARGUMENT, str(error))
        except (QueueFullError, sqlite3.Error) as error:
            return _status(503, UNAVAILABLE, str(error), {"Retry-After": RETRY_SECONDS})
        metrics.rejected.labels(signal).inc(decoded.rejected)
        return Response(answer(decoded), media_type=PROTOBUF)

    @get("/api/traces/{trace_id:str}", sync_to_thread=True)
    def trace_v1(trace_id: FromPath[str], request: Request[Any, Any, Any]) -> Response[Any]:
        data = _trace(trace_id)
        if _wants_protobuf(request):
            return Response(data.SerializeToString(), media_type="application/protobuf")
        return Response({"batches": MessageToDict(data).get("resourceSpans", [])})

    @get("/api/v2/traces/{trace_id:str}", sync_to_thread=True)
    def trace_v2(trace_id: FromPath[str], request: Request[Any, Any, Any]) -> Response[Any]:
        data = _trace(trace_id)
        if _wants_protobuf(request):
            # a TraceByIDResponse, whose first field is the trace
            return Response(_field(1, data.SerializeToString()), media_type="application/protobuf")
        return Response({"trace": MessageToDict(data)})

    def _trace(trace_id: str) -> TracesData:
        found = traces.trace(store.file, trace_id)
        if found is None:
            raise HTTPException(status_code=404, detail=f"no trace {trace_id}")
        return found

    @get("/api/search", sync_to_thread=True)
    def search(request: Request[Any, Any, Any]) -> dict[str, Any]:
        return traces.search(store.file, search_of(request.query_params))

    @get("/api/search/tags", sync_to_thread=True)
    def tags_v1() -> dict[str, list[str]]:
        return {"tagNames": sorted({name for names in traces.tags(store.file).values() for name in names})}

    @get("/api/v2/search/tags", sync_to_thread=True)
    def tags_v2() -> dict[str, Any]:
        return {"scopes": [{"name": scope, "tags": names} for scope, names in traces.tags(store.file).items()]}

    @get("/api/search/tag/{tag:str}/values", sync_to_thread=True)
    def values_v1(tag: FromPath[str]) -> dict[str, list[str]]:
        return {"tagValues": [value for _, value in traces.tag_values(store.file, tag)]}

    @get("/api/v2/search/tag/{tag:str}/values", sync_to_thread=True)
    def values_v2(tag: FromPath[str]) -> dict[str, Any]:
        values = traces.tag_values(store.file, tag)
        return {"tagValues": [{"type": kind, "value": value} for kind, value in values]}

    @get("/loki/api/v1/query_range", sync_to_thread=True)
    def log_lines(request: Request[Any, Any, Any]) -> dict[str, Any]:
        return query_range(store.file, log_search_of(request.query_params))

    @get("/api/echo", media_type=MediaType.TEXT, sync_to_thread=False)
    def echo() -> str:
        return "echo"

    @get("/ready", media_type=MediaType.TEXT, sync_to_thread=False)
    def ready() -> str:
        return "ready\n"

    @get("/metrics", sync_to_thread=True)
    def own_metrics() -> Response[bytes]:
        return Response(metrics.exposition(), media_type=METRICS_TYPE)

    return Litestar(
        [
            take_traces,
            take_logs,
            trace_v1,
            trace_v2,
            search,
            tags_v1,
            tags_v2,
            values_v1,
            values_v2,
            log_lines,
            echo,
            ready,
            own_metrics,
        ],
        openapi_config=None,
        logging_config=None,
        request_max_body_size=MAX_BODY_BYTES,
        allowed_hosts=AllowedHostsConfig(hosts),
        compression_config=CompressionConfig("gzip", gzip_compress_level=4, exclude=["^/v1/", "^/metrics"]),
        exception_handlers={
            HTTPException: lambda _, error: _text(error.status_code, error.detail),
            QueryError: lambda _, error: _text(400, str(error)),
            TooSlowError: lambda _, error: _text(503, str(error)),
            sqlite3.Error: lambda _, error: _text(503, f"the store's file cannot be read: {error}"),
            500: internal_error,
        },
        on_shutdown=[store.close],
    )


def _declared(length: str) -> int:
    """The size of a body according to its header; the maximum size if the header is missing or invalid."""
    return int(length) if length.isdecimal() and len(length) < len("9999999999") else MAX_BODY_BYTES


def _decode(decode: Callable[[bytes], Decoded], body: bytes, encoding: str) -> tuple[Decoded, int]:
    plain = decompress(body, encoding)
    return decode(plain), len(plain)


def _wants_protobuf(request: Request[Any, Any, Any]) -> bool:
    return "application/protobuf" in request.headers.get("accept", "")


def _text(status: int, words: str) -> Response[str]:
    return Response(words + "\n", status_code=status, media_type=MediaType.TEXT)


def _status(status: int, code: int, message: str, headers: dict[str, str] | None = None) -> Response[bytes]:
    """An error as OTLP requires it: google.rpc.Status in protobuf."""
    body = bytes((0x08, code)) + _field(2, message.encode())
    return Response(body, status_code=status, media_type=PROTOBUF, headers=headers)


def _field(number: int, data: bytes) -> bytes:
    """A protobuf field of bytes."""
    length, size = bytearray(), len(data)
    while size >= 0x80:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return bytes((number << 3 | 2,)) + bytes(length) + data
