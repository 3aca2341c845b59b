"""`glasshouse desk`: the alert inbox, and metrics of the gateway's requests."""

import sqlite3
from pathlib import Path

import click
import uvicorn
from prometheus_client import disable_created_metrics

from lab.desk.app import create_app
from lab.desk.disk import Disk
from lab.desk.gateway_log import GatewayLog
from lab.desk.inbox import Inbox
from lab.desk.notified import Notified, known_alerts
from lab.desk.runbooks import Runbooks
from lab.head import with_head
from lab.settings import SettingError, load_settings


@click.command("desk")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on; by default DESK_PORT.")
@click.option(
    "--request-log",
    type=click.Path(path_type=Path),
    default="requests.log",
    envvar="GATEWAY_REQUEST_LOG",
    help="The gateway's request log, which is truncated after it was counted. It may be missing.",
)
@click.option(
    "--database",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="DESK_DATABASE",
    help="File of the inbox.  [default: in memory]",
)
@click.option("--dashboards", envvar="DASHBOARDS_URL", help="Base URL of the dashboards.  [default: local Grafana]")
@click.option("--alertmanager", envvar="ALERTMANAGER_URL", help="Base URL of Alertmanager.  [default: on this machine]")
def desk(
    host: str,
    port: int | None,
    request_log: Path,
    database: Path | None,
    dashboards: str | None,
    alertmanager: str | None,
) -> None:
    """Run `desk`: the alert inbox, and metrics of the gateway's requests.

    Exit status 2: a setting is invalid, the inbox file is broken, or the port is taken.
    """
    try:
        settings = load_settings()
    except SettingError as error:
        click.echo(f"glasshouse desk: {error}", err=True)
        raise SystemExit(2) from error
    disable_created_metrics()  # type: ignore[no-untyped-call]
    try:
        inbox = Inbox(file=database)
    except (OSError, sqlite3.Error) as error:
        click.echo(f"glasshouse desk: {database}: {error}: delete it, or set DESK_DATABASE", err=True)
        raise SystemExit(2) from error
    app = create_app(
        inbox,
        GatewayLog(request_log),
        Disk(request_log.parent),
        Runbooks((dashboards or settings.url("grafana")).rstrip("/")),
        Notified((alertmanager or settings.url("alertmanager")).rstrip("/"), known_alerts()),
    )
    server = uvicorn.Server(
        uvicorn.Config(
            with_head(app), host=host, port=port or settings.desk_port, access_log=False, log_level="warning"
        )
    )
    try:
        server.run()
    except SystemExit as error:
        raise SystemExit(2) from error
