"""The trace store: what it accepts, what it returns, and what it keeps."""

import base64
import gzip
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from lab.tracestore import app, reading, store, writing
from lab.tracestore.app import create_app
from lab.tracestore.database import open_to_write
from lab.tracestore.metrics import Metrics
from lab.tracestore.otlp import decode_traces
from lab.tracestore.store import Bounds, QueueFullError, Store
from lab.tracestore.traceql import QueryError, nanoseconds, parse
from testbed import otlp_records
from testbed.otlp_records import request_spans

PROTOBUF = {"Content-Type": "application/x-protobuf"}
BOUNDS = Bounds(64 << 20, 3600)
FAST, SLOW, FAILED = (bytes([n]) * 16 for n in (1, 2, 3))

Client = TestClient[Any]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    metrics = Metrics()
    app = create_app(Store(tmp_path / "traces.db", BOUNDS, metrics), metrics, ["testserver.local"])
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def filled(client: Client) -> Client:
    """Three traces, oldest first: a fast one, a slow one, a failed one."""
    now = time.time_ns()
    spans = [
        *request_spans(FAST, "/tasks", milliseconds=3, start=now - 3_000_000_000),
        *request_spans(SLOW, "/tasks/{task_id}", milliseconds=900, start=now - 2_000_000_000),
        *request_spans(
            FAILED, "/tasks", milliseconds=40, code=503, start=now - 1_000_000_000, **{"error.type": "08001"}
        ),
    ]
    assert post(client, otlp_records.traces(spans)).status_code == 200
    return client


def post(client: Client, body: bytes, path: str = "/v1/traces", **headers: str) -> Any:
    return client.post(path, content=body, headers=PROTOBUF | headers)


def found(client: Client, **parameters: Any) -> list[bytes]:
    answer = client.get("/api/search", params=parameters)
    assert answer.status_code == 200, answer.text
    return [bytes.fromhex(trace["traceID"]) for trace in answer.json()["traces"]]


def metric(client: Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_a_trace_is_returned_by_its_id_with_everything_that_was_sent(filled: Client) -> None:
    answer = filled.get(f"/api/v2/traces/{FAILED.hex()}").json()["trace"]["resourceSpans"]
    assert [group["resource"]["attributes"][0]["value"]["stringValue"] for group in answer] == ["todo"]
    (scoped,) = answer[0]["scopeSpans"]
    assert scoped["scope"]["name"] == "service"
    server, client_span = scoped["spans"]
    assert base64.b64decode(server["traceId"]) == FAILED
    assert server["kind"] == "SPAN_KIND_SERVER"
    assert server["status"]["code"] == "STATUS_CODE_ERROR"
    assert server["events"][0]["name"] == "exception"
    assert client_span["parentSpanId"] == server["spanId"]
    assert filled.get(f"/api/traces/{FAILED.hex()}").json()["batches"] == answer


def test_a_trace_is_returned_as_protobuf_on_request(filled: Client) -> None:
    accept = {"Accept": "application/protobuf"}
    trace = TracesData.FromString(filled.get(f"/api/traces/{SLOW.hex()}", headers=accept).content)
    names = [span.name for group in trace.resource_spans for scoped in group.scope_spans for span in scoped.spans]
    assert names == ["GET /tasks/{task_id}", "GET"]
    # Grafana reads the fields of both without a check that they are there
    scopes = [scoped for group in trace.resource_spans for scoped in group.scope_spans]
    assert all(scoped.HasField("scope") for scoped in scopes)
    assert all(span.HasField("status") for scoped in scopes for span in scoped.spans)
    # the first field of TraceByIDResponse
    second = filled.get(f"/api/v2/traces/{SLOW.hex()}", headers=accept).content
    assert second.endswith(trace.SerializeToString())
    assert second[0] == 0x0A


@pytest.mark.parametrize(("trace_id", "status"), [("ab" * 16, 404), ("1", 404), ("xyz", 400), ("a" * 33, 400)])
def test_an_unknown_or_invalid_trace_is_rejected(filled: Client, trace_id: str, status: int) -> None:
    for version in ("/api/traces/", "/api/v2/traces/"):
        assert filled.get(version + trace_id).status_code == status


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, [FAILED, SLOW, FAST]),
        ({"limit": 1}, [FAILED]),
        ({"order": "slowest"}, [SLOW, FAILED, FAST]),
        ({"minDuration": "30ms"}, [FAILED, SLOW]),
        ({"minDuration": "30ms", "maxDuration": "0.5s"}, [FAILED]),
        ({"tags": 'http.route=/tasks name="GET /tasks"'}, [FAILED, FAST]),
        ({"tags": "http.response.status_code=503"}, [FAILED]),
        ({"tags": "status=error"}, [FAILED]),
        ({"end": 1}, []),
        ({"q": "{}"}, [FAILED, SLOW, FAST]),
        ({"q": "{ status = error }"}, [FAILED]),
        ({"q": '{ span.http.route = "/tasks" && kind = server }'}, [FAILED, FAST]),
        ({"q": "{ span.http.response.status_code >= 500 }"}, [FAILED]),
        ({"q": "{ duration > 100ms }"}, [SLOW]),
        ({"q": "{ traceDuration < 10ms || duration > 0.5s }"}, [SLOW, FAST]),
        ({"q": '{ rootName =~ "GET /tasks/.*" }'}, [SLOW]),
        ({"q": '{ name !~ "GET.*" }'}, []),
        ({"q": '{ .db.system.name = "redis" && (status = unset && .server.port > 6999) }'}, [FAILED, SLOW, FAST]),
        ({"q": "{ .db.system.name > 5 }"}, []),
        ({"q": '{ resource.service.instance.id = "todo-1" && span.error.type != nil }'}, [FAILED]),
        ({"q": '{ resource.service.name = "other" }'}, []),
        ({"q": f'{{ trace:id = "{SLOW.hex()}" }} | select(span.http.route)'}, [SLOW]),
        ({"q": '{ span.error.type = "080\\u0030" }'}, []),
    ],
)
def test_searches_return_the_matching_traces(filled: Client, parameters: dict[str, Any], expected: list[bytes]) -> None:
    assert found(filled, **parameters) == expected


