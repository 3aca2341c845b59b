"""Spans on their way to the collector: a bounded queue, and a thread that empties it off the request path."""

import threading
from collections import deque
from http import HTTPStatus

from opentelemetry.sdk.resources import Resource
from urllib3 import PoolManager, Timeout
from urllib3.exceptions import HTTPError

from service.telemetry.instruments import Exemplar
from service.telemetry.metrics import Metrics
from service.telemetry.otlp import encode_request, encode_span
from service.telemetry.spans import RecordedSpan

QUEUE_SPANS = 8192
BATCH_SPANS = 1024
PAUSE_SECONDS = 1.0
# A collector that is slow must not hold the queue for long: what it does not take in this time is counted as dropped.
POST_SECONDS = 2.0


class SpanExport:
    """Takes spans as they end, and posts them in batches. What the collector took becomes an exemplar.

    It does what OpenTelemetry's own batch processor does, and besides counts what is dropped and names exemplars.
    It never tries again: a collector that is away costs a batch, and not memory.
    """

    def __init__(self, endpoint: str, resource: Resource, metrics: Metrics) -> None:
        self._url = f"{endpoint}/v1/traces"
        self._resource = resource
        self._exported = metrics.spans_exported
        self._dropped = metrics.spans_dropped
        self._queue: deque[tuple[tuple[str, str], bytes, Exemplar | None]] = deque()
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
        self._queue.append((span.scope, encode_span(span), span.exemplar))
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
            # Whole batches while there are any, and what is left over once in a pause. To send whatever has come since
            # the last post would make many small ones, and a post costs as much as the encoding of sixty spans.
            least = BATCH_SPANS if self._is_due.wait(PAUSE_SECONDS) else 1
            self._is_due.clear()
            while len(self._queue) >= least and self._send() and not self._is_closing:
                least = BATCH_SPANS
        while self._queue and self._send():
            pass

    def _send(self) -> bool:
        """Sends one batch; whether the collector took it."""
        batch = [self._queue.popleft() for _ in range(min(BATCH_SPANS, len(self._queue)))]
        try:
            body = encode_request(self._resource, ((scope, span) for scope, span, _ in batch))
            answer = self._http.request("POST", self._url, body)
            is_taken = answer.status == HTTPStatus.OK
        except HTTPError:
            is_taken = False
        if not is_taken:
            self._dropped["export_failed"].inc(len(batch))
            return False
        self._exported.inc(len(batch))
        # only now that the collector has them, so that no exemplar leads to a lost trace
        for _, _, exemplar in batch:
            if exemplar is not None:
                exemplar.name()
        return True
