"""Queries traces and log lines from Tempo and Loki, or from the lab's trace store, which has the API of both."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import msgspec

MAX_TRACES = 100
MAX_LINES = 500
LOOK_AROUND_SECONDS = 3600
# the same format as in the dashboards' log panels
LINE_FORMAT = (
    '| line_format "{{__line__}} {{.method}} {{.route}} {{.status}} {{.duration_seconds}} {{.dependency}} {{.reason}}"'
)
_SECOND = 1_000_000_000
_KINDS = "SPAN_KIND_"
_SHOWN = ("span.http.route", "span.http.response.status_code", "span.error.type", "resource.service.instance.id")


class TracingError(Exception):
    """Tempo or Loki returned an error or did not respond; the message says which and why."""


class Found(msgspec.Struct, frozen=True, rename="camel"):
    """A search result. Start in unix seconds, duration in seconds."""

    trace_id: str
    name: str
    service: str
    replica: str
    route: str
    status: str
    error: str
    start: float
    duration: float
    spans: int
    failed_spans: int


class Event(msgspec.Struct, frozen=True):
    """An event of a span; time in unix seconds."""

    name: str
    time: float
    attributes: Mapping[str, str]


class Shown(msgspec.Struct, frozen=True, rename="camel"):
    """A span of a waterfall. Start in unix seconds, duration in seconds; `depth` counts the spans above it."""

    span_id: str
    depth: int
    name: str
    kind: str
    service: str
    start: float
    duration: float
    is_error: bool
    message: str
    scope: str
    attributes: Mapping[str, str]
    resource: Mapping[str, str]
    events: Sequence[Event]


class LogLine(msgspec.Struct, frozen=True):
    """A log line; time in unix seconds."""

    time: float
    line: str
    labels: Mapping[str, str]


class Traces:
    """A client of Tempo's HTTP API (https://grafana.com/docs/tempo/latest/api_docs/)."""

    def __init__(self, url: str) -> None:
        self.url = url

    def search(
        self, *, start: float, end: float, route: str, is_failed: bool, min_milliseconds: float, is_slowest: bool
    ) -> list[Found]:
        """Requests between two times in unix seconds, newest or slowest first. Raises `TracingError`.

        Tempo cannot sort: the slowest of what it returns come first, which are not the slowest of all.
        """
        conditions = ["kind = server"]
        if route:
            conditions.append(f"span.http.route = {_quoted(route)}")
        if is_failed:
            conditions.append("status = error")
        if min_milliseconds > 0:
            conditions.append(f"duration >= {min_milliseconds:g}ms")
        answer = self._get(
            "/api/search",
            {
                "q": f"{{ {' && '.join(conditions)} }} | select({', '.join(_SHOWN)})",
                "start": str(int(start)),
                "end": str(int(end) + 1),
                "limit": str(MAX_TRACES),
                "spss": "1",
                **({"order": "slowest"} if is_slowest else {}),
            },
        )
        with _well_formed("Tempo"):
            found = [each for item in answer.get("traces") or [] if (each := _found(item))]
        return sorted(found, key=lambda each: each.duration if is_slowest else each.start, reverse=True)

    def routes(self) -> list[str]:
        """The routes of traced requests. Raises `TracingError`."""
        answer = self._get("/api/v2/search/tag/span.http.route/values")
        with _well_formed("Tempo"):
            return sorted(str(each["value"]) for each in answer.get("tagValues") or [])

    def trace(self, trace_id: str) -> list[Shown]:
        """The spans of a trace, each after its parent; empty if the trace does not exist. Raises `TracingError`."""
        answer = self._get(f"/api/v2/traces/{trace_id}", is_there=False)
        with _well_formed("Tempo"):
            return list(_in_order(_spans((answer.get("trace") or {}).get("resourceSpans") or [])))

    def _get(self, path: str, parameters: Mapping[str, str] | None = None, *, is_there: bool = True) -> dict[str, Any]:
        answer = _ask("Tempo", self.url + path, parameters or {})
        if answer.status_code == httpx.codes.NOT_FOUND and not is_there:
            return {}
        return _json("Tempo", answer)


class Logs:
    """A client of Loki's HTTP API (https://grafana.com/docs/loki/latest/reference/loki-http-api/).

    `urls` (Loki, the trace store) are tried in order until one responds.
    """

    def __init__(self, *urls: str) -> None:
        self.urls = urls

    def query(self, logql: str, start: float, end: float, limit: int = MAX_LINES) -> list[LogLine]:
        """Log lines between two times in unix seconds, newest first. Raises `TracingError`."""
        parameters = {
            "query": logql,
            "start": str(int(start * _SECOND)),
            "end": str(int(end * _SECOND)),
            "limit": str(limit),
        }
        problem = TracingError("no store of logs is known")
        for url in self.urls:
            try:
                answer = _ask("Loki", f"{url}/loki/api/v1/query_range", parameters)
            except TracingError as error:
                problem = error
                continue
            if answer.status_code == httpx.codes.NOT_FOUND:
                problem = TracingError(f"{url} keeps no logs")
                continue
            with _well_formed("Loki"):
                return _lines(_json("Loki", answer))
        raise problem

    def of_trace(self, trace_id: str, around: float) -> list[LogLine]:
        """The log lines of a trace near a time in unix seconds, oldest first. Raises `TracingError`."""
        query = f'{{service_name=~".+"}} | trace_id="{trace_id}" {LINE_FORMAT}'
        return self.query(query, around - LOOK_AROUND_SECONDS, around + LOOK_AROUND_SECONDS)[::-1]


