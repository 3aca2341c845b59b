"""The alert inbox receives and shows notifications, and counts the gateway's requests."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient

from lab.desk.app import create_app
from lab.desk.disk import Disk
from lab.desk.gateway_log import GatewayLog
from lab.desk.inbox import MAX_NOTIFICATIONS, Inbox
from lab.desk.runbooks import Runbooks
from lab.settings import ROOT
from testbed.replica import Samples
from tests.lab.desk.received import JSON, line, notification


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The file that the gateway writes."""
    return tmp_path / "requests.log"


@pytest.fixture
def desk(log: Path) -> TestClient[Any]:
    """A client of an alert inbox."""
    return TestClient(
        create_app(Inbox(), GatewayLog(log), Disk(log.parent), Runbooks("http://127.0.0.1:3000")),
        base_url="http://127.0.0.1:8060",
    )


def counters(desk: TestClient[Any]) -> Samples:
    return Samples(desk.get("/metrics").text)


def test_a_notification_is_in_the_feed_and_on_the_page(desk: TestClient[Any]) -> None:
    assert desk.post("/alerts", json=notification()).status_code == 204
    feed = desk.get("/inbox.json").json()
    assert feed["received"] == 1
    alert = feed["notifications"][0]["message"]["alerts"][0]
    assert alert["labels"]["alertname"] == "RedisNodeDown"
    page = desk.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "redis-1 is down" in page.text
    assert "http://127.0.0.1:3000/d/cache-redis" in page.text


def test_notifications_are_listed_newest_first_and_the_oldest_are_dropped(desk: TestClient[Any]) -> None:
    for number in range(MAX_NOTIFICATIONS + 5):
        desk.post("/alerts", json=notification(node=str(number)))
    feed = desk.get("/inbox.json").json()
    assert feed["received"] == MAX_NOTIFICATIONS + 5
    nodes = [each["message"]["alerts"][0]["labels"]["node"] for each in feed["notifications"]]
    assert nodes == [str(n) for n in range(MAX_NOTIFICATIONS + 4, 4, -1)]


def test_texts_of_alerts_are_escaped(desk: TestClient[Any]) -> None:
    message = notification(alertname="<script>alert(1)</script>")
    message["alerts"][0]["annotations"] = {"summary": "<b>&", "dashboard_url": 'javascript:"x', "runbook_url": "<i>"}
    desk.post("/alerts", json=message)
    page = desk.get("/").text
    assert "<script>" not in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert "javascript:" not in page
    assert "&lt;script&gt;" in page


def test_the_dead_mans_switch_is_a_heartbeat_instead_of_a_notification(desk: TestClient[Any]) -> None:
    assert "No heartbeat" in desk.get("/").text
    assert desk.post("/heartbeat", json=notification()).status_code == 204
    feed = desk.get("/inbox.json").json()
    assert feed["heartbeat"] > 0
    assert feed["notifications"] == []
    assert "switch 0 s ago" in desk.get("/").text


@pytest.mark.parametrize("body", [b"", b"{}", b"nonsense", b'{"status": "firing", "alerts": 3}'])
def test_an_invalid_notification_is_rejected(desk: TestClient[Any], body: bytes) -> None:
    assert desk.post("/alerts", content=body, headers=JSON).status_code == 400
    assert desk.get("/inbox.json").json()["received"] == 0


def test_without_a_log_every_kind_and_class_is_exposed_with_zero(desk: TestClient[Any]) -> None:
    found = counters(desk)
    for kind in ("read", "write", "probe", "refused"):
        for status in ("2xx", "3xx", "4xx", "5xx"):
            assert found.value("gateway_request_duration_seconds_count", kind=kind, status_class=status) == 0
    assert found.value("gateway_upstream_errors_total", upstream="todo_services") == 0
    assert found.value("gateway_upstream_retries_total") == 0


@pytest.mark.case("outage")
def test_requests_are_counted_by_kind_class_and_duration(desk: TestClient[Any], log: Path) -> None:
    log.write_text(
        line(200, seconds=0.1) * 3
        + line(200, seconds=0.101)
        + line(503, "todo_services", "502", kind="write", seconds=0)
        + line(200, kind="probe") * 7
        + line(400, kind="refused")
        + "read|200|0.0"
    )
    found = counters(desk)
    reads = {"kind": "read", "status_class": "2xx"}
    assert found.value("gateway_request_duration_seconds_count", **reads) == 4
    assert found.value("gateway_request_duration_seconds_bucket", le="0.1", **reads) == 3
    assert found.value("gateway_request_duration_seconds_bucket", le="0.25", **reads) == 4
    assert found.value("gateway_request_duration_seconds_sum", **reads) == pytest.approx(0.401)
    assert found.value("gateway_request_duration_seconds_count", kind="write", status_class="5xx") == 1
    assert found.value("gateway_request_duration_seconds_count", kind="probe", status_class="2xx") == 7
    assert found.value("gateway_request_duration_seconds_count", kind="refused", status_class="4xx") == 1