def test_a_search_returns_each_trace_with_its_matching_spans(filled: Client) -> None:
    query = "{ status = error } | select(span.http.route, span.http.response.status_code)"
    (trace,) = filled.get("/api/search", params={"q": query}).json()["traces"]
    assert (trace["rootServiceName"], trace["rootTraceName"], trace["durationMs"]) == ("todo", "GET /tasks", 40)
    assert trace["serviceStats"] == {"todo": {"spanCount": 2, "errorCount": 1}}
    (spans,) = trace["spanSets"]
    assert spans["matched"] == 1
    assert spans["spans"][0]["durationNanos"] == "40000000"
    assert spans["spans"][0]["attributes"] == [
        {"key": "http.route", "value": {"stringValue": "/tasks"}},
        {"key": "http.response.status_code", "value": {"intValue": "503"}},
    ]


@pytest.mark.parametrize(
    "query",
    [
        "status = error",
        "{ status = error",
        "{ status = broken }",
        "{ status == error }",
        "{ nobody = 1 }",
        "{ span. = 1 }",
        '{ name =~ "(" }',
        "{ name =~ 5 }",
        "{ status = error } && { kind = server }",
        "{ status = error } | rate()",
        "{ } >> { }",
        "{ 1 = 1 }",
        '{ name = "x }',
        "{" + "(" * 200 + "}",
        "{ name = 'x' }",
        "{" + "x" * 5000,
    ],
)
def test_an_unsupported_query_is_rejected_with_a_reason(client: Client, query: str) -> None:
    answer = client.get("/api/search", params={"q": query})
    assert answer.status_code == 400
    assert len(answer.text) > 10
    with pytest.raises(QueryError):
        parse(query)


@pytest.mark.parametrize("parameters", [{"minDuration": "5"}, {"limit": "-1"}, {"start": "now"}, {"tags": 'a="'}])
def test_an_invalid_parameter_is_rejected_with_a_reason(client: Client, parameters: dict[str, str]) -> None:
    assert client.get("/api/search", params=parameters).status_code == 400


