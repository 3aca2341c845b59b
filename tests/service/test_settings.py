"""An invalid setting ends the service with one line that names it."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from service.settings import load_settings
from testbed import Process, environment, free_port

POSTGRES = "postgresql+asyncpg://todo:secret@localhost/todo"
BAD = [
    ("PORT", "http", "a port, 0 to 65535"),
    ("PORT", "70000", "a port, 0 to 65535"),
    ("METRICS_PORT", "65536", "a port, 0 to 65535"),
    ("METRICS_PORT", "8000", "a port other than PORT"),
    ("LOG_LEVEL", "loud", "debug, info, warning or error"),
    ("DATABASE_URL", "mysql://localhost/todo", "an SQLAlchemy URL"),
    ("DATABASE_URL", "nonsense", "an SQLAlchemy URL"),
    ("DATABASE_URL", "sqlite+aiosqlite://", "an SQLAlchemy URL"),
    ("DATABASE_URL", "sqlite+aiosqlite:///:memory:", "an SQLAlchemy URL"),
    ("DATABASE_TIMEOUT_SECONDS", "-1", "seconds, from 0.001"),
    ("DATABASE_POOL_SIZE", "0", "connections, from 1"),
    ("REDIS_URL", "http://localhost", "redis://host:port"),
    ("REDIS_URL", "redis://localhost:0", "redis://host:port.*: its port is invalid"),
    ("REDIS_URL", "redis://localhost:70000", "redis://host:port.*: its port is invalid"),
    ("REDIS_URL", "redis://localhost/3", "redis://host:port.*: a cluster has database 0 only"),
    ("REDIS_URL", "redis://localhost?db=3", "redis://host:port.*: unknown option db"),
    ("REDIS_URL", "rediss://localhost?ssl_cert_reqs=maybe", "redis://host:port.*: ssl_cert_reqs is one of"),
    ("REDIS_URL", "redis://a:one@h:1,redis://a:two@h:2", "redis://host:port.*: all nodes have the same"),
    ("DATABASE_URL", f"{POSTGRES}?sslmod=disable", "an SQLAlchemy URL.*: unknown option sslmod$"),
    ("DATABASE_URL", f"{POSTGRES}?sslmode=maybe", "an SQLAlchemy URL.*: sslmode is one of disable, allow"),
    ("DATABASE_URL", f"{POSTGRES}?sslrootcert=/no/such/file", "an SQLAlchemy URL.*: sslrootcert names no file"),
    ("DATABASE_URL", "postgresql+asyncpg://todo@localhost:99999/todo", "an SQLAlchemy URL.*: its port is invalid"),
    ("DATABASE_URL", "sqlite+aiosqlite:///todo.db?mode=ro", "an SQLAlchemy URL.*: unknown option mode"),
    ("REDIS_ADDRESS_MAP", "a:1", "announced:port=reached:port"),
    ("REDIS_TIMEOUT_SECONDS", "soon", "seconds"),
    ("CACHE_TTL_SECONDS", "0", "seconds, from 1"),
    ("CACHE_TTL_SECONDS", "nan", "seconds, from 1"),
    ("DATABASE_URL", "postgresql+asyncpg://localhost:65536/todo", "an SQLAlchemy URL"),
    ("REDIS_URL", "redis://a:0", "redis://host:port"),
    ("REDIS_URL", "redis://a:65536", "redis://host:port"),
    ("REDIS_ADDRESS_MAP", "a:1=b:65536", "announced:port=reached:port"),
    ("RATE_LIMIT", "many", "limits such as"),
    ("RATE_LIMIT", "0/minute", "limits such as"),
    ("RATE_LIMIT", "100/minute;0/second", "limits such as"),
    ("RATE_LIMIT_IPV6_PREFIX", "129", "bits, from 1 to 128"),
    ("TRUSTED_PROXIES", "10.0.0.0/99", "networks such as"),
    ("TELEMETRY", "maybe", "on or off"),
    ("TRACE_SAMPLE_RATIO", "2", "a ratio from 0 to 1"),
    ("TRACE_SLOW_SECONDS", "x", "seconds"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318", "an http:// or https:// URL"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318/v1/traces", "an http:// or https:// URL without"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318/v1/traces/", "an http:// or https:// URL without"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:65536", "an http:// or https:// URL"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://", "an http:// or https:// URL"),
    ("API_DOCS", "maybe", "on or off"),
    ("MAX_CONCURRENT_REQUESTS", "0", "requests, from 1"),
    ("DRAIN_SECONDS", "60", "seconds, from 0 to 3"),
]


@pytest.mark.parametrize(("name", "value", "allowed"), BAD)
def test_an_invalid_setting_is_rejected_with_the_allowed_values(name: str, value: str, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}=.*: must be {allowed}"):
        load_settings({name: value})


def test_a_secret_may_be_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{POSTGRES}\n")
    assert load_settings({"DATABASE_URL_FILE": str(file)}) == load_settings({"DATABASE_URL": POSTGRES})
    file.write_text("redis://me:p%40ss@localhost")
    nodes = load_settings({"REDIS_URL_FILE": str(file)}).redis_url
    assert nodes.options == {"username": "me", "password": "p@ss"}


def test_a_secret_given_twice_or_in_an_unreadable_file_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="DATABASE_URL and DATABASE_URL_FILE are both set"):
        load_settings({"DATABASE_URL": POSTGRES, "DATABASE_URL_FILE": str(tmp_path)})
    with pytest.raises(ValueError, match="REDIS_URL_FILE='/no/such/file': must be a file that can be read"):
        load_settings({"REDIS_URL_FILE": "/no/such/file"})


def test_an_empty_setting_counts_as_unset() -> None:
    assert load_settings({"PORT": "", "RATE_LIMIT": ""}) == load_settings({})


def test_a_password_is_not_shown() -> None:
    with pytest.raises(ValueError, match="DATABASE_URL") as raised:
        load_settings({"DATABASE_URL": "mysql://me:secret@localhost/todo"})
    assert "secret" not in str(raised.value)


def test_an_invalid_setting_is_one_line_of_error_and_exit_status_2(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "service"],
        env=environment(CACHE_TTL_SECONDS="long"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "todo: CACHE_TTL_SECONDS='long': must be seconds, from 1 to 2592000\n"


@pytest.mark.case("URL options")
def test_an_unknown_url_option_is_one_line_of_error_and_exit_status_2(tmp_path: Path) -> None:
    ended = run(tmp_path, DATABASE_URL=f"{POSTGRES}?sslmod=disable")
    assert ended.returncode == 2
    assert ended.output().count("\n") == 1
    assert ended.output().endswith(": unknown option sslmod\n")
    assert "secret" not in ended.output()


def run(directory: Path, **settings: str) -> Process:
    """A replica that has exited."""
    replica = Process([sys.executable, "-m", "service"], directory / "log", cwd=directory, env=environment(**settings))
    replica.start()
    assert replica._child is not None
    replica._child.wait(30)
    return replica


def test_an_unreachable_database_is_named(tmp_path: Path) -> None:
    url = f"postgresql+asyncpg://todo:secret@127.0.0.1:{free_port()}/todo"
    ended = run(tmp_path, DATABASE_URL=url, STARTUP_TIMEOUT_SECONDS="0.5", PORT=str(free_port()), METRICS_PORT="0")
    assert ended.returncode not in (0, None)
    assert "DATABASE_URL" in ended.output()
    assert "Traceback" not in ended.output()
    assert "secret" not in ended.output()


@pytest.mark.parametrize("name", ["PORT", "METRICS_PORT"])
def test_a_port_in_use_is_named(tmp_path: Path, name: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ports = {"PORT": str(free_port()), "METRICS_PORT": str(free_port())} | {name: port}
        ended = run(tmp_path, **ports)
        assert ended.returncode not in (0, None)
        assert port in ended.output()
        assert "in use" in ended.output()