def test_attempts_and_retries_are_counted(desk: TestClient[Any], log: Path) -> None:
    counters(desk)
    log.write_text(
        line(200, "10.0.0.1:8000, 10.0.0.2:8000", "502, 200")
        + line(503, "10.0.0.1:8000, 10.0.0.2:8000 : 10.0.0.3:8000", "504, 502 : 502")
        + line(503, "10.0.0.2:8000", "503")
        + line(503, "todo_services", "502")
        + "nonsense\nread|abc|x|y|z\nread|999|0.1||\n|||\n"
    )
    counters(desk)
    found = counters(desk)
    assert found.value("gateway_upstream_errors_total", upstream="10.0.0.1:8000") == 2
    assert found.value("gateway_upstream_errors_total", upstream="10.0.0.2:8000") == 1
    assert found.value("gateway_upstream_errors_total", upstream="10.0.0.3:8000") == 1
    assert found.value("gateway_upstream_errors_total", upstream="todo_services") == 1
    assert found.value("gateway_upstream_retries_total") == 3


def test_the_first_failure_of_a_replica_is_an_increase_from_zero(desk: TestClient[Any], log: Path) -> None:
    counters(desk)
    log.write_text(line(503, "10.0.0.9:8000", "502") * 60)
    assert counters(desk).value("gateway_upstream_errors_total", upstream="10.0.0.9:8000") == 0
    assert counters(desk).value("gateway_upstream_errors_total", upstream="10.0.0.9:8000") == 60


def failures(log: GatewayLog) -> float:
    """The 5xx responses to reads that a log has counted."""
    return Samples(log.exposition()).value("gateway_request_duration_seconds_count", kind="read", status_class="5xx")


def test_earlier_lines_of_the_log_are_not_counted(log: Path) -> None:
    log.write_text(line(503))
    assert failures(GatewayLog(log)) == 0


def test_a_line_is_counted_when_it_is_complete(log: Path) -> None:
    follower = GatewayLog(log)
    text = line(503)
    log.write_text(text[:7])
    assert failures(follower) == 0
    with log.open("a") as file:
        file.write(text[7:])
    assert failures(follower) == 1
    assert failures(follower) == 1


def test_a_truncated_or_replaced_log_is_read_from_its_start(log: Path) -> None:
    follower = GatewayLog(log)
    log.write_text(line(503) * 3)
    assert failures(follower) == 3
    log.write_text(line(503))
    assert failures(follower) == 4
    other = log.with_name("new")
    other.write_text(line(503) * 9)
    other.rename(log)
    assert failures(follower) == 13


def test_a_large_log_is_truncated_after_it_was_counted(log: Path) -> None:
    follower = GatewayLog(log, max_bytes=100)
    with log.open("ab", buffering=0) as writer:
        for _ in range(50):
            writer.write(line(503).encode() * 10)
            failures(follower)
            assert log.stat().st_size <= 100 + len(line(503)) * 10
    assert failures(follower) == 500


def test_the_size_of_the_data_disk_is_exposed(desk: TestClient[Any]) -> None:
    found = counters(desk)
    assert 0 < found.value("desk_disk_available_bytes") < found.value("desk_disk_size_bytes")


def test_every_runbook_is_a_page_and_their_links_lead_to_pages(desk: TestClient[Any]) -> None:
    index = desk.get("/runbooks").text
    names = sorted(file.stem for file in (ROOT / "alerts/runbooks").glob("*.md"))
    for name in names:
        assert f'href="/runbooks/{name}"' in index
        page = desk.get(f"/runbooks/{name}")
        assert page.headers["content-type"].startswith("text/html")
        assert f"<h1>{name}</h1>" in page.text
        assert 'href="http://127.0.0.1:3000/d/' in page.text
        for link in re.findall(r'href="(/[^"]*)"', page.text):
            assert desk.get(link).status_code == 200, link
        assert 'href="../' not in page.text


@pytest.mark.parametrize("name", ["Nobody", "..%2f..%2fREADME", "ServiceDown.md", "%00"])
def test_an_unknown_runbook_is_404(desk: TestClient[Any], name: str) -> None:
    assert desk.get(f"/runbooks/{name}").status_code in {400, 404}


def test_a_foreign_web_page_cannot_forge_a_heartbeat_or_an_alert(desk: TestClient[Any]) -> None:
    body = json.dumps(notification())
    # what a browser sends for a page of another origin without a preflight: a form's content type, and the origin
    assert desk.post("/heartbeat", content=body, headers={"Content-Type": "text/plain"}).status_code == 415
    assert desk.post("/heartbeat", content=body).status_code == 415
    assert desk.post("/heartbeat", content=body, headers={**JSON, "Origin": "http://evil.example"}).status_code == 403
    assert desk.post("/alerts", content=body, headers={**JSON, "Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert desk.get("/inbox.json").json() == {"heartbeat": None, "received": 0, "notifications": []}


@pytest.mark.parametrize("host", ["evil.example:8060", "127.0.0.1.evil.example", ""])
def test_a_foreign_host_name_is_rejected(desk: TestClient[Any], host: str) -> None:
    assert desk.get("/inbox.json", headers={"Host": host}).status_code == 421
    assert desk.post("/heartbeat", json=notification(), headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1:8060", "localhost:8060", "[::1]:8060", "desk:8060", "DESK"])
def test_desk_accepts_its_own_host_names(desk: TestClient[Any], host: str) -> None:
    assert desk.post("/heartbeat", json=notification(), headers={"Host": host}).status_code == 204
