"""The viewer's API for its trace pages, without a browser, with fake responses of a trace store."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from litestar.testing import TestClient

from lab.panels import DASHBOARDS
from lab.prometheus import Prometheus
from lab.viewer.folder import Folder
from lab.viewer.server import create_app
from lab.viewer.tracing import Logs, Traces, TracingError
from testbed import free_port, otlp_records
from testbed.otlp_records import request_spans
from testbed.tracestore import TraceStore

FAST, SLOW, FAILED = (bytes([n]) * 16 for n in (1, 2, 3))
AWAY = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TraceStore]:
    now = time.time_ns()
    spans = [
        *request_spans(FAST, "/tasks", milliseconds=3, start=now - 3_000_000_000),
        *request_spans(SLOW, "/tasks/{task_id}", milliseconds=900, start=now - 2_000_000_000),
        *request_spans(
            FAILED, "/tasks", milliseconds=40, code=503, start=now - 1_000_000_000, **{"error.type": "08001"}
        ),
    ]
    with TraceStore(tmp_path_factory.mktemp("tracestore")) as running:
        running.post(otlp_records.traces(spans))
        running.post(otlp_records.logs([otlp_records.log_record("request", FAILED, status=503)]), "logs")
        yield running


@pytest.fixture(scope="module")
def client(store: TraceStore) -> Iterator[TestClient[Any]]:
    app = create_app(
        Folder(DASHBOARDS), Prometheus(AWAY), str(store.api.base_url).rstrip("/"), ["testserver.local"], AWAY
    )
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, [FAILED, SLOW, FAST]),
        ({"order": "slowest"}, [SLOW, FAILED, FAST]),
        ({"failed": "1"}, [FAILED]),
        ({"route": "/tasks"}, [FAILED, FAST]),
        ({"route": 'none"}'}, []),
        ({"least": "30.5"}, [FAILED, SLOW]),
        ({"from": "now-2h", "to": "now-1h"}, []),
    ],
)
def test_a_search_finds_requests(client: TestClient[Any], parameters: dict[str, str], expected: list[bytes]) -> None:
    answer = client.get("/api/tracing/search", params=parameters)
    assert answer.status_code == 200, answer.text
    assert [bytes.fromhex(each["traceId"]) for each in answer.json()] == expected


def test_a_search_result_has_all_fields_of_a_row(client: TestClient[Any]) -> None:
    (found,) = client.get("/api/tracing/search", params={"failed": "1"}).json()
    assert found["duration"] == pytest.approx(0.04)
    assert {
        name: found[name] for name in ("name", "service", "replica", "status", "error", "spans", "failedSpans")
    } == {
        "name": "GET /tasks",
        "service": "todo",
        "replica": "todo-1",
        "status": "503",
        "error": "08001",
        "spans": 2,
        "failedSpans": 1,
    }
    assert client.get("/api/tracing/routes").json() == ["/tasks", "/tasks/{task_id}"]


def test_a_trace_is_a_waterfall_with_its_log_lines(client: TestClient[Any]) -> None:
    trace = client.get(f"/api/tracing/traces/{FAILED.hex()}").json()
    assert [(span["depth"], span["name"], span["kind"], span["isError"]) for span in trace["spans"]] == [
        (0, "GET /tasks", "server", True),
        (1, "GET", "client", False),
    ]
    server, below = trace["spans"]
    assert server["events"][0]["attributes"] == {"exception.type": "Boom"}
    assert server["resource"]["service.instance.id"] == "todo-1"
    assert below["attributes"] == {"db.system.name": "redis", "server.port": "7000"}
    assert [line["line"].split() for line in trace["logs"]] == [["request", "503"]]
    assert trace["logs"][0]["labels"]["status"] == "503"
    assert trace["logsProblem"] is None


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/tracing/traces/" + "a" * 32, 404),
        ("/api/tracing/traces/..", 404),
        ("/api/tracing/traces/xyz", 400),
        ("/api/tracing/search?least=much", 400),
        ("/api/tracing/search?from=yesterday", 400),
    ],
)
def test_unknown_and_invalid_trace_ids_are_rejected(client: TestClient[Any], path: str, status: int) -> None:
    assert client.get(path).status_code == status


def test_pages_of_traces_are_the_viewers_page(client: TestClient[Any]) -> None:
    for path in ("/traces", f"/trace/{FAILED.hex()}"):
        assert "/static/app.js" in client.get(path).text


def test_an_unavailable_trace_store_is_reported_with_its_address() -> None:
    app = create_app(Folder(DASHBOARDS), Prometheus(AWAY), AWAY, ["testserver.local"], AWAY)
    with TestClient(app, raise_server_exceptions=False) as client:
        for path in ("search", "routes", "traces/" + "a" * 32):
            answer = client.get(f"/api/tracing/{path}")
            assert answer.status_code == 502
            assert AWAY in answer.json()["problem"]


def test_logs_are_queried_from_the_first_store_that_has_them(store: TraceStore) -> None:
    logs = Logs(AWAY, str(store.api.base_url).rstrip("/"))
    assert [line.line for line in logs.query('{service_name="todo"}', time.time() - 60, time.time() + 60)] == [
        "request"
    ]
    with pytest.raises(TracingError, match="line_format"):
        logs.query('{service_name="todo"} | line_format "{{ if }}"', 0, 1)
    with pytest.raises(TracingError, match=AWAY):
        Logs(AWAY).query("{}", 0, 1)
    with pytest.raises(TracingError, match="no store of logs"):
        Logs().query("{}", 0, 1)


def test_spans_with_missing_parents_or_cycles_are_shown(store: TraceStore) -> None:
    trace_id = bytes([9]) * 16
    one, other = request_spans(trace_id)
    one.parent_span_id, other.parent_span_id = other.span_id, one.span_id
    (lost, _) = request_spans(trace_id)
    store.post(otlp_records.traces([one, other, lost]))
    shown = Traces(str(store.api.base_url).rstrip("/")).trace(trace_id.hex())
    assert sorted(span.span_id for span in shown) == sorted(span.span_id.hex() for span in (one, other, lost))


def test_a_free_port_has_no_traces() -> None:
    with pytest.raises(TracingError):
        Traces(f"http://127.0.0.1:{free_port()}").routes()
