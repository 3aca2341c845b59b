"""`glasshouse record`: saves the alerts' series of the last minutes as a recording, small enough for git."""

import time
from pathlib import Path

import click

from lab.alerts.tuning.answers import ANSWER_SECONDS
from lab.alerts.tuning.command import Duration
from lab.alerts.tuning.corpus import CORPUS
from lab.alerts.tuning.history import HistoryError, PrometheusHistory
from lab.alerts.tuning.recording import SUFFIX, save, take
from lab.prometheus import Prometheus, PrometheusError
from lab.settings import SettingError, load_settings


@click.command("record")
@click.argument("name")
@click.option("--last", type=Duration(), default="10m", show_default=True, help="How far to look back.")
@click.option("--about", default="", help="A description of what happened in that time.")
@click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False), default=CORPUS, help="Folder of the recording."
)
@click.option("--prometheus", "url", help="Base URL of a Prometheus API.  [default: the local stack's]")
def record(name: str, last: int, about: str, folder: Path, url: str | None) -> None:
    """Save signals, events, thresholds, ALERTS and known faults of the last minutes as recording NAME.

    Exit status: 0 done, 2 there is no history, or Prometheus does not answer.
    """
    now = time.time()
    try:
        with Prometheus(url or load_settings().url("prometheus"), timeout=ANSWER_SECONDS) as prometheus:
            taken = take(PrometheusHistory(prometheus, now - last / 1000, now), name, about)
        file = folder / f"{name}{SUFFIX}"
        save(taken, file)
    except (HistoryError, PrometheusError, SettingError) as error:
        click.echo(f"glasshouse record: {error}", err=True)
        raise SystemExit(2) from error
    except OSError as error:
        click.echo(f"glasshouse record: {error.strerror}: is {folder} writable?", err=True)
        raise SystemExit(2) from error
    seconds = (taken.end - taken.begin) / 1000
    click.echo(f"record: {file}, {seconds:.0f} s of {len(taken.series)} series in {file.stat().st_size / 1024:.0f} KiB")
