"""A viewer with a real Prometheus, and Chromium."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from selenium import webdriver

from lab.prometheus import Prometheus
from lab.viewer.chromium import BINARY, DRIVER, chromium
from testbed import Process, free_port, otlp_records, wait_for
from testbed.expositions import Expositions
from testbed.prometheus import PrometheusServer
from testbed.tracestore import TraceStore
from tests import idle_stack_metrics
from tests.lab.viewer.odd_dashboard import ENDED, ODD, OPEN_METRICS, odd_metrics


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [str(file) for file in (BINARY, DRIVER) if not file.exists()]
    for item in items:
        if missing and item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.skip(reason=f"needs {', '.join(missing)}"))


class Viewer:
    """`glasshouse view` as a process."""

    def __init__(
        self, folder: Path, prometheus: str, dashboards: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = Process(
            [
                *(sys.executable, "-m", "lab", "view", "--port", str(self.port)),
                *("--prometheus", prometheus, "--dashboards", str(dashboards)),
            ],
            folder / "viewer.log",
            cwd=Path(__file__).parents[3],
            env=environment,
        )

    def __enter__(self) -> "Viewer":
        self.process.start()
        wait_for(self._answers, 30, "the viewer")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()

    def _answers(self) -> bool:
        assert self.process.is_running, self.process.output()
        try:
            return httpx.get(f"{self.url}/api/dashboards", trust_env=False).is_success
        except httpx.HTTPError:
            return False


@pytest.fixture(scope="session")
def dashboards(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """The committed dashboards, and one with everything that they do not use."""
    folder = tmp_path_factory.mktemp("dashboards")
    for file in root.glob("observability/grafana/dashboards/*.json"):
        (folder / file.name).write_text(file.read_text())
    (folder / "odd.json").write_text(json.dumps(ODD).replace(ENDED, f"{time.time():.0f}"))
    return folder


@pytest.fixture(scope="session")
def prometheus_url(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[str]:
    """A Prometheus that scrapes a healthy stack, and an exporter with odd labels and exemplars."""
    rules = [*root.glob("observability/prometheus/rules/*.yml"), *root.glob("alerts/rules/*.yml")]
    with (
        Expositions(idle_stack_metrics.pages()) as stack,
        Expositions({"/metrics": odd_metrics}, OPEN_METRICS) as odd,
        PrometheusServer(
            tmp_path_factory.mktemp("prometheus"),
            [
                *idle_stack_metrics.scrapes(stack.address),
                {"job_name": "odd", "static_configs": [{"targets": [odd.address]}]},
            ],
            rules,
        ) as server,
        Prometheus(server.url) as prometheus,
    ):
        for settled in (
            "count(replica:process_cpu:ratio_rate1m offset 6s) == 3",
            "count(rate(redis_commands_processed_total[1m] offset 6s)) == 6",
            "count(sum by (cache) (cache:requests:rate1m offset 6s)) == 2",
            "count(rate(odd_seconds_bucket[1m] offset 6s)) > 2",
        ):
            wait_for(lambda settled=settled: prometheus.query(settled), 60, settled)  # type: ignore[misc]
        yield server.url


@pytest.fixture(scope="session")
def viewer(tmp_path_factory: pytest.TempPathFactory, prometheus_url: str, dashboards: Path) -> Iterator[Viewer]:
    folder = tmp_path_factory.mktemp("viewer")
    with TraceStore(folder) as store:
        store.post(otlp_records.logs([otlp_records.log_record("database is down", route="/tasks", status=503)]), "logs")
        environment = {**os.environ, "TEMPO_PORT": str(store.port), "LOKI_PORT": str(free_port())}
        with Viewer(folder, prometheus_url, dashboards, environment) as running:
            yield running


@pytest.fixture(scope="session")
def shared_browser() -> Iterator[webdriver.Chrome]:
    with chromium() as driver:
        yield driver


@pytest.fixture
def browser(shared_browser: webdriver.Chrome) -> webdriver.Chrome:
    """A Chromium at a blank page, with its log cleared."""
    shared_browser.get("about:blank")
    shared_browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    shared_browser.get_log("browser")
    return shared_browser


def visit(browser: webdriver.Chrome, address: str, shown: Callable[[], object]) -> None:
    """Opens a page, again if Chromium dropped its scripts because a network interface appeared or disappeared."""

    def opened() -> object:
        browser.get(address)
        with suppress(AssertionError):
            wait_for(lambda: shown() or has_lost_scripts(browser), 15)
        return shown()

    wait_for(opened, 60, address)


def has_lost_scripts(browser: webdriver.Chrome) -> bool:
    """Whether the page loaded but the request of one of its scripts or style sheets failed without a response."""
    return bool(
        browser.execute_script(
            "return document.readyState === 'complete' && performance.getEntriesByType('resource')"
            ".some(each => ['script', 'link'].includes(each.initiatorType) && !each.responseStatus)"
        )
    )


def complaints(browser: webdriver.Chrome, *levels: str) -> list[str]:
    """The messages of Chromium's log, except for requests that the page repeats."""
    return [
        entry["message"]
        for entry in browser.get_log("browser")
        if entry["level"] in levels and "ERR_NETWORK_CHANGED" not in entry["message"]
    ]
