"""`glasshouse view`."""

import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

import click
import uvicorn

from lab.head import with_head
from lab.panels import DASHBOARDS, DashboardError
from lab.prometheus import Prometheus
from lab.settings import SettingError, load_settings
from lab.viewer.folder import Folder
from lab.viewer.library import LibraryError, library_file
from lab.viewer.server import create_app

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@click.command("view")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.  [default: VIEWER_PORT, 8050]")
@click.option("--prometheus", "prometheus_url", help="Prometheus to read.  [default: the stack's]")
@click.option(
    "--dashboards",
    type=click.Path(path_type=Path, file_okay=False),
    default=DASHBOARDS,
    help="Folder of dashboards in Grafana's JSON.  [default: the committed ones]",
)
def view(host: str, port: int | None, prometheus_url: str | None, dashboards: Path) -> None:
    """Show the dashboards in a browser, without Grafana.

    Reads the dashboards' JSON and Prometheus, keeps nothing, and stops with Ctrl-C. Exit status 2 if it cannot start.
    """
    try:
        settings = load_settings()
        library_file("uplot.iife.min.js")
        folder = Folder(dashboards)
        if not folder.all():
            raise DashboardError(f"{dashboards}: no dashboards here; `make dashboards` builds them")
        port = port or settings.viewer_port
        listening = _listen(host, port)
    except (SettingError, LibraryError, DashboardError, OSError) as error:
        click.echo(f"glasshouse view: {error}", err=True)
        sys.exit(2)
    # Ctrl-C is the normal way to stop it; uvicorn raises it again after its shutdown
    with suppress(KeyboardInterrupt), listening, Prometheus(prometheus_url or settings.url("prometheus")) as prometheus:
        app = create_app(
            folder,
            prometheus,
            settings.url("tempo"),
            hosts=hosts_of(host, port),
            loki=settings.url("loki"),
        )
        shown = f"[{host}]" if ":" in host else host
        click.echo(f"dashboards: http://{shown}:{port}/   (Prometheus: {prometheus.url})")
        uvicorn.Server(uvicorn.Config(with_head(app), log_level="warning", access_log=False)).run(sockets=[listening])


def hosts_of(host: str, port: int) -> list[str]:
    """The `Host` headers that are answered when listening on an address: on a loopback address, only its names."""
    if host not in _LOOPBACK:
        return ["*"]
    return [f"[{name}]:{port}" if ":" in name else f"{name}:{port}" for name in _LOOPBACK]


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=128
        )
    except OSError as error:
        raise OSError(
            f"cannot listen on {host}:{port} ({os.strerror(error.errno or 0)}); try --port or VIEWER_PORT"
        ) from error
