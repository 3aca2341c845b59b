"""Runs one load test, from creating the tasks to writing the record."""

import queue
import shlex
import signal
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console

from lab.load.cold import empty_cache
from lab.load.conditions import Abort, Condition
from lab.load.definition import Definition
from lab.load.errors import CannotRunError
from lab.load.measured import Measured
from lab.load.messages import End, FromGenerator, Plan, Sample, Started
from lab.load.metrics import metrics
from lab.load.prepare import prepare
from lab.load.process import Generator, Processes, local_processes
from lab.load.progress import Display, display
from lab.load.remote_write import RemoteWriter
from lab.load.watch import Watch
from lab.loadtest.judge import checks, search_checks
from lab.report.inside import look_inside, wait_for_first_scrapes
from lab.report.page import write_page
from lab.runs import record
from lab.runs.record import Figures, Run
from lab.settings import LabSettings
from lab.stack.events import FaultLog
from lab.stack.kubernetes import Kubectl
from lab.stack.load_jobs import load_jobs
from lab.stack.native import StackError

# Seconds without a message after which the generator counts as dead.
SILENCE_SECONDS = 60.0
# Seconds after which a generator that was asked to end counts as dead; normally it takes a second and a half.
STOP_SECONDS = 5.0


@dataclass(frozen=True)
class Options:
    """The options of a run besides the load itself, with all defaults resolved.

    `host` is the base URL that the generator loads; this machine reaches it at `reached_at`. With `cluster` the
    generator runs there, and `workers` are pods.
    """

    profile: str
    users: int
    seed: int
    host: str
    reached_at: str
    workers: int
    remote_workers: int
    ends_on_worker_loss: bool
    thresholds: tuple[Condition, ...]
    abort_on: tuple[Condition, ...]
    prometheus: str
    allow_remote: bool
    cluster: Kubectl | None = None