def _ask(who: str, url: str, parameters: Mapping[str, str]) -> httpx.Response:
    try:
        return httpx.get(url, params=parameters, timeout=10, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise TracingError(
            f"{who} at {url.partition('/api')[0].partition('/loki')[0]} does not answer: {error}"
        ) from error


def _json(who: str, answer: httpx.Response) -> dict[str, Any]:
    try:
        # unlike Python's decoder, this one rejects half a surrogate pair
        body = msgspec.json.decode(answer.content) if answer.is_success else None
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise TracingError(f"{who}: HTTP {answer.status_code} {answer.text.strip()[:300]}")
    return body


@contextmanager
def _well_formed(who: str) -> Iterator[None]:
    """Turns errors of the block, caused by a response in an unexpected form, into a `TracingError`."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise TracingError(f"{who} answers in another form than its API's: {error!r}") from error


def _found(item: Mapping[str, Any]) -> Found | None:
    sets = item.get("spanSets") or ([item["spanSet"]] if item.get("spanSet") else [])
    spans = sets[0].get("spans") if sets else None
    if not spans:
        return None
    values = _attributes(spans[0].get("attributes") or [])
    stats = (item.get("serviceStats") or {}).values()
    return Found(
        trace_id=item["traceID"].zfill(32),
        name=spans[0].get("name") or item.get("rootTraceName", ""),
        service=item.get("rootServiceName", ""),
        replica=values.get("service.instance.id", ""),
        route=values.get("http.route", ""),
        status=values.get("http.response.status_code", ""),
        error=values.get("error.type", ""),
        start=int(spans[0]["startTimeUnixNano"]) / _SECOND,
        duration=int(spans[0].get("durationNanos", 0)) / _SECOND,
        spans=sum(each.get("spanCount", 0) for each in stats),
        failed_spans=sum(each.get("errorCount", 0) for each in stats),
    )


def _spans(groups: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Shown]]:
    """The spans with the ids of their parents, and with depth 0."""
    for group in groups:
        resource = _attributes((group.get("resource") or {}).get("attributes") or [])
        for scoped in group.get("scopeSpans") or []:
            scope = (scoped.get("scope") or {}).get("name", "")
            for span in scoped.get("spans") or []:
                yield _id(span.get("parentSpanId", "")), _shown(span, resource, scope)


def _shown(span: Mapping[str, Any], resource: Mapping[str, str], scope: str) -> Shown:
    start, end = int(span.get("startTimeUnixNano", 0)), int(span.get("endTimeUnixNano", 0))
    status = span.get("status") or {}
    return Shown(
        span_id=_id(span["spanId"]),
        depth=0,
        name=span.get("name", ""),
        kind=str(span.get("kind", "")).removeprefix(_KINDS).lower(),
        service=resource.get("service.name", ""),
        start=start / _SECOND,
        duration=max(0, end - start) / _SECOND,
        is_error=status.get("code") in ("STATUS_CODE_ERROR", 2),
        message=status.get("message", ""),
        scope=scope,
        attributes=_attributes(span.get("attributes") or []),
        resource=resource,
        events=[
            Event(
                event.get("name", ""),
                int(event.get("timeUnixNano", 0)) / _SECOND,
                _attributes(event.get("attributes") or []),
            )
            for event in span.get("events") or []
        ],
    )


def _in_order(spans: Iterator[tuple[str, Shown]]) -> Iterator[Shown]:
    """Orders spans depth-first, siblings by start. A span whose parent is missing is a root."""
    pairs = sorted(spans, key=lambda pair: pair[1].start)
    known = {span.span_id for _, span in pairs}
    below: dict[str, list[Shown]] = {}
    for parent, span in pairs:
        below.setdefault(parent if parent in known and parent != span.span_id else "", []).append(span)
    waiting = [(span, 0) for span in reversed(below.pop("", []))]
    while waiting:
        span, depth = waiting.pop()
        yield msgspec.structs.replace(span, depth=depth)
        waiting += [(child, depth + 1) for child in reversed(below.pop(span.span_id, []))]
    # spans whose parents form a cycle
    for span in (span for rest in below.values() for span in rest):
        yield span


def _lines(body: Mapping[str, Any]) -> list[LogLine]:
    streams = (body.get("data") or {}).get("result") or []
    found = [
        LogLine(int(value[0]) / _SECOND, value[1], stream.get("stream") or {})
        for stream in streams
        for value in stream.get("values") or []
    ]
    return sorted(found, key=lambda line: line.time, reverse=True)


def _attributes(pairs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {pair["key"]: _text(pair.get("value") or {}) for pair in pairs}


def _text(value: Mapping[str, Any]) -> str:
    for kind, content in value.items():
        if kind == "boolValue":
            return "true" if content else "false"
        if kind == "arrayValue":
            return "[" + ", ".join(_text(each) for each in content.get("values") or []) + "]"
        return str(content)
    return ""


def _id(text: str) -> str:
    """An id in hexadecimal digits: Tempo's JSON has it in base64."""
    return base64.b64decode(text).hex()


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
