"""`glasshouse check`: runs every query of every panel on a running stack, and reports blank, slow and made-up panels.

A panel is made up if it shows only its own `or 0 * group(up)`: the series that it selects do not exist, and it stays 0.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import click
import httpx
from rich.console import Console
from rich.table import Table

from lab.options import Number
from lab.panels import NOT_MEASURED, Dashboard, DashboardError, Panel, Target, Window, expand, load_dashboards
from lab.prometheus import Prometheus, PrometheusError, is_starting, well_formed
from lab.promql import Selector, selectors
from lab.settings import START, SettingError, load_settings
from lab.viewer.answers import DATA_SOURCE, LOG_SOURCE
from lab.viewer.tracing import Logs, TracingError

SLOWEST_SECONDS = 0.5
# series that exist only while an alert is pending, firing, inhibited or silenced, or has a shadow
RARE = {"ALERTS", "alert_held", "shadow_threshold"}
# metrics of components that not every stack has: prefix → job
OPTIONAL = {"tempo_": "tempo", "tracestore_": "tracestore", "grafana_": "grafana", "loki_": "loki"}


@dataclass(frozen=True)
class Answer:
    """The result of one query: how many series and points can be drawn (NaN cannot), its duration, or an error.

    `missing` are selected series that do not exist. `is_waiting`: there is nothing to draw yet, the panel says so, and
    all series that the query selects exist or will be recorded.
    """

    ref_id: str
    query: str
    series: int = 0
    points: int = 0
    seconds: float = 0.0
    error: str = ""
    missing: tuple[str, ...] = ()
    is_waiting: bool = False
    slowest: float = SLOWEST_SECONDS
    """The time limit, in seconds."""

    @property
    def fault(self) -> str:
        """What is wrong; empty if nothing is."""
        if self.error:
            return self.error
        if self.missing:
            return f"no series {', '.join(self.missing)}{', only its fallback' if self.points else ''}"
        if self.points == 0 and not self.is_waiting:
            return "empty"
        if self.seconds > self.slowest:
            return f"took {self.seconds * 1000:.0f} ms"
        return ""


@dataclass(frozen=True)
class Checked:
    """A panel and the answers to its queries."""

    dashboard: Dashboard
    panel: Panel
    answers: tuple[Answer, ...]

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong, one line for each query."""
        return tuple(f"{answer.ref_id}: {answer.fault}" for answer in self.answers if answer.fault)


class Known:
    """Which series exist in a time window, or will be recorded by rules."""

    def __init__(self, prometheus: Prometheus, window: Window) -> None:
        self._prometheus, self._window = prometheus, window
        self._found: dict[str, bool] = {}
        found = prometheus.get("rules", type="record")
        with well_formed(prometheus.url):
            rules = [rule for group in found["groups"] for rule in group["rules"]]
            self._recorded = {rule["name"] for rule in rules}
            # many rules record `alert_signal`, and each records nothing while there is nothing to compare
            self._labelled = {_selector(rule["name"], rule["labels"]) for rule in rules if rule.get("labels")}

    def missing(self, query: str) -> tuple[str, ...]:
        """The selectors of a query that match no series and that no rule records. Raises `PrometheusError`."""
        asked = list(selectors(query))
        there = [one for one in asked if self._knows(one)]
        # a query may read a metric of an optional component `or` another one: one of them is enough
        return tuple(
            dict.fromkeys(
                str(one) for one in asked if one not in there and not (there and one.name.startswith(tuple(OPTIONAL)))
            )
        )

    def _knows(self, selector: Selector) -> bool:
        if selector.name in RARE or selector.exact in self._labelled or self._has(selector.exact):
            return True
        if selector.name in self._recorded and not self._has(selector.name):
            return True
        return any(selector.name.startswith(prefix) and not self._runs(job) for prefix, job in OPTIONAL.items())

    def _runs(self, job: str) -> bool:
        """Whether a job was up in the window. A configured job may belong to a component that is not installed."""
        return self._any(f'max_over_time(up{{job="{job}"}}[{self._span}]) == 1')

    def _has(self, selector: str) -> bool:
        return self._any(f"count(last_over_time({selector}[{self._span}]))")

    @property
    def _span(self) -> str:
        return f"{max(1, round(self._window.end - self._window.start))}s"

    def _any(self, promql: str) -> bool:
        if promql not in self._found:
            self._found[promql] = bool(self._prometheus.query(promql, at=self._window.end))
        return self._found[promql]


