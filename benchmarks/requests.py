"""Sequential requests over one connection, each timed: the latency of a single client."""

import http.client
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Any
from urllib.parse import urlsplit

from benchmarks.figures import percentile

JSON_BODY = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Request:
    """A request, and the expected status."""

    method: str
    path: str
    status: int
    body: str | None = None


@dataclass(frozen=True)
class Timings:
    """Latencies in milliseconds."""

    requests: int
    average_ms: float
    p50_ms: float
    p99_ms: float
    max_ms: float


class UnexpectedAnswer(Exception):  # noqa: N818 (it reads as what happened)
    """A request had an unexpected response, so its time is meaningless."""


def timed(url: str, requests: Iterable[Request]) -> tuple[Timings, list[Any]]:
    """The latencies of requests and their JSON responses, None for an empty one. Raises `UnexpectedAnswer`."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
    latencies: list[float] = []
    answers: list[Any] = []
    try:
        for each in requests:
            started = time.perf_counter()
            connection.request(each.method, each.path, each.body, JSON_BODY if each.body else {})
            response = connection.getresponse()
            body = response.read()
            latencies.append((time.perf_counter() - started) * 1e3)
            if response.status != each.status:
                raise UnexpectedAnswer(f"{each.method} {each.path} was answered {response.status}: {body[:200]!r}")
            answers.append(json.loads(body) if body else None)
    finally:
        connection.close()
    return summary(latencies), answers


def summary(latencies_ms: list[float]) -> Timings:
    """Average, median, 99th percentile and maximum."""
    return Timings(
        len(latencies_ms),
        fmean(latencies_ms),
        percentile(latencies_ms, 0.5),
        percentile(latencies_ms, 0.99),
        max(latencies_ms),
    )
