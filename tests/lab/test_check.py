"""How `glasshouse check` evaluates results, and follows exemplars to Tempo."""

import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from lab.check import Answer, check_log_panels, check_panels, find_traces
from lab.panels import Window, load_dashboards
from lab.prometheus import Prometheus
from lab.promql import selectors
from lab.viewer.tracing import Logs, TracingError
from testbed import otlp_records
from testbed.expositions import Expositions
from testbed.process import free_port
from testbed.tracestore import TraceStore

WINDOW = Window.of(1_000, 2_000)


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Answer("A", "up", series=1, points=3, seconds=0.01), ""),
        (Answer("A", "up", series=1, points=3, seconds=0.61), "took 610 ms"),
        (Answer("A", "up", series=0, points=0, seconds=0.01), "empty"),
        (Answer("A", "up(", error="parse error"), "parse error"),
        (Answer("A", "up", is_waiting=True), ""),
        (Answer("A", "up", is_waiting=True, missing=("up",)), "no series up"),
        (Answer("A", "up or vector(0)", series=1, points=3, missing=("up",)), "no series up, only its fallback"),
    ],
)
def test_a_query_is_faulty_if_it_fails_or_is_empty_or_slow(answer: Answer, fault: str) -> None:
    assert answer.fault == fault


def test_only_panels_that_wait_for_requests_may_be_empty() -> None:
    class Empty(Prometheus):
        """A Prometheus in which every series exists, and every query is empty."""

        def get(self, path: str, **params: Any) -> Any:
            if path == "rules":
                return {"groups": []}
            is_search = "count(last_over_time(" in params["query"]
            return {"resultType": "vector", "result": [{"metric": {}, "value": [1, "1"]}] if is_search else []}

    titles = {"Requests": ["A: empty"], "Hit ratio": [], "Error budget": [], "CPU utilization by replica": ["A: empty"]}
    overview = [dashboard for dashboard in load_dashboards() if dashboard.uid == "overview"]
    with Empty("http://127.0.0.1:1") as prometheus:
        faults = {each.panel.title: list(each.faults) for each in check_panels(prometheus, overview, WINDOW)}
    assert {title: faults[title] for title in titles} == titles


@pytest.mark.parametrize(
    ("query", "exact"),
    [
        ('sum by (a) (rate(b{c="d", e=~"5.."}[1m])) or vector(0)', ['b{c="d", e!=""}']),
        ('x{route="/tasks/{task_id}"} / on (a, b) group_left (c) y', ['x{route="/tasks/{task_id}"}', "y"]),
        ('label_replace(a offset 5m, "b", "$1", "c", "(.+)") > bool 0.5', ["a"]),
        ('a{b=~".*"} unless c{d!=""}', ["a", "c"]),
    ],
)
def test_selectors_are_found_in_a_query(query: str, exact: list[str]) -> None:
    assert [selector.exact for selector in selectors(query)] == exact


class WithExemplars(Prometheus):
    """Responds to every query with two exemplars, of which `newest` is the newer."""

    def __init__(self, newest: str) -> None:
        super().__init__("http://127.0.0.1:1")
        self._newest = newest

    def get(self, path: str, **params: Any) -> Any:
        assert path == "query_exemplars"
        assert "$" not in params["query"]
        times = {"0ld": 1_500.0, self._newest: 1_900.0}
        return [
            {
                "seriesLabels": {},
                "exemplars": [
                    {"labels": {"trace_id": trace_id}, "value": "1", "timestamp": at} for trace_id, at in times.items()
                ],
            }
        ]


@pytest.mark.parametrize(
    ("newest", "expected"), [("cafe", (["cafe"], [])), ("dead", ([], ["dead"]))], ids=["found", "missing"]
)
def test_the_newest_exemplar_is_looked_up_in_tempo(newest: str, expected: tuple[list[str], list[str]]) -> None:
    pages = {"/ready": lambda: b"ready", "/api/v2/traces/cafe": lambda: b"{}"}
    with Expositions(pages) as tempo, WithExemplars(newest) as prometheus:
        assert find_traces(prometheus, f"http://{tempo.address}", load_dashboards(), WINDOW) == expected


def test_an_unavailable_tempo_is_distinguished_from_a_missing_trace() -> None:
    with WithExemplars("cafe") as prometheus, pytest.raises(httpx.HTTPError):
        find_traces(prometheus, f"http://127.0.0.1:{free_port()}", load_dashboards(), WINDOW)


def test_log_panels_query_the_store_that_has_the_logs(tmp_path: Path) -> None:
    dashboards = load_dashboards()
    with TraceStore(tmp_path) as store:
        store.post(otlp_records.logs([otlp_records.log_record("request", route="/tasks", status=503)]), "logs")
        now = time.time()
        checked = list(
            check_log_panels(Logs(str(store.api.base_url).rstrip("/")), dashboards, Window(now - 60, now + 60, 5))
        )
    # how fast the response was depends on the machine
    assert [
        (item.panel.title, answer.points, answer.error, answer.missing) for item in checked for answer in item.answers
    ] == [("Failed and slow requests", 1, "", ())]
    with pytest.raises(TracingError):
        list(check_log_panels(Logs(f"http://127.0.0.1:{free_port()}"), dashboards, WINDOW))
