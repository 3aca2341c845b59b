"""The API for the viewer's trace pages."""

import re
import time
from typing import Any

import msgspec
from litestar import Request, Router, get
from litestar.exceptions import HTTPException
from litestar.params import FromPath

from lab.viewer.choices import ChoiceError, window
from lab.viewer.tracing import Found, LogLine, Logs, Shown, Traces, TracingError

_TRACE_ID = re.compile(r"[0-9a-f]{1,32}")


class Waterfall(msgspec.Struct, frozen=True, rename="camel"):
    """A trace and its log lines; `logs_problem` says why these are not available."""

    trace_id: str
    spans: list[Shown]
    logs: list[LogLine]
    logs_problem: str | None


def tracing_routes(traces: Traces, logs: Logs) -> Router:
    """The routes below `/api/tracing`."""

    @get("/search", sync_to_thread=True)
    def search(request: Request[Any, Any, Any]) -> list[Found]:
        parameters = request.query_params
        span = window(parameters.get("from", "now-1h"), parameters.get("to", "now"), time.time())
        return traces.search(
            start=span.start,
            end=span.end + span.step,
            route=parameters.get("route", ""),
            is_failed=parameters.get("failed") == "1",
            min_milliseconds=_milliseconds(parameters.get("least") or "0"),
            is_slowest=parameters.get("order") == "slowest",
        )

    @get("/routes", sync_to_thread=True)
    def routes() -> list[str]:
        return traces.routes()

    @get("/traces/{trace_id:str}", sync_to_thread=True)
    def trace(trace_id: FromPath[str]) -> Waterfall:
        if not _TRACE_ID.fullmatch(trace_id):
            raise ChoiceError(f"{trace_id!r} is not a trace id: at most 32 hexadecimal digits")
        spans = traces.trace(trace_id)
        if not spans:
            raise HTTPException(status_code=404, detail=f"no trace {trace_id} at {traces.url}: never kept, or gone")
        lines: list[LogLine] = []
        problem = None
        try:
            lines = logs.of_trace(trace_id.zfill(32), spans[0].start)
        except TracingError as error:
            problem = str(error)
        return Waterfall(trace_id.zfill(32), spans, lines, problem)

    return Router("/api/tracing", route_handlers=[search, routes, trace])


def _milliseconds(text: str) -> float:
    if not re.fullmatch(r"\d{1,9}(?:\.\d{1,6})?", text):
        raise ChoiceError(f"least={text!r} is not a number of milliseconds")
    return float(text)
