"""Every panel's queries on a real Prometheus that scrapes an idle, healthy stack."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from lab.check import check, check_panels
from lab.panels import Window, expand, load_dashboards
from lab.prometheus import Prometheus
from observability.dashboards.queries import or_zero
from testbed.conditions import wait_for
from testbed.expositions import Expositions
from testbed.process import free_port
from testbed.prometheus import PrometheusServer
from tests import idle_stack_metrics


@pytest.fixture(scope="module")
def prometheus_url(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[str]:
    rules = [*root.glob("observability/prometheus/rules/*.yml"), *root.glob("alerts/rules/*.yml")]
    with (
        Expositions(idle_stack_metrics.pages()) as stack,
        PrometheusServer(
            tmp_path_factory.mktemp("prometheus"), idle_stack_metrics.scrapes(stack.address), rules
        ) as server,
        Prometheus(server.url) as prometheus,
    ):
        # a window ends on a whole step, up to five seconds ago; by then everything has been scraped twice and recorded
        for settled in (
            "count(replica:process_cpu:ratio_rate1m offset 6s) == 3",
            "count(rate(redis_commands_processed_total[1m] offset 6s)) == 6",
            "count(sum by (cache) (cache:requests:rate1m offset 6s)) == 2",
            "count(up == 1) == 16",
        ):
            wait_for(lambda settled=settled: prometheus.query(settled), 60, settled)
        yield server.url


def _recently() -> Window:
    now = time.time()
    return Window.of(now - 60, now)


def test_every_panel_of_an_idle_stack_has_a_value_or_a_no_data_text(prometheus_url: str) -> None:
    with Prometheus(prometheus_url) as prometheus:
        checked = list(check_panels(prometheus, load_dashboards(), _recently()))
    blank = {
        f"{item.dashboard.uid} / {item.panel.title} / {answer.query}": answer.fault
        for item in checked
        for answer in item.answers
        if answer.fault and not answer.fault.startswith("took")
    }
    assert not blank, "\n".join(f"{k}: {v}" for k, v in blank.items())
    assert len(checked) > 90


def test_annotations_can_be_queried(prometheus_url: str) -> None:
    window = _recently()
    with Prometheus(prometheus_url) as prometheus:
        for dashboard in load_dashboards():
            for annotation in dashboard.annotations:
                query = expand(annotation.target.query, dashboard.variables, {}, window)
                prometheus.query_range(query, window.start, window.end, window.step)


def test_variables_have_values_and_choosing_one_narrows_a_panel(prometheus_url: str) -> None:
    dashboards = {dashboard.uid: dashboard for dashboard in load_dashboards()}
    with Prometheus(prometheus_url) as prometheus:
        for variable in dashboards["overview"].variables:
            values = prometheus.get(f"label/{variable.label}/values", **{"match[]": variable.match})
            assert len(values) > 1, variable
        replicas = dashboards["replicas-gateway"]
        utilization = next(panel for panel in replicas.panels if panel.title == "CPU utilization by replica")
        window = _recently()
        query = expand(utilization.targets[0].query, replicas.variables, {"replica": ["todo-1", "todo-3"]}, window)
        assert {series.labels["replica"] for series in prometheus.query(query)} == {"todo-1", "todo-3"}


def test_replicas_appear_by_name_and_never_by_address(prometheus_url: str) -> None:
    with Prometheus(prometheus_url) as prometheus:
        for dashboard in load_dashboards():
            for panel in dashboard.panels_of("prometheus"):
                for target in panel.targets:
                    query = expand(target.query, dashboard.variables, {}, _recently())
                    assert not any("instance" in series.labels for series in prometheus.query(query)), query


def test_the_command_prints_the_panels_and_their_number(prometheus_url: str) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    outcome = CliRunner().invoke(check, ["--url", prometheus_url, "--tempo", nobody, "--last", "1"])
    assert "Cache and Redis" in outcome.output
    assert "Tempo does not answer" in outcome.output
    assert "Log lines were not checked" in outcome.output
    assert (
        f"{sum(len(dashboard.panels_of('prometheus')) for dashboard in load_dashboards())} panels, " in outcome.output
    )


def test_without_a_stack_it_is_one_line_of_error_and_exit_status_2() -> None:
    outcome = CliRunner().invoke(check, ["--url", f"http://127.0.0.1:{free_port()}"])
    assert outcome.exit_code == 2
    assert outcome.stderr.count("\n") == 1
    assert "make native" in outcome.stderr


@pytest.mark.parametrize("fault", ["empty", "refused", "metric", "label", "value"])
def test_a_faulty_panel_is_exit_status_1(
    prometheus_url: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = {
        "empty": "no_such_metric",
        "refused": "sum(",
        "metric": or_zero("no_such_metric"),
        "label": or_zero('sum(rate(rate_limit_decisions_total{verdict=~"no.*"}[1m]))'),
        "value": or_zero('sum(rate(rate_limit_decisions_total{decision="alowed"}[1m]))'),
    }[fault]
    committed = next(dashboard for dashboard in load_dashboards() if dashboard.uid == "overview")
    broken = committed.panels[0].targets[0].query
    text = (Path(__file__).parents[2] / "observability/grafana/dashboards/overview.json").read_text()
    escaped = broken.replace('"', '\\"')
    assert escaped in text
    (tmp_path / "overview.json").write_text(text.replace(escaped, query.replace('"', '\\"')))
    monkeypatch.setattr("lab.check.load_dashboards", lambda: load_dashboards(tmp_path))
    for is_new, ends_with in ((False, "wait for data\n"), (True, "need a minute of data: check again\n")):
        monkeypatch.setattr("lab.check.is_starting", lambda _, is_new=is_new: is_new)
        outcome = CliRunner().invoke(check, ["--url", prometheus_url, "--last", "1", "--slowest", "60"])
        assert outcome.exit_code == 1
        assert "1 panels at fault" in outcome.output
        assert outcome.output.endswith(ends_with)
