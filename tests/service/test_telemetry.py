"""The service's telemetry: metrics as documented, traces for exemplars, few log records."""

import json
import random
import re
import shutil
import socket
import string
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from service.tasks.values import task_key
from service.telemetry.metrics import METRICS, ROUTES
from testbed import OtlpReceiver, Postgres, ReceivedSpan, RedisCluster, Replica, Wire, wait_for

SERVER, CLIENT = 2, 3
ERROR = 2
SAMPLED, UNSAMPLED = "01", "00"
# a method of HTTP that no route has; uvicorn's parser rejects unknown methods
ODD_METHODS = ("PROPFIND", "MKCOL", "LOCK", "UNLOCK", "COPY", "MOVE", "PURGE", "SEARCH", "REPORT", "TRACE")
OPEN_METRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as made:
        yield made


@pytest.fixture(scope="module")
def traced(
    tmp_path_factory: pytest.TempPathFactory, redis_cluster: RedisCluster, postgres: Postgres, receiver: OtlpReceiver
) -> Iterator[Replica]:
    """A replica with the caller's sampling decision, for which a request over 0.2 s is slow."""
    redis_cluster.repair()
    settings = {
        "DATABASE_URL": postgres.new_database(),
        "REDIS_URL": redis_cluster.url,
        # so that a write fills the cache even on a busy machine
        "REDIS_TIMEOUT_SECONDS": "5",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "TRACE_SAMPLE_RATIO": "0",
        "TRACE_SLOW_SECONDS": "0.2",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "OTEL_BLRP_SCHEDULE_DELAY": "200",
    }
    with Replica(tmp_path_factory.mktemp("traced"), **settings) as replica:
        yield replica


class Caller:
    """A client whose requests have trace ids of its own."""

    def __init__(self, replica: Replica, receiver: OtlpReceiver) -> None:
        self._client = httpx.Client(base_url=replica.url, timeout=10)
        self._receiver = receiver

    def send(self, method: str, path: str, flags: str = SAMPLED, **more: Any) -> tuple[httpx.Response, str]:
        """The response, and the trace id."""
        trace_id = f"{random.getrandbits(128):032x}"
        headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-{flags}"}
        return self._client.request(method, path, headers=headers, **more), trace_id

    def trace(self, method: str, path: str, flags: str = SAMPLED, **more: Any) -> list[ReceivedSpan]:
        """The spans of one request, once the receiver has its server span."""
        _, trace_id = self.send(method, path, flags, **more)
        wait_for(lambda: any(span.kind == SERVER for span in self._receiver.trace(trace_id)), what="the server span")
        return self._receiver.trace(trace_id)


@pytest.fixture
def caller(traced: Replica, receiver: OtlpReceiver) -> Caller:
    return Caller(traced, receiver)


def names(spans: list[ReceivedSpan]) -> list[str]:
    return [span.name for span in spans]


def root(spans: list[ReceivedSpan]) -> ReceivedSpan:
    (found,) = [span for span in spans if span.kind == SERVER]
    return found


def assert_is_tree(spans: list[ReceivedSpan]) -> None:
    """Every span except the server's has a parent among the others, and lies within the server span's time."""
    server = root(spans)
    ids = {span.span_id for span in spans}
    assert len(ids) == len(spans)
    for span in spans:
        if span is not server:
            assert span.parent_id in ids, span
            assert server.started <= span.started <= span.ended <= server.ended
        assert span.resource["service.name"] == "todo"
        assert span.resource["service.instance.id"] == "todo-1"


def new_path(caller: Caller) -> str:
    answer, _ = caller.send("POST", "/tasks", UNSAMPLED, json={"task": "secret plans"})
    return str(answer.headers["location"])


def test_a_cache_hit_is_a_server_span_and_one_span_per_redis_command(
    caller: Caller, redis_cluster: RedisCluster
) -> None:
    # the write has filled the cache
    spans = caller.trace("GET", new_path(caller))
    assert_is_tree(spans)
    server = root(spans)
    assert server.name == "GET /tasks/{task_id}"
    assert server.parent_id == "b7ad6b7169203331"
    assert server.attributes["http.request.method"] == "GET"
    assert server.attributes["http.route"] == "/tasks/{task_id}"
    assert server.attributes["http.response.status_code"] == 200
    assert server.attributes["cache.result"] == "hit"
    assert server.status != ERROR
    limiter, cache = (span for span in spans if span.kind == CLIENT)
    assert [limiter.attributes["db.operation.name"], cache.attributes["db.operation.name"]] == ["EVALSHA", "GET"]
    nodes = {node.port for node in redis_cluster.nodes}
    for redis in (limiter, cache):
        assert redis.parent_id == server.span_id
        assert set(redis.attributes) == {"db.system.name", "db.operation.name", "server.address", "server.port"}
        assert redis.attributes["db.system.name"] == "redis"
        assert redis.attributes["server.address"] == "127.0.0.1"
        assert redis.attributes["server.port"] in nodes
        assert redis.scope == "opentelemetry.instrumentation.redis"


