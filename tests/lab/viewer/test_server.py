"""The viewer's server without a browser: what it returns, and what it rejects."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from litestar.testing import TestClient

from lab.panels import DASHBOARDS, Annotation, Dashboard, Panel, Target, Window, load_dashboard
from lab.prometheus import Prometheus, PrometheusError, Series
from lab.viewer import library
from lab.viewer.answers import answer, marks
from lab.viewer.choices import ChoiceError, chosen, window
from lab.viewer.command import view
from lab.viewer.folder import Folder
from lab.viewer.library import LibraryError, library_file
from lab.viewer.server import create_app
from lab.viewer.snapshot import embed, snapshot
from testbed import free_port, wait_for

NOW = 1_800_000_000.0
WINDOW = Window(100.0, 120.0, 5.0)


class Canned(Prometheus):
    """Responds to every query with the given series."""

    def __init__(self, series: list[Series]) -> None:
        super().__init__("http://127.0.0.1:1")
        self.series = series

    def query(self, promql: str, at: float | None = None) -> list[Series]:
        return self.series

    def query_range(self, promql: str, start: float, end: float, step: float) -> list[Series]:
        return self.series

    def get(self, path: str, **params: Any) -> Any:
        return []


def _overview() -> Dashboard:
    return load_dashboard(DASHBOARDS / "overview.json")


def _panel(source: Mapping[str, Any], target: Target) -> Panel:
    panel = _overview().panels[0]
    return Panel(1, "timeseries", "", "", "s", "", panel.grid, (target,), source)


def _target(query: str = "up", legend: str = "", *, is_instant: bool = False, datasource: str = "prometheus") -> Target:
    return Target("A", datasource, query, legend, is_instant, "time_series")


@pytest.fixture
def client() -> Iterator[TestClient[Any]]:
    prometheus = Prometheus(f"http://127.0.0.1:{free_port()}")
    app = create_app(Folder(DASHBOARDS), prometheus, "http://127.0.0.1:1", ["testserver.local"])
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def test_values_are_placed_at_the_windows_times_and_nan_is_a_gap() -> None:
    series = Series({"replica": "todo-1"}, [(105.0, 1.5), (110.0, float("nan")), (120.0, float("inf"))])
    shown = answer(Canned([series]), _overview(), _panel({}, _target(legend="{{replica}} {{absent}}!")), {}, WINDOW)
    line = shown.results[0].lines[0]
    assert (shown.start, shown.step, shown.count) == (100.0, 5.0, 5)
    assert list(line.values) == [None, 1.5, None, None, None]
    assert line.name == "todo-1 !"


def test_a_series_without_a_legend_is_named_by_its_labels() -> None:
    series = Series({"__name__": "up", "job": 'a"b'}, [(100.0, 1.0)])
    shown = answer(Canned([series]), _overview(), _panel({}, _target(is_instant=True)), {}, WINDOW)
    assert shown.results[0].lines[0].name == r'up{job="a\"b"}'


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (_target("absent_metric"), "no series matched"),
        (_target(datasource="tempo"), "tempo"),
        (_target("up{job=~'$nobody'}"), "$nobody"),
    ],
)
def test_unsupported_parts_of_a_query_are_reported_as_a_problem(target: Target, words: str) -> None:
    result = answer(Canned([]), _overview(), _panel({}, target), {}, WINDOW).results[0]
    assert words in (result.problem or "")
    assert result.query == target.query


def test_regex_characters_in_a_chosen_value_are_escaped_in_the_query() -> None:
    target = _target('up{replica=~"$replica"}')
    result = answer(Canned([]), _overview(), _panel({}, target), {"replica": ['a"} or up{x=~"']}, WINDOW).results[0]
    assert result.query != 'up{replica=~"a"} or up{x=~""}'


def test_annotations_one_step_apart_are_merged() -> None:
    target = _target("firing")
    dashboard = _overview()
    alert = Annotation("Alerts", "#fff", "{{alertname}}", "firing", target)
    only = Dashboard("x", "x", "", (), dashboard.variables, (alert,), {})
    series = Series({"alertname": "Slow"}, [(100.0, 1), (105.0, 1), (120.0, 1)])
    assert [(mark.title, mark.start, mark.end) for mark in marks(Canned([series]), only, {}, WINDOW)] == [
        ("Slow", 100.0, 105.0),
        ("Slow", 120.0, 120.0),
    ]


@pytest.mark.parametrize(
    ("start", "end", "span"),
    [("now-15m", "now", 900), ("now-1d", "now", 86400), ("1799999940000", "1800000000000", 60)],
)
def test_times_are_parsed_like_grafanas_url_times(start: str, end: str, span: float) -> None:
    asked = window(start, end, NOW)
    assert asked.end - asked.start == pytest.approx(span, abs=2 * asked.step)


@pytest.mark.parametrize(("start", "end"), [("yesterday", "now"), ("now", "now-1h"), ("now-1y", "now"), ("-5", "now")])
def test_an_invalid_time_is_rejected(start: str, end: str) -> None:
    with pytest.raises(ChoiceError):
        window(start, end, NOW)


def test_chosen_values_are_read_from_the_var_parameters() -> None:
    parameters = [("var-node", "redis-1"), ("var-node", "redis-2"), ("from", "now-1h"), ("var-route", "/tasks")]
    assert chosen(parameters) == {"node": ["redis-1", "redis-2"], "route": ["/tasks"]}


def test_the_page_may_load_nothing_from_other_hosts(client: TestClient[Any]) -> None:
    for path in ("/", "/d/overview"):
        page = client.get(path)
        assert page.status_code == 200
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in page.text.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")


def test_panels_report_an_unavailable_prometheus_with_its_address(client: TestClient[Any]) -> None:
    address = client.get("/api/parts").json()["prometheus"]
    assert address in client.get("/api/parts").json()["problem"]
    panel = _overview().panels[0]
    shown = client.get(f"/api/dashboards/overview/panels/{panel.id}").json()
    assert all(address in result["problem"] for result in shown["results"])
    assert client.get("/api/dashboards/overview/variables").status_code == 502


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/api/dashboards/nope", 404, "nope"),
        ("/api/dashboards/overview/panels/1", 404, "panel 1"),
        ("/api/dashboards/overview/variables?from=yesterday", 400, "yesterday"),
        ("/library/../server.py", 404, ""),
        ("/static/%2e%2e/server.py", 404, ""),
        ("/api/v1/query?query=up", 404, ""),
        ("/-/reload", 404, ""),
    ],
)
def test_unknown_dashboards_and_panels_are_rejected(
    client: TestClient[Any], path: str, status: int, words: str
) -> None:
    answered = client.get(path)
    assert answered.status_code == status
    assert words in answered.text


def test_only_read_methods_are_allowed(client: TestClient[Any]) -> None:
    for path in ("/", "/api/dashboards", "/api/dashboards/overview", "/api/parts"):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert client.request(method, path).status_code == 405


def test_a_host_name_of_another_site_is_rejected(client: TestClient[Any]) -> None:
    assert client.get("/api/dashboards", headers={"Host": "evil.example"}).status_code == 400


def test_a_rebuilt_dashboard_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "overview.json"
    text = (DASHBOARDS / "overview.json").read_text()
    file.write_text(text)
    folder = Folder(tmp_path)
    assert folder.dashboard("overview").title == "Overview"
    file.write_text(text.replace('"title": "Overview"', '"title": "Changed"'))
    assert folder.dashboard("overview").title == "Changed"


def test_dashboards_are_listed_in_the_order_of_an_investigation() -> None:
    uids = [dashboard.uid for dashboard in Folder(DASHBOARDS).all()]
    assert uids[:2] == ["overview", "requests"]
    assert uids[-2:] == ["load-test", "trace"]


def test_a_chart_library_with_another_checksum_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "uPlot" in library_file("uplot.iife.min.js")
    library_file.cache_clear()
    monkeypatch.setitem(library._PUBLISHED, "uplot.min.css", "0" * 64)
    with pytest.raises(LibraryError, match="as published"):
        library_file("uplot.min.css")
    library_file.cache_clear()


def test_an_embedded_snapshot_cannot_break_out_of_its_script() -> None:
    hostile = "</script><script>alert(1)</script><!--"
    shown = snapshot(Canned([Series({"job": hostile, "replica": hostile}, [(100.0, 1.0)])]), ["overview"], 100.0, 120.0)
    fragment = embed(shown)
    assert hostile not in fragment
    assert fragment.count("</script>") == fragment.count("<script") == 4
    assert "src=" not in fragment


def test_a_snapshot_of_an_unavailable_prometheus_reports_it() -> None:
    with Prometheus(f"http://127.0.0.1:{free_port()}") as away:
        shown = snapshot(away, ["overview"], 100.0, 120.0)
        with pytest.raises(PrometheusError):
            away.query("up")
    answers = shown.dashboards[0].answers.values()
    assert all(away.url in (result.problem or "") for one in answers for result in one.results)


def test_a_port_in_use_is_one_line_of_error_and_exit_status_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(view, ["--port", str(port)])
    assert result.exit_code == 2
    assert f"127.0.0.1:{port}" in result.stderr
    assert "--port" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_folder_without_dashboards_is_one_line_of_error_and_exit_status_2(tmp_path: Path) -> None:
    result = CliRunner().invoke(view, ["--dashboards", str(tmp_path)])
    assert result.exit_code == 2
    assert "make dashboards" in result.stderr


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def test_ctrl_c_ends_it_silently() -> None:
    port = free_port()
    command = [sys.executable, "-m", "lab", "view", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        try:
            # it listens before it handles signals
            wait_for(lambda: answers(port), 30, "the viewer")
            running.send_signal(signal.SIGINT)
            _, complaint = running.communicate(timeout=20)
        finally:
            running.kill()
    assert running.returncode == 0
    assert not complaint
