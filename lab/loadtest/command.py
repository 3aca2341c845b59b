"""`glasshouse load` and `glasshouse worker`."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from lab.load.capacity import pods_for, workers_for
from lab.load.conditions import Condition, ConditionError
from lab.load.definition import MAX_RATE, define, is_file, parse_time
from lab.load.errors import CannotRunError
from lab.load.profiles import PROFILES, Profile
from lab.load.target import check_target
from lab.loadtest.results import write_json, write_junit
from lab.loadtest.run import LoadRun, Options
from lab.options import Number
from lab.report.summary import print_summary, terminal
from lab.runs.record import RUNS
from lab.settings import SettingError, load_settings
from lab.stack.kubernetes import chosen_cluster
from lab.stack.load_jobs import GATEWAY

MAX_WORKERS = 64
# the default in a cluster
WORKER_PODS = 2


class Duration(click.ParamType[float]):
    """A time such as `90`, `90s`, `5m` or `1h`, as seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        seconds = parse_time(str(value))
        if seconds is None:
            self.fail(f"{value!r}: must be a time from 1s to 24h, such as 90s, 5m or 1h", param, ctx)
        return seconds


class ProfileName(click.ParamType[str]):
    """The name of a profile, or the path of a file with one."""

    name = "profile"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name or path itself."""
        if value not in PROFILES and not is_file(str(value)):
            self.fail(f"{value!r}: must be one of {', '.join(PROFILES)}, or the path of a .toml file", param, ctx)
        return str(value)


class Workers(click.ParamType[int]):
    """A number of workers; -1 stands for `auto`."""

    name = "number or auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        if str(value) == "auto" or value == -1:
            return -1
        if not str(value).isdecimal() or int(value) > MAX_WORKERS:
            self.fail(f"{value!r}: must be from 0 to {MAX_WORKERS}, or auto", param, ctx)
        return int(value)


class ConditionText(click.ParamType[Condition]):
    """A condition such as `p99>500ms for 10s`."""

    name = "condition"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Condition:
        """The condition."""
        try:
            return value if isinstance(value, Condition) else Condition.parse(str(value))
        except ConditionError as error:
            self.fail(str(error), param, ctx)


def _profiles_help() -> str:
    """The profiles' first sentences, for --help."""
    rows = (f"  {name:12} {_first_sentence(profile)}" for name, profile in PROFILES.items())
    return "\b\nProfiles (or the path of a .toml file, see docs/load.md):\n" + "\n".join(rows)


def _first_sentence(profile: type[Profile]) -> str:
    return (profile.__doc__ or "").strip().split("\n")[0]