@pytest.mark.parametrize(
    ("text", "expected"), [("5ns", 5), ("2us", 2000), ("2µs", 2000), ("1.5s", 1_500_000_000), ("1m30s", 90 * 10**9)]
)
def test_go_durations_are_parsed(text: str, expected: int) -> None:
    assert nanoseconds(text) == expected


def test_tags_and_values_are_those_of_stored_spans(filled: Client) -> None:
    scopes = {scope["name"]: scope["tags"] for scope in filled.get("/api/v2/search/tags").json()["scopes"]}
    assert scopes["resource"] == ["service.instance.id", "service.name"]
    assert "http.route" in scopes["span"]
    assert "http.route" in filled.get("/api/search/tags").json()["tagNames"]
    values = filled.get("/api/v2/search/tag/span.http.route/values").json()["tagValues"]
    assert [each["value"] for each in values] == ["/tasks", "/tasks/{task_id}"]
    assert filled.get("/api/search/tag/service.name/values").json() == {"tagValues": ["todo"]}
    assert {"type": "keyword", "value": "error"} in filled.get("/api/v2/search/tag/status/values").json()["tagValues"]
    assert filled.get("/api/v2/search/tag/resource./values").status_code == 400


def test_grafanas_health_request_is_answered(client: Client) -> None:
    assert client.get("/api/echo").text == "echo"
    assert client.get("/ready").status_code == 200


def test_a_gzip_body_is_accepted(client: Client) -> None:
    body = otlp_records.traces(request_spans(FAST))
    assert post(client, gzip.compress(body), **{"Content-Encoding": "gzip"}).status_code == 200
    assert found(client) == [FAST]
    assert metric(client, 'tracestore_records_received_total{signal="traces"}') == 2


def test_a_rejected_span_is_a_partial_success_and_the_others_are_kept(client: Client) -> None:
    good = request_spans(FAST)
    bad = [Span(trace_id=b"short", span_id=b"12345678", start_time_unix_nano=1), Span(trace_id=FAST, span_id=bytes(8))]
    answer = ExportTraceServiceResponse.FromString(post(client, otlp_records.traces([*bad, *good])).content)
    assert answer.partial_success.rejected_spans == 2
    assert "trace id" in answer.partial_success.error_message
    assert found(client) == [FAST]
    assert metric(client, 'tracestore_records_rejected_total{signal="traces"}') == 2
    whole = ExportTraceServiceResponse.FromString(post(client, otlp_records.traces(good)).content)
    assert not whole.HasField("partial_success")


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"\xff\xff\xff", {}, 400),
        (b"no gzip", {"Content-Encoding": "gzip"}, 400),
        (gzip.compress(b"", mtime=0)[:-9], {"Content-Encoding": "gzip"}, 400),
        (b"", {"Content-Encoding": "br"}, 400),
        (b"{}", {"Content-Type": "application/json"}, 415),
        (gzip.compress(bytes(5 << 20)), {"Content-Encoding": "gzip"}, 413),
        (bytes(5 << 20), {}, 413),
    ],
)
def test_invalid_otlp_is_rejected(client: Client, body: bytes, headers: dict[str, str], status: int) -> None:
    for path in ("/v1/traces", "/v1/logs"):
        assert post(client, body, path, **headers).status_code == status


def test_spans_of_a_trace_from_several_batches_are_one_trace(client: Client) -> None:
    client_span, server = request_spans(SLOW, milliseconds=100)
    for span in (client_span, server, server):
        post(client, otlp_records.traces([span]))
    (trace,) = client.get("/api/search").json()["traces"]
    assert (trace["rootTraceName"], trace["durationMs"]) == ("GET /tasks", 100)
    assert trace["serviceStats"]["todo"]["spanCount"] == 2


def test_a_span_whose_parent_is_a_callers_is_the_root(client: Client) -> None:
    client_span, server = request_spans(SLOW)
    server.parent_span_id = b"callers!"
    post(client, otlp_records.traces([client_span, server]))
    assert client.get("/api/search").json()["traces"][0]["rootTraceName"] == "GET /tasks"