class LoadRun:
    """Runs one load, and keeps its record."""

    def __init__(
        self, definition: Definition, options: Options, settings: LabSettings, console: Console, runs: Path
    ) -> None:
        self._definition = definition
        self._options = options
        self._settings = settings
        self._console = console
        self._runs = runs
        self._prepared = 0
        self._measured = Measured()
        self._aborts = [Abort(each) for each in options.abort_on]
        self._stop_reason: str | None = None
        self._end = End()
        self._machine = record.machine()

    def run(self) -> Run:
        """Prepares, loads, queries Prometheus and writes the record. Raises `CannotRunError` and `OSError`."""
        name = record.run_id(time.time(), self._definition.name)
        folder = self._runs / name
        folder.mkdir(parents=True)
        before = {number: signal.signal(number, self._interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            return self._run(folder)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _run(self, folder: Path) -> Run:
        options, definition = self._options, self._definition
        writer = RemoteWriter(options.prometheus, folder.name)
        watch = Watch(options.prometheus)
        try:
            with self._processes() as processes:
                # the counters at the start of the run must include all earlier requests, of whatever client
                self._console.print("waiting for Prometheus' first scrape", style="dim")
                wait_for_first_scrapes(options.prometheus, time.time(), self._is_stopped)
                began = time.time()
                writer.write(metrics(self._measured, definition.name, "prepare"))
                tasks, self._prepared = prepare(
                    options.reached_at, definition.traffic.prepared, options.seed, self._is_stopped
                )
                if definition.begins_cold:
                    empty_cache(self._settings, options.host)
                load_began = time.time()
                with self._fault():
                    self._load(processes, tasks, folder, writer, watch)
                load_ended = time.time()
        except CannotRunError:
            if not any(folder.iterdir()):
                folder.rmdir()
            raise
        finally:
            writer.end()
            watch.stop()
        if not self._stop_reason:
            self._console.print("waiting for Prometheus' last scrape", style="dim")
        inside = look_inside(options.prometheus, folder.name, began, load_began, load_ended, self._is_interrupted)
        if writer.missed:
            inside.missing.append(f"the generator's metrics of {writer.missed} s in Prometheus: {writer.reason}")
        run = self._record(folder.name, load_began, load_ended, inside)
        record.save(run, folder)
        # drawing the dashboards would take too long after Ctrl-C
        write_page(run, folder, None if self._is_interrupted() else options.prometheus)
        return run

    @contextmanager
    def _processes(self) -> Iterator[Processes]:
        """The generator's command lines; in a cluster, its Jobs exist during the block. Raises `CannotRunError`."""
        options = self._options
        if options.cluster is None:
            # with local workers only, any free port will do, so that two runs at a time do not conflict
            port = self._settings.locust_port if options.remote_workers else _free_port()
            yield local_processes(options.workers, options.remote_workers, port)
            return
        self._console.print(f"starting the coordinator and {options.workers} workers in the cluster", style="dim")
        try:
            with load_jobs(options.cluster, options.workers, self._definition.seconds, self._is_stopped) as attached:
                yield Processes(attached)
        except StackError as error:
            raise CannotRunError(str(error)) from error

    def _fault(self) -> AbstractContextManager[object]:
        """Reports a load that is itself a fault (the profile `abuse`) to `desk`."""
        if self._options.profile == "abuse":
            return FaultLog(self._settings.url("desk")).during("load", "abuse")
        return nullcontext()

    def _load(
        self,
        processes: Processes,
        tasks: list[tuple[str, str]],
        folder: Path,
        writer: RemoteWriter,
        watch: Watch,
    ) -> None:
        options, definition = self._options, self._definition
        plan = Plan(
            definition.name,
            definition.rate,
            definition.seconds,
            definition.phases,
            definition.traffic,
            options.users,
            options.seed,
            options.host,
            tasks,
            options.ends_on_worker_loss,
        )
        with (
            Generator(plan, processes, folder / "generator.log") as generator,
            display(self._console, definition.name, definition.seconds) as shown,
        ):
            last_message = time.monotonic()
            while True:
                if self._stop_reason:
                    generator.end_load()
                try:
                    message = generator.messages.get(timeout=0.1)
                except queue.Empty:
                    if time.monotonic() - last_message > (STOP_SECONDS if self._stop_reason else SILENCE_SECONDS):
                        self._stop_reason = self._stop_reason or "the load generator stopped sending messages"
                        break
                    continue
                last_message = time.monotonic()
                if message is None:
                    break
                self._handle(message, writer, watch, shown)
        self._measured.close()
        writer.write(metrics(self._measured, definition.name, "load", self._prepared))

    def _handle(self, message: FromGenerator, writer: RemoteWriter, watch: Watch, shown: Display) -> None:
        if isinstance(message, Started):
            self._machine = message.machine
        elif isinstance(message, Sample):
            self._measured.add(message)
            writer.write(metrics(self._measured, self._definition.name, message.phase or "load", self._prepared))
            shown.update(self._measured, watch.inside)
            reasons = (each.reason(self._measured.seconds[-1]) for each in self._aborts)
            self._stop_reason = self._stop_reason or next(filter(None, reasons), None)
        elif isinstance(message, End):
            self._end = message
        elif self._measured.seconds:
            self._stop_reason = self._stop_reason or message.reason
            self._end = End(self._measured.latest.held)
        else:
            raise CannotRunError(message.reason)

    def _interrupt(self, number: int, _frame: FrameType | None) -> None:
        self._stop_reason = f"stopped by {signal.Signals(number).name}"

    def _is_stopped(self) -> bool:
        return self._stop_reason is not None

    def _is_interrupted(self) -> bool:
        return self._stop_reason is not None and self._stop_reason.startswith("stopped by")

    def _record(self, name: str, began: float, ended: float, inside: record.Inside) -> Run:
        options, definition, measured = self._options, self._definition, self._measured
        tallies, is_search = measured.total.tallies, definition.phases is None
        found = self._end.found if self._end.found is not None else measured.latest.held
        return Run(
            id=name,
            profile=definition.name,
            began=began,
            ended=ended,
            settings=record.Settings(
                definition.rate,
                definition.seconds,
                options.users,
                options.seed,
                options.host,
                options.workers + options.remote_workers,
                command_of(definition, options),
            ),
            versions=record.versions(),
            machine=self._machine,
            prepared=self._prepared,
            offered=measured.total.offered,
            sent=measured.total.sent,
            resent=measured.total.resent,
            answered=measured.answered,
            failed=measured.failed,
            dropped=measured.dropped,
            statuses=measured.total.statuses,
            failures=measured.total.failures,
            service_levels=measured.service_levels,
            checks=search_checks(measured, found, options.thresholds)
            if is_search
            else checks(measured, options.thresholds),
            total=Figures.of(tallies),
            reads=Figures.of([each for each in tallies if each.method == "GET"]),
            writes=Figures.of([each for each in tallies if each.method in ("POST", "PATCH", "DELETE")]),
            routes=record.figures_by_route(tallies),
            limit=measured.limit,
            lag=max((each.lag for each in measured.seconds), default=0.0),
            lost_workers=measured.latest.lost_workers,
            cut_short=self._stop_reason,
            is_search=is_search,
            found=found,
            collapsed=self._end.collapsed,
            inside=inside,
            seconds=measured.seconds,
        )


def command_of(definition: Definition, options: Options) -> str:
    """The command that repeats the run."""
    cluster = options.cluster
    words = ["glasshouse", *([f"--kubernetes={cluster.namespace}"] if cluster else []), "load", options.profile]
    words += [f"--rate={definition.rate:g}", f"--time={definition.seconds:g}s"]
    words += [f"--users={options.users}", f"--seed={options.seed}"]
    words += [] if cluster else [f"--host={options.host}"]
    words += [f"--workers={options.workers}"] if options.workers else []
    words += [f"--remote-workers={options.remote_workers}"] if options.remote_workers else []
    words += ["--on-worker-loss=end"] if options.ends_on_worker_loss else []
    words += _added("--threshold", options.thresholds, definition.thresholds)
    words += _added("--abort-on", options.abort_on, definition.abort_on)
    words += ["--allow-remote"] if options.allow_remote else []
    return shlex.join(words)


def _added(option: str, conditions: Iterable[Condition], own: tuple[Condition, ...]) -> list[str]:
    """The conditions that are not from the profile's file, as options."""
    return [f"{option}={each.text}" for each in conditions if each not in own]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
