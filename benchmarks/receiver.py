"""`python -m benchmarks.receiver PORT`: receives traces and logs over OTLP like a collector, parsing every request.

A separate process, so that its cost is not counted for the service.
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
    """Answers each POST after parsing its protobuf; GET returns the number of received spans."""

    protocol_version = "HTTP/1.1"
    spans = 0

    def do_POST(self) -> None:
        """Receives a batch of spans or log records."""
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
        """Returns the number of received spans."""
        self._answer(b"%d" % Receiver.spans, "text/plain")

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing."""

    def _answer(self, body: bytes, media_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
