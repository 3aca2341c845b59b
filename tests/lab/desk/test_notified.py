"""Metrics of notifications: each start of an alert counts once; inhibited and silenced alerts are exposed."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from litestar.testing import TestClient

from lab.desk import notified as module
from lab.desk.app import create_app
from lab.desk.disk import Disk
from lab.desk.gateway_log import GatewayLog
from lab.desk.inbox import Inbox, Message, SentAlert
from lab.desk.notified import HeldAlert, Notified, held, known_alerts
from lab.desk.runbooks import Runbooks
from tests.lab.desk.received import notification


def _alert(name: str, silenced: str = "", inhibited: str = "") -> dict[str, Any]:
    status = {"silencedBy": [silenced] * bool(silenced), "inhibitedBy": [inhibited] * bool(inhibited)}
    return {"labels": {"alertname": name}, "status": status}


def test_each_start_of_an_alert_counts_as_one_notification(tmp_path: Path) -> None:
    notified = Notified(alerts=["RedisNodeDown", "Other"])
    runbooks = Runbooks("http://127.0.0.1:3000")
    app = create_app(Inbox(), GatewayLog(tmp_path / "none"), Disk(tmp_path), runbooks, notified)
    desk = TestClient[Any](app, base_url="http://127.0.0.1:8060")
    assert 'alert_notifications_total{alertname="Other"} 0.0' in desk.get("/metrics").text
    message = notification(node="redis-1")
    message["alerts"] += [{**message["alerts"][0], "labels": {"alertname": "RedisNodeDown", "node": "redis-2"}}]
    desk.post("/alerts", json=message)
    # repeated with others of its group, then resolved
    desk.post("/alerts", json=message)
    desk.post("/alerts", json=notification("resolved"))
    assert 'alert_notifications_total{alertname="RedisNodeDown"} 1.0' in desk.get("/metrics").text
    message["alerts"][0]["startsAt"] = "2026-01-02T04:00:00Z"
    desk.post("/alerts", json=message)
    assert 'alert_notifications_total{alertname="RedisNodeDown"} 2.0' in desk.get("/metrics").text


def test_an_alert_counts_as_held_back_only_if_all_its_series_are() -> None:
    alerts = [_alert("A", inhibited="x"), _alert("A"), _alert("B", inhibited="x"), _alert("C", silenced="s")]
    assert held([]) == {}
    assert held(msgspec.convert(alerts, list[HeldAlert])) == {"B": "inhibition", "C": "silence"}


def test_inhibited_and_silenced_alerts_are_exposed_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [
        httpx.Response(200, json=[_alert("A", inhibited="x")]),
        httpx.Response(200, json=[_alert("A")]),
        httpx.Response(503),
    ]
    client = httpx.AsyncClient
    transport = httpx.MockTransport(lambda _: answers.pop(0))
    monkeypatch.setattr(module.httpx, "AsyncClient", lambda **_: client(transport=transport))
    notified = Notified("http://127.0.0.1:9093")
    assert 'alert_held{alertname="A",by="inhibition"} 1.0' in asyncio.run(notified.exposition())
    for _ in range(2):
        assert "alert_held{" not in asyncio.run(notified.exposition())


def test_names_are_bounded() -> None:
    notified, now = Notified(), datetime.now(UTC)
    for number in range(module.MAX_NAMES + 10):
        alert = SentAlert("firing", {"alertname": f"A{number}"}, {}, now, now)
        notified.count(Message("firing", "ticket", {}, [alert]))
    assert asyncio.run(notified.exposition()).count("alert_notifications_total{") == module.MAX_NAMES


def test_the_counter_of_every_alert_starts_at_0(tmp_path: Path) -> None:
    assert {"ErrorRatioHigh", "DeadMansSwitch"} <= {*known_alerts()}
    assert known_alerts(tmp_path) == []
