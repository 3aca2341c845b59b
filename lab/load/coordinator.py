"""The coordinator: runs a profile on the workers round by round, collects their samples, and detects lost workers."""

import math
import time
from collections.abc import Iterator
from typing import Any

import gevent
from locust.rpc.protocol import Message
from locust.runners import LocalRunner, MasterRunner

from lab.load.arrivals import Phase, due_times, share_of
from lab.load.messages import STOP, End, Plan, Round, Sample, decode_sample, encode
from lab.load.output import Output
from lab.load.search import Outcome, Search, search_of
from lab.load.worker import ANSWER_SECONDS, GRACE_SECONDS
from lab.runs.tally import Failure, Tally, service_levels

# Within this many seconds after the last arrival of a round, every worker has reported all outcomes.
DRAIN_SECONDS = ANSWER_SECONDS + GRACE_SECONDS + 4.0
# Workers report every second; one that has not for this long is lost.
SILENCE_SECONDS = 4.0
# If two iterations of the loop that waits for workers are further apart, this process was stalled.
STALL_SECONDS = 0.5
LOST = "not sent or not reported, because their worker was lost"


class WorkerLostError(Exception):
    """A worker was lost, and the load must end: because of `ends_on_worker_loss`, or because no worker is left."""


class Coordinator:
    """Runs in Locust's master process, or in the only process of a load without worker processes."""

    def __init__(self, plan: Plan, runner: LocalRunner | MasterRunner, output: Output) -> None:
        self._plan = plan
        self._runner = runner
        self._output = output
        self._search: Search = search_of(plan.phases, plan.rate, plan.seconds)
        self._round: Round | None = None
        self._round_began = 0.0
        self._began = 0.0
        self._unreported = Sample()
        self._round_total = Sample()
        self._workers: dict[str, _WorkerState] = {}
        self._lost: list[str] = []
        self._is_stopped = False
        self._end_reason = ""
        runner.register_message("sample", self._on_sample)
        self._reporting = runner.greenlet.spawn(self._report)

    def run(self) -> End:
        """Runs all rounds. Raises `WorkerLostError`."""
        clients = [c.id for c in self._runner.clients.all] if isinstance(self._runner, MasterRunner) else [None]
        now = self._began = time.perf_counter()
        self._workers = {client or "local": _WorkerState(index, client, now) for index, client in enumerate(clients)}
        rounds = self._search.rounds()
        phases = next(rounds)
        number = 0
        while not self._is_stopped:
            number += 1
            outcome = self._run_round(number, phases, time.perf_counter() - self._began)
            if self._is_stopped:
                break
            try:
                phases = rounds.send(outcome)
            except StopIteration:
                break
        # the caller writes what `run` returns or raises, as the last message
        self._reporting.kill()
        self._report_once()
        if self._end_reason:
            raise WorkerLostError(self._end_reason)
        return End(self._search.held, self._search.collapsed)

    def stop(self) -> None:
        """Stops the workers. `run` returns when they have reported all outcomes."""
        self._is_stopped = True
        for worker in self._present():
            self._runner.send_message(STOP, {}, worker.client)

    def _run_round(self, number: int, phases: list[Phase], began: float) -> Outcome:
        self._round_total = Sample()
        self._round_began = time.perf_counter()
        workers = self._present()
        for index, worker in enumerate(workers):
            worker.begin(self._round_began)
            self._round = Round(self._plan, number, began, phases, index, len(workers))
            self._runner.send_message("round", {"json": encode(self._round).decode()}, worker.client)
        deadline = self._round_began + sum(phase.seconds for phase in phases) + DRAIN_SECONDS
        last_look = self._round_began
        while waiting := [each for each in workers if not each.is_lost and each.finished < number]:
            now = time.perf_counter()
            # while this process itself was stalled, it received no reports
            stalled, last_look = now - last_look, now
            for worker in waiting:
                worker.last_report += stalled if stalled > STALL_SECONDS else 0.0
                is_silent = worker.client is not None and now - worker.last_report > SILENCE_SECONDS
                if is_silent or now > deadline:
                    self._lose(worker, workers.index(worker))
            gevent.sleep(0.02)
        self._count_lost()
        for worker in self._workers.values():
            worker.due = None
        seconds = time.perf_counter() - self._round_began
        tallies = self._round_total.tallies
        is_met = service_levels(tallies).met and not any(worker.is_lost for worker in workers)
        return Outcome(is_met, sum(each.answered for each in tallies) / seconds)

    def _present(self) -> list["_WorkerState"]:
        return [worker for worker in self._workers.values() if not worker.is_lost]

    def _lose(self, worker: "_WorkerState", index: int) -> None:
        """Marks a worker as lost, and ends the load if it must end then."""
        current = self._round
        if worker.is_lost or current is None:
            return
        worker.lose(share_of(due_times(current.phases), index, current.workers))
        elapsed = time.perf_counter() - self._began
        self._lost.append(f"worker {worker.number + 1} of {len(self._workers)} was lost at {elapsed:.0f} s")
        if not self._present() or self._plan.ends_on_worker_loss:
            self._end_reason = self._lost[-1]
            self.stop()

    def _count_lost(self) -> None:
        """Counts as dropped the requests of lost workers that came due since the last call, or were never reported."""
        elapsed = time.perf_counter() - self._round_began
        for worker in self._workers.values():
            offered, dropped = worker.unreported(elapsed)
            if not dropped:
                continue
            lost = Sample(offered=offered, tallies=[Tally("-", "lost worker", dropped=dropped)])
            lost.failures = {f"requests {LOST}": Failure(dropped, self._lost[-1])}
            self._unreported.merge(lost)
            self._round_total.merge(lost)

    def _on_sample(self, msg: Message, **_: Any) -> None:
        worker = self._workers.get(msg.node_id) or self._workers.get("local")
        if worker is None or worker.is_lost:
            return
        sample = decode_sample(msg.data["json"])
        worker.add(sample, time.perf_counter())
        self._unreported.merge(sample)
        self._round_total.merge(sample)

    def _report(self) -> None:
        while True:
            gevent.sleep(1.0)
            if self._began:
                self._report_once()

    def _report_once(self) -> None:
        self._count_lost()
        sample, self._unreported = self._unreported, Sample()
        latest = [each.latest for each in self._present()]
        sample.users = sum(each.users for each in latest)
        sample.waiting = sum(each.waiting for each in latest)
        sample.outstanding = sum(each.outstanding for each in latest)
        sample.oldest = max((each.oldest for each in latest), default=0.0)
        sample.held = self._search.held
        sample.lost_workers = list(self._lost)
        if self._round is not None:
            elapsed = time.perf_counter() - self._round_began
            sample.elapsed = self._round.began + elapsed
            sample.round = self._round.number
            for phase in self._round.phases:
                sample.phase, sample.target_rate = phase.name, phase.rate_at(elapsed)
                elapsed -= phase.seconds
                if elapsed < 0:
                    break
            else:
                sample.target_rate = 0.0
        self._output.write(sample)


