"""Counts what the gateway writes into its trouble log: requests that were tried again or answered 5xx."""

import os
from pathlib import Path
from typing import BinaryIO

import msgspec
from prometheus_client import CollectorRegistry, Counter, generate_latest

# nginx' own answers for a replica that refused, broke off, or took too long
FAILED_TRY = {"502", "504"}
# stands for "all replicas were away", and is there from the start
GROUP = "todo_services"
SERVER_ERROR = 500
CHUNK_BYTES = 1 << 20


class Line(msgspec.Struct, frozen=True):
    """A line of the log, as gateway/nginx.conf writes it; tries are separated by commas."""

    status: int
    upstream_addr: str = ""
    upstream_status: str = ""

    def tries(self) -> list[tuple[str, str]]:
        """Address and status of each try, in order; none where no replica was asked."""
        addresses = _split(self.upstream_addr)
        statuses = _split(self.upstream_status)
        return list(zip(addresses, statuses, strict=False))


class GatewayLog:
    """Follows the log from where it ends now. A file that is missing, cut off or replaced is no error."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._registry = CollectorRegistry()
        self._errors = Counter(
            "gateway_upstream_errors",
            "Tries of requests that a replica refused, broke off or did not answer.",
            ["upstream"],
            registry=self._registry,
        )
        self._errors.labels(GROUP)
        self._retries = Counter(
            "gateway_upstream_retries", "Further tries of requests at another replica.", registry=self._registry
        )
        self._responses = Counter(
            "gateway_responses_5xx", "Requests that the gateway answered 5xx.", registry=self._registry
        )
        self._inode, self._offset = self._end()
        self._rest = b""

    def exposition(self) -> str:
        """The counters in Prometheus' text format, with what was written since the last time."""
        self._follow()
        return generate_latest(self._registry).decode()

    def _end(self) -> tuple[int, int]:
        try:
            stat = self._path.stat()
        except OSError:
            return 0, 0
        return stat.st_ino, stat.st_size

    def _follow(self) -> None:
        try:
            with self._path.open("rb") as file:
                stat = os.fstat(file.fileno())
                if stat.st_ino != self._inode or stat.st_size < self._offset:
                    self._inode, self._offset, self._rest = stat.st_ino, 0, b""
                self._read(file)
        except OSError:
            return

    def _read(self, file: BinaryIO) -> None:
        file.seek(self._offset)
        while chunk := file.read(CHUNK_BYTES):
            self._offset += len(chunk)
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            for line in lines:
                self._count(line)

    def _count(self, text: bytes) -> None:
        try:
            line = msgspec.json.decode(text, type=Line)
        except (msgspec.DecodeError, msgspec.ValidationError):
            # a line that was cut off when the gateway was killed
            return
        tries = line.tries()
        for address, status in tries:
            if status in FAILED_TRY:
                self._errors.labels(address).inc()
        self._retries.inc(max(0, len(tries) - 1))
        if line.status >= SERVER_ERROR:
            self._responses.inc()


def _split(text: str) -> list[str]:
    # a colon stands between the tries before and after an internal redirect
    return [part for part in text.replace(" : ", ", ").split(", ") if part and part != "-"]
