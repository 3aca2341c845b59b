"""`glasshouse load` and `glasshouse worker`."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from lab.load.errors import CannotRunError
from lab.load.profiles import PROFILES, Profile
from lab.load.run import LoadRun, Options
from lab.load.summary import print_summary, terminal
from lab.load.target import check_target
from lab.report.record import RUNS
from lab.settings import SettingError, load_settings

MOST_RATE = 10_000.0
MOST_SECONDS = 24 * 3600.0
SECONDS_OF = {"": 1, "s": 1, "m": 60, "h": 3600}


class Length(click.ParamType[float]):
    """A time such as `90`, `90s`, `5m` or `1h`, as seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", str(value))
        seconds = float(found[1]) * SECONDS_OF[found[2]] if found else 0.0
        if not 1 <= seconds <= MOST_SECONDS:
            self.fail(f"{value!r}: must be a time from 1s to 24h, such as 90s, 5m or 1h", param, ctx)
        return seconds


class ProfileName(click.ParamType[str]):
    """The name of a profile."""

    name = "profile"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name itself."""
        if value not in PROFILES:
            self.fail(f"{value!r}: must be one of {', '.join(PROFILES)}", param, ctx)
        return str(value)


def _profiles_help() -> str:
    """The profiles' first sentences, for --help."""
    rows = (f"  {name:12} {_first_sentence(profile)}" for name, profile in PROFILES.items())
    return "\b\nProfiles:\n" + "\n".join(rows)


def _first_sentence(profile: type[Profile]) -> str:
    return (profile.__doc__ or "").strip().split("\n")[0]


@click.command("load", epilog=_profiles_help())
@click.argument("profile", type=ProfileName(), default="ramp")
@click.option("--rate", type=click.FloatRange(0.1, MOST_RATE), help="Highest rate, arrivals a second.")
@click.option("--time", "seconds", type=Length(), help="How long, such as 90s, 5m or 1h.")
@click.option("--users", type=click.IntRange(1, 5000), default=200, show_default=True, help="Most requests at a time.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed repeats the same requests.")
@click.option("--host", help="Base URL to load.  [default: the gateway]")
@click.option("--workers", type=click.IntRange(0, 64), default=0, help="Locust workers to start on this machine.")
@click.option(
    "--remote-workers", type=click.IntRange(0, 64), default=0, help="Locust workers to wait for from elsewhere."
)
@click.option("--allow-remote", is_flag=True, help="Load a host that is not this machine.")
@click.option("--prometheus", help="Its base URL.  [default: that of the stack here]")
@click.option("--desk", help="The desk's base URL.  [default: that of the stack here]")
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
    allow_remote: bool,
    prometheus: str | None,
    desk: str | None,
    runs: Path,
) -> None:
    """Put a load on the stack, show it while it runs, and leave a report in runs/.

    Exit status 0: the service levels were met and nothing failed. 1: missed. 2: could not run.
    """
    shape = PROFILES[profile](rate, seconds)
    try:
        settings = load_settings()
        target = (host or settings.url("gateway")).rstrip("/")
        check_target(target, allow_remote)
        options = Options(
            profile=shape.name,
            rate=shape.rate,
            seconds=shape.seconds,
            users=users,
            seed=seed,
            host=target,
            workers=workers,
            remote_workers=remote_workers,
            prometheus=prometheus or settings.url("prometheus"),
            desk=desk or settings.url("desk"),
            allow_remote=allow_remote,
        )
        console = terminal()
        run = LoadRun(options, settings, console, runs).play()
    except (CannotRunError, SettingError) as error:
        click.echo(f"glasshouse load: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        click.echo(f"glasshouse load: {error.strerror or error}: is the disk full, or {runs} not writable?", err=True)
        sys.exit(2)
    print_summary(console, run)
    console.print(f"report: {runs / run.id / 'report.html'}", highlight=False, soft_wrap=True)
    sys.exit(0 if run.met and not run.cut_short else 1)


@click.command("worker")
@click.argument("master")
@click.option("--port", type=click.IntRange(1, 65535), help="The master's port.  [default: LOCUST_PORT]")
@click.option("--allow-remote", is_flag=True, help="Needed: what the master loads is not this machine.")
def worker(master: str, port: int | None, allow_remote: bool) -> None:
    """Be a Locust worker of the `glasshouse load --remote-workers` that runs on MASTER."""
    if not allow_remote:
        click.echo("glasshouse worker: loads what MASTER says, another machine: say --allow-remote", err=True)
        sys.exit(2)
    try:
        number = str(port or load_settings().locust_port)
    except SettingError as error:
        click.echo(f"glasshouse worker: {error}", err=True)
        sys.exit(2)
    sys.exit(subprocess.call([sys.executable, "-m", "lab.load.generator", "--master", master, "--port", number]))