class _WorkerState:
    """What the coordinator knows of a worker. `offered` and `ended` count its requests of this round."""

    def __init__(self, number: int, client: str | None, now: float) -> None:
        self.number = number
        self.client = client
        self.last_report = now
        self.latest = Sample()
        self.finished = 0
        self.offered = self.ended = 0
        self.is_lost = False
        self.due: Iterator[float] | None = None
        self._next_due = 0.0
        self._due = 0

    def lose(self, due: Iterator[float]) -> None:
        """Marks it as lost. `due` has the times at which its requests of this round are due."""
        self.is_lost = True
        self.due, self._next_due, self._due = due, next(due, math.inf), 0

    def unreported(self, elapsed: float) -> tuple[int, int]:
        """The requests of a lost worker that were due by `elapsed` and not counted yet: (offered, ended)."""
        if self.due is None:
            return 0, 0
        while self._next_due <= elapsed:
            self._due += 1
            self._next_due = next(self.due, math.inf)
        offered, ended = max(0, self._due - self.offered), max(0, self._due - self.ended)
        self.offered, self.ended = self.offered + offered, self.ended + ended
        return offered, ended

    def begin(self, now: float) -> None:
        """Starts a round."""
        self.last_report = max(self.last_report, now)
        self.offered = self.ended = 0

    def add(self, sample: Sample, now: float) -> None:
        """Adds a sample that the worker reported."""
        self.last_report = now
        self.latest = sample
        self.offered += sample.offered
        self.ended += sum(each.ended for each in sample.tallies)
        if sample.finished:
            self.finished = sample.round
