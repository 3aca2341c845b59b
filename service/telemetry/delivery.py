"""Wraps OpenTelemetry's exporters: counts the outcome of each batch, and logs failures at most once a minute."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

import structlog
from google.protobuf.message import DecodeError
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from prometheus_client import Counter

from service.telemetry.collector import CollectorSession

log = structlog.stdlib.get_logger("service.telemetry")

PAUSE_SECONDS = 60.0


class Delivery:
    """Counts what the collector accepted, rejected or never received, for one signal (traces or logs)."""

    def __init__(
        self,
        what: str,
        endpoint: str,
        exported: Counter,
        dropped: Mapping[str, Counter],
        rejected_in: Callable[[bytes], tuple[int, str]],
    ) -> None:
        """`rejected_in` parses a response: how many items of the batch were rejected, and why."""
        self._what = what
        parts = urlsplit(endpoint)
        # without a name and password
        self._endpoint = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        self._exported = exported
        self._dropped = dropped
        self._rejected_in = rejected_in
        self._logged_at = -PAUSE_SECONDS
        self._not_logged = 0
        self._is_failing = False

    def note(self, session: CollectorSession, size: int) -> bool:
        """Counts the batch of `size` items that `session` has just sent. Whether all of it was accepted."""
        answer = session.answer
        if session.reason or answer is None:
            self._dropped["export_failed"].inc(size)
            self._log(session.reason or "no answer", size)
            return False
        rejected, reason = 0, ""
        # some collectors respond 200 with another body, which means that the batch was accepted
        with suppress(DecodeError):
            rejected, reason = self._rejected_in(answer.content)
        rejected = min(max(rejected, 0), size)
        self._exported.inc(size - rejected)
        if rejected:
            self._dropped["rejected"].inc(rejected)
            self._log(f"rejected by the collector: {reason}", rejected)
            return False
        if self._is_failing:
            self._is_failing = False
            log.info("the collector accepts telemetry again", signal=self._what, endpoint=self._endpoint)
        return True

    def _log(self, reason: str, count: int) -> None:
        self._is_failing = True
        self._not_logged += count
        now = time.monotonic()
        if now - self._logged_at < PAUSE_SECONDS:
            return
        log.warning(
            "telemetry was not taken by the collector, and is dropped",
            signal=self._what,
            endpoint=self._endpoint,
            reason=reason,
            dropped=self._not_logged,
        )
        self._logged_at, self._not_logged = now, 0


class SpanDelivery(SpanExporter):
    """OpenTelemetry's span exporter, with its batches counted. Calls `taken` with each span of an accepted batch."""

    def __init__(
        self,
        endpoint: str,
        limit_seconds: float,
        exported: Counter,
        dropped: Mapping[str, Counter],
        taken: Callable[[ReadableSpan], None],
    ) -> None:
        self._session = CollectorSession(limit_seconds)
        self._exporter = OTLPSpanExporter(endpoint, timeout=limit_seconds, session=self._session)
        self._delivery = Delivery("traces", endpoint, exported, dropped, _rejected_spans)
        self._taken = taken
        self.handled = 0
        """How many spans have been exported or dropped here."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Sends one batch."""
        self._session.begin()
        result = self._exporter.export(spans)
        self.handled += len(spans)
        # a response does not say which spans were rejected, so that none of the batch counts as accepted
        if self._delivery.note(self._session, len(spans)):
            for span in spans:
                self._taken(span)
        return result

    def end_soon(self) -> None:
        """Limits the export of everything that is still queued to the time of one export."""
        self._session.end_soon()

    def shutdown(self) -> None:
        """Closes the connections."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


class LogDelivery(LogRecordExporter):
    """OpenTelemetry's log record exporter, with its batches counted."""

    def __init__(self, endpoint: str, limit_seconds: float, exported: Counter, dropped: Mapping[str, Counter]) -> None:
        self._session = CollectorSession(limit_seconds)
        self._exporter = OTLPLogExporter(endpoint, timeout=limit_seconds, session=self._session)
        self._delivery = Delivery("logs", endpoint, exported, dropped, _rejected_log_records)
        self.handled = 0
        """How many records have been exported or dropped here."""

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Sends one batch."""
        self._session.begin()
        result = self._exporter.export(batch)
        self.handled += len(batch)
        self._delivery.note(self._session, len(batch))
        return result

    def end_soon(self) -> None:
        """Limits the export of everything that is still queued to the time of one export."""
        self._session.end_soon()

    def shutdown(self) -> None:
        """Closes the connections."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 10_000) -> bool:
        """Does nothing: this exporter has no buffer."""
        return True


def _rejected_spans(body: bytes) -> tuple[int, str]:
    found = ExportTraceServiceResponse.FromString(body).partial_success
    return found.rejected_spans, found.error_message


def _rejected_log_records(body: bytes) -> tuple[int, str]:
    found = ExportLogsServiceResponse.FromString(body).partial_success
    return found.rejected_log_records, found.error_message
