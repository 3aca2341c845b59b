"""Configuration of Tempo and Loki, and the targets of exports: in Docker, natively, with and without Tempo."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.settings import ROOT, LabSettings
from lab.stack import native
from lab.stack.native import Home
from testbed.compose import need_compose

SETTINGS = LabSettings(tempo_port=13200, otlp_port=14318, tempo_grpc_port=19095)
OTEL = "OTEL_EXPORTER_OTLP"
TO_TEMPO_AND_LOKI = {
    f"{OTEL}_ENDPOINT": "http://tempo:4318",
    f"{OTEL}_LOGS_ENDPOINT": "http://loki:3100/otlp/v1/logs",
}


def compose() -> Any:
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


def mebibytes(text: str) -> float:
    number = float(text.rstrip("MiGB"))
    return number * 1024 if "G" in text else number


@pytest.mark.parametrize("name", ["tempo", "loki"])
def test_a_store_in_docker_is_hardened_bounded_and_knows_its_memory(name: str) -> None:
    service = compose()["services"][name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    limit = mebibytes(service["deploy"]["resources"]["limits"]["memory"])
    assert 0.5 * limit < mebibytes(service["environment"]["GOMEMLIMIT"]) < 0.95 * limit
    assert "-health" in service["healthcheck"]["test"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert name in compose()["volumes"]


def test_loki_keeps_lines_as_long_as_tempo_keeps_traces() -> None:
    loki = yaml.safe_load((ROOT / "observability/loki/loki.yaml").read_text())
    tempo = yaml.safe_load((ROOT / "observability/tempo/tempo.yaml").read_text())
    assert loki["compactor"]["retention_enabled"]
    assert loki["limits_config"]["retention_period"] == tempo["backend_worker"]["compaction"]["block_retention"]


def test_a_native_tempo_listens_on_loopback_only_on_the_configured_ports(tmp_path: Path) -> None:
    config = yaml.safe_load(native.tempo_config(SETTINGS, Home(tmp_path)))
    server = config["server"]
    assert (server["http_listen_address"], server["http_listen_port"]) == ("127.0.0.1", 13200)
    assert (server["grpc_listen_address"], server["grpc_listen_port"]) == ("127.0.0.1", 19095)
    assert config["memberlist"]["bind_addr"] == ["127.0.0.1"]
    assert config["distributor"]["receivers"] == {"otlp": {"protocols": {"http": {"endpoint": "127.0.0.1:14318"}}}}
    assert "0.0.0.0" not in yaml.safe_dump(config)


def test_tempo_writes_to_prometheus_only_what_the_service_graph_reads() -> None:
    config = yaml.safe_load((ROOT / "observability/tempo/tempo.yaml").read_text())
    assert config["overrides"]["defaults"]["metrics_generator"]["processors"] == ["service-graphs"]
    (target,) = config["metrics_generator"]["storage"]["remote_write"]
    assert target["url"] == "http://prometheus:9090/api/v1/write"
    (rule,) = target["write_relabel_configs"]
    assert rule["action"] == "keep"
    assert rule["regex"].startswith("traces_service_graph_request_")


@pytest.mark.parametrize(
    ("absent", "expected"),
    [
        ({"grafana", "tempo", "loki"}, {"tracestore"}),
        ({"grafana", "loki"}, {"tempo"}),
        (set(), {"tempo", "loki", "grafana"}),
    ],
)
def test_prometheus_scrapes_the_installed_trace_store(absent: set[str], expected: set[str]) -> None:
    jobs = yaml.safe_load(native.prometheus_config(SETTINGS, absent))["scrape_configs"]
    named = {job["job_name"]: job["static_configs"][0]["targets"] for job in jobs}
    assert expected == named.keys() & {"tempo", "tracestore", "loki", "grafana"}
    if "loki" not in expected:
        assert named[next(iter(expected))] == ["127.0.0.1:13200"]


@pytest.mark.parametrize(
    ("has_tempo", "chosen", "expected"),
    [
        (False, {}, {f"{OTEL}_ENDPOINT": "http://127.0.0.1:14318"}),
        # Tempo does not accept log records
        (True, {}, {f"{OTEL}_TRACES_ENDPOINT": "http://127.0.0.1:14318/v1/traces"}),
        (True, {f"{OTEL}_ENDPOINT": ""}, {f"{OTEL}_ENDPOINT": ""}),
        (False, {f"{OTEL}_ENDPOINT": "http://c:1"}, {f"{OTEL}_ENDPOINT": "http://c:1"}),
        (
            False,
            {f"{OTEL}_LOGS_ENDPOINT": "http://c:1/v1/logs"},
            {f"{OTEL}_ENDPOINT": "http://127.0.0.1:14318", f"{OTEL}_LOGS_ENDPOINT": "http://c:1/v1/logs"},
        ),
    ],
)
def test_the_native_service_sends_to_the_available_or_the_configured_collector(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, has_tempo: bool, chosen: dict[str, str], expected: dict[str, str]
) -> None:
    monkeypatch.setattr(native, "find", lambda *names: names[0])
    monkeypatch.setattr(native, "find_postgres", lambda name, _data: name)
    monkeypatch.setattr(native.shutil, "which", lambda name: f"/bin/{name}" if name == "tempo" and has_tempo else None)
    programs = {program.name: program for program in native.programs(SETTINGS, Home(tmp_path), chosen)}
    sent = {name: value for name, value in programs["todo-1"].environment.items() if name.startswith(OTEL)}
    assert sent == expected
    assert ("tempo" in programs, "tracestore" in programs) == (has_tempo, not has_tempo)
    if has_tempo:
        assert "GOMEMLIMIT" in programs["tempo"].environment


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, TO_TEMPO_AND_LOKI),
        ({f"{OTEL}_ENDPOINT": ""}, {}),
        (
            {f"{OTEL}_ENDPOINT": "http://c:4318"},
            {f"{OTEL}_ENDPOINT": "http://c:4318", f"{OTEL}_LOGS_ENDPOINT": "http://c:4318/v1/logs"},
        ),
        (
            {f"{OTEL}_LOGS_ENDPOINT": "http://c/logs", f"{OTEL}_HEADERS": "k=v"},
            {**TO_TEMPO_AND_LOKI, f"{OTEL}_LOGS_ENDPOINT": "http://c/logs", f"{OTEL}_HEADERS": "k=v"},
        ),
    ],
)
def test_the_service_in_docker_sends_to_tempo_and_loki_or_to_the_configured_collector(
    tmp_path: Path, chosen: dict[str, str], expected: dict[str, str]
) -> None:
    need_compose()
    (tmp_path / "compose.yaml").write_text((ROOT / "compose.yaml").read_text())
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | chosen
    done = subprocess.run(
        ["docker", "compose", "config", "--format", "json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)["services"]["todo"]["environment"]
    assert {name: value for name, value in seen.items() if name.startswith(OTEL) and value} == expected
