"""OTLP exports to a receiver that checks them: every standard variable, and the metrics of failures."""

import asyncio
import logging
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from service.settings import SettingError, load_settings
from service.telemetry.logs import set_up_logs
from service.telemetry.middleware import TelemetryMiddleware
from testbed import OtlpReceiver, wait_for
from tests.service.telemetry_source import TelemetrySource

# one rejected span, and the message `full`
ONE_REJECTED = bytes.fromhex("0a0808011204" + b"full".hex())


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as made:
        yield made


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, receiver: OtlpReceiver) -> Iterator[pytest.MonkeyPatch]:
    """The environment of this process, which the SDK reads, with the receiver as the endpoint."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    set_up_logs("info")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
    yield monkeypatch
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def source(**variables: str) -> TelemetrySource:
    import os  # noqa: PLC0415 (as it is now, with what the test has set)

    return TelemetrySource({name: value for name, value in os.environ.items() if name.startswith("OTEL_")} | variables)


def sent(receiver: OtlpReceiver, environment: pytest.MonkeyPatch, **variables: str) -> TelemetrySource:
    """Handles one request with these variables set, and exports its telemetry."""
    for name, value in variables.items():
        environment.setenv(name, value)
    made = source()
    made.request()
    made.close()
    return made


def test_a_span_and_its_log_line_have_the_same_ids_and_resource(
    receiver: OtlpReceiver, environment: pytest.MonkeyPatch
) -> None:
    made = source()
    trace_id = made.request(headers=[(b"x-request-id", b"r-1")])
    made.close()
    (span,) = receiver.spans
    (line,) = receiver.logs
    assert (span.trace_id, line.trace_id) == (trace_id, trace_id)
    assert (line.span_id, line.is_sampled) == (span.span_id, True)
    assert (line.body, line.severity) == ("a line", "WARNING")
    assert line.attributes == {"logger": "service.test", "seconds": 0.5, "request_id": "r-1"}
    assert span.resource == line.resource
    assert span.resource["service.name"] == "todo"
    assert span.resource["telemetry.sdk.name"] == "opentelemetry"
    assert made.value("telemetry_spans_exported_total") == 1
    assert made.value("telemetry_log_records_exported_total") == 1
    assert trace_id in made.exemplars()


def test_a_late_span_has_the_ids_that_its_log_line_named(
    receiver: OtlpReceiver, environment: pytest.MonkeyPatch
) -> None:
    made = source(TRACE_SAMPLE_RATIO="0")
    made.request(3)
    trace_id = made.request(status=503)
    made.close()
    (span,) = receiver.spans
    line = receiver.logs[-1]
    # the log line was written before the request failed
    assert not line.is_sampled
    assert (span.trace_id, span.parent_id) == (trace_id, "")
    assert (line.trace_id, line.span_id) == (trace_id, span.span_id)
    assert span.seconds == pytest.approx(0.02)


async def test_an_unhandled_error_is_logged_with_its_stack_trace(
    receiver: OtlpReceiver, environment: pytest.MonkeyPatch
) -> None:
    made = source(TRACE_SAMPLE_RATIO="0")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("nobody expected this")

    async def none(*_: Any) -> Any:
        raise AssertionError

    middleware = TelemetryMiddleware(app, made.metrics, made.tracing, 1.0, lambda _: "")
    scope = {"type": "http", "method": "GET", "path": "/tasks", "scheme": "http", "headers": []}
    with pytest.raises(ValueError, match="nobody"):
        await middleware(scope, none, none)
    await asyncio.to_thread(made.close)
    (span,) = receiver.spans
    assert (span.attributes["error.type"], span.events) == ("ValueError", ("exception",))
    (line,) = (each for each in receiver.logs if each.body == "request")
    assert line.is_sampled
    assert line.attributes["reason"] == "nobody expected this"
    assert line.attributes["exception.type"] == "ValueError"
    assert "Traceback" in line.attributes["exception.stacktrace"]


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_{}_HEADERS"])
def test_headers_are_sent(receiver: OtlpReceiver, environment: pytest.MonkeyPatch, name: str) -> None:
    names = {name.format("TRACES"), name.format("LOGS")}
    sent(receiver, environment, **dict.fromkeys(names, "authorization=Basic%20abc,x-scope-orgid=7"))
    assert {post.path for post in receiver.received} == {"/v1/traces", "/v1/logs"}
    for post in receiver.received:
        assert (post.headers["authorization"], post.headers["x-scope-orgid"]) == ("Basic abc", "7")


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_COMPRESSION", "OTEL_EXPORTER_OTLP_{}_COMPRESSION"])
def test_posts_are_compressed(receiver: OtlpReceiver, environment: pytest.MonkeyPatch, name: str) -> None:
    sent(receiver, environment, **{name.format("TRACES"): "gzip", name.format("LOGS"): "gzip"})
    assert [post.headers["content-encoding"] for post in receiver.received] == ["gzip", "gzip"]
    assert len(receiver.spans) == len(receiver.logs) == 1


def test_each_signal_can_have_its_own_endpoint(receiver: OtlpReceiver, environment: pytest.MonkeyPatch) -> None:
    with OtlpReceiver() as other:
        sent(
            receiver,
            environment,
            OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{other.endpoint}/own/v1/traces",
            OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=f"{other.endpoint}/otlp/v1/logs",
        )
        assert sorted(post.path for post in other.received) == ["/otlp/v1/logs", "/own/v1/traces"]
    assert receiver.posts == 0


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_{}", "OTEL_EXPORTER_OTLP_TRACES_{}"])
def test_the_configured_certificates_are_used(tmp_path: Path, environment: pytest.MonkeyPatch, name: str) -> None:
    certificate, key = _self_signed(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    # the collector requires a client certificate
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(certificate)
    with OtlpReceiver(tls) as receiver:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
        anonymous = sent(receiver, environment)
        assert receiver.spans == []
        assert anonymous.value("telemetry_spans_dropped_total", reason="export_failed") == 1
        files = {"CERTIFICATE": certificate, "CLIENT_CERTIFICATE": certificate, "CLIENT_KEY": key}
        sent(receiver, environment, **{name.format(which): str(path) for which, path in files.items()})
        assert len(receiver.spans) == 1


def test_resource_and_service_name_come_from_the_environment(
    receiver: OtlpReceiver, environment: pytest.MonkeyPatch
) -> None:
    sent(
        receiver,
        environment,
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=prod,service.name=other,team=a%20b",
        OTEL_SERVICE_NAME="shop",
    )
    for each in (*receiver.spans, *receiver.logs):
        assert each.resource["service.name"] == "shop"
        assert each.resource["deployment.environment.name"] == "prod"
        assert each.resource["team"] == "a b"
        assert each.resource["service.instance.id"] == "todo-1"


@pytest.mark.parametrize(
    ("name", "value", "paths"),
    [
        ("OTEL_SDK_DISABLED", "true", set()),
        ("OTEL_TRACES_EXPORTER", "none", {"/v1/logs"}),
        ("OTEL_LOGS_EXPORTER", "none", {"/v1/traces"}),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "", set()),
    ],
)
def test_nothing_is_sent_with_exporting_off(
    receiver: OtlpReceiver, environment: pytest.MonkeyPatch, name: str, value: str, paths: set[str]
) -> None:
    sent(receiver, environment, **{name: value})
    assert {post.path for post in receiver.received} == paths


def test_batches_have_the_configured_size(receiver: OtlpReceiver, environment: pytest.MonkeyPatch) -> None:
    made = source(OTEL_BSP_MAX_EXPORT_BATCH_SIZE="3", OTEL_BSP_SCHEDULE_DELAY="60000")
    made.request(7)
    # two full batches at once, and the rest after the delay
    wait_for(lambda: len(receiver.spans) == 6, what="two batches")
    made.close()
    assert len(receiver.spans) == 7


def test_a_span_is_sent_within_the_configured_delay(receiver: OtlpReceiver, environment: pytest.MonkeyPatch) -> None:
    made = source(OTEL_BSP_SCHEDULE_DELAY="20", OTEL_BLRP_SCHEDULE_DELAY="20")
    made.request()
    wait_for(lambda: receiver.spans and receiver.logs, what="a span and a log record")
    made.close()


def test_spans_that_do_not_fit_into_the_queue_are_counted(
    receiver: OtlpReceiver, environment: pytest.MonkeyPatch
) -> None:
    receiver.be_slow()
    sizes = {f"OTEL_{which}_{name}": "5" for which in ("BSP", "BLRP") for name in SIZES}
    made = source(**sizes)
    made.request(20)
    assert made.value("telemetry_spans_dropped_total", reason="queue_full") == 15
    assert made.value("telemetry_log_records_dropped_total", reason="queue_full") == 15
    receiver.be_quick()
    made.close()
    assert len(receiver.spans) == len(receiver.logs) == 5


SIZES = ("MAX_QUEUE_SIZE", "MAX_EXPORT_BATCH_SIZE")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10000"),
        ("OTEL_BSP_SCHEDULE_DELAY", "soon"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "localhost:4318"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1"),
    ],
)
def test_an_invalid_environment_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=name):
        load_settings({name: value})


@pytest.mark.case("span collector")
def test_a_span_that_was_rejected_is_counted_as_dropped_and_named_by_no_exemplar(
    receiver: OtlpReceiver, environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver.rejects = 1
    made = sent(receiver, environment)
    assert made.value("telemetry_spans_dropped_total", reason="rejected") == 1
    assert made.value("telemetry_log_records_dropped_total", reason="rejected") == 1
    assert made.value("telemetry_spans_exported_total") == 0
    assert made.exemplars() == "[]"


@pytest.mark.parametrize("status", [302, 400, 401, 500])
def test_an_error_response_is_counted_as_a_failed_export(
    receiver: OtlpReceiver, environment: pytest.MonkeyPatch, status: int
) -> None:
    receiver.status = status
    made = sent(receiver, environment)
    assert made.value("telemetry_spans_dropped_total", reason="export_failed") == 1
    assert made.exemplars() == "[]"


def test_failures_are_logged_once_a_minute_and_so_is_their_end(
    receiver: OtlpReceiver, environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logs("info")
    receiver.status = 401
    made = source(OTEL_BSP_SCHEDULE_DELAY="5", OTEL_LOGS_EXPORTER="none")
    for number in range(1, 6):
        made.request()
        wait_for(lambda n=number: made.value("telemetry_spans_dropped_total") >= n)
    receiver.status = 200
    made.request()
    wait_for(lambda: made.value("telemetry_spans_exported_total") == 1)
    made.close()
    lines = [line for line in capsys.readouterr().out.splitlines() if "a line" not in line]
    assert len(lines) == 2
    assert "HTTP status 401" in lines[0]
    assert "accepts telemetry again" in lines[1]


@pytest.mark.case("export limit")
def test_an_export_to_a_trickling_collector_times_out(receiver: OtlpReceiver, environment: pytest.MonkeyPatch) -> None:
    receiver.trickles = True
    made = source(OTEL_EXPORTER_OTLP_TIMEOUT="0.5", OTEL_BSP_SCHEDULE_DELAY="5")
    made.request()
    # while the receiver still answers
    wait_for(lambda: made.value("telemetry_spans_dropped_total", reason="export_failed") == 1, 10)
    assert receiver.trickles
    made.close()
    assert made.value("telemetry_spans_exported_total") == 0


def test_a_hung_collector_does_not_block_shutdown(receiver: OtlpReceiver, environment: pytest.MonkeyPatch) -> None:
    receiver.be_slow()
    made = source(OTEL_EXPORTER_OTLP_TIMEOUT="0.3", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="1", OTEL_LOGS_EXPORTER="none")
    made.request(50)
    began = time.monotonic()
    made.close()
    assert made.value("telemetry_spans_dropped_total", reason="export_failed") == 50
    # fifty separate exports would have had fifty timeouts
    assert time.monotonic() - began < 50 * 0.3


def _self_signed(directory: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 "
        f"-keyout {key} -out {certificate}".split(),
        check=True,
        capture_output=True,
    )
    return certificate, key
