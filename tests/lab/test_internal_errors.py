"""An error that no web app of the lab expects: status 500, and a stack trace in the log."""

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from lab import internal_errors
from lab.desk import app as desk
from lab.desk.disk import Disk
from lab.desk.gateway_log import GatewayLog
from lab.desk.inbox import Inbox
from lab.desk.runbooks import Runbooks
from lab.panels import DASHBOARDS
from lab.prometheus import Prometheus
from lab.tracestore import app as tracestore
from lab.tracestore.metrics import Metrics
from lab.tracestore.store import Bounds, Store
from lab.viewer import server as viewer
from lab.viewer.folder import Folder

# nothing listens there
NOWHERE = "http://127.0.0.1:1"


def _desk(folder: Path) -> Litestar:
    return desk.create_app(Inbox(), GatewayLog(folder / "requests.log"), Disk(folder), Runbooks(NOWHERE))


def _tracestore(folder: Path) -> Litestar:
    metrics = Metrics()
    return tracestore.create_app(Store(folder / "traces.db", Bounds(1 << 20, 60), metrics), metrics, ["127.0.0.1"])


def _viewer(_: Path) -> Litestar:
    return viewer.create_app(Folder(DASHBOARDS), Prometheus(NOWHERE), NOWHERE, ["127.0.0.1"])


@pytest.mark.parametrize(
    ("app", "broken", "path"),
    [
        (_desk, "lab.desk.app.render", "/"),
        (_tracestore, "lab.tracestore.app.search_of", "/api/search"),
        (_viewer, "lab.viewer.server.page", "/"),
        (_viewer, "litestar.file_system.BaseLocalFileSystem.info", "/static/style.css"),
    ],
)
def test_an_internal_error_leaves_a_stack_trace_in_the_log(
    app: Callable[[Path], Litestar],
    broken: str,
    path: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> NoReturn:
        raise RuntimeError("an error that nobody expects")

    monkeypatch.setattr(broken, fail)
    with TestClient(app(tmp_path), base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        answer = client.get(path)
    assert answer.status_code == 500
    assert "stack trace is in the log" in answer.json()["detail"]
    (record,) = [each for each in caplog.records if each.name == internal_errors.__name__]
    assert record.getMessage() == f"GET {path} failed"
    assert "an error that nobody expects" in caplog.text
    assert "in fail" in caplog.text
