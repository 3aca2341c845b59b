"""Runs a panel's queries and prepares the results for drawing: interpolated names, values on a common time axis."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from lab.panels import Annotation, Dashboard, DashboardError, Panel, Target, Window, expand
from lab.prometheus import Prometheus, PrometheusError, Series, well_formed
from lab.viewer.tracing import LogLine, Logs, TracingError

DATA_SOURCE = "prometheus"
LOG_SOURCE = "loki"
MAX_EXEMPLARS = 200
EMPTY = "no series matched in this time range"

_LEGEND_LABEL = re.compile(r"\{\{\s*([\w.]+)\s*\}\}")

# a variable's name → the values chosen for it
Choices = Mapping[str, Sequence[str]]


class Line(msgspec.Struct, frozen=True, rename="camel"):
    """One series. `values` has one value for each time, or a single one for an instant query; None is a gap."""

    name: str
    labels: Mapping[str, str]
    values: Sequence[float | None]


class Exemplar(msgspec.Struct, frozen=True, rename="camel"):
    """An exemplar; time in unix seconds."""

    time: float
    value: float | None
    trace_id: str
    labels: Mapping[str, str]


class Result(msgspec.Struct, frozen=True, rename="camel"):
    """The result of one query. `problem` says why there is no data; None if there is.

    `is_empty`: the query succeeded, and returned nothing.
    """

    ref_id: str
    query: str
    format: Literal["time_series", "table", "heatmap"]
    is_instant: bool
    problem: str | None = None
    lines: Sequence[Line] = ()
    exemplars: Sequence[Exemplar] = ()
    logs: Sequence[LogLine] = ()
    is_empty: bool = False


class Answer(msgspec.Struct, frozen=True, rename="camel"):
    """The results of a panel's queries. Their times, in unix seconds: `start`, then every `step`, `count` in total."""

    start: float
    step: float
    count: int
    results: Sequence[Result]


class Mark(msgspec.Struct, frozen=True, rename="camel"):
    """A span of time (unix seconds) that an annotation marks on every panel."""

    name: str
    colour: str
    title: str
    text: str
    start: float
    end: float


def answer(
    prometheus: Prometheus,
    dashboard: Dashboard,
    panel: Panel,
    chosen: Choices,
    window: Window,
    logs: Logs | None = None,
) -> Answer:
    """Runs all queries of a panel. Never raises: a failure becomes the `problem` of its result."""
    with_exemplars = {item.get("refId", "") for item in panel.source.get("targets", []) if item.get("exemplar")}
    results = [
        _log_lines(logs, dashboard, target, chosen, window)
        if target.datasource == LOG_SOURCE and logs is not None
        else _result(prometheus, dashboard, target, chosen, window, wants_exemplars=target.ref_id in with_exemplars)
        for target in panel.targets
    ]
    return Answer(window.start, window.step, _count(window), results)


def marks(prometheus: Prometheus, dashboard: Dashboard, chosen: Choices, window: Window) -> list[Mark]:
    """The dashboard's annotations, with adjacent times joined. Raises `PrometheusError`.

    A series of an annotation's query marks the times at which it has a value.
    """
    found = []
    for annotation in dashboard.annotations:
        query = expand(annotation.target.query, dashboard.variables, chosen, window)
        for series in prometheus.query_range(query, window.start, window.end, window.step):
            found += _marks(annotation, series, window.step)
    return sorted(found, key=lambda mark: mark.start)


def values_of(prometheus: Prometheus, dashboard: Dashboard, window: Window) -> dict[str, list[str]]:
    """The possible values of each variable of a dashboard. Raises `PrometheusError`."""
    return {
        variable.name: _names(
            prometheus,
            f"label/{variable.label}/values",
            **{"match[]": variable.match, "start": window.start, "end": window.end},
        )
        for variable in dashboard.variables
    }