def test_a_cache_miss_also_has_spans_of_the_query_and_of_filling_the_cache(
    caller: Caller, redis_cluster: RedisCluster, postgres: Postgres
) -> None:
    path = new_path(caller)
    key = task_key(UUID(path.rsplit("/", 1)[1]))
    redis_cluster.master_of(key).client.delete(key)
    wait_for(lambda: redis_cluster.replica_of(redis_cluster.master_of(key)).ask("DBSIZE") is not None)
    spans = caller.trace("GET", path)
    assert_is_tree(spans)
    assert names(spans) == ["GET /tasks/{task_id}", "EVALSHA", "GET", "SELECT tasks", "EVALSHA"]
    assert root(spans).attributes["cache.result"] == "miss"
    (select,) = [span for span in spans if span.name == "SELECT tasks"]
    assert select.kind == CLIENT
    assert select.attributes["db.system.name"] == "postgresql"
    assert select.attributes["db.operation.name"] == "SELECT"
    assert select.attributes["db.collection.name"] == "tasks"
    assert select.attributes["server.address"] == "127.0.0.1"
    assert select.attributes["server.port"] == postgres.port
    text = select.attributes["db.query.text"]
    assert "FROM tasks" in text
    assert path.rsplit("/", 1)[1].replace("-", "") not in text.replace("-", "")


def test_no_span_contains_client_content(caller: Caller, receiver: OtlpReceiver) -> None:
    caller.trace("POST", "/tasks", json={"task": "buy a birthday cake"})
    assert "birthday" not in repr(receiver.spans)


def test_an_error_that_was_not_sampled_is_one_span_with_its_true_start(
    caller: Caller, postgres: Postgres, traced: Replica
) -> None:
    postgres.kill()
    try:
        before = time.time_ns()
        spans = caller.trace("POST", "/tasks", UNSAMPLED, json={"task": "x"})
        after = time.time_ns()
    finally:
        postgres.start()
        # health may be a second old, and the breaker may open again until the server has started
        wait_for(lambda: httpx.post(f"{traced.url}/tasks", json={"task": "x"}).status_code == 201, 30, "writes")
    (span,) = spans
    assert (span.name, span.kind, span.status) == ("POST /tasks", SERVER, ERROR)
    assert span.attributes["http.response.status_code"] == 503
    assert span.attributes["failure.dependency"] == "database"
    assert span.attributes["failure.reason"]
    # the cause, not the exception in which the service wraps it
    assert "service" not in span.attributes["error.type"]
    assert before <= span.started <= span.ended <= after
    (line,) = (json.loads(line) for line in traced.output().splitlines() if span.trace_id in line)
    assert (line["span_id"], line["route"], line["status"]) == (span.span_id, "/tasks", 503)
    assert (line["dependency"], line["error_type"]) == ("database", span.attributes["error.type"])
    assert (line["reason"], line["asked"]) == (span.attributes["failure.reason"], span.attributes["failure.asked"])


def test_the_span_of_an_unknown_path_has_no_route(caller: Caller) -> None:
    (span,) = (each for each in caller.trace("GET", "/no/such/path") if each.kind == SERVER)
    assert span.name == "GET"
    assert "http.route" not in span.attributes


def test_an_unsupported_method_is_counted_under_its_route(caller: Caller, traced: Replica) -> None:
    (span,) = (each for each in caller.trace("PUT", "/tasks") if each.kind == SERVER)
    assert (span.name, span.attributes["http.route"]) == ("PUT /tasks", "/tasks")
    labels = {"http_request_method": "PUT", "http_route": "/tasks", "http_response_status_code": "405"}
    assert traced.metrics().value("http_server_request_duration_seconds_count", **labels) == 1


def test_an_unknown_method_is_recorded_only_in_its_span(caller: Caller) -> None:
    (span,) = (each for each in caller.trace("PURGE", "/tasks") if each.kind == SERVER)
    assert span.name == "HTTP /tasks"
    assert span.attributes["http.request.method"] == "_OTHER"
    assert span.attributes["http.request.method_original"] == "PURGE"


def test_only_a_sampled_response_has_the_trace_id_header(caller: Caller, receiver: OtlpReceiver) -> None:
    answer, trace_id = caller.send("GET", "/tasks")
    wait_for(lambda: receiver.trace(trace_id), what="the trace")
    server = root(receiver.trace(trace_id))
    assert answer.headers["server-timing"] == f'traceparent;desc="00-{trace_id}-{server.span_id}-01"'
    answer, _ = caller.send("GET", "/tasks", UNSAMPLED)
    assert "server-timing" not in answer.headers


