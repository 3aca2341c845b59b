"""From a panel to the trace and the log record of a slow and a failed request, in Chromium with real servers."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from lab.panels import DASHBOARDS
from testbed import Replica, free_port, wait_for
from testbed.postgres import Postgres
from testbed.prometheus import PrometheusServer
from testbed.tracestore import TraceStore
from tests.lab.viewer.conftest import Viewer

pytestmark = pytest.mark.browser

PANEL = "[aria-label='Failed and slow requests']"


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[Viewer]:
    """A viewer of a replica whose writes are all slow, and of which one write failed while its database hung."""
    folder = tmp_path_factory.mktemp("followed")
    with TraceStore(folder) as store, Postgres() as postgres:
        settings = {
            "DATABASE_URL": postgres.new_database(),
            "DATABASE_TIMEOUT_SECONDS": "0.3",
            "OTEL_EXPORTER_OTLP_ENDPOINT": str(store.otlp.base_url).rstrip("/"),
            "TRACE_SAMPLE_RATIO": "0",
            "TRACE_SLOW_SECONDS": "0.001",
        }
        with Replica(folder, **settings) as replica, httpx.Client(base_url=replica.url, trust_env=False) as http:
            target = {"targets": [replica.metrics_url.split("/")[2]]}
            rules = sorted(root.glob("observability/prometheus/rules/*.yml"))
            scrape = {"job_name": "todo", "static_configs": [target]}
            with PrometheusServer(folder, [scrape], rules) as prometheus:
                wait_for(lambda: http.get("/health/ready").is_success, 20, "the database")
                assert http.post("/tasks", json={"task": "slow"}).status_code == 201
                postgres.pause()
                assert http.post("/tasks", json={"task": "lost"}).status_code == 503
                postgres.resume()
                environment = {**os.environ, "TEMPO_PORT": str(store.port), "LOKI_PORT": str(free_port())}
                with Viewer(folder, prometheus.url, DASHBOARDS, environment) as running:
                    yield running


def line(browser: webdriver.Chrome, words: str) -> tuple[str, str]:
    """The text of the panel's log line with these words, and its link. In one step: a refresh replaces the elements."""

    def found() -> list[tuple[str, str]]:
        # only visible panels are queried
        browser.execute_script("document.querySelector(arguments[0])?.scrollIntoView()", PANEL)
        lines = browser.execute_script(
            "return [...document.querySelectorAll(arguments[0])]"
            ".map(line => [line.innerText, line.querySelector('a')?.href])",
            f"{PANEL} .gh-line",
        )
        return [(text, address) for text, address in lines if words in text and address]

    return wait_for(found, 30, f"a line with {words}")[0]


def open_trace(browser: webdriver.Chrome, address: str, name: str) -> str:
    """Opens a trace, and returns the text of its log lines."""
    browser.get(address)
    wait_for(lambda: browser.execute_script("return document.querySelector('main')?.dataset.drawn"), 20, "the trace")
    assert browser.find_element(By.TAG_NAME, "h1").text == name
    return browser.find_element(By.CSS_SELECTOR, ".gh-lines").text


def test_a_failed_requests_line_on_the_panel_links_to_the_reason(browser: webdriver.Chrome, followed: Viewer) -> None:
    browser.get(f"{followed.url}/d/requests?from=now-5m&refresh=5s")
    text, address = line(browser, "503")
    assert "database" in text
    lines = open_trace(browser, address, "POST /tasks")
    assert "503" in lines or "request" in lines
    span = browser.find_element(By.CSS_SELECTOR, ".gh-span")
    assert "gh-span-error" in str(span.get_attribute("class"))
    span.find_element(By.TAG_NAME, "summary").click()
    assert "failure.dependency" in span.text


def test_a_slow_request_leads_from_its_exemplar_to_its_trace_and_line(
    browser: webdriver.Chrome, followed: Viewer
) -> None:
    browser.get(f"{followed.url}/d/requests?from=now-5m&refresh=5s")
    buttons = wait_for(
        lambda: [
            button
            for button in browser.find_elements(By.CSS_SELECTOR, ".gh-panel header .gh-small")
            if button.text == "traces" and button.is_displayed()
        ],
        60,
        "exemplars",
    )
    buttons[0].click()
    links = wait_for(lambda: browser.find_elements(By.CSS_SELECTOR, "dialog[open] a"), 10, "links to traces")
    address = next(
        link.get_attribute("href") for link in links if "201" in link.find_element(By.XPATH, "./ancestor::li").text
    )
    assert address is not None
    assert "request" in open_trace(browser, address, "POST /tasks")
