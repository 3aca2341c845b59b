"""`glasshouse alerts`: pending and firing alerts, with start time, value, threshold and runbook."""

from collections.abc import Sequence
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.table import Table

from lab.alerts.active import ActiveAlert, active_alerts
from lab.prometheus import Prometheus, PrometheusError
from lab.settings import START, SettingError, load_settings

STYLES = {"page": "red", "ticket": "yellow"}
PLAIN_WIDTH = 200


@click.command("alerts")
@click.option("--url", help="Base URL of Prometheus.  [default: the local stack's]")
def alerts(url: str | None) -> None:
    """Print the pending and firing alerts, except the dead man's switch.

    Exit status: 0 no alert is firing, 1 at least one is, 2 Prometheus does not answer.
    """
    try:
        with Prometheus(url or load_settings().url("prometheus")) as prometheus:
            found = active_alerts(prometheus)
    except (PrometheusError, SettingError) as error:
        click.echo(f"glasshouse alerts: {error}; is the stack up? {START} starts it", err=True)
        raise SystemExit(2) from error
    console = Console(width=None if Console().is_terminal else PLAIN_WIDTH, markup=False)
    if console.is_terminal and found:
        console.print(_table(found, datetime.now(UTC)))
    else:
        for line in _lines(found, datetime.now(UTC)):
            click.echo(line)
    firing = sum(alert.state == "firing" for alert in found)
    click.echo(f"{firing} firing, {len(found) - firing} pending")
    raise SystemExit(1 if firing else 0)


def _lines(found: Sequence[ActiveAlert], now: datetime) -> list[str]:
    return ["  ".join(part for part in _cells(alert, now) if part) for alert in found]


def _table(found: Sequence[ActiveAlert], now: datetime) -> Table:
    table = Table("State", "Severity", "Alert", "Where", "Since", "Value / threshold", "Runbook")
    for alert in found:
        table.add_row(*_cells(alert, now), style=STYLES.get(alert.severity, "") if alert.state == "firing" else "dim")
    return table


def _cells(alert: ActiveAlert, now: datetime) -> tuple[str, ...]:
    seconds = max(0, round((now - alert.since).total_seconds()))
    value = f"{alert.value:.4g}"
    if alert.threshold is not None:
        value += f" (threshold {alert.threshold:.4g})"
    since = f"{alert.since.astimezone():%H:%M:%S} ({seconds} s)"
    return alert.state, alert.severity, alert.name, alert.where, since, value, alert.runbook
