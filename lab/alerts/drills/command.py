"""`glasshouse drill`: causes the faults of alerts on the running stack, and reports which alerts fired."""

import fcntl
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click
from rich.console import Console

from lab.alerts.drills.causes import load
from lab.alerts.drills.definition import Drill, DrillError, by_fault, for_way, load_drills
from lab.alerts.drills.report import shown, summary, write
from lab.alerts.drills.runner import OPTIONAL, DrillRunner, Outcome
from lab.alerts.tuning.command import Duration
from lab.alerts.tuning.history import HistoryError, PrometheusHistory
from lab.alerts.tuning.recording import FAULT, SUFFIX, Recording, save, take
from lab.alerts.tuning.truth import TOGETHER, Fault, samples_of
from lab.prometheus import Prometheus, PrometheusError
from lab.runs.record import RUNS, run_id
from lab.settings import SettingError, load_settings
from lab.stack.events import FaultLog
from lab.stack.faults import running_stack
from lab.stack.kubernetes import chosen_cluster
from lab.stack.native import StackError
from lab.stack.up import HOME

PLAIN_WIDTH = 200
# how long a recording continues after the alerts have resolved
MARGIN_SECONDS = 12.0


@click.command("drill")
@click.argument("alerts", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Run the drill of every alert.")
@click.option("--list", "listed", is_flag=True, help="List the drills without running any.")
@click.option("--hold", type=Duration(), default="0s", help="Minimum duration of every fault, such as 2m.")
@click.option("--runs", type=click.Path(path_type=Path, file_okay=False), default=RUNS, help="Folder for reports.")
def drill(alerts: Sequence[str], everything: bool, listed: bool, hold: int, runs: Path) -> None:
    """Cause the faults of ALERTS on the running stack, watch what fires, and end the faults.

    Writes a report and a recording of each drill to runs/. Exit status: 0 every alert fired and resolved in time,
    together with the alerts that must fire with it and no unexpected ones; 1 otherwise; 2 a drill could not be run.
    """
    console = Console(width=None if Console().is_terminal else PLAIN_WIDTH, markup=False)
    try:
        drills = for_way(load_drills(), "kubernetes" if chosen_cluster() else "")
        if listed:
            for name, each in sorted(drills.items()):
                what = f"{each.cause.do} {each.cause.part}" if each.cause else f"none: {each.cannot}"
                click.echo(f"{name:32} {what}")
            return
        chosen = _chosen(drills, alerts, everything)
        outcomes, folder, way = _run(chosen, runs, hold / 1000, console)
    except (DrillError, StackError, SettingError, PrometheusError) as error:
        click.echo(f"glasshouse drill: {error}", err=True)
        raise SystemExit(2) from error
    console.print(shown(outcomes))
    write(outcomes, folder, way)
    click.echo(summary(outcomes))
    click.echo(f"report: {folder / 'report.html'}")
    raise SystemExit(1 if any(each.wrong for each in outcomes) else 0)


def _chosen(drills: dict[str, Drill], names: Sequence[str], everything: bool) -> dict[str, Drill]:
    if everything:
        return drills
    unknown = [name for name in names if name not in drills]
    if unknown:
        raise DrillError(f"there is no drill {unknown[0]}: `glasshouse drill --list` lists them")
    if not names:
        raise DrillError("name an alert, or use --all; `glasshouse drill --list` lists them")
    return {name: drills[name] for name in names}


def _run(drills: dict[str, Drill], runs: Path, hold: float, console: Console) -> tuple[list[Outcome], Path, str]:
    settings = load_settings()
    stack = running_stack()
    with Prometheus(settings.url("prometheus")) as prometheus, _alone(), _interruptible():
        runner = DrillRunner(
            stack,
            settings,
            prometheus,
            FaultLog(settings.url("desk")),
            lambda text: console.print(text, style="dim"),
            OPTIONAL - set(stack.parts()),
            hold,
        )
        runner.check()
        folder = runs / run_id(time.time(), "drill")
        outcomes = []
        rates = {each.rate for name, each in drills.items() if not runner.why_not(each)}
        for rate in sorted(rates) or [0.0]:
            own = {name: each for name, each in drills.items() if each.rate == rate and not runner.why_not(each)}
            outcomes += _with_load(runner, own, rate, folder)
        outcomes += [Outcome(name, skipped=reason) for name, each in drills.items() if (reason := runner.why_not(each))]
    return outcomes, folder, stack.way


def _with_load(runner: DrillRunner, drills: dict[str, Drill], rate: float, folder: Path) -> list[Outcome]:
    """Runs these drills under a steady load."""
    if not drills:
        return []
    outcomes: list[Outcome] = []
    with load(runner.settings, "steady", rate) as process:
        runner.settle(rate)
        try:
            for fault in by_fault(drills):
                outcomes += _one(runner, fault, folder, process)
        except KeyboardInterrupt:
            click.echo("glasshouse drill: interrupted; the fault has been ended", err=True)
    return outcomes


def _one(
    runner: DrillRunner, drills: Mapping[str, Drill], folder: Path, process: subprocess.Popen[bytes]
) -> list[Outcome]:
    """Runs one fault and records it. If it fails, the outcome has the reason, and later drills are still run.

    Without the load a drill proves nothing, so it also fails if the load's process has ended.
    """
    try:
        _check_load(process)
        outcomes = runner.run(drills)
        _check_load(process)
        _record(runner, outcomes[0], folder)
    except (DrillError, StackError) as error:
        outcomes = [Outcome(name, wrong=[f"aborted: {error}"]) for name in drills]
    for outcome in outcomes:
        runner.say(f"{outcome.alert}: {outcome.verdict}")
    return outcomes


def _check_load(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        raise DrillError(f"the load has ended with exit status {process.returncode}")


def _record(runner: DrillRunner, outcome: Outcome, folder: Path) -> None:
    """Saves Prometheus' samples, with the exact times of the fault instead of the scraped ones."""
    # includes the first evaluations after the end
    time.sleep(MARGIN_SECONDS)
    history = PrometheusHistory(runner.prometheus, outcome.calm, time.time())
    names = outcome.together
    about = f"drill {', '.join(names)} on the {runner.stack.way} stack: {outcome.kind} {outcome.part}"
    name = f"drill-{'+'.join(names)}"
    try:
        taken = take(history, name, about)
        fault = Fault(
            outcome.part,
            outcome.kind,
            round(outcome.began * 1000),
            round(outcome.ended * 1000),
            TOGETHER.join(names),
        )
        series = [*(each for each in taken.series if each.name != FAULT), samples_of(fault)]
        save(Recording(taken.name, series, about), folder / f"{name}{SUFFIX}")
    except (HistoryError, PrometheusError) as error:
        click.echo(f"glasshouse drill: no recording: {error}", err=True)


@contextmanager
def _alone() -> Iterator[None]:
    """A lock on this stack. Raises `DrillError` if another drill is running."""
    HOME.path.mkdir(parents=True, exist_ok=True)
    with (HOME.path / "drill.lock").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DrillError("another drill is running on this stack: wait until it ends") from None
        yield


@contextmanager
def _interruptible() -> Iterator[None]:
    """Treats SIGTERM like Ctrl-C, so that the fault is ended."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