def test_a_host_name_of_another_site_is_rejected(client: Client) -> None:
    assert client.get("/api/search", headers={"Host": "evil.example"}).status_code == 400


def test_a_read_that_takes_too_long_is_aborted_with_a_reason(filled: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "READ_SECONDS", -1)
    monkeypatch.setattr(reading, "_STEPS", 1)
    answer = filled.get("/api/search", params={"q": '{ span.error.type = "none" }'})
    assert answer.status_code == 503
    assert "shorter time range" in answer.text


LOGGED = '{service_name="todo"}'


@pytest.fixture
def logged(client: Client) -> Client:
    """Three lines, oldest first: a slow request's, a failed one's, one without a request."""
    now = time.time_ns()
    lines = [
        otlp_records.log_record(
            "request", SLOW, "WARN", now - 3_000_000_000, route="/tasks/{task_id}", status=200, duration_seconds=0.9
        ),
        otlp_records.log_record(
            "request", FAILED, "ERROR", now - 2_000_000_000, route="/tasks", status=503, error__type="08001"
        ),
        otlp_records.log_record("started", b"", "INFO", now - 1_000_000_000),
    ]
    assert post(client, otlp_records.logs(lines), "/v1/logs").status_code == 200
    return client


def lines(client: Client, query: str, **parameters: Any) -> list[str]:
    answer = client.get("/loki/api/v1/query_range", params={"query": query, **parameters})
    assert answer.status_code == 200, answer.text
    found = [value for stream in answer.json()["data"]["result"] for value in stream["values"]]
    return [line for _, line in sorted(found, reverse=parameters.get("direction") != "forward")]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (LOGGED, ["started", "request", "request"]),
        ('{service_name="other"}', []),
        ('{service_name=~"to.*", service_instance_id!="todo-2"} |= "start"', ["started"]),
        (LOGGED + ' != "start" !~ "nothing"', ["request", "request"]),
        (
            LOGGED + ' | severity_number >= 13 | line_format "{{.status}} {{.route}}"',
            ["503 /tasks", "200 /tasks/{task_id}"],
        ),
        (
            LOGGED + ' | severity_text=~"WARN|ERROR" and status < 300 | line_format "{{__line__}} {{.absent}}!"',
            ["request !"],
        ),
        (LOGGED + " | status >= 500 or duration_seconds > 0.5", ["request", "request"]),
        (LOGGED + f' | trace_id="{FAILED.hex()}"', ["request"]),
        (LOGGED + f' | trace_id="{FAILED.hex()}" or status=200', ["request", "request"]),
        (LOGGED + ' | trace_id=""', ["started"]),
        (LOGGED + ' | error_type="08001" | detected_level="error"', ["request"]),
        (LOGGED + ' | route=~".*"', ["started", "request", "request"]),
        (LOGGED + " |~ `^st`", ["started"]),
    ],
)
def test_log_queries_return_the_matching_lines(logged: Client, query: str, expected: list[str]) -> None:
    assert lines(logged, query) == expected


def test_log_lines_have_the_requested_order_limit_and_time_range(logged: Client) -> None:
    assert lines(logged, LOGGED, limit=1) == ["started"]
    assert lines(logged, LOGGED, limit=2, direction="forward") == ["request", "request"]
    assert lines(logged, LOGGED, start="1", end="2") == []
    assert lines(logged, LOGGED, start="2020-01-01T00:00:00Z", end=f"{time.time() + 60:.3f}")[0] == "started"


def test_a_log_line_has_the_label_names_of_loki(logged: Client) -> None:
    answer = logged.get("/loki/api/v1/query_range", params={"query": LOGGED + " | status=503"}).json()
    (stream,) = answer["data"]["result"]
    assert stream["stream"] == {
        "service_name": "todo",
        "service_instance_id": "todo-1",
        "scope_name": "service.request",
        "route": "/tasks",
        "status": "503",
        "error_type": "08001",
        "severity_number": "17",
        "severity_text": "ERROR",
        "detected_level": "error",
        "trace_id": FAILED.hex(),
    }


