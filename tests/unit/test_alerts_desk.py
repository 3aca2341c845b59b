"""The desk: notifications taken in and shown, and the gateway's troubles counted."""

import json
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient

from lab.desk.app import create_app
from lab.desk.gateway_log import GatewayLog
from lab.desk.inbox import MOST_NOTIFICATIONS, Inbox
from tests.servers.replica import Samples


def notification(status: str = "firing", **labels: str) -> dict[str, Any]:
    """What Alertmanager's webhook sends, with fields that the desk does not read."""
    return {
        "version": "4",
        "groupKey": "{}",
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "ticket",
        "groupLabels": {"part": "redis"},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager",
        "alerts": [
            {
                "status": status,
                "labels": {"alertname": "RedisNodeDown", "severity": "ticket", **labels},
                "annotations": {"summary": "redis-1 is down", "dashboard": "/d/cache-redis", "runbook": "r.md"},
                "startsAt": "2026-01-02T03:04:05.678901234Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "",
                "fingerprint": "f",
            }
        ],
    }


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where the gateway writes."""
    return tmp_path / "trouble.log"


@pytest.fixture
def desk(log: Path) -> TestClient[Any]:
    """A client of a desk."""
    return TestClient(create_app(Inbox(), GatewayLog(log), "http://127.0.0.1:3000"))


def line(status: int, addresses: str, statuses: str) -> str:
    """A line of the trouble log, with fields that the desk does not read."""
    fields = {"status": status, "upstream_addr": addresses, "upstream_status": statuses, "uri": "/tasks", "bytes": 1}
    return json.dumps(fields) + "\n"


def counters(desk: TestClient[Any]) -> Samples:
    return Samples(desk.get("/metrics").text)


def test_a_notification_arrives_in_the_feed_and_on_the_page(desk: TestClient[Any]) -> None:
    assert desk.post("/alerts", json=notification()).status_code == 204
    feed = desk.get("/inbox.json").json()
    assert feed["received"] == 1
    alert = feed["notifications"][0]["message"]["alerts"][0]
    assert alert["labels"]["alertname"] == "RedisNodeDown"
    page = desk.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "redis-1 is down" in page.text
    assert "http://127.0.0.1:3000/d/cache-redis" in page.text


def test_the_newest_stands_first_and_the_oldest_are_forgotten(desk: TestClient[Any]) -> None:
    for number in range(MOST_NOTIFICATIONS + 5):
        desk.post("/alerts", json=notification(node=str(number)))
    feed = desk.get("/inbox.json").json()
    assert feed["received"] == MOST_NOTIFICATIONS + 5
    nodes = [each["message"]["alerts"][0]["labels"]["node"] for each in feed["notifications"]]
    assert nodes == [str(n) for n in range(MOST_NOTIFICATIONS + 4, 4, -1)]


def test_what_alerts_say_is_shown_as_text(desk: TestClient[Any]) -> None:
    message = notification(alertname="<script>alert(1)</script>")
    message["alerts"][0]["annotations"] = {"summary": "<b>&", "dashboard": 'javascript:"x', "runbook": "<i>"}
    desk.post("/alerts", json=message)
    page = desk.get("/").text
    assert "<script>" not in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert "javascript:" not in page
    assert "&lt;script&gt;" in page


def test_the_dead_mans_switch_is_a_heartbeat_and_no_notification(desk: TestClient[Any]) -> None:
    assert "not heard yet" in desk.get("/").text
    assert desk.post("/heartbeat", json=notification()).status_code == 204
    feed = desk.get("/inbox.json").json()
    assert feed["heartbeat"] > 0
    assert feed["notifications"] == []
    assert "heard 0 s ago" in desk.get("/").text


@pytest.mark.parametrize("body", [b"", b"{}", b"nonsense", b'{"status": "firing", "alerts": 3}'])
def test_what_is_no_notification_is_refused(desk: TestClient[Any], body: bytes) -> None:
    assert desk.post("/alerts", content=body).status_code == 400
    assert desk.get("/inbox.json").json()["received"] == 0


def test_without_a_log_the_counters_are_zero(desk: TestClient[Any]) -> None:
    names = {name for name, _ in counters(desk).series()}
    wanted = {"gateway_upstream_errors_total", "gateway_upstream_retries_total", "gateway_responses_5xx_total"}
    assert wanted <= names
    assert all(counters(desk).value(name) == 0 for name in wanted)


def test_tries_retries_and_failed_answers_are_counted(desk: TestClient[Any], log: Path) -> None:
    log.write_text(
        line(200, "10.0.0.1:8000, 10.0.0.2:8000", "502, 200")
        + line(503, "10.0.0.1:8000, 10.0.0.2:8000 : 10.0.0.3:8000", "504, 502 : 502")
        + line(503, "10.0.0.2:8000", "503")
        + line(503, "todo_services", "502")
        + "{half a line that was cut off\n"
    )
    found = counters(desk)
    assert found.value("gateway_upstream_errors_total", upstream="10.0.0.1:8000") == 2
    assert found.value("gateway_upstream_errors_total", upstream="10.0.0.2:8000") == 1
    assert found.value("gateway_upstream_errors_total", upstream="10.0.0.3:8000") == 1
    assert found.value("gateway_upstream_errors_total", upstream="todo_services") == 1
    assert found.value("gateway_upstream_retries_total") == 3
    assert found.value("gateway_responses_5xx_total") == 3


def test_what_stood_in_the_log_before_is_not_counted(log: Path) -> None:
    log.write_text(line(503, "", ""))
    assert "gateway_responses_5xx_total 0.0" in GatewayLog(log).exposition()


def test_a_line_is_counted_when_it_is_complete(log: Path) -> None:
    follower = GatewayLog(log)
    text = line(503, "", "")
    log.write_text(text[:10])
    assert "gateway_responses_5xx_total 0.0" in follower.exposition()
    with log.open("a") as file:
        file.write(text[10:])
    assert "gateway_responses_5xx_total 1.0" in follower.exposition()
    assert "gateway_responses_5xx_total 1.0" in follower.exposition()


def test_a_log_that_is_emptied_or_replaced_is_followed_from_its_start(log: Path) -> None:
    follower = GatewayLog(log)
    log.write_text(line(503, "", "") * 3)
    assert "gateway_responses_5xx_total 3.0" in follower.exposition()
    log.write_text(line(503, "", ""))
    assert "gateway_responses_5xx_total 4.0" in follower.exposition()
    other = log.with_name("new")
    other.write_text(line(503, "", "") * 9)
    other.rename(log)
    assert "gateway_responses_5xx_total 13.0" in follower.exposition()
