"""Every setting of the service, typed, read once from the environment.

`python -m service.settings` checks them: exit status 2, and the first that does not parse on standard error.
"""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from limits import RateLimitItem, parse_many
from sqlalchemy.engine import URL

from service.urls import Address, RedisNodes, UrlError, database_url, redis_nodes

Network = IPv4Network | IPv6Network
HIGHEST_PORT = 65535


class SettingError(ValueError):
    """An invalid setting. The message names it and says what is allowed."""


@dataclass(frozen=True)
class Parser:
    """Parses a setting: `read` raises ValueError for what is not `allowed`."""

    read: Callable[[str], Any]
    allowed: str


def _text(text: str) -> str:
    return text


def _number(least: float, most: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = float(text)
        if not least <= value <= most:
            raise ValueError(text)
        return value

    return read


def _seconds_or_none(text: str) -> float:
    return _number(0.001, 3600)(text) if text else 0.0


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise ValueError(text)
        return value

    return read


def _one_of(*names: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in names:
            raise ValueError(text)
        return text.lower()

    return read


def _boolean(text: str) -> bool:
    return _one_of("true", "false")(text) == "true"


def _port(port: int) -> int:
    if not 1 <= port <= HIGHEST_PORT:
        raise ValueError(port)
    return port


def _address_map(text: str) -> dict[Address, Address]:
    pairs = (pair.split("=") for pair in text.split(",") if pair.strip())
    return {_address(announced): _address(reached) for announced, reached in pairs}


def _address(text: str) -> Address:
    host, _, port = text.strip().rpartition(":")
    if not host:
        raise ValueError(text)
    return host, _port(int(port))


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip())


def _limits(text: str) -> tuple[RateLimitItem, ...]:
    limits = () if text.strip().lower() in ("", "off") else tuple(parse_many(text))
    # "off" disables the limit; a limit of 0 would reject every request
    if any(limit.amount < 1 for limit in limits):
        raise ValueError(text)
    return limits


def _milliseconds(text: str) -> int:
    return _whole(1, 3_600_000)(text)


def _endpoint(text: str) -> str:
    parts = urlsplit(text)
    is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    if text and not is_url:
        raise ValueError(text)
    return text.rstrip("/")


def _base_endpoint(text: str) -> str:
    endpoint = _endpoint(text)
    # the signal's path is appended, and must not be there twice
    if endpoint.endswith(("/v1/traces", "/v1/logs", "/v1/metrics")):
        raise ValueError(text)
    return endpoint


ENDPOINT = Parser(_endpoint, "an http:// or https:// URL, or empty")
OTHER_SECONDS = Parser(_seconds_or_none, "seconds, from 0.001 to 3600, or empty")
MILLISECONDS = Parser(_milliseconds, "milliseconds, from 1 to 3600000")
EXPORTER = Parser(_one_of("otlp", "none"), "otlp or none")
ITEMS = Parser(_whole(1, 1_000_000), "a number from 1 to 1000000")
SECONDS = Parser(_number(0.001, 3600), "seconds, from 0.001 to 3600")
RATIO = Parser(_number(0, 1), "a ratio from 0 to 1")
TEXT = Parser(_text, "text")


def _setting(default: str, parser: Parser, meaning: str, *, is_secret: bool = False) -> Any:
    return field(
        default_factory=lambda: parser.read(default),
        metadata={"default": default, "parser": parser, "meaning": meaning, "is_secret": is_secret},
    )


@dataclass(frozen=True)
class Settings:
    """The service's settings. The variable `CACHE_TTL_SECONDS` sets the field `cache_ttl_seconds`."""

    host: str = _setting("127.0.0.1", TEXT, "Address to listen on.")
    port: int = _setting("8000", Parser(_whole(0, 65535), "a port, 0 to 65535"), "Port to listen on; 0 picks one.")
    metrics_port: int = _setting(
        "9464",
        Parser(_whole(0, 65535), "a port, 0 to 65535, other than PORT"),
        "Port of `/metrics`, for Prometheus; clients of the API must not reach it. 0 picks one.",
    )
    replica: str = _setting(
        "",
        TEXT,
        "This replica's name in `service_info`; by default the container's or the host's name.",
    )
    log_level: str = _setting(
        "info",
        Parser(_one_of("debug", "info", "warning", "error"), "debug, info, warning or error"),
        "What is logged; `debug` logs a line for every request.",
    )

    database_url: URL = _setting(
        "sqlite+aiosqlite:///todo.db",
        Parser(database_url, "an SQLAlchemy URL, postgresql+asyncpg://… or sqlite+aiosqlite:///…"),
        "Where tasks are kept; for PostgreSQL with the options of libpq, such as `?sslmode=verify-full`.",
        is_secret=True,
    )
    database_timeout_seconds: float = _setting(
        "2", SECONDS, "Time limit of every database operation, including the wait for a connection."
    )
    database_pool_size: int = _setting(
        "10",
        Parser(_whole(1, 200), "connections, from 1 to 200"),
        "Size of this replica's database pool; two more connections are for health checks and background work.",
    )
    startup_timeout_seconds: float = _setting(
        "30", SECONDS, "How long to wait for the database at start, and until a missing Redis is logged as an error."
    )
    database_pooler: str = _setting(
        "none",
        Parser(_one_of("none", "transaction"), "none or transaction"),
        "`transaction` behind a pooler that gives each transaction another connection (PgBouncer's `pool_mode`): "
        "statements have no names, and the limits of a session are the database's to set ([scale](scale.md)).",
    )

    redis_url: RedisNodes = _setting(
        "",
        Parser(
            redis_nodes,
            "redis://host:port of any node of the cluster, several with commas; empty for in-process",
        ),
        "The Redis Cluster for cache and rate limit, as `redis://user:password@host:port`, or `rediss://` for TLS "
        "(with `?ssl_ca_certs=` and redis-py's other options); empty keeps both in this process.",
        is_secret=True,
    )
    redis_address_map: dict[Address, Address] = _setting(
        "",
        Parser(_address_map, "announced:port=reached:port, several with commas"),
        "Where to reach nodes that announce an address that is not reachable from here (a cluster behind NAT).",
    )
    redis_timeout_seconds: float = _setting(
        "0.05", SECONDS, "Time limit of every Redis operation, including connecting."
    )
    redis_connections: int = _setting(
        "8",
        Parser(_whole(1, 200), "connections, from 1 to 200"),
        "Connections of this replica to each Redis node for pipelines; eight more are for redirects and checks.",
    )
    cache_ttl_seconds: float = _setting(
        "3600",
        Parser(_number(1, 2592000), "seconds, from 1 to 2592000"),
        "TTL of cached tasks, plus or minus 10 % at random.",
    )
    cache_unknown_ttl_seconds: float = _setting("5", SECONDS, "TTL of the cache entry of an id that no task has.")
    breaker_failures: int = _setting(
        "5",
        Parser(_whole(1, 1000), "failures, from 1 to 1000"),
        "Failures in a row that open a circuit breaker.",
    )
    breaker_open_seconds: float = _setting("1", SECONDS, "How long an open breaker waits before a trial call.")

    rate_limit: tuple[RateLimitItem, ...] = _setting(
        "100/15minutes",
        Parser(_limits, "limits such as 100/15minutes or 1000/minute;50/second, or off"),
        "Requests that a client may make; several limits apply together.",
    )
    rate_limit_ipv6_prefix: int = _setting(
        "64",
        Parser(_whole(1, 128), "bits, from 1 to 128"),
        "Length of the IPv6 prefix that counts as one client: a host usually has a whole /64.",
    )
    trusted_proxies: tuple[Network, ...] = _setting(
        "",
        Parser(_networks, "networks such as 10.0.0.0/8,127.0.0.1"),
        "Proxies whose `X-Forwarded-For` is trusted; empty trusts none.",
    )
    max_concurrent_requests: int = _setting(
        "256",
        Parser(_whole(1, 100000), "requests, from 1 to 100000"),
        "Limit of requests in flight; more are answered 503 at once.",
    )
    body_timeout_seconds: float = _setting("10", SECONDS, "How long a client may take to send a request's body.")
    drain_seconds: float = _setting(
        "1",
        Parser(_number(0, 3), "seconds, from 0 to 3"),
        "On SIGTERM, how long the replica still responds before it closes its listener; /health/ready responds 503.",
    )

    api_docs: str = _setting(
        "on", Parser(_one_of("on", "off"), "on or off"), "The page at `/schema`, and the OpenAPI document beside it."
    )

    telemetry: str = _setting(
        "on", Parser(_one_of("on", "off"), "on or off"), "Metrics, traces, and log records by OTLP."
    )
    trace_sample_ratio: float = _setting("0.02", RATIO, "Share of requests that are sampled at their start.")
    trace_slow_seconds: float = _setting("0.5", SECONDS, "A request slower than this is recorded even if not sampled.")
    otel_exporter_otlp_endpoint: str = _setting(
        "",
        Parser(_base_endpoint, "an http:// or https:// URL without /v1/traces, or empty"),
        "Where traces and log records are sent (OTLP over HTTP); empty sends none.",
    )
    otel_exporter_otlp_traces_endpoint: str = _setting("", ENDPOINT, "The full URL for traces, if it differs.")
    otel_exporter_otlp_logs_endpoint: str = _setting("", ENDPOINT, "The full URL for log records, if it differs.")
    otel_traces_exporter: str = _setting("otlp", EXPORTER, "`none` sends no traces.")
    otel_logs_exporter: str = _setting("otlp", EXPORTER, "`none` sends no log records.")
    otel_exporter_otlp_protocol: str = _setting(
        "http/protobuf", Parser(_one_of("http/protobuf"), "http/protobuf"), "The protocol; no other is supported."
    )
    otel_exporter_otlp_timeout: float = _setting(
        "2", SECONDS, "Time limit of an export, including connecting, the response and retries."
    )
    otel_exporter_otlp_traces_timeout: float = _setting("", OTHER_SECONDS, "The same for traces, if it differs.")
    otel_exporter_otlp_logs_timeout: float = _setting("", OTHER_SECONDS, "The same for log records, if it differs.")
    otel_sdk_disabled: bool = _setting("false", Parser(_boolean, "true or false"), "`true` sends neither.")
    otel_bsp_schedule_delay: int = _setting("2000", MILLISECONDS, "Longest time that a span waits for its export.")
    otel_bsp_max_queue_size: int = _setting("8192", ITEMS, "Size of the span queue; more are dropped and counted.")
    otel_bsp_max_export_batch_size: int = _setting("2048", ITEMS, "Most spans of one export.")
    otel_bsp_export_timeout: int = _setting("30000", MILLISECONDS, "Another limit of an export; the lower applies.")
    otel_blrp_schedule_delay: int = _setting(
        "2000", MILLISECONDS, "Longest time that a log record waits for its export."
    )
    otel_blrp_max_queue_size: int = _setting("2048", ITEMS, "Size of the log queue; more are dropped and counted.")
    otel_blrp_max_export_batch_size: int = _setting("512", ITEMS, "Most log records of one export.")
    otel_blrp_export_timeout: int = _setting("30000", MILLISECONDS, "Another limit of an export; the lower applies.")

    @property
    def traces_endpoint(self) -> str:
        """The URL to which traces are sent; empty if none are."""
        return self._endpoint_of("traces", self.otel_exporter_otlp_traces_endpoint, self.otel_traces_exporter)

    @property
    def logs_endpoint(self) -> str:
        """The URL to which log records are sent; empty if none are."""
        return self._endpoint_of("logs", self.otel_exporter_otlp_logs_endpoint, self.otel_logs_exporter)

    @property
    def traces_timeout(self) -> float:
        """The time limit of an export of spans, in seconds."""
        limit = self.otel_exporter_otlp_traces_timeout or self.otel_exporter_otlp_timeout
        return min(limit, self.otel_bsp_export_timeout / 1000)

    @property
    def logs_timeout(self) -> float:
        """The time limit of an export of log records, in seconds."""
        limit = self.otel_exporter_otlp_logs_timeout or self.otel_exporter_otlp_timeout
        return min(limit, self.otel_blrp_export_timeout / 1000)

    def _endpoint_of(self, signal: str, own: str, exporter: str) -> str:
        if self.otel_sdk_disabled or exporter == "none":
            return ""
        base = self.otel_exporter_otlp_endpoint
        return own or (f"{base}/v1/{signal}" if base else "")


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Reads the settings from environment variables; an empty one counts as unset. Raises `SettingError`.

    A secret `X` may be in a file, whose path is in `X_FILE`.
    """
    values: dict[str, Any] = {}
    for each in fields(Settings):
        name = each.name.upper()
        is_secret = each.metadata["is_secret"]
        text = _secret(name, environment) if is_secret else environment.get(name, "")
        if not text:
            continue
        parser = cast(Parser, each.metadata["parser"])
        try:
            values[each.name] = parser.read(text)
        except UrlError as error:
            raise SettingError(f"{name}=(hidden): must be {parser.allowed}: {error}") from error
        except (ValueError, OverflowError) as error:
            shown = "(hidden)" if is_secret else repr(text)
            raise SettingError(f"{name}={shown}: must be {parser.allowed}") from error
    settings = Settings(**values)
    if settings.metrics_port == settings.port != 0:
        raise SettingError(f"METRICS_PORT={settings.metrics_port}: must be a port other than PORT")
    for signal in ("bsp", "blrp"):
        batch = getattr(settings, f"otel_{signal}_max_export_batch_size")
        if batch > getattr(settings, f"otel_{signal}_max_queue_size"):
            name = f"OTEL_{signal.upper()}_MAX_EXPORT_BATCH_SIZE"
            raise SettingError(f"{name}={batch}: must be at most OTEL_{signal.upper()}_MAX_QUEUE_SIZE")
    return settings


def _secret(name: str, environment: Mapping[str, str]) -> str:
    """Reads a secret from its variable or its file."""
    path = environment.get(f"{name}_FILE", "")
    if not path:
        return environment.get(name, "")
    if environment.get(name):
        raise SettingError(f"{name} and {name}_FILE are both set: set one of them")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{name}_FILE={path!r}: must be a file that can be read") from error


def settings_table() -> str:
    """The Markdown table of docs/settings.md."""
    rows = ["| setting | default | allowed | meaning |", "| --- | --- | --- | --- |"]
    for each in fields(Settings):
        default = each.metadata["default"]
        shown = f"`{default}`" if default else "(empty)"
        meaning = each.metadata["meaning"]
        if each.metadata["is_secret"]:
            meaning += f" `{each.name.upper()}_FILE` names a file that holds it."
        rows.append(f"| `{each.name.upper()}` | {shown} | {each.metadata['parser'].allowed} | {meaning} |")
    return "\n".join(rows) + "\n"


def main() -> int:
    """Checks the settings of the environment: 0 where all of them parse, else 2 with one line on standard error."""
    try:
        load_settings()
    except SettingError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