@pytest.mark.parametrize(
    "query",
    [
        "",
        "{}",
        '{a="b"',
        "{a=5}",
        '{a="b"} | json',
        '{a="b"} | line_format "{{ if .x }}"',
        '{a=~"("}',
        'rate({a="b"}[5m])',
        '{a="b"} | status > 5s',
        '{a="b"} |= 5',
        '{a="b"} $',
    ],
)
def test_an_unsupported_log_query_is_rejected_with_a_reason(client: Client, query: str) -> None:
    answer = client.get("/loki/api/v1/query_range", params={"query": query})
    assert answer.status_code == 400
    assert len(answer.text) > 10


@pytest.mark.parametrize("parameters", [{"start": "yesterday"}, {"limit": "0"}, {"end": "1" * 400}])
def test_an_invalid_time_or_limit_of_a_log_query_is_rejected(client: Client, parameters: dict[str, str]) -> None:
    assert client.get("/loki/api/v1/query_range", params={"query": LOGGED, **parameters}).status_code == 400


def test_a_log_record_that_is_sent_again_is_stored_once(client: Client) -> None:
    now = time.time_ns()
    records = [otlp_records.log_record(text, b"", "INFO", now) for text in ("one", "two")]
    for _ in range(2):
        assert post(client, otlp_records.logs(records), "/v1/logs").status_code == 200
    assert sorted(lines(client, LOGGED)) == ["one", "two"]


@pytest.mark.parametrize("query", ['|~ "(a+)+$"', '| text=~"(a+)+"', f'|~ "{"(" * 1500}x{")" * 1500}"'])
def test_a_regular_expression_takes_linear_time(client: Client, query: str) -> None:
    text = "a" * 10_000 + "b"
    record = otlp_records.log_record(text, b"", "INFO", time.time_ns(), text=text)
    assert post(client, otlp_records.logs([record]), "/v1/logs").status_code == 200
    assert lines(client, f"{LOGGED} {query}") == []


def test_a_log_record_without_a_time_is_rejected(client: Client) -> None:
    record = otlp_records.log_record("late")
    record.time_unix_nano = 0
    answer = ExportLogsServiceResponse.FromString(post(client, otlp_records.logs([record]), "/v1/logs").content)
    assert answer.partial_success.rejected_log_records == 1


@pytest.fixture
def new_store(tmp_path: Path) -> Iterator[Callable[..., Store]]:
    opened: list[Store] = []

    def make(bounds: Bounds = BOUNDS) -> Store:
        opened.append(Store(tmp_path / "traces.db", bounds, Metrics()))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def put(kept: Store, spans: list[Span]) -> None:
    body = otlp_records.traces(spans)
    kept.put(decode_traces(body), len(body)).result(10)


def traces_in(kept: Store) -> list[bytes]:
    with reading.reading(kept.file) as connection:
        return [trace for (trace,) in connection.execute("SELECT trace_id FROM traces ORDER BY id")]


def test_acknowledged_spans_survive_a_restart(new_store: Callable[..., Store]) -> None:
    first = new_store()
    put(first, request_spans(FAST))
    # as after a kill: no connection is closed
    assert traces_in(new_store()) == [FAST]


def test_the_oldest_traces_are_deleted_completely_and_the_file_stays_within_its_limit(
    new_store: Callable[..., Store],
) -> None:
    kept = new_store(Bounds(1 << 20, 3600))
    sent = [random.randbytes(16) for _ in range(2000)]
    for at in range(0, len(sent), 50):
        put(kept, [span for trace in sent[at : at + 50] for span in request_spans(trace, padding="x" * 500)])
    kept.close()
    again = new_store(Bounds(1 << 20, 3600))
    remaining = traces_in(again)
    assert 100 < len(remaining) < 1900
    assert remaining == sent[-len(remaining) :]
    with reading.reading(again.file) as connection:
        assert connection.execute("SELECT count(*) FROM spans").fetchone() == (2 * len(remaining),)
        assert connection.execute("SELECT count(*) FROM origins").fetchone() == (1,)
        assert writing.used_bytes(connection) <= 1 << 20
    assert again.file.stat().st_size < 3 << 20


