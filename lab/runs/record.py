"""The record of a run: `run.json`."""

import os
import platform
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Self

import msgspec
import psutil
from msgspec import Struct, field

from lab.programs import run_program
from lab.runs.check import Check
from lab.runs.histogram import dec_hook, enc_hook
from lab.runs.latencies import merged
from lab.runs.second import Second
from lab.runs.service_levels import ServiceLevels
from lab.runs.tally import Failure, Tally
from lab.settings import IS_INSTALLED, PLACE, ROOT

RUNS = PLACE / "runs"
FORMAT = 2


class Settings(Struct, frozen=True):
    """The settings of the load. `rate` is in arrivals a second, `seconds` the requested duration."""

    rate: float
    seconds: float
    users: int
    seed: int
    host: str
    workers: int
    command: str


class Figures(Struct, frozen=True):
    """Requests of one kind: offered = answered + failed + dropped. Latencies in seconds, from when each was due."""

    offered: int
    answered: int
    failed: int
    dropped: int
    mean: float
    p50: float
    p95: float
    p99: float
    longest: float

    @classmethod
    def of(cls, tallies: Sequence[Tally]) -> Self:
        """The figures of several tallies."""
        latencies = merged(each.latencies for each in tallies)
        p50, p95, p99 = (latencies.quantile(q) for q in (0.5, 0.95, 0.99))
        return cls(
            sum(each.ended for each in tallies),
            sum(each.answered for each in tallies),
            sum(each.failed for each in tallies),
            sum(each.dropped for each in tallies),
            latencies.mean,
            p50,
            p95,
            p99,
            latencies.longest,
        )


class Alert(Struct, frozen=True):
    """An alert that was pending or firing during the run. Unix seconds."""

    name: str
    severity: str
    state: str
    began: float
    ended: float
    threshold: float | None


class Trace(Struct, frozen=True):
    """A request with a recorded trace, from an exemplar."""

    trace_id: str
    seconds: float
    method: str
    route: str
    status: str


class Inside(Struct):
    """The stack's own counts for the run, from Prometheus. `missing` says what is not available, and why.

    `requests` (by the service) and `gateway_requests` exclude health checks and scrapes; `retries` are those of the
    gateway; `other_runs` has the requests that other runs sent in the same time, by run.
    """

    requests: int | None = None
    gateway_requests: int | None = None
    retries: int | None = None
    other_runs: dict[str, int] = field(default_factory=dict)
    hit_ratio: float | None = None
    lookups: int | None = None
    shares: dict[str, float] = field(default_factory=dict)
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    rejected: int | None = None
    alerts: list[Alert] = field(default_factory=list)
    slowest: list[Trace] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


class Machine(Struct, frozen=True):
    """The machine of the generator."""

    system: str
    processor: str
    cores: int
    memory_bytes: int


class Run(Struct):
    """One run of a profile. Times are unix seconds.

    `prepared` requests created the tasks before the run, and are in no other figure. `sent` were written to a
    connection, `resent` were written again. `found` is the highest rate that a search found, `collapsed` the rate at
    which the service stopped responding.
    """

    id: str
    profile: str
    began: float
    ended: float
    settings: Settings
    versions: dict[str, str]
    machine: Machine
    prepared: int
    offered: int
    sent: int
    resent: int
    answered: int
    failed: int
    dropped: int
    statuses: dict[str, int]
    failures: dict[str, Failure]
    service_levels: ServiceLevels
    checks: list[Check]
    total: Figures
    reads: Figures
    writes: Figures
    routes: dict[str, Figures]
    limit: str | None
    lag: float
    lost_workers: list[str]
    cut_short: str | None
    is_search: bool
    found: float | None
    collapsed: float | None
    inside: Inside
    seconds: list[Second]
    format: int = FORMAT

    @property
    def seconds_run(self) -> float:
        """The duration of the load, in seconds."""
        return self.seconds[-1].elapsed if self.seconds else 0.0

    @property
    def met(self) -> bool:
        """Whether all checks were met, it was not aborted, and no worker was lost."""
        return all(check.met for check in self.checks) and not self.cut_short and not self.lost_workers


class UnreadableRunError(Exception):
    """A run that does not exist or cannot be read; the message says which."""


def run_id(began: float, profile: str) -> str:
    """A unique name for the run and its folder. It starts with the time in UTC, so that runs sort by time."""
    return f"{datetime.fromtimestamp(began, UTC).strftime('%Y%m%d-%H%M%S')}-{profile}-{secrets.token_hex(2)}"


def figures_by_route(tallies: Sequence[Tally]) -> dict[str, Figures]:
    """Figures by method and route, in a fixed order."""
    ordered = sorted(tallies, key=lambda each: (each.route, each.method))
    return {f"{each.method} {each.route}": Figures.of([each]) for each in ordered}


def versions() -> dict[str, str]:
    """The versions of the generator's software."""
    found = {"python": platform.python_version(), "commit": _commit()}
    for package in ("glasshouse", "locust"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def machine() -> Machine:
    """This machine."""
    return Machine(
        f"{platform.system()} {platform.release()}",
        platform.processor() or platform.machine(),
        os.cpu_count() or 1,
        psutil.virtual_memory().total,
    )


def save(run: Run, folder: Path) -> None:
    """Writes `run.json`. Raises `OSError`."""
    whole = folder / "run.json.new"
    whole.write_bytes(msgspec.json.format(msgspec.json.encode(run, enc_hook=enc_hook), indent=1))
    whole.replace(folder / "run.json")


def folder_of(name: str, runs: Path = RUNS) -> Path:
    """The folder of a run, given by its path or its name in `runs`."""
    return Path(name) if (Path(name) / "run.json").exists() else runs / name


def load(name: str, runs: Path = RUNS) -> Run:
    """Loads a run, given by its path or its name in `runs`. Raises `UnreadableRunError`."""
    try:
        text = (folder_of(name, runs) / "run.json").read_bytes()
        written = msgspec.json.decode(text, type=_Format).format
        if written != FORMAT:
            other = "an earlier version, which counted differently" if written < FORMAT else "a later version"
            raise UnreadableRunError(f"{name}: was written by {other}")
        return msgspec.json.decode(text, type=Run, dec_hook=dec_hook)
    except OSError as error:
        raise UnreadableRunError(f"{name}: no such run: `glasshouse runs` lists them") from error
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise UnreadableRunError(f"{name}: run.json is not readable: {error}") from error


def names(runs: Path = RUNS) -> list[str]:
    """The names of all runs, oldest first."""
    return sorted(each.parent.name for each in runs.glob("*/run.json"))


def utc(moment: float) -> str:
    """A time in unix seconds as date and time, UTC; as a number where no calendar has it."""
    try:
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{moment:g}"


class _Format(Struct):
    format: int = FORMAT


def _commit() -> str:
    if IS_INSTALLED:
        return "none: installed from a wheel"
    try:
        answer = run_program(["git", "describe", "--always", "--dirty"], cwd=ROOT)
    except FileNotFoundError:
        return "unknown"
    return answer.stdout.strip() or "unknown"
