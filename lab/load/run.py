"""One run, from preparing the tasks to the record on disk."""

import queue
import shlex
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console

from lab.load.cold import empty_cache
from lab.load.errors import CannotRunError
from lab.load.measured import Measured
from lab.load.messages import End, Failed, Plan, RouteSample, Sample
from lab.load.metrics import exposition
from lab.load.prepare import prepare
from lab.load.process import Generator
from lab.load.profiles import PROFILES
from lab.load.progress import Display, display
from lab.load.push import Desk
from lab.load.watch import Watch
from lab.report import record
from lab.report.inside import look_inside
from lab.report.page import write_page
from lab.report.record import Figures, Run
from lab.settings import LabSettings

# A generator that says nothing for so long is taken for dead.
SILENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Options:
    """What was asked for, every default filled in."""

    profile: str
    rate: float
    seconds: float
    users: int
    seed: int
    host: str
    workers: int
    remote_workers: int
    prometheus: str
    desk: str
    allow_remote: bool

    @property
    def command(self) -> str:
        """The command that repeats it."""
        words = ["glasshouse", "load", self.profile, f"--rate={self.rate:g}", f"--time={self.seconds:g}s"]
        words += [f"--users={self.users}", f"--seed={self.seed}", f"--host={self.host}"]
        words += [f"--workers={self.workers}"] if self.workers else []
        words += [f"--remote-workers={self.remote_workers}"] if self.remote_workers else []
        words += ["--allow-remote"] if self.allow_remote else []
        return shlex.join(words)


class LoadRun:
    """Plays one profile and keeps what came of it."""

    def __init__(self, options: Options, settings: LabSettings, console: Console, runs: Path) -> None:
        self._options = options
        self._settings = settings
        self._console = console
        self._runs = runs
        self._measured = Measured()
        self._desk = Desk(options.desk)
        self._watch = Watch(options.prometheus)
        self._stop_reason: str | None = None
        self._found: float | None = None

    def play(self) -> Run:
        """Prepares, loads, looks inside and writes the record. Raises `CannotRunError` and `OSError`."""
        began = time.time()
        folder = self._runs / record.run_id(began, self._options.profile)
        folder.mkdir(parents=True)
        before = {number: signal.signal(number, self._interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            return self._play(folder, began)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _play(self, folder: Path, began: float) -> Run:
        options = self._options
        try:
            traffic = PROFILES[options.profile].traffic
            tasks, self._measured.prepared = prepare(options.host, traffic.prepared, options.seed, self._is_stopped)
            if PROFILES[options.profile].begins_cold:
                empty_cache(self._settings)
            plan = Plan(
                options.profile, options.rate, options.seconds, options.users, options.seed, options.host, tasks
            )
            load_began = time.time()
            self._load(plan, folder)
            load_ended = time.time()
        except CannotRunError:
            if not any(folder.iterdir()):
                folder.rmdir()
            raise
        finally:
            self._push_idle()
            self._watch.stop()
        if not self._stop_reason:
            self._console.print("waiting for Prometheus' last scrape", style="dim")
        inside = look_inside(options.prometheus, began, load_began, load_ended, self._is_stopped)
        if self._desk.missed:
            inside.missing.append(f"{self._desk.missed} pushes of the generator's metrics: the desk did not answer")
        run = self._record(folder.name, load_began, load_ended, inside)
        record.save(run, folder)
        # drawing takes longer than who presses Ctrl-C wants to wait
        write_page(run, folder, None if self._stop_reason else options.prometheus)
        return run

    def _load(self, plan: Plan, folder: Path) -> None:
        options = self._options
        log = folder / "generator.log"
        with (
            Generator(plan, options.workers, options.remote_workers, self._settings.locust_port, log) as generator,
            display(self._console, options.profile, options.seconds) as shown,
        ):
            heard = time.monotonic()
            while not self._stop_reason:
                try:
                    message = generator.messages.get(timeout=0.1)
                except queue.Empty:
                    if time.monotonic() - heard > SILENCE_SECONDS:
                        self._stop_reason = "the load generator fell silent"
                    continue
                heard = time.monotonic()
                if message is None:
                    break
                self._hear(message, shown)

    def _hear(self, message: Sample | End | Failed, shown: Display) -> None:
        if isinstance(message, Sample):
            self._measured.add(message)
            self._desk.push(exposition(self._measured, self._options.profile, message.phase))
            shown.update(self._measured, self._watch.inside)
        elif isinstance(message, End):
            self._found = message.found
        elif self._measured.seconds:
            self._stop_reason = message.reason
        else:
            raise CannotRunError(message.reason)

    def _interrupt(self, number: int, _frame: FrameType | None) -> None:
        self._stop_reason = f"stopped by {signal.Signals(number).name}"

    def _is_stopped(self) -> bool:
        return self._stop_reason is not None

    def _push_idle(self) -> None:
        self._desk.push(exposition(self._measured))
        self._desk.close()

    def _record(self, name: str, began: float, ended: float, inside: record.Inside) -> Run:
        options, measured = self._options, self._measured
        kinds: dict[bool, list[RouteSample]] = {True: [], False: []}
        for route in measured.total.routes:
            kinds[route.method == "GET"].append(route)
        return Run(
            id=name,
            profile=options.profile,
            began=began,
            ended=ended,
            settings=record.Settings(
                options.rate,
                options.seconds,
                options.users,
                options.seed,
                options.host,
                options.workers + options.remote_workers,
                options.command,
            ),
            versions=record.versions(),
            machine=record.machine(),
            sent=measured.sent,
            offered=measured.total.offered,
            answered=measured.answered,
            errors=measured.errors,
            statuses=measured.total.statuses,
            failures=measured.total.failures,
            service_levels=measured.service_levels,
            total=Figures.of_routes(measured.total.routes),
            reads=Figures.of_routes(kinds[True]),
            writes=Figures.of_routes(kinds[False]),
            routes=record.figures_by_route(measured.total.routes),
            limit=measured.limit,
            lag=measured.total.lag,
            cut_short=self._stop_reason,
            found=self._found,
            inside=inside,
            seconds=measured.seconds,
        )