@click.command("load", epilog=_profiles_help())
@click.argument("profile", type=ProfileName(), default="ramp")
@click.option("--rate", type=Number(0.1, MAX_RATE), help="Highest rate, arrivals a second.")
@click.option("--time", "seconds", type=Duration(), help="How long, such as 90s, 5m or 1h.")
@click.option("--users", type=click.IntRange(1, 5000), default=200, show_default=True, help="Most requests at a time.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed repeats the same requests.")
@click.option("--host", help="Base URL to load, from this machine.  [default: the gateway]")
@click.option("--workers", type=Workers(), default=0, help="Worker processes, or auto; with --kubernetes pods.")
@click.option(
    "--remote-workers", type=click.IntRange(0, MAX_WORKERS), default=0, help="Workers to wait for from elsewhere."
)
@click.option(
    "--on-worker-loss",
    type=click.Choice(["continue", "end"]),
    default="continue",
    show_default=True,
    help="What to do when a worker dies; the run fails either way.",
)
@click.option(
    "--abort-on", type=ConditionText(), multiple=True, help="End the load when this is so: 'p99>500ms for 10s'."
)
@click.option("--threshold", type=ConditionText(), multiple=True, help="The run fails unless this is so: 'p99<250ms'.")
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write a JUnit summary to this file.")
@click.option("--json", type=click.Path(path_type=Path, dir_okay=False), help="Write a JSON summary to this file.")
@click.option("--allow-remote", is_flag=True, help="Load a host that is not this machine.")
@click.option("--prometheus", help="Its base URL.  [default: that of the stack here]")
@click.option("--runs", type=click.Path(path_type=Path, file_okay=False), default=RUNS, help="Where runs are kept.")
def load(
    profile: str,
    rate: float | None,
    seconds: float | None,
    users: int,
    seed: int,
    host: str | None,
    workers: int,
    remote_workers: int,
    on_worker_loss: str,
    abort_on: tuple[Condition, ...],
    threshold: tuple[Condition, ...],
    junit: Path | None,
    json: Path | None,
    allow_remote: bool,
    prometheus: str | None,
    runs: Path,
) -> None:
    """Load the stack, show the run while it lasts, and write a report to runs/.

    PROFILE is a profile's name or the path of a file with one. Exit status 0: the service levels and thresholds were
    met, and nothing failed or was dropped. 1: missed, or aborted. 2: could not run.
    """
    try:
        definition = define(profile, rate, seconds)
        settings = load_settings()
        reached_at = (host or settings.url("gateway")).rstrip("/")
        # with --host, the generator runs on this machine
        cluster = None if host else chosen_cluster()
        if cluster and remote_workers:
            raise CannotRunError(
                "--remote-workers connect to a coordinator on this machine: in a cluster, use --workers"
            )
        if workers < 0:
            workers = pods_for(definition) if cluster else workers_for(definition)
        elif cluster:
            workers = workers or WORKER_PODS
        if users < workers + remote_workers:
            raise CannotRunError(
                f"--users {users} is fewer than the {workers + remote_workers} workers: each needs one at least"
            )
        check_target(reached_at, allow_remote)
        options = Options(
            profile=profile,
            users=users,
            seed=seed,
            host=GATEWAY if cluster else reached_at,
            reached_at=reached_at,
            workers=workers,
            remote_workers=remote_workers,
            ends_on_worker_loss=on_worker_loss == "end",
            thresholds=(*definition.thresholds, *threshold),
            abort_on=(*definition.abort_on, *abort_on),
            prometheus=prometheus or settings.url("prometheus"),
            allow_remote=allow_remote,
            cluster=cluster,
        )
        console = terminal()
        run = LoadRun(definition, options, settings, console, runs).run()
        print_summary(console, run)
        console.print(f"report: {runs / run.id / 'report.html'}", highlight=False, soft_wrap=True)
        if junit:
            write_junit(run, junit)
        if json:
            write_json(run, json)
    except (CannotRunError, SettingError) as error:
        click.echo(f"glasshouse load: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        where = error.filename or runs
        click.echo(f"glasshouse load: {error.strerror or error}: is the disk full, or {where} not writable?", err=True)
        sys.exit(2)
    sys.exit(0 if run.met else 1)


@click.command("worker")
@click.argument("coordinator")
@click.option("--port", type=click.IntRange(1, 65535), help="The coordinator's port.  [default: LOCUST_PORT]")
@click.option("--allow-remote", is_flag=True, help="Required: the coordinator decides which host is loaded.")
def worker(coordinator: str, port: int | None, allow_remote: bool) -> None:
    """Run a worker for the `glasshouse load --remote-workers` on the host COORDINATOR."""
    if not allow_remote:
        click.echo(
            "glasshouse worker: the coordinator decides which host is loaded: confirm with --allow-remote", err=True
        )
        sys.exit(2)
    try:
        number = str(port or load_settings().locust_port)
    except SettingError as error:
        click.echo(f"glasshouse worker: {error}", err=True)
        sys.exit(2)
    sys.exit(subprocess.call([sys.executable, "-m", "lab.load.generator", "--master", coordinator, "--port", number]))