def _selector(name: str, labels: Mapping[str, str]) -> str:
    pairs = ", ".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{pairs}}}"


def check_panels(prometheus: Prometheus, dashboards: Sequence[Dashboard], window: Window) -> Iterator[Checked]:
    """Runs every query of every Prometheus panel, with all values of each variable."""
    known = Known(prometheus, window)
    for dashboard in dashboards:
        for panel in dashboard.panels_of(DATA_SOURCE):
            answers = tuple(_ask(prometheus, known, dashboard, panel, target, window) for target in panel.targets)
            yield Checked(dashboard, panel, answers)


def check_log_panels(logs: Logs, dashboards: Sequence[Dashboard], window: Window) -> Iterator[Checked]:
    """Runs every query of every log panel, except on dashboards with parameters. An empty result is no fault.

    Raises `TracingError` if neither Loki nor the trace store responds.
    """
    logs.query('{service_name=~".+"}', window.end, window.end + window.step, limit=1)
    for dashboard in dashboards:
        for panel in () if dashboard.parameters else dashboard.panels_of(LOG_SOURCE):
            yield Checked(dashboard, panel, tuple(_ask_logs(logs, dashboard, one, window) for one in panel.targets))


def _ask_logs(logs: Logs, dashboard: Dashboard, target: Target, window: Window) -> Answer:
    query, began = target.query, time.perf_counter()
    try:
        query = expand(target.query, dashboard.variables, {}, window)
        lines = len(logs.query(query, window.start, window.end))
    except (TracingError, DashboardError) as error:
        return Answer(target.ref_id, query, error=str(error))
    return Answer(target.ref_id, query, 1, lines, time.perf_counter() - began, is_waiting=True)


def _ask(
    prometheus: Prometheus, known: Known, dashboard: Dashboard, panel: Panel, target: Target, window: Window
) -> Answer:
    query = target.query
    try:
        query = expand(target.query, dashboard.variables, {}, window)
        answer = _timed(prometheus, target, query, window)
        # retried once, since other load on the machine can slow any single query
        if answer.seconds > SLOWEST_SECONDS:
            answer = _timed(prometheus, target, query, window)
        return replace(
            answer, missing=known.missing(query), is_waiting=panel.before not in ("", NOT_MEASURED) or target.is_bound
        )
    except (PrometheusError, DashboardError) as error:
        return Answer(target.ref_id, query, error=str(error))


def _timed(prometheus: Prometheus, target: Target, query: str, window: Window) -> Answer:
    began = time.perf_counter()
    if target.is_instant:
        series = prometheus.query(query, at=window.end)
    else:
        series = prometheus.query_range(query, window.start, window.end, window.step)
    seconds = time.perf_counter() - began
    drawn = [sum(math.isfinite(value) for _, value in one.points) for one in series]
    return Answer(target.ref_id, query, sum(points > 0 for points in drawn), sum(drawn), seconds)


def find_traces(
    prometheus: Prometheus, tempo: str, dashboards: Sequence[Dashboard], window: Window
) -> tuple[list[str], list[str]]:
    """Looks up the newest exemplar of each panel in Tempo, or in the lab's trace store, which has the same API.

    Returns (traces found, traces missing).

    Raises `httpx.HTTPError` if it does not respond, and `PrometheusError` if Prometheus does not.
    """
    trace_ids: set[str] = set()
    for dashboard in dashboards:
        for panel in dashboard.panels:
            for source, target in zip(panel.source.get("targets", []), panel.targets, strict=True):
                if source.get("exemplar"):
                    query = expand(target.query, dashboard.variables, {}, window)
                    trace_ids |= set(_newest_exemplar(prometheus, query, window))
    found: list[str] = []
    missing: list[str] = []
    with httpx.Client(base_url=tempo, timeout=5, trust_env=False) as http:
        http.get("/ready").raise_for_status()
        for trace_id in sorted(trace_ids):
            answer = http.get(f"/api/v2/traces/{trace_id}")
            (found if answer.status_code == httpx.codes.OK else missing).append(trace_id)
    return found, missing


def _newest_exemplar(prometheus: Prometheus, query: str, window: Window) -> list[str]:
    data = prometheus.get("query_exemplars", query=query, start=window.start, end=window.end)
    with well_formed(prometheus.url):
        exemplars = [exemplar for series in data for exemplar in series["exemplars"]]
        newest = max(exemplars, key=lambda exemplar: float(exemplar["timestamp"]), default=None)
        return [newest["labels"]["trace_id"]] if newest else []


