"""Sends the generator's metrics to Prometheus' remote write receiver.

One request a second with every series of the run, in version 1 of the protocol, which Prometheus 2.42 to 3 accept
(https://prometheus.io/docs/specs/prw/remote_write_spec/). Unlike scraped metrics, these have the generator's own
timestamps, and end with a staleness marker when the run ends. The protobuf messages are encoded here, because the
staleness marker is a NaN whose bits must be kept, which encoders of floats do not guarantee.
"""

import struct
import time
from collections.abc import Iterable, Iterator, Mapping

import cramjam
import httpx
from prometheus_client.core import Metric

WRITE_SECONDS = 0.5
LAST_TRIES = 3
HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
STALE = struct.pack("<Q", 0x7FF0000000000002)

Labels = tuple[tuple[str, str], ...]
Point = tuple[Labels, bytes]


class RemoteWriter:
    """Writes to the Prometheus at a base URL. Failures are counted, and never stop a load."""

    def __init__(self, url: str, run: str) -> None:
        self.missed = 0
        """Failed writes."""
        self.reason = ""
        """Why the last one failed."""
        self._run = run
        self._live: set[Labels] = set()
        self._http = httpx.Client(base_url=url, timeout=WRITE_SECONDS, trust_env=False)

    def write(self, metrics: Iterable[Metric], at: float | None = None) -> bool:
        """Writes current values, at unix seconds `at` or now. Ends series that no longer exist. False if it failed."""
        points = list(self._points(metrics))
        live = {labels for labels, _ in points}
        ended = [(labels, STALE) for labels in self._live - live]
        if not self._send([*points, *ended], time.time() if at is None else at):
            return False
        self._live = live
        return True

    def end(self) -> None:
        """Ends all series, and closes the connection."""
        stale = [(labels, STALE) for labels in self._live]
        for _ in range(LAST_TRIES):
            if not stale or self._send(stale, time.time()):
                break
        self._http.close()

    def _points(self, metrics: Iterable[Metric]) -> Iterator[Point]:
        for metric in metrics:
            for sample in metric.samples:
                labels = {**sample.labels, "__name__": sample.name, "run": self._run}
                yield _sorted(labels), struct.pack("<d", sample.value)

    def _send(self, points: list[Point], at: float) -> bool:
        body = bytes(cramjam.snappy.compress_raw(write_request(points, round(at * 1000))))
        try:
            answer = self._http.post("/api/v1/write", content=body, headers=HEADERS)
        except httpx.HTTPError as error:
            self.missed, self.reason = self.missed + 1, str(error) or type(error).__name__
            return False
        if answer.is_success:
            return True
        self.missed, self.reason = self.missed + 1, f"status {answer.status_code}: {answer.text.strip()[:100]}"
        if answer.status_code == httpx.codes.NOT_FOUND:
            self.reason = "it was started without --web.enable-remote-write-receiver"
        return False


def write_request(points: Iterable[Point], milliseconds: int) -> bytes:
    """A `prometheus.WriteRequest` of one sample a series; the values are little-endian doubles."""
    return b"".join(_field(1, _series(labels, value, milliseconds)) for labels, value in points)


def _series(labels: Labels, value: bytes, milliseconds: int) -> bytes:
    named = b"".join(_field(1, _field(1, name.encode()) + _field(2, text.encode())) for name, text in labels)
    return named + _field(2, b"\x09" + value + b"\x10" + _varint(milliseconds))


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _sorted(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))
