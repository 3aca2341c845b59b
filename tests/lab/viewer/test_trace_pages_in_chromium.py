"""The pages of traces in Chromium: search, waterfall, and the links between them."""

import os
import random
import time
from collections.abc import Iterator

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from lab.panels import DASHBOARDS
from testbed import free_port, otlp_records, wait_for
from testbed.otlp_records import request_spans
from testbed.tracestore import TraceStore
from tests.lab.viewer.conftest import Viewer, complaints, visit

pytestmark = pytest.mark.browser

FAILED, HOSTILE = random.randbytes(16), random.randbytes(16)
MARKUP = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    """A viewer of a trace store with forty requests, of which one failed and one contains markup."""
    folder = tmp_path_factory.mktemp("tracing")
    now = time.time_ns()
    spans = [
        span
        for n in range(38)
        for span in request_spans(random.randbytes(16), milliseconds=n + 1, start=now - (n + 1) * 1_000_000_000)
    ]
    spans += request_spans(FAILED, "/tasks/{task_id}", code=503, milliseconds=500, start=now, **{"error.type": "08001"})
    spans += request_spans(HOSTILE, MARKUP, start=now - 1, **{MARKUP: MARKUP})
    with TraceStore(folder) as store:
        store.post(otlp_records.traces(spans))
        lines = [
            otlp_records.log_record(text, trace_id, status=503)
            for text, trace_id in (("database is down", FAILED), (MARKUP, HOSTILE))
        ]
        store.post(otlp_records.logs(lines), "logs")
        environment = {**os.environ, "TEMPO_PORT": str(store.port), "LOKI_PORT": str(free_port())}
        with Viewer(folder, "http://127.0.0.1:1", DASHBOARDS, environment) as running:
            yield running


def is_drawn(browser: webdriver.Chrome) -> bool:
    return bool(browser.execute_script("return document.querySelector('main')?.dataset.drawn"))


def opened(browser: webdriver.Chrome, address: str) -> None:
    visit(browser, address, lambda: is_drawn(browser))


def rows(browser: webdriver.Chrome) -> list[str]:
    found: list[str] = browser.execute_script(
        "return [...document.querySelectorAll('.gh-found tbody tr')].map(row => row.innerText)"
    )
    return found


def severe(browser: webdriver.Chrome) -> list[str]:
    return complaints(browser, "SEVERE")


def test_a_search_narrows_and_leads_to_the_waterfall_and_its_lines(browser: webdriver.Chrome, traced: Viewer) -> None:
    opened(browser, f"{traced.url}/traces")
    assert len(rows(browser)) == 40
    browser.find_element(By.CSS_SELECTOR, "input[type=checkbox]").click()
    wait_for(lambda: len(rows(browser)) == 1, 20, "the failed one alone")
    assert "failed=1" in browser.current_url
    assert "08001" in rows(browser)[0]
    browser.find_element(By.CSS_SELECTOR, ".gh-found a").click()
    wait_for(lambda: browser.current_url.endswith(f"/trace/{FAILED.hex()}"), 20, "the trace")
    wait_for(lambda: is_drawn(browser), 20, "the page")
    spans = browser.find_elements(By.CSS_SELECTOR, ".gh-span")
    assert len(spans) == 2
    assert "gh-span-error" in spans[0].get_attribute("class")
    spans[0].find_element(By.TAG_NAME, "summary").click()
    assert "http.response.status_code" in spans[0].text
    assert "exception" in spans[0].text
    assert "database is down" in browser.find_element(By.CSS_SELECTOR, ".gh-lines").text
    browser.back()
    wait_for(lambda: "failed=1" in browser.current_url, 20, "the search again")
    assert severe(browser) == []


def test_the_slowest_traces_come_first_on_request(browser: webdriver.Chrome, traced: Viewer) -> None:
    opened(browser, f"{traced.url}/traces?order=slowest&least=20&var-route=%2Ftasks")
    wait_for(lambda: len(rows(browser)) == 19, 20, "those of 20 ms and more")
    assert "38 ms" in rows(browser)[0]


def test_markup_in_a_trace_is_escaped(browser: webdriver.Chrome, traced: Viewer) -> None:
    for path in ("/traces", f"/trace/{HOSTILE.hex()}"):
        opened(browser, traced.url + path)
        for summary in browser.find_elements(By.TAG_NAME, "summary"):
            summary.click()
        assert MARKUP in browser.find_element(By.TAG_NAME, "main").text
        assert browser.find_elements(By.CSS_SELECTOR, "main img") == []
    assert severe(browser) == []


def test_the_url_of_grafanas_trace_dashboard_opens_the_trace(browser: webdriver.Chrome, traced: Viewer) -> None:
    browser.get(f"{traced.url}/d/trace?var-traceId={FAILED.hex()}")
    wait_for(lambda: browser.current_url.endswith(f"/trace/{FAILED.hex()}"), 20, "the trace")
    browser.get(f"{traced.url}/d/trace")
    wait_for(lambda: browser.current_url.endswith("/traces"), 20, "the search")


def test_an_unknown_trace_is_reported_as_such(browser: webdriver.Chrome, traced: Viewer) -> None:
    opened(browser, f"{traced.url}/trace/{'a' * 32}")
    assert "no trace" in browser.find_element(By.CSS_SELECTOR, ".gh-banner").text
