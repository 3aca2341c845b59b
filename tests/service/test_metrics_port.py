"""Metrics are on a separate port, which clients of the API cannot reach."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from testbed import Gateway, Replica

SPELLINGS = (
    "/metrics",
    "/metrics/",
    "//metrics/",
    "/metrics%2f",
    "/%6detrics",
    "/METRICS",
    "/tasks/../metrics",
    "/metrics?x=1",
)
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    with Replica(tmp_path_factory.mktemp("replica")) as made:
        yield made


@pytest.mark.case("path spellings")
def test_the_public_port_answers_404_to_every_spelling_of_metrics(replica: Replica, tmp_path: Path) -> None:
    with Gateway(tmp_path, [replica.port]) as gateway:
        for server in (replica.url, gateway.url):
            for path in SPELLINGS:
                answer = httpx.get(httpx.URL(server, raw_path=path.encode()))
                assert answer.status_code == 404, (server, path)
                assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.case("headers")
@pytest.mark.parametrize("accept", ["", "*/*", "text/plain", OPEN_METRICS, f"{OPEN_METRICS};q=0.5,text/plain;q=0.3"])
def test_the_content_type_of_metrics_has_one_charset(replica: Replica, accept: str) -> None:
    answer = httpx.get(replica.metrics_url, headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"].count("charset=") == 1
    assert answer.headers["content-type"].startswith("application/openmetrics" if accept.startswith("app") else "text/")
    assert "http_server_active_requests" in answer.text


def test_the_metrics_port_serves_only_metrics(replica: Replica) -> None:
    head = httpx.head(replica.metrics_url)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) > 1000
    assert httpx.get(replica.metrics_url.replace("/metrics", "/tasks")).status_code == 404
    refused = httpx.post(replica.metrics_url)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


def test_a_scrape_is_not_counted_as_a_request(replica: Replica) -> None:
    name = "http_server_request_duration_seconds_count"
    before = replica.metrics().value(name)
    assert replica.metrics().value(name) == before