def test_the_span_of_a_write_names_its_table(caller: Caller, redis_cluster: RedisCluster) -> None:
    assert "INSERT tasks" in names(caller.trace("POST", "/tasks", json={"task": "x"}))


def test_log_records_reach_the_receiver_with_their_request(
    caller: Caller, receiver: OtlpReceiver, traced: Replica
) -> None:
    line = next(json.loads(line) for line in traced.output().splitlines() if '"event": "request"' in line)
    wait_for(lambda: any(record.trace_id == line["trace_id"] for record in receiver.logs), what="the log record")
    (record,) = (record for record in receiver.logs if record.trace_id == line["trace_id"])
    assert (record.span_id, record.body, record.severity) == (line["span_id"], "request", "ERROR")
    assert record.attributes["reason"] == line["reason"]


def send_slowly(replica: Replica) -> str:
    """Sends a create whose body comes after 0.3 s, not sampled, and returns its trace id."""
    trace_id = f"{random.getrandbits(128):032x}"
    body = b'{"task": "slow"}'
    head = (
        f"POST /tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"traceparent: 00-{trace_id}-b7ad6b7169203331-00\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", replica.port)) as client:
        client.sendall(head.encode())
        began = time.monotonic()
        wait_for(lambda: time.monotonic() > began + 0.3)
        client.sendall(body)
        assert client.recv(20).startswith(b"HTTP/1.1 201")
    return trace_id


def test_a_slow_request_that_was_not_sampled_is_one_span(traced: Replica, receiver: OtlpReceiver) -> None:
    trace_id = send_slowly(traced)
    wait_for(lambda: receiver.trace(trace_id), what="the span")
    (span,) = receiver.trace(trace_id)
    assert span.name == "POST /tasks"
    assert span.seconds >= 0.25
    lines = [json.loads(line) for line in traced.output().splitlines() if trace_id in line]
    assert [(line["level"], line["route"], line["status"]) for line in lines] == [("warning", "/tasks", 201)]


def test_logs_are_json_and_exported_after_the_openapi_document_was_read(tmp_path: Path, receiver: OtlpReceiver) -> None:
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_BLRP_SCHEDULE_DELAY": "200"}
    with Replica(tmp_path, TRACE_SLOW_SECONDS="0.2", **settings) as replica:
        assert httpx.get(f"{replica.url}/schema/openapi.json", timeout=60).status_code == 200
        trace_id = send_slowly(replica)
        wait_for(lambda: any(record.trace_id == trace_id for record in receiver.logs), what="the log record")
        assert all(json.loads(line)["level"] for line in replica.output().splitlines())


def test_an_ordinary_request_that_was_not_sampled_has_no_spans(caller: Caller, receiver: OtlpReceiver) -> None:
    path = new_path(caller)
    _, unsampled = caller.send("GET", path, UNSAMPLED)
    caller.trace("GET", path)
    # a later trace has arrived, so this one would have
    assert receiver.trace(unsampled) == []


def test_exemplars_refer_only_to_exported_traces(caller: Caller, traced: Replica, receiver: OtlpReceiver) -> None:
    path = new_path(caller)
    for number in range(60):
        caller.send("GET", path, SAMPLED if number % 3 == 0 else UNSAMPLED)
    caller.trace("GET", path)

    def exemplars() -> set[str]:
        text = httpx.get(traced.metrics_url, headers=OPEN_METRICS).text
        return set(re.findall(r'# \{trace_id="([0-9a-f]{32})"\}', text))

    found = wait_for(exemplars, what="an exemplar")
    assert found <= {span.trace_id for span in receiver.spans}
    assert httpx.get(traced.metrics_url).text.count("trace_id=") == 0


def test_metrics_match_the_documented_contract(traced: Replica, caller: Caller) -> None:
    caller.send("GET", "/tasks")
    answer = httpx.get(traced.metrics_url, headers=OPEN_METRICS)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    samples = traced.metrics()
    families = {family.name: family for family in samples.families}
    for metric in METRICS:
        family = families[metric.name.removesuffix("_info")] if metric.kind == "info" else families[metric.name]
        assert family.type == ("gauge" if metric.kind == "info" else metric.kind), metric.name
        assert family.documentation == metric.help
        for sample in family.samples:
            labels = {name: value for name, value in sample.labels.items() if name != "le"}
            assert set(labels) == set(metric.labels), sample
            for name, value in labels.items():
                known = metric.labels[name]
                assert known is None or value in known, sample
        if metric.kind == "histogram":
            bounds = {sample.labels["le"] for sample in family.samples if "le" in sample.labels}
            assert bounds == {str(float(bound)) for bound in metric.buckets} | {"+Inf"}
    named = {metric.name for metric in METRICS}
    others = {name for name in families if not name.startswith(("process_", "python_"))} - named
    assert others == set()


def test_background_work_is_counted_separately(traced: Replica) -> None:
    def count(name: str) -> float:
        return traced.metrics().value(f"{name}_count", db_operation_name="SELECT")

    for_requests, apart = count("db_client_operation_duration_seconds"), "db_client_background_duration_seconds"
    before = count(apart)
    wait_for(lambda: count(apart) >= before + 3, what="three polls of the cache's epoch")
    assert count("db_client_operation_duration_seconds") == for_requests


def test_redis_and_the_pool_are_timed(traced: Replica, caller: Caller, redis_cluster: RedisCluster) -> None:
    for _ in range(20):
        new_path(caller)
    metrics = traced.metrics()
    assert metrics.value("db_client_connection_wait_time_seconds_count") >= 20
    ports = {
        dict(labels)["server_port"]
        for name, labels in metrics.series()
        if name == "redis_client_round_trip_duration_seconds_count"
    }
    assert {str(master.port) for master in redis_cluster.masters()} <= ports


def test_series_of_known_label_values_exist_from_the_start(tmp_path: Path) -> None:
    with Replica(tmp_path) as replica:
        series = {(name, labels) for name, labels in replica.metrics().series()}
    for metric in METRICS:
        if metric.labels and all(values is not None for values in metric.labels.values()):
            name = metric.exposed_name + ("_count" if metric.kind == "histogram" else "")
            count = len([each for each in series if each[0] == name])
            wanted = 1
            for values in metric.labels.values():
                wanted *= len(values or ())
            assert count == wanted, metric.name


async def test_values_invented_by_clients_add_no_series(tmp_path: Path) -> None:
    chance = random.Random(4)

    def word() -> str:
        return "".join(chance.choices(string.ascii_letters, k=8))

    with Replica(tmp_path, RATE_LIMIT="off") as replica:
        async with Wire(replica.port) as wire:

            async def made_up(number: int) -> None:
                requests = (
                    ("GET", f"/{word()}/{word()}?{word()}={word()}", ""),
                    ("GET", f"/tasks/{uuid.UUID(int=chance.getrandbits(128))}", ""),
                    (chance.choice(ODD_METHODS), "/tasks", ""),
                    ("GET", f"/tasks/{word()}", f"X-{word()}: {word()}\r\nUser-Agent: {word()}\r\n"),
                )
                method, path, headers = requests[number % 4]
                status, _ = await wire.send(method, path, headers=headers)
                assert status in (404, 405)

            for number in range(40):
                await made_up(number)
            before = replica.metrics().series()
            for number in range(10_000):
                await made_up(number)
            after = replica.metrics()
    assert after.series() == before
    routes = {dict(labels)["http_route"] for name, labels in before if name.endswith("request_duration_seconds_count")}
    assert routes <= set(ROUTES)
    assert "unmatched" in routes
    assert after.value("http_server_request_duration_seconds_count", http_request_method="_OTHER") > 2000


def test_promtool_accepts_the_metrics(traced: Replica) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    text = httpx.get(traced.metrics_url).text
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    # the name is from the semantic conventions
    said = (done.stdout + done.stderr).replace(
        'db_client_connection_count non-histogram and non-summary metrics should not have "_count" suffix\n', ""
    )
    assert said == ""


def test_log_lines_are_json_and_only_for_what_failed_or_was_slow(caller: Caller, traced: Replica) -> None:
    before = len(traced.output().splitlines())
    for path in ("/tasks", "/nothing", new_path(caller)):
        caller.send("GET", path)
    lines = [json.loads(line) for line in traced.output().splitlines()]
    assert all(line["timestamp"] and line["level"] for line in lines)
    assert [line for line in lines[before:] if line["event"] == "request"] == []
    failed = [line for line in lines if line["event"] == "request" and line["status"] == 503]
    for line in failed:
        assert re.fullmatch("[0-9a-f]{32}", line["trace_id"])
        assert re.fullmatch("[0-9a-f]{16}", line["span_id"])
        assert {"method", "route", "status", "duration_seconds"} <= set(line)
    assert "secret plans" not in traced.output()
    assert "127.0.0.1:" not in "".join(line for line in traced.output().splitlines() if '"request"' in line)


def test_with_telemetry_off_there_are_no_request_metrics(tmp_path: Path) -> None:
    with Replica(tmp_path, TELEMETRY="off") as replica:
        assert httpx.post(f"{replica.url}/tasks", json={"task": "x"}).status_code == 201
        assert replica.metrics().value("http_server_request_duration_seconds_count") == 0
        assert httpx.get(f"{replica.url}/health").status_code == 200
