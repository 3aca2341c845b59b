"""`glasshouse tracestore`."""

import logging
import os
import socket
import sqlite3
import sys
from contextlib import suppress
from pathlib import Path

import click
import uvicorn
from prometheus_client import disable_created_metrics

from lab.head import with_head
from lab.options import Number
from lab.settings import PLACE, SettingError, load_settings
from lab.tracestore.app import create_app
from lab.tracestore.metrics import Metrics
from lab.tracestore.store import Bounds, Store

HOST = "127.0.0.1"
# limit of connections, beyond which the response is 503: each may hold a request's body
MAX_CONNECTIONS = 128
# longer than Prometheus keeps exemplars by default, like Tempo's retention
MAX_HOURS = 120
MAX_MEGABYTES = 256


@click.command("tracestore")
@click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=PLACE / ".stack" / "data" / "tracestore" / "traces.db",
    envvar="TRACESTORE_FILE",
    help="SQLite file.  [default: .stack/data/tracestore/traces.db]",
)
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the API.  [default: TEMPO_PORT, 3200]")
@click.option("--otlp-port", type=click.IntRange(1, 65535), help="Port for OTLP.  [default: OTLP_PORT, 4318]")
@click.option(
    "--max-megabytes",
    type=Number(min=1),
    default=MAX_MEGABYTES,
    show_default=True,
    envvar="TRACESTORE_MAX_MEGABYTES",
    help="Bound on what is kept; the oldest go first.",
)
@click.option(
    "--max-hours",
    type=Number(min=0, min_open=True),
    default=MAX_HOURS,
    show_default=True,
    envvar="TRACESTORE_MAX_HOURS",
    help="Bound on its age.",
)
def tracestore(file: Path, port: int | None, otlp_port: int | None, max_megabytes: float, max_hours: float) -> None:
    """Store traces and logs where Tempo and Loki are not installed: receives OTLP, serves their HTTP API.

    For one machine: no replication, no clustering, no remote access. Exit status 2 if it cannot start.
    """
    logging.basicConfig(level="WARNING", format="%(asctime)s %(name)s %(levelname)s %(message)s")
    disable_created_metrics()  # type: ignore[no-untyped-call]
    try:
        settings = load_settings()
        ports = (port or settings.tempo_port, otlp_port or settings.otlp_port)
        listening = [_listen(each, name) for each, name in zip(ports, ("TEMPO_PORT", "OTLP_PORT"), strict=True)]
        metrics = Metrics()
        store = Store(file, Bounds(int(max_megabytes * (1 << 20)), max_hours * 3600), metrics)
    except (SettingError, OSError, sqlite3.Error) as error:
        click.echo(f"glasshouse tracestore: {error}", err=True)
        sys.exit(2)
    hosts = [f"{name}:{each}" for name in (HOST, "localhost") for each in ports]
    click.echo(
        f"traces: http://{HOST}:{ports[0]} (Tempo's API), OTLP: http://{HOST}:{ports[1]}, kept in {file}, at most "
        f"{max_megabytes:g} MB and {max_hours:g} h; for this machine only"
    )
    config = uvicorn.Config(
        with_head(create_app(store, metrics, hosts)),
        log_level="warning",
        access_log=False,
        limit_concurrency=MAX_CONNECTIONS,
    )
    # Ctrl-C is the normal way to stop it; uvicorn raises it again after its shutdown
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=listening)


def _listen(port: int, setting: str) -> socket.socket:
    try:
        return socket.create_server((HOST, port), backlog=256)
    except OSError as error:
        raise OSError(f"cannot listen on {HOST}:{port} ({os.strerror(error.errno or 0)}); set {setting}") from error
