"""Fuzzed responses of a collector: each span is counted once, and as exported only if the collector accepted it."""

import random
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from testbed import wait_for
from tests.service.telemetry_source import TelemetrySource

SEED, COUNT = 19, 40
TAKEN = ExportTraceServiceResponse().SerializeToString()


class Collector:
    """Responds to each request with the bytes `answer`, and closes the connection."""

    def __init__(self) -> None:
        self.answer = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                try:
                    read_request(connection)
                    connection.sendall(self.answer)
                    # so that the connection is not reset, which could discard the response
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass
                except OSError:
                    pass

    def close(self) -> None:
        self._listener.close()


def read_request(connection: socket.socket) -> None:
    """Reads one request with a body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(fields[b"content-length"]):
        body += connection.recv(65536)


def response(status: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def partial(rejected: int, message: str) -> bytes:
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = rejected
    answer.partial_success.error_message = message
    return answer.SerializeToString()


# whether the span was accepted, and the response
KNOWN = [
    (True, response("200 OK", TAKEN)),
    (True, response("200 OK", b"{}", "Content-Type: application/json")),
    (True, response("200 OK", b"\xff\xfe garbage")),
    (True, response("202 Accepted", b"")),
    (True, response("200 OK", partial(0, "a warning"))),
    (True, response("200 OK", partial(-5, "odd"))),
    (False, response("200 OK", partial(1, "full"))),
    (False, response("200 OK", partial(1 << 60, "\x00\u2028"))),
    (False, response("200 OK", TAKEN, length=50)),
    (False, response("200 OK", b"no gzip", "Content-Encoding: gzip")),
    (False, response("302 Found", b"", "Location: http://127.0.0.1:9/")),
    (False, response("404 Not Found", b"<html>")),
    (False, response("413 Content Too Large", b"")),
    (False, response("500 Internal Server Error", b"\x00")),
    (False, b""),
    (False, b"HTTP/1.1 abc\r\n\r\n"),
    (False, b"\x16\x03\x01\x02\x00\x01\x00"),
    (False, b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n"),
    (False, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
]


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


def odd(chance: random.Random) -> bytes:
    """A response with one to three mutations."""
    answer = bytearray(chance.choice(KNOWN)[1])
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(answer) + 1)
        answer[at : at + chance.choice((0, 1, 6))] = chance.randbytes(chance.randrange(3))
    return bytes(answer)


@pytest.fixture
def source(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], TelemetrySource]:
    """Telemetry that exports to the collector with this timeout in seconds."""

    def make(seconds: str) -> TelemetrySource:
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_EXPORTER_OTLP_TIMEOUT": seconds,
            "OTEL_BSP_SCHEDULE_DELAY": "5",
            "OTEL_LOGS_EXPORTER": "none",
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return TelemetrySource(variables)

    return make


def outcome(made: TelemetrySource, collector: Collector, answer: bytes) -> tuple[float, float]:
    """How many spans are counted as exported and as dropped when the collector responds to a span like this."""

    def counted() -> tuple[float, float]:
        return made.value("telemetry_spans_exported_total"), made.value("telemetry_spans_dropped_total")

    before = counted()
    collector.answer = answer
    made.request()
    wait_for(lambda: sum(counted()) > sum(before), what=f"the end of {answer!r}")
    exported, dropped = counted()
    return exported - before[0], dropped - before[1]


def test_a_span_counts_as_exported_only_if_the_collector_accepted_it(
    collector: Collector, source: Callable[[str], TelemetrySource]
) -> None:
    # failed exports are retried until the timeout, and a slow machine needs time for accepted ones
    patient, hasty = source("60"), source("0.5")
    for is_taken, answer in KNOWN:
        assert outcome(patient if is_taken else hasty, collector, answer) == ((1, 0) if is_taken else (0, 1)), answer
    patient.close()
    hasty.close()


def test_each_span_is_counted_once_for_every_fuzzed_collector_response(
    collector: Collector, source: Callable[[str], TelemetrySource]
) -> None:
    chance, made = random.Random(SEED), source("0.5")
    for _ in range(COUNT):
        answer = odd(chance)
        assert sum(outcome(made, collector, answer)) == 1, answer
    made.close()
