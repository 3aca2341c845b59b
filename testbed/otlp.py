"""An OTLP receiver in this process for traces and logs over HTTP, which can be slow, reject, fail, or be down."""

import gzip
import socket
import ssl
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from testbed.process import free_port

TRICKLE_SECONDS = 0.1


@dataclass(frozen=True)
class ReceivedSpan:
    """A received span. Times in nanoseconds since 1970; `parent_id` is empty for a root."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    started: int
    ended: int
    status: int
    attributes: dict[str, Any]
    events: tuple[str, ...]
    scope: str
    resource: dict[str, Any]

    @property
    def seconds(self) -> float:
        """The duration in seconds."""
        return (self.ended - self.started) / 1e9


@dataclass(frozen=True)
class ReceivedLog:
    """A received log record. The ids are empty if it belongs to no request."""

    body: str
    severity: str
    trace_id: str
    span_id: str
    is_sampled: bool
    attributes: dict[str, Any]
    resource: dict[str, Any]


@dataclass(frozen=True)
class Post:
    """A received request: header names in lower case, the body after decompression."""

    path: str
    headers: dict[str, str]
    body: bytes


class OtlpReceiver:
    """`with OtlpReceiver() as receiver:` listens at `endpoint`. `stop` and `start` keep the port."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.port = free_port()
        self.endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.spans: list[ReceivedSpan] = []
        self.logs: list[ReceivedLog] = []
        self.received: list[Post] = []
        self.rejects = 0
        """The number of records of each batch that it reports as rejected."""
        self.status = 200
        """The status of its responses; with any other than 200 it stores nothing."""
        self.trickles = False
        """Whether its responses are sent byte by byte, including headers, and never end."""
        self._tls = tls
        self._released = threading.Event()
        self._released.set()
        self._server: ThreadingHTTPServer | None = None
        self._connections: list[socket.socket] = []

    def __enter__(self) -> "OtlpReceiver":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.be_quick()
        self.stop()

    @property
    def posts(self) -> int:
        """The number of received requests."""
        return len(self.received)

    def start(self) -> None:
        """Starts to listen."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                receiver._connections.append(self.connection)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = receiver._take(self.path, headers, body)
                # the client has timed out and closed the connection
                with suppress(OSError):
                    if receiver.trickles:
                        self._trickle()
                    self.send_response(receiver.status)
                    self.send_header("Content-Type", "application/x-protobuf")
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)

            def _trickle(self) -> None:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while receiver.trickles and receiver._server is not None:
                    self.wfile.write(b"x")
                    threading.Event().wait(TRICKLE_SECONDS)
                self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        if self._tls is not None:
            self._server.socket = self._tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._server.daemon_threads = True
        self._server.block_on_close = False
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Stops: connections are refused."""
        if self._server is not None:
            server, self._server = self._server, None
            server.shutdown()
            server.server_close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._connections.clear()

    def be_slow(self) -> None:
        """Accepts requests, but sends no responses until `be_quick`."""
        self._released.clear()

    def be_quick(self) -> None:
        """Sends the delayed responses, and responds immediately from now on."""
        self.trickles = False
        self._released.set()

    def trace(self, trace_id: str) -> list[ReceivedSpan]:
        """The spans of a trace, ordered by start."""
        return sorted((span for span in self.spans if span.trace_id == trace_id), key=lambda span: span.started)

    def _take(self, path: str, headers: dict[str, str], body: bytes) -> bytes:
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.received.append(Post(path, headers, body))
        self._released.wait(60)
        if path.endswith("/v1/logs"):
            self.logs += _decode_logs(body)
            logs = ExportLogsServiceResponse()
            if self.rejects:
                logs.partial_success.rejected_log_records = self.rejects
                logs.partial_success.error_message = "full"
            return logs.SerializeToString()
        assert path.endswith("/v1/traces")
        self.spans += _decode(body)
        spans = ExportTraceServiceResponse()
        if self.rejects:
            spans.partial_success.rejected_spans = self.rejects
            spans.partial_success.error_message = "full"
        return spans.SerializeToString()


def _decode(body: bytes) -> list[ReceivedSpan]:
    request = ExportTraceServiceRequest.FromString(body)
    return [
        ReceivedSpan(
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            span.name,
            span.kind,
            span.start_time_unix_nano,
            span.end_time_unix_nano,
            span.status.code,
            _attributes(span.attributes),
            tuple(event.name for event in span.events),
            scoped.scope.name,
            _attributes(resource.resource.attributes),
        )
        for resource in request.resource_spans
        for scoped in resource.scope_spans
        for span in scoped.spans
    ]


def _decode_logs(body: bytes) -> list[ReceivedLog]:
    request = ExportLogsServiceRequest.FromString(body)
    return [
        ReceivedLog(
            record.body.string_value,
            record.severity_text,
            record.trace_id.hex(),
            record.span_id.hex(),
            bool(record.flags & 1),
            _attributes(record.attributes),
            _attributes(resource.resource.attributes),
        )
        for resource in request.resource_logs
        for scoped in resource.scope_logs
        for record in scoped.log_records
    ]


def _attributes(pairs: Sequence[Any]) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in pairs}
