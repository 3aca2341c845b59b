"""Logging: JSON on standard output, or coloured text in a terminal."""

import logging
import sys

import structlog

from service.telemetry.request import current, request_id_of, span_id_of, trace_id_of

# these log every failed export, which `delivery.py` logs once a minute
LOGGED_ELSEWHERE = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http._log_exporter",
)


def _without_colours(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    # uvicorn adds a second, coloured text
    event.pop("color_message", None)
    return event


def name_request(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Adds `request_id`, `trace_id` and `span_id` of the current request, if there is one."""
    scope = current()
    if scope is not None and "trace_id" not in event:
        request_id = request_id_of(scope)
        if request_id:
            event["request_id"] = request_id
        event["trace_id"] = trace_id_of(scope)
        event["span_id"] = span_id_of(scope)
    return event


# without local variables, which contain what clients sent
_TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))


def set_up_logs(level: str) -> None:
    """Writes every log line of this process, including those of uvicorn and the libraries, to standard output."""
    is_terminal = sys.stdout.isatty()
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        _without_colours,
        name_request,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendered: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer()] if is_terminal else [_TRACEBACKS, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    for name in LOGGED_ELSEWHERE:
        logging.getLogger(name).disabled = True
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
