"""Sends log lines as OpenTelemetry log records, by OTLP, to a collector."""

import logging
import sys
from collections.abc import Mapping
from typing import Any

from opentelemetry.instrumentation.log_utils import std_to_otel
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from service.settings import Settings
from service.telemetry.delivery import LogDelivery
from service.telemetry.logs import name_request
from service.telemetry.metrics import Metrics
from service.telemetry.queue import LogQueue
from service.telemetry.request import IS_RECORDED, current
from service.telemetry.tracing import NO_PARENT

# loggers of the libraries that send the records: exporting their lines would create more lines
OF_EXPORT = ("opentelemetry", "requests", "urllib3")
# fields that a log record has elsewhere, or that only standard output has
ELSEWHERE = frozenset({"event", "level", "timestamp", "trace_id", "span_id", "exc_info", "stack_info", "color_message"})


class LogExport(logging.Handler):
    """A handler of the root logger that exports every line."""

    def __init__(self, settings: Settings, resource: Resource, metrics: Metrics) -> None:
        super().__init__()
        self.is_on = bool(settings.logs_endpoint) and metrics.is_on
        if not self.is_on:
            return
        delivery = LogDelivery(
            settings.logs_endpoint, settings.logs_timeout, metrics.log_records_exported, metrics.log_records_dropped
        )
        self._provider = LoggerProvider(resource, shutdown_on_exit=False)
        self._provider.add_log_record_processor(LogQueue(settings, delivery, metrics.log_records_dropped["queue_full"]))
        self._logger = self._provider.get_logger("service")
        logging.getLogger().addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Queues one line. Timestamps are in nanoseconds since 1970."""
        if record.name.partition(".")[0] in OF_EXPORT:
            return
        # structlog passes the line's fields as the message
        fields: dict[str, Any] = (
            dict(record.msg) if isinstance(record.msg, dict) else {"event": record.getMessage(), "logger": record.name}
        )
        name_request(None, "", fields)
        self._logger.emit(
            timestamp=int(record.created * 1e9),
            context=set_span_in_context(_span_of(fields), NO_PARENT),
            severity_number=std_to_otel(record.levelno),
            severity_text=record.levelname,
            body=str(fields["event"]),
            attributes={name: _value(value) for name, value in fields.items() if name not in ELSEWHERE},
            exception=_exception(fields.get("exc_info") or record.exc_info),
        )

    def close(self) -> None:
        """Removes the handler, and sends what is queued, within the time of one export."""
        if self.is_on:
            self.is_on = False
            logging.getLogger().removeHandler(self)
            self._provider.shutdown()
        super().close()


def _span_of(fields: Mapping[str, Any]) -> NonRecordingSpan:
    trace_id, span_id = fields.get("trace_id") or "0", fields.get("span_id") or "0"
    # not set where the trace may still be recorded when the request ends
    is_recorded = IS_RECORDED in (current() or ())
    flags = TraceFlags(TraceFlags.SAMPLED if is_recorded else TraceFlags.DEFAULT)
    return NonRecordingSpan(SpanContext(int(trace_id, 16), int(span_id, 16), False, flags))


def _value(value: Any) -> str | bool | int | float:
    return value if isinstance(value, str | bool | int | float) else str(value)


def _exception(found: Any) -> BaseException | None:
    if found is True:
        found = sys.exc_info()
    if isinstance(found, tuple):
        found = found[1]
    return found if isinstance(found, BaseException) else None