def test_records_older_than_the_limit_are_deleted(new_store: Callable[..., Store]) -> None:
    kept = new_store()
    put(kept, request_spans(FAST))
    kept.close()
    assert traces_in(new_store(Bounds(1 << 20, -10))) == []


def test_resources_are_deleted_with_their_last_span(new_store: Callable[..., Store], tmp_path: Path) -> None:
    kept = new_store()
    for n in range(20):
        body = otlp_records.traces(request_spans(random.randbytes(16)), replica=f"todo-{n}")
        kept.put(decode_traces(body), len(body)).result(10)
    kept.close()
    connection = open_to_write(kept.file)
    assert writing.evict_oldest(connection)[0] >= 2
    remaining = connection.execute("SELECT count(*) FROM traces").fetchone()
    assert connection.execute("SELECT count(*) FROM origins").fetchone() == remaining
    connection.close()


def test_a_full_queue_rejects_and_counts(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "QUEUE_BYTES", 10)
    answer = post(client, otlp_records.traces(request_spans(FAST)))
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert b"wait to be written" in answer.content
    assert metric(client, 'tracestore_records_dropped_total{reason="queue_full",signal="traces"}') == 2
    monkeypatch.undo()
    assert post(client, otlp_records.traces(request_spans(FAST))).status_code == 200


def test_concurrent_requests_over_the_limit_are_rejected_unread(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "IN_FLIGHT_BYTES", 10)
    for _ in range(3):
        answer = post(client, otlp_records.traces(request_spans(FAST)))
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "1"
    assert metric(client, "tracestore_requests_refused_total") == 3
    monkeypatch.undo()
    assert post(client, otlp_records.traces(request_spans(FAST))).status_code == 200


def test_a_failed_write_is_reported_and_the_next_succeeds(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(store, "write", fail)
    answer = post(client, otlp_records.traces(request_spans(FAST)))
    assert answer.status_code == 503
    assert b"disk is full" in answer.content
    assert metric(client, 'tracestore_records_dropped_total{reason="write_failed",signal="traces"}') == 2
    monkeypatch.undo()
    assert post(client, otlp_records.traces(request_spans(FAST))).status_code == 200


def test_a_sender_that_disconnects_does_not_affect_others(new_store: Callable[..., Store]) -> None:
    kept = new_store()
    body = otlp_records.traces(request_spans(FAST))
    assert not kept.put(decode_traces(body), len(body)).cancel()
    put(kept, request_spans(SLOW))
    assert traces_in(kept) == [FAST, SLOW]


def test_a_batch_that_breaks_the_writer_is_rejected_without_the_others(
    new_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = new_store()

    def fail(*_: object) -> None:
        raise OverflowError("too large")

    monkeypatch.setattr(store, "write", fail)
    with pytest.raises(OverflowError):
        put(kept, request_spans(FAST))
    monkeypatch.undo()
    put(kept, request_spans(SLOW))
    assert traces_in(kept) == [SLOW]


def test_a_closed_store_accepts_nothing(new_store: Callable[..., Store]) -> None:
    kept = new_store()
    kept.close()
    with pytest.raises(QueueFullError):
        put(kept, request_spans(FAST))


@pytest.mark.parametrize("content", [b"not a database at all, and long enough to be seen as none" * 20, b""])
def test_a_broken_file_is_replaced(new_store: Callable[..., Store], tmp_path: Path, content: bytes) -> None:
    (tmp_path / "traces.db").write_bytes(content)
    kept = new_store()
    put(kept, request_spans(FAST))
    assert traces_in(kept) == [FAST]


def test_a_file_of_another_version_is_replaced(new_store: Callable[..., Store], tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "traces.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert traces_in(new_store()) == []


def test_reads_do_not_wait_for_a_write_nor_a_write_for_reads(new_store: Callable[..., Store]) -> None:
    kept = new_store()
    put(kept, request_spans(FAST))
    with reading.reading(kept.file) as connection:
        rows = connection.execute("SELECT trace_id FROM traces")
        assert rows.fetchone() == (FAST,)
        put(kept, request_spans(SLOW))
        writer = sqlite3.connect(kept.file, isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        assert traces_in(kept) == [FAST, SLOW]
        writer.execute("ROLLBACK")
        writer.close()