def _names(prometheus: Prometheus, path: str, **parameters: Any) -> list[str]:
    found = prometheus.get(path, **parameters)
    with well_formed(prometheus.url):
        return msgspec.convert(found or [], list[str])


def _result(
    prometheus: Prometheus,
    dashboard: Dashboard,
    target: Target,
    chosen: Choices,
    window: Window,
    *,
    wants_exemplars: bool,
) -> Result:
    query = target.query
    exemplars: list[Exemplar] = []
    try:
        if target.datasource != DATA_SOURCE:
            raise DashboardError(f"data source {target.datasource!r} is not Prometheus: Grafana shows this panel")
        query = expand(target.query, dashboard.variables, chosen, window)
        if target.is_instant:
            lines = [_line(target, series, [_number(series.value)]) for series in prometheus.query(query, window.end)]
        else:
            found = prometheus.query_range(query, window.start, window.end, window.step)
            lines = [_line(target, series, _on_times(series, window)) for series in found]
            if wants_exemplars:
                exemplars = _exemplars(prometheus, query, window)
        problem = None if lines else EMPTY
    except (PrometheusError, DashboardError) as error:
        lines, problem = [], str(error).removeprefix(f"{query}: ")
    return Result(
        target.ref_id, query, target.format, target.is_instant, problem, lines, exemplars, is_empty=problem is EMPTY
    )


def _log_lines(logs: Logs, dashboard: Dashboard, target: Target, chosen: Choices, window: Window) -> Result:
    query = target.query
    try:
        query = expand(target.query, dashboard.variables, chosen, window)
        # no lines is not a problem: nothing was logged
        lines = logs.query(query, window.start, window.end + window.step)
        return Result(target.ref_id, query, target.format, target.is_instant, logs=lines)
    except (TracingError, DashboardError) as error:
        return Result(target.ref_id, query, target.format, target.is_instant, str(error).removeprefix(f"{query}: "))


def _exemplars(prometheus: Prometheus, query: str, window: Window) -> list[Exemplar]:
    rows = prometheus.get("query_exemplars", query=query, start=window.start, end=window.end)
    with well_formed(prometheus.url):
        found = [
            Exemplar(
                item["timestamp"], _number(float(item["value"])), item["labels"]["trace_id"], series["seriesLabels"]
            )
            for series in rows
            for item in series["exemplars"]
            if "trace_id" in item["labels"]
        ]
    # if there are more than a panel can show, keeps the slowest
    slowest = sorted(found, key=lambda exemplar: exemplar.value or 0, reverse=True)[:MAX_EXEMPLARS]
    return sorted(slowest, key=lambda exemplar: exemplar.time)


def _count(window: Window) -> int:
    return int((window.end - window.start) / window.step) + 1


def _on_times(series: Series, window: Window) -> list[float | None]:
    values: list[float | None] = [None] * _count(window)
    for time, value in series.points:
        values[round((time - window.start) / window.step)] = _number(value)
    return values


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _line(target: Target, series: Series, values: Sequence[float | None]) -> Line:
    return Line(_named(target.legend, series.labels), series.labels, values)


def _named(template: str, labels: Mapping[str, str]) -> str:
    if template and template != "__auto":
        return _LEGEND_LABEL.sub(lambda label: labels.get(label[1], ""), template)
    pairs = ", ".join(f"{name}={json.dumps(value)}" for name, value in labels.items() if name != "__name__")
    return f"{labels.get('__name__', '')}{{{pairs}}}"


def _marks(annotation: Annotation, series: Series, step: float) -> list[Mark]:
    spans: list[list[float]] = []
    for time, _ in series.points:
        if spans and time - spans[-1][1] <= step:
            spans[-1][1] = time
        else:
            spans.append([time, time])
    title = _named(annotation.title, series.labels) if annotation.title else annotation.name
    text = _named(annotation.text, series.labels) if annotation.text else ""
    return [Mark(annotation.name, annotation.colour, title, text, start, end) for start, end in spans]
