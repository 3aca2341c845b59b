"""Metrics of the gateway's requests, counted from its request log, including the responses of nginx itself."""

import math
import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

# the kinds in gateway/nginx.conf: a probe is a health check; refused is a 4xx of nginx itself
KINDS = ("read", "write", "probe", "refused")
STATUS_CLASSES = ("2xx", "3xx", "4xx", "5xx")
# nginx logs durations in milliseconds
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# the statuses that nginx logs for a replica that refused or broke the connection, or took too long
FAILED_TRY = {"502", "504"}
# the upstream that nginx logs if no replica was available; its series exists from the start
GROUP = "todo_services"
CHUNK_BYTES = 1 << 20
# limit of an unfinished line; lines of nginx have about a hundred bytes
MAX_LINE_BYTES = 1 << 16
# above this size, the log is truncated after it was read
MAX_BYTES = 8 << 20


class GatewayLog(Collector):
    """Follows the log from its present end. The file may be missing, truncated or replaced; a file that was replaced is
    read to its end first.

    It is read at each scrape, and truncated after that if the file is writable.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._counts = {(kind, status): [0] * (len(BOUNDS) + 1) for kind in KINDS for status in STATUS_CLASSES}
        self._seconds = dict.fromkeys(self._counts, 0.0)
        self._errors = {GROUP: 0}
        # a new series is first exposed with 0, so that Prometheus sees its first value as an increase
        self._exposed = {GROUP}
        self._retries = 0
        self._file = self._open()
        self._offset = self._file.seek(0, os.SEEK_END) if self._file else 0
        self._rest = b""
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def exposition(self) -> str:
        """Reads what was appended to the log, and returns the metrics in Prometheus' text format."""
        self._follow()
        return generate_latest(self._registry).decode()

    def collect(self) -> Iterable[Metric]:
        """The current metrics."""
        requests = HistogramMetricFamily(
            "gateway_request_duration_seconds",
            "Duration of requests at the gateway, from their first byte to the last byte of the response.",
            labels=("kind", "status_class"),
        )
        for key, counts in self._counts.items():
            requests.add_metric(key, list(_buckets(counts)), self._seconds[key])
        yield requests
        errors = CounterMetricFamily(
            "gateway_upstream_errors",
            "Attempts that a replica refused, aborted or did not answer.",
            labels=("upstream",),
        )
        for upstream, count in self._errors.items():
            errors.add_metric((upstream,), count if upstream in self._exposed else 0)
        self._exposed |= self._errors.keys()
        yield errors
        yield CounterMetricFamily("gateway_upstream_retries", "Retries of requests on another replica.", self._retries)
        yield GaugeMetricFamily("gateway_log_bytes", "Size of the gateway's request log.", self._size())

    def _open(self) -> FileIO | None:
        try:
            # unbuffered, because after a truncation a buffer would have the old content
            return self._path.open("rb", buffering=0)
        except OSError:
            return None

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def _follow(self) -> None:
        with suppress(OSError):
            if self._file:
                self._read(self._file)
            if not self._is_same_file():
                if self._file:
                    self._file.close()
                self._file, self._offset, self._rest = self._open(), 0, b""
                if self._file:
                    self._read(self._file)
            if self._offset > self._max_bytes and self._size() == self._offset:
                os.truncate(self._path, 0)
                self._offset, self._rest = 0, b""

    def _is_same_file(self) -> bool:
        """Whether the path still refers to the open file; also true while there is no file at the path."""
        if not self._file:
            return False
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        except OSError:
            return True

    def _read(self, file: FileIO) -> None:
        if os.fstat(file.fileno()).st_size < self._offset:
            # it was truncated
            self._offset, self._rest = 0, b""
        file.seek(self._offset)
        while chunk := file.read(CHUNK_BYTES):
            self._offset += len(chunk)
            *lines, rest = (self._rest + chunk).split(b"\n")
            self._rest = rest[:MAX_LINE_BYTES]
            # for speed: durations have only millisecond precision, so many lines are equal, and each is parsed once
            for line, count in Counter(lines).items():
                self._count(line, count)

    def _count(self, text: bytes, count: int) -> None:
        """Counts `count` lines that read `kind|status|seconds|upstream addresses|upstream statuses`."""
        try:
            kind, status, duration, addresses, statuses = text.decode().split("|")
            seconds = float(duration)
            key = (kind, f"{status[0]}xx")
            buckets = self._counts[key]
        except (ValueError, IndexError, KeyError):
            # a truncated line, as when the gateway was killed
            return
        if not 0 <= seconds < math.inf:
            return
        buckets[bisect_left(BOUNDS, seconds)] += count
        self._seconds[key] += seconds * count
        tries = list(zip(_split(addresses), _split(statuses), strict=False))
        for address, answer in tries:
            failed = count if answer in FAILED_TRY else 0
            self._errors[address] = self._errors.get(address, 0) + failed
        self._retries += count * max(0, len(tries) - 1)


def _buckets(counts: list[int]) -> Iterator[tuple[str, float]]:
    total = 0
    for bound, count in zip((*BOUNDS, float("inf")), counts, strict=True):
        total += count
        yield floatToGoString(bound), total  # type: ignore[no-untyped-call]


def _split(text: str) -> list[str]:
    # nginx separates the attempts before and after an internal redirect by a colon
    return [part for part in text.replace(" : ", ", ").split(", ") if part and part != "-"]
