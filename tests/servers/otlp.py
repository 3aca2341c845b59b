"""An OTLP receiver in this process: takes traces over HTTP, and can be slow, fail, or be away."""

import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.servers.process import free_port


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as it came. Times in nanoseconds since 1970; `parent_id` is empty for a root."""

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
        """The duration."""
        return (self.ended - self.started) / 1e9


class OtlpReceiver:
    """`with OtlpReceiver() as receiver:` listens at `endpoint`. `stop` and `start` keep the port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.spans: list[ReceivedSpan] = []
        self.posts = 0
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

    def start(self) -> None:
        """Listens."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                receiver._connections.append(self.connection)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver._take(self.path, body)
                # a client that has waited too long is gone
                with suppress(OSError):
                    self.send_response(200)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Is away: connections are refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._connections.clear()

    def be_slow(self) -> None:
        """Takes requests, and answers none until `be_quick`."""
        self._released.clear()

    def be_quick(self) -> None:
        """Answers what waits, and from now on at once."""
        self._released.set()

    def trace(self, trace_id: str) -> list[ReceivedSpan]:
        """The spans of a trace, in the order of their start."""
        return sorted((span for span in self.spans if span.trace_id == trace_id), key=lambda span: span.started)

    def _take(self, path: str, body: bytes) -> None:
        assert path == "/v1/traces"
        self.posts += 1
        self._released.wait(60)
        self.spans += _decode(body)


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


def _attributes(pairs: Sequence[Any]) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in pairs}
