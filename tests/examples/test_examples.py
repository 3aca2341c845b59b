"""The commands of examples/ work: the service, its Prometheus, the dashboards, and its alert."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.telemetry.metrics import REQUEST_DURATION
from testbed import Process, free_port, wait_for

pytestmark = pytest.mark.skipif(not shutil.which("prometheus"), reason="Prometheus is not installed")


@pytest.fixture(scope="module")
def service(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the instrumented service."""
    port, log = free_port(), tmp_path_factory.mktemp("example") / "service.log"
    process = Process([sys.executable, "examples/instrument.py"], log, cwd=root, env={**os.environ, "PORT": str(port)})
    process.start()
    wait_for(lambda: process.is_running and _answers(f"http://127.0.0.1:{port}/metrics"), 30, "the service")
    yield f"http://127.0.0.1:{port}"
    process.stop()


@pytest.fixture(scope="module")
def prometheus(root: Path, service: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus with the example's configuration, every second instead of every five."""
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    text = (root / "examples/prometheus.yml").read_text().replace("127.0.0.1:8100", service.removeprefix("http://"))
    text = text.replace("../observability", str(root / "observability")).replace("interval: 5s", "interval: 1s")
    (folder / "prometheus.yml").write_text(text)
    options = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    process = Process(["prometheus", *options, f"--web.listen-address=127.0.0.1:{port}"], folder / "prometheus.log")
    process.start()
    wait_for(lambda: process.is_running and _answers(f"http://127.0.0.1:{port}/-/ready"), 30, "Prometheus")
    yield f"http://127.0.0.1:{port}"
    process.stop()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _value(prometheus: str, query: str) -> float | None:
    found = httpx.get(f"{prometheus}/api/v1/query", params={"query": query}, trust_env=False).json()["data"]["result"]
    return float(found[0]["value"][1]) if found else None


def test_the_example_service_exposes_the_metrics_of_the_dashboards(service: str) -> None:
    assert httpx.get(f"{service}/hello/you", trust_env=False).text == "hello, you"
    lines = httpx.get(f"{service}/metrics", trust_env=False).text.splitlines()
    counted = [line for line in lines if line.startswith(f"{REQUEST_DURATION.name}_count{{")]
    assert any('http_route="/hello/{name}"' in line for line in counted)
    assert all(f"{label}=" in line for line in counted for label in REQUEST_DURATION.labels)
    bounds = {line.partition('le="')[2].partition('"')[0] for line in lines if "_seconds_bucket{" in line}
    assert bounds == {*(str(bound) for bound in REQUEST_DURATION.buckets), "+Inf"}


def test_the_dashboards_draw_the_service_of_the_example(
    root: Path, service: str, prometheus: str, tmp_path: Path
) -> None:
    def rate() -> float | None:
        httpx.get(f"{service}/hello/you", trust_env=False)
        return _value(prometheus, "http:requests:rate1m > 0")

    wait_for(rate, 30, "a request rate")
    port = free_port()
    command = [sys.executable, "-m", "lab", "view", "--prometheus", prometheus, "--port", str(port)]
    viewer = Process(command, tmp_path / "viewer.log", cwd=root)
    viewer.start()
    address = f"http://127.0.0.1:{port}/api/dashboards/overview"

    def highest() -> float:
        drawn = httpx.get(f"{address}/panels/{panel}", params={"from": "now-1m", "to": "now"}, trust_env=False)
        drawn.raise_for_status()
        lines = drawn.json()["results"][0]["lines"]
        return max((value for line in lines for value in line["values"] if value is not None), default=0)

    try:
        wait_for(lambda: _answers(address), 30, "the viewer")
        panels = httpx.get(address, trust_env=False).json()["panels"]
        panel = next(each["id"] for each in panels if each["title"] == "Requests")
        # the first steps of the range may be older than the first value
        wait_for(lambda: highest() > 0, 30, "a rate on the panel")
    finally:
        viewer.stop()


def test_the_example_alert_is_tuned_with_another_threshold(root: Path, service: str, prometheus: str) -> None:
    command = [sys.executable, "-m", "lab", "tune", "--rules", "examples/alerts.yml", "--alert", "HighErrorRate"]
    asked = [*command, "--replace", "0.05=0.02", "--prometheus", prometheus, "--last", "5m"]

    def has_new_episode() -> bool:
        # a ratio of failures between the two thresholds
        for _ in range(29):
            httpx.get(f"{service}/hello/you", trust_env=False)
        httpx.get(f"{service}/broken", trust_env=False)
        done = subprocess.run(asked, cwd=root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "HighErrorRate" in done.stdout
        return "new" in done.stdout

    wait_for(has_new_episode, 120, "an episode that only the lower threshold has")
