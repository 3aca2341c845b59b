"""Spans on their way to the collector: a bounded queue, and a thread that empties it off the request path."""

import threading
from collections import deque
from collections.abc import Callable
from http import HTTPStatus

from opentelemetry.sdk.resources import Resource
from urllib3 import PoolManager, Timeout
from urllib3.exceptions import HTTPError

from service.telemetry.metrics import Metrics
from service.telemetry.otlp import encode_request
from service.telemetry.spans import RecordedSpan

QUEUE_SPANS = 8192
BATCH_SPANS = 1024
PAUSE_SECONDS = 1.0
# A collector that is slow must not hold the queue for long: what it does not take in this time is counted as dropped.
POST_SECONDS = 2.0


class SpanExport:
    """Takes spans as they end, and posts them in batches. `kept` is told of spans that the collector took.

    It does what OpenTelemetry's own batch processor does, and besides counts what is dropped and tells what arrived.
    It never tries again: a collector that is away costs a batch, and not memory.
    """

    def __init__(
        self, endpoint: str, resource: Resource, metrics: Metrics, kept: Callable[[list[RecordedSpan]], None]
    ) -> None:
        self._url = f"{endpoint}/v1/traces"
        self._resource = resource
        self._exported = metrics.spans_exported
        self._dropped = metrics.spans_dropped
        self._kept = kept
        self._queue: deque[RecordedSpan] = deque()
        self._is_due = threading.Event()
        self._is_closing = False
        self._http = PoolManager(
            headers={"Content-Type": "application/x-protobuf"}, timeout=Timeout(POST_SECONDS), retries=False
        )
        self._thread = threading.Thread(target=self._work, name="span-export", daemon=True)
        self._thread.start()

    def add(self, span: RecordedSpan) -> None:
        """Queues a span, or drops and counts it where the queue is full."""
        if len(self._queue) >= QUEUE_SPANS:
            self._dropped["queue_full"].inc()
            return
        self._queue.append(span)
        if len(self._queue) >= BATCH_SPANS and not self._is_due.is_set():
            self._is_due.set()

    def close(self) -> None:
        """Sends what is queued, within the time of one post that fails."""
        self._is_closing = True
        self._is_due.set()
        self._thread.join(POST_SECONDS)
        self._http.clear()

    def _work(self) -> None:
        while not self._is_closing:
            self._is_due.wait(PAUSE_SECONDS)
            self._is_due.clear()
            while self._queue and self._send() and not self._is_closing:
                pass
        while self._queue and self._send():
            pass

    def _send(self) -> bool:
        """Sends one batch; whether the collector took it."""
        batch = [self._queue.popleft() for _ in range(min(BATCH_SPANS, len(self._queue)))]
        try:
            answer = self._http.request("POST", self._url, encode_request(self._resource, batch))
            is_taken = answer.status == HTTPStatus.OK
        except HTTPError:
            is_taken = False
        if not is_taken:
            self._dropped["export_failed"].inc(len(batch))
            return False
        self._exported.inc(len(batch))
        self._kept(batch)
        return True
