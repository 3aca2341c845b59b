"""`glasshouse report` and `glasshouse runs`."""

import shutil
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.report.compare import Change, compare, differences_in_settings, oddities
from lab.report.page import write_page
from lab.report.summary import print_summary, terminal
from lab.runs.record import RUNS, Run, UnreadableRunError, folder_of, load, names, utc
from lab.settings import SettingError, load_settings

RUNS_OPTION = click.option(
    "--runs", type=click.Path(path_type=Path, file_okay=False), default=RUNS, help="Where runs are kept."
)


@click.command("report")
@click.argument("run", required=False)
@click.argument("other", required=False)
@click.option("--draw", is_flag=True, help="Rewrite RUN's report.html, with the dashboards over its time.")
@RUNS_OPTION
def report(run: str | None, other: str | None, draw: bool, runs: Path) -> None:
    """Show the report of RUN (by default the newest), or compare RUN with OTHER.

    Exit status 0; 1 if OTHER is worse than RUN in a figure, beyond the noise; 2 if there is no such run.
    """
    console = terminal()
    try:
        if run is None:
            newest = next(reversed(names(runs)), None)
            if newest is None:
                raise UnreadableRunError("there are no runs yet: `glasshouse load` makes one")
            run = str(runs / newest)
        one = load(run, runs)
        if other is None:
            folder = folder_of(run, runs)
            if draw:
                write_page(one, folder, load_settings().url("prometheus"))
            print_summary(console, one)
            console.print(f"report: {folder / 'report.html'}", highlight=False, soft_wrap=True)
            return
        changes = print_comparison(console, one, load(other, runs))
    except (UnreadableRunError, SettingError, OSError) as error:
        click.echo(f"glasshouse report: {error}", err=True)
        sys.exit(2)
    sys.exit(1 if any(change.is_worse for change in changes) else 0)


@click.command("runs")
@click.option("--prune", type=click.IntRange(min=0), metavar="N", help="Remove all but the newest N runs.")
@RUNS_OPTION
def runs(runs: Path, prune: int | None) -> None:
    """List the runs, oldest first."""
    if prune is not None:
        old = names(runs)[: max(0, len(names(runs)) - prune)]
        for name in old:
            # in `runs`, whatever there is of that name in the current folder
            shutil.rmtree(runs / name)
        click.echo(f"runs: removed {len(old)}, kept {len(names(runs))}")
    console = terminal()
    table = Table(box=None)
    for heading in ("run", "began (UTC)", "rate", "time", "answered", "failed", "dropped", "reads p99", "verdict"):
        table.add_column(heading, no_wrap=True)
    unreadable = []
    for name in names(runs):
        try:
            table.add_row(*_row(load(str(runs / name))))
        except UnreadableRunError as error:
            unreadable.append(f"{name}: {str(error).removeprefix(f'{runs / name}: ')}")
    console.print(table)
    for line in unreadable:
        console.print(line, highlight=False, soft_wrap=True)


def _row(run: Run) -> list[str]:
    return [
        run.id,
        utc(run.began),
        f"{run.settings.rate:g}/s",
        f"{run.seconds_run:.0f} s",
        str(run.answered),
        str(run.failed),
        str(run.dropped),
        f"{run.reads.p99 * 1000:.1f} ms",
        verdict(run),
    ]


def verdict(run: Run) -> str:
    """The verdict in one or two words."""
    if run.cut_short:
        return "cut short"
    if run.lost_workers:
        return "worker lost"
    if run.is_search and run.found is not None:
        return f"holds {run.found:.0f}/s"
    return "met" if run.met else "missed"


def print_comparison(console: Console, before: Run, after: Run) -> list[Change]:
    """Prints both runs side by side, and returns the changes."""
    changes = compare(before, after)
    table = Table(title=f"{before.id} → {after.id}", title_justify="left")
    for heading in ("", "before", "after", "change", "99 % interval", "verdict"):
        table.add_column(heading, justify="left" if heading in ("", "verdict") else "right")
    for change in changes:
        table.add_row(
            change.name,
            f"{change.before:.1f} {change.unit}",
            f"{change.after:.1f} {change.unit}",
            f"{change.difference:+.1f}",
            f"{change.low:+.1f} … {change.high:+.1f}",
            _word(change),
        )
    console.print(table)
    for oddity in oddities(before, after):
        console.print(f"compares only so far: {oddity}", style="yellow", highlight=False, soft_wrap=True)
    for difference in differences_in_settings(before, after):
        console.print(f"asked for differently: {difference}", style="yellow")
    if not any(change.is_real for change in changes):
        console.print("no difference beyond the noise")
    return changes


def _word(change: Change) -> Text:
    if not change.is_real:
        return Text("noise")
    return Text("worse", "red") if change.is_worse else Text("better", "green")
