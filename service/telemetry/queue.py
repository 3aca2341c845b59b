"""OpenTelemetry's batch processors, with dropped items counted.

The originals drop the oldest item of a full queue, and log a line each time. These do not enqueue into a full queue,
and count what they drop.
"""

from opentelemetry.sdk._logs import ReadWriteLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import Counter

from service.settings import Settings
from service.telemetry.delivery import LogDelivery, SpanDelivery


class SpanQueue(BatchSpanProcessor):
    """The queue of spans to export."""

    def __init__(self, settings: Settings, delivery: SpanDelivery, dropped: Counter) -> None:
        super().__init__(
            delivery,
            max_queue_size=settings.otel_bsp_max_queue_size,
            schedule_delay_millis=settings.otel_bsp_schedule_delay,
            max_export_batch_size=settings.otel_bsp_max_export_batch_size,
        )
        self._delivery = delivery
        self._most = settings.otel_bsp_max_queue_size
        self._dropped = dropped
        # compared with the number that was handled, since each of the two is written by one thread only
        self._queued = 0

    def on_end(self, span: ReadableSpan) -> None:
        """Queues a span, or counts it as dropped if the queue is full. Called on the event loop's thread."""
        if self._queued - self._delivery.handled >= self._most:
            self._dropped.inc()
            return
        self._queued += 1
        super().on_end(span)

    def shutdown(self) -> None:
        """Sends what is queued, within the time of one export."""
        self._delivery.end_soon()
        super().shutdown()  # type: ignore[no-untyped-call]


class LogQueue(BatchLogRecordProcessor):
    """The queue of log records to export."""

    def __init__(self, settings: Settings, delivery: LogDelivery, dropped: Counter) -> None:
        super().__init__(
            delivery,
            schedule_delay_millis=settings.otel_blrp_schedule_delay,
            max_export_batch_size=settings.otel_blrp_max_export_batch_size,
            max_queue_size=settings.otel_blrp_max_queue_size,
        )
        self._delivery = delivery
        self._most = settings.otel_blrp_max_queue_size
        self._dropped = dropped
        # written under the logging handler's lock
        self._queued = 0

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Queues a record, or counts it as dropped if the queue is full."""
        if self._queued - self._delivery.handled >= self._most:
            self._dropped.inc()
            return
        self._queued += 1
        super().on_emit(log_record)

    def shutdown(self) -> None:
        """Sends what is queued, within the time of one export."""
        self._delivery.end_soon()
        super().shutdown()  # type: ignore[no-untyped-call]
