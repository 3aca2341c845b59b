"""`python -m benchmarks.receiver PORT`: takes traces and logs over OTLP as a collector does, reading every post.

A process of its own, so that what it costs is not counted as the service's.
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

ANSWER = ExportTraceServiceResponse().SerializeToString()


class Receiver(BaseHTTPRequestHandler):
    """Answers each POST once its protobuf has been read; GET says how many spans have come."""

    protocol_version = "HTTP/1.1"
    spans = 0

    def do_POST(self) -> None:
        """Takes a batch of spans, or of log records."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/logs":
            ExportLogsServiceRequest.FromString(body)
        else:
            request = ExportTraceServiceRequest.FromString(body)
            Receiver.spans += sum(
                len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans
            )
        self._answer(ANSWER, "application/x-protobuf")

    def do_GET(self) -> None:
        """Says how many spans have come."""
        self._answer(b"%d" % Receiver.spans, "text/plain")

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def _answer(self, body: bytes, media_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
