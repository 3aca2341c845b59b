"""The inbox stores notifications and verdicts, within limits."""

from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient

from lab.desk import inbox as module
from lab.desk.app import create_app
from lab.desk.disk import Disk
from lab.desk.gateway_log import GatewayLog
from lab.desk.inbox import Inbox
from lab.desk.runbooks import Runbooks
from tests.lab.desk.received import notification


def _desk(folder: Path, inbox: Inbox) -> TestClient[Any]:
    app = create_app(inbox, GatewayLog(folder / "none"), Disk(folder), Runbooks("http://127.0.0.1:3000"))
    return TestClient(app, base_url="http://127.0.0.1:8060")


def test_notifications_and_verdicts_survive_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "kept" / "inbox.sqlite"
    first = _desk(tmp_path, Inbox(file=file))
    for _ in range(3):
        first.post("/alerts", json=notification())
    assert first.post("/notifications/2/noise", follow_redirects=False).status_code == 303
    again = _desk(tmp_path, Inbox(file=file))
    feed = again.get("/inbox.json").json()
    assert feed["received"] == 3
    assert [(each["number"], each["verdict"]) for each in feed["notifications"]] == [(3, ""), (2, "noise"), (1, "")]
    assert again.get("/verdicts.json").json() == {"RedisNodeDown": {"useful": 0, "noise": 1}}
    again.post("/alerts", json=notification())
    assert again.get("/inbox.json").json()["received"] == 4


def test_the_file_is_bounded_and_numbering_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KEPT", 5)
    inbox = Inbox(file=tmp_path / "inbox.sqlite")
    desk = _desk(tmp_path, inbox)
    for _ in range(12):
        desk.post("/alerts", json=notification())
    assert [each.number for each in inbox.newest()] == [12, 11, 10, 9, 8]


def test_a_verdict_can_be_withdrawn_and_only_fired_alerts_count(tmp_path: Path) -> None:
    desk = _desk(tmp_path, Inbox())
    desk.post("/alerts", json=notification())
    desk.post("/alerts", json=notification("resolved"))
    desk.post("/notifications/1/useful")
    desk.post("/notifications/2/useful")
    assert desk.get("/verdicts.json").json() == {"RedisNodeDown": {"useful": 1, "noise": 0}}
    assert "take back" in desk.get("/").text
    desk.post("/notifications/1/none")
    assert desk.get("/verdicts.json").json() == {}
    assert 'action="/notifications/1/useful"' in desk.get("/").text
    for path in ("/notifications/9/noise", "/notifications/1/odd"):
        assert desk.post(path).status_code == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://evil.example"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:8060", "sec-fetch-site": "same-origin"}, 303),
        ({}, 303),
    ],
)
def test_a_page_of_another_origin_cannot_send_a_verdict(tmp_path: Path, headers: dict[str, str], status: int) -> None:
    desk = _desk(tmp_path, Inbox())
    desk.post("/alerts", json=notification())
    done = desk.post("/notifications/1/noise", headers=headers, follow_redirects=False)
    assert done.status_code == status
