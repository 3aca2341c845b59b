"""Fuzzed requests to the viewer, and fuzzed responses of Tempo, Loki and Prometheus to it."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar.testing import TestClient

from lab.desk.app import create_app as create_desk
from lab.desk.disk import Disk
from lab.desk.gateway_log import GatewayLog
from lab.desk.inbox import Inbox
from lab.desk.runbooks import Runbooks
from lab.head import with_head
from lab.panels import DASHBOARDS, DashboardError, load_dashboard
from lab.prometheus import Prometheus
from lab.viewer import tracing
from lab.viewer.command import hosts_of
from lab.viewer.folder import Folder
from lab.viewer.server import create_app
from testbed import free_port

SEED = 19
ID = "a" * 32
Client = TestClient[Any]


@pytest.fixture
def viewer() -> Iterator[Client]:
    prometheus = Prometheus(f"http://127.0.0.1:{free_port()}", timeout=1)
    app = create_app(Folder(DASHBOARDS), prometheus, "http://127.0.0.1:1", ["testserver.local"], "http://127.0.0.1:1")
    with TestClient(app, raise_server_exceptions=False) as made:
        yield made


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Sets the response of Tempo and Loki to every request."""
    body = [b""]
    monkeypatch.setattr(tracing.httpx, "get", lambda *_, **__: httpx.Response(200, content=body[0]))

    def answer(given: bytes) -> None:
        body[0] = given

    return answer


@pytest.mark.parametrize(
    "name",
    [
        *("%00", "style.css%00", "a" * 5000, "..%2fserver.py", "%2e%2e%2fserver.py", "/etc/passwd", "%5c..%5cx", "%ff"),
        *("a%0d%0aSet-Cookie:x", "", ".", "~", "js"),
    ],
)
def test_an_unknown_file_of_the_viewer_is_404(viewer: Client, name: str) -> None:
    for folder in ("static", "library"):
        answer = viewer.get(f"/{folder}/{name}")
        assert answer.status_code == 404, (folder, name)
        assert "root:" not in answer.text
        assert "set-cookie" not in answer.headers


def test_fuzzed_urls_are_answered_or_rejected(viewer: Client) -> None:
    chance = random.Random(SEED)
    times = (
        "now",
        "now-1h",
        "now-999999w",
        "0",
        "999999999999999",
        "-1",
        "1e3",
        "nan",
        "\u0663",
        "",
        "now+1h",
        "x" * 300,
    )
    names = ("overview", "requests", "..", "%2e%2e", "%00", "é", "x" * 3000, "1")
    for _ in range(400):
        kind = chance.choice(
            ("annotations", "variables", f"panels/{chance.choice(('1', '2', '-1', '9' * 30, 'x'))}", "")
        )
        path = f"/api/dashboards/{chance.choice(names)}/{kind}"
        chosen = {
            "from": chance.choice(times),
            "to": chance.choice(times),
            "var-replica": chance.choice(('"}', "$__all")),
        }
        answer = viewer.get(path, params=chosen)
        assert answer.status_code in (200, 400, 404, 502), (path, chosen)


BODIES = [
    *(b"[]", b"null", b"3", b"\xff", b"", b"<html>", b"[" * 100_000),
    b'{"traces":3,"tagValues":7,"trace":[1],"data":[]}',
    b'{"traces":[{"spanSets":[{"spans":[{}]}]}],"tagValues":[{}],"data":{"result":[{"values":[["x"]]}]}}',
    b'{"traces":[{"traceID":3,"spanSets":[{"spans":[{"startTimeUnixNano":"x"}]}]}],"trace":{"resourceSpans":[{}]}}',
    b'{"trace":{"resourceSpans":[{"scopeSpans":[{"spans":[{"spanId":"!"}]}]}]},"traces":[7]}',
]
PATHS = ("/api/tracing/search", "/api/tracing/routes", f"/api/tracing/traces/{ID}")


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:40]))
def test_a_response_that_is_not_tempo_is_reported_as_invalid(
    viewer: Client, answers: Callable[[bytes], None], body: bytes
) -> None:
    answers(body)
    statuses = {path: viewer.get(path).status_code for path in PATHS}
    assert set(statuses.values()) <= {200, 404, 502}, statuses
    assert 502 in statuses.values()
    log_panel = next(each for each in load_dashboard(DASHBOARDS / "requests.json").panels if each.kind == "logs")
    shown = viewer.get(f"/api/dashboards/requests/panels/{log_panel.id}")
    assert shown.status_code == 200
    assert "500" not in str(shown.json()["results"][0]["problem"])


def test_fuzzed_tempo_responses_are_shown_or_reported(viewer: Client, answers: Callable[[bytes], None]) -> None:
    chance, statuses = random.Random(SEED), []
    span = {"spanId": "AAAAAAAAAAE=", "name": "GET", "startTimeUnixNano": "5", "endTimeUnixNano": "9"}
    span |= {"attributes": [{"key": "a", "value": {"intValue": "1"}}], "status": {"code": 2}, "events": [{"name": "e"}]}
    found = {"traceID": "1", "spanSets": [{"spans": [span]}], "serviceStats": {"todo": {"spanCount": 1}}}
    whole = {
        "traces": [found],
        "tagValues": [{"value": "/tasks"}],
        "trace": {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]},
    }
    text = json.dumps(whole)
    for _ in range(600):
        at = chance.randrange(len(text))
        odd = chance.choice(("null", "[]", "{}", "7", '"x"', "9" * 400, "-1", "1e999", "\\ud800", ""))
        answers((text[:at] + odd + text[at + chance.choice((0, 1, 4)) :]).encode())
        statuses.append(viewer.get(chance.choice(PATHS)).status_code)
    assert set(statuses) <= {200, 404, 502}
    assert statuses.count(200) > 30


@pytest.mark.parametrize(
    "content", [b"[]", b"7", b"\xef\xbb\xbf{}", b"\xff", b"[" * 100_000, b'{"uid":"a","title":"t","panels":null}']
)
def test_an_invalid_dashboard_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "odd.json").write_bytes(content)
    with pytest.raises(DashboardError, match=r"odd\.json"):
        load_dashboard(tmp_path / "odd.json")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_on_every_loopback_address_only_loopback_host_names_are_accepted(host: str) -> None:
    app = create_app(Folder(DASHBOARDS), Prometheus("http://127.0.0.1:1"), "http://127.0.0.1:1", hosts_of(host, 8050))
    with TestClient(app, base_url="http://testserver.local") as client:
        for name, status in (("127.0.0.1", 200), ("localhost", 200), ("[::1]", 200), ("evil.example", 400)):
            assert client.get("/", headers={"Host": f"{name}:8050"}).status_code == status, name


def test_head_is_answered_as_get_without_a_body(viewer: Client, tmp_path: Path) -> None:
    desk = create_desk(Inbox(), GatewayLog(tmp_path / "none"), Disk(tmp_path), Runbooks("http://127.0.0.1:3000"))
    for app, paths in (
        (viewer.app, ("/", "/api/dashboards", "/static/style.css", "/nothing")),
        (desk, ("/", "/metrics")),
    ):
        with TestClient(
            with_head(app), base_url="http://testserver.local" if app is viewer.app else "http://127.0.0.1:8060"
        ) as client:
            for path in paths:
                read, asked = client.get(path), client.head(path)
                assert (asked.status_code, asked.content) == (read.status_code, b""), path
                assert asked.headers["content-type"] == read.headers["content-type"]
