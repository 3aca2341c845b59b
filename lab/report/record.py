"""The record of a run: `run.json`."""

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Self

import msgspec
import psutil
from msgspec import Struct, field

from lab.load.latencies import merged
from lab.load.measured import Second
from lab.load.messages import RouteSample
from lab.load.service_levels import ServiceLevels
from lab.settings import ROOT

RUNS = ROOT / "runs"
FORMAT = 1


class Settings(Struct, frozen=True):
    """How the load was asked for. `rate` is in arrivals a second, `seconds` as asked."""

    rate: float
    seconds: float
    users: int
    seed: int
    host: str
    workers: int
    command: str


class Figures(Struct, frozen=True):
    """Requests of one kind. Latencies in seconds, from when each was due."""

    requests: int
    errors: int
    mean: float
    p50: float
    p95: float
    p99: float
    longest: float

    @classmethod
    def of_routes(cls, routes: Sequence[RouteSample]) -> Self:
        """The figures of all requests of these routes."""
        latencies = merged(route.latencies for route in routes)
        errors = sum(route.errors for route in routes)
        p50, p95, p99 = (latencies.quantile(q) for q in (0.5, 0.95, 0.99))
        return cls(latencies.count, errors, latencies.mean, p50, p95, p99, latencies.longest)


class Alert(Struct, frozen=True):
    """An alert that crossed its threshold (`pending`), or did so for long enough (`firing`). Unix seconds."""

    name: str
    severity: str
    state: str
    began: float
    ended: float
    threshold: float | None


class Trace(Struct, frozen=True):
    """A request whose trace was kept, from an exemplar."""

    trace_id: str
    seconds: float
    method: str
    route: str
    status: str


class Inside(Struct):
    """What the stack itself counted over the run, from Prometheus; `missing` says what could not be had and why."""

    requests: int | None = None
    gateway_requests: int | None = None
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
    """What the generator ran on."""

    system: str
    processor: str
    cores: int
    memory_bytes: int


class Run(Struct):
    """One run of a profile. Times are unix seconds; `seconds_run` is how long the load lasted."""

    id: str
    profile: str
    began: float
    ended: float
    settings: Settings
    versions: dict[str, str]
    machine: Machine
    sent: int
    offered: int
    answered: int
    errors: int
    statuses: dict[str, int]
    failures: dict[str, int]
    service_levels: ServiceLevels
    total: Figures
    reads: Figures
    writes: Figures
    routes: dict[str, Figures]
    limit: str | None
    lag: float
    cut_short: str | None
    found: float | None
    inside: Inside
    seconds: list[Second]
    format: int = FORMAT

    @property
    def seconds_run(self) -> float:
        """How long the load lasted."""
        return self.seconds[-1].elapsed if self.seconds else 0.0

    @property
    def met(self) -> bool:
        """Whether the service levels were met, and nothing failed that should not have."""
        if self.profile == "breakpoint":
            # it looks for the rate at which they break, so only finding none is a failure
            return self.found is not None
        return self.service_levels.met and not self.errors


class UnreadableRunError(Exception):
    """A run that is not there or is no run; the message says which."""


def run_id(began: float, profile: str) -> str:
    """The name of the run's folder, which sorts by time."""
    return f"{datetime.fromtimestamp(began).strftime('%Y%m%d-%H%M%S')}-{profile}"


def figures_by_route(routes: Sequence[RouteSample]) -> dict[str, Figures]:
    """Figures by method and route, in a fixed order."""
    ordered = sorted(routes, key=lambda each: (each.route, each.method))
    return {f"{each.method} {each.route}": Figures.of_routes([each]) for each in ordered}


def versions() -> dict[str, str]:
    """Versions of what took part on this side."""
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
    whole.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=1))
    whole.replace(folder / "run.json")


def folder_of(name: str, runs: Path = RUNS) -> Path:
    """The folder of a run that is given by its path or by its name in `runs`."""
    return Path(name) if (Path(name) / "run.json").exists() else runs / name


def load(name: str, runs: Path = RUNS) -> Run:
    """The run in a folder, given by its path or by its name in `runs`. Raises `UnreadableRunError`."""
    try:
        return msgspec.json.decode((folder_of(name, runs) / "run.json").read_bytes(), type=Run)
    except OSError as error:
        raise UnreadableRunError(f"{name}: no such run: `glasshouse runs` lists them") from error
    except msgspec.MsgspecError as error:
        raise UnreadableRunError(f"{name}: run.json is not readable: {error}") from error


def names(runs: Path = RUNS) -> list[str]:
    """The names of all runs, oldest first."""
    return sorted(each.parent.name for each in runs.glob("*/run.json"))


def _commit() -> str:
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return "unknown"
    return answer.stdout.strip() or "unknown"