@click.command("check")
@click.option("--url", help="Prometheus to ask; by default the stack's on this machine.")
@click.option("--tempo", help="Tempo, or store of traces, to ask; by default the stack's on this machine.")
@click.option(
    "--slowest",
    default=SLOWEST_SECONDS,
    show_default=True,
    type=Number(min=0, min_open=True),
    help="Seconds that a query may take.",
)
@click.option("--last", default=15.0, show_default=True, type=Number(min=1), help="Minutes to ask for.")
def check(url: str | None, tempo: str | None, slowest: float, last: float) -> None:
    """Run every query of every dashboard panel on a running stack.

    A panel that says what it is waiting for, such as requests, may be empty. One that shows only its own fallback, such
    as `or 0 * group(up)`, fails: the series that it selects do not exist.

    Exit status: 0 all panels have data in time, 1 some do not, 2 Prometheus does not respond.
    """
    console = Console(width=None if Console().is_terminal else 160, markup=False)
    try:
        settings = load_settings()
        dashboards = load_dashboards()
        with Prometheus(url or settings.url("prometheus")) as prometheus:
            is_new = is_starting(prometheus)
            now = time.time()
            window = Window.of(now - last * 60, now)
            checked = list(check_panels(prometheus, dashboards, window))
            checked += _check_logs(
                console, Logs(settings.url("loki"), tempo or settings.url("tempo")), dashboards, window
            )
            checked = [
                replace(each, answers=tuple(replace(answer, slowest=slowest) for answer in each.answers))
                for each in checked
            ]
            console.print(_table(checked))
            lost = _report_traces(console, prometheus, tempo or settings.url("tempo"), dashboards, window)
    except (PrometheusError, DashboardError, SettingError) as error:
        click.echo(f"glasshouse check: {error}; is the stack up? {START} starts it", err=True)
        raise SystemExit(2) from error
    faulty = [item for item in checked if item.faults]
    queries = sum(len(item.answers) for item in checked)
    for item in faulty:
        for fault in item.faults:
            console.print(f"{item.dashboard.title} / {item.panel.title} / {fault}", style="red", markup=False)
    waiting = sum(any(answer.points == 0 for answer in item.answers) for item in checked if not item.faults)
    console.print(f"{len(checked)} panels, {queries} queries, {len(faulty)} panels at fault, {waiting} wait for data")
    if faulty and is_new:
        console.print("Prometheus started less than 90 s ago, and some panels need a minute of data: check again")
    raise SystemExit(1 if faulty or lost else 0)


def _check_logs(console: Console, logs: Logs, dashboards: Sequence[Dashboard], window: Window) -> list[Checked]:
    try:
        return list(check_log_panels(logs, dashboards, window))
    except TracingError as error:
        console.print(f"Log lines were not checked: {error}", markup=False)
        return []


def _report_traces(
    console: Console, prometheus: Prometheus, tempo: str, dashboards: Sequence[Dashboard], window: Window
) -> list[str]:
    try:
        found, missing = find_traces(prometheus, tempo, dashboards, window)
    except httpx.HTTPError:
        console.print("Tempo does not answer: the traces behind exemplars were not checked")
        return []
    console.print(f"Traces behind exemplars: {len(found)} found, {len(missing)} missing {' '.join(missing)}")
    return missing


def _table(checked: Sequence[Checked]) -> Table:
    table = Table(title="Dashboard panels", title_justify="left")
    table.add_column("Dashboard", no_wrap=True)
    table.add_column("Panel", overflow="fold")
    for heading in ("Queries", "Series", "Points", "ms"):
        table.add_column(heading, justify="right")
    table.add_column("", overflow="fold")
    for item in checked:
        table.add_row(
            item.dashboard.title,
            item.panel.title,
            str(len(item.answers)),
            str(sum(answer.series for answer in item.answers)),
            str(sum(answer.points for answer in item.answers)),
            f"{max(answer.seconds for answer in item.answers) * 1000:.0f}",
            "; ".join(item.faults) or _state(item),
            style="red" if item.faults else "",
        )
    return table


def _state(item: Checked) -> str:
    is_blank = not any(answer.points for answer in item.answers)
    return item.panel.before if is_blank and item.panel.before else "ok"
