"""The conductor: has the workers play a profile round by round, and gathers their samples."""

import time
from typing import Any

import gevent
from locust.rpc.protocol import Message
from locust.runners import LocalRunner, MasterRunner

from lab.load.arrivals import Phase
from lab.load.messages import Plan, Round, Sample, decode_sample, encode
from lab.load.output import Output
from lab.load.profiles import PROFILES, Outcome
from lab.load.service_levels import ServiceLevels
from lab.load.visitor import ANSWER_SECONDS, CONNECT_SECONDS

# After the last arrival of a round, how long answers may take to come in.
DRAIN_SECONDS = ANSWER_SECONDS + CONNECT_SECONDS


class WorkerLostError(Exception):
    """A worker did not report that it had finished its round."""


class Conductor:
    """Runs in Locust's master, or in the only process."""

    def __init__(self, plan: Plan, runner: LocalRunner | MasterRunner, output: Output) -> None:
        self._plan = plan
        self._runner = runner
        self._output = output
        self._profile = PROFILES[plan.profile](plan.rate, plan.seconds)
        self._round: Round | None = None
        self._round_began = 0.0
        self._gathered = Sample()
        self._of_round = Sample()
        self._latest: dict[str, Sample] = {}
        self._finished: set[tuple[str, int]] = set()
        runner.register_message("sample", self._on_sample)
        runner.greenlet.spawn(self._tell)

    def play(self) -> float | None:
        """Plays all rounds and gives the rate that the profile found. Raises `WorkerLostError`."""
        began = time.perf_counter()
        rounds = self._profile.rounds()
        phases = next(rounds)
        number = 0
        while True:
            number += 1
            self._of_round = Sample()
            outcome = self._play(number, phases, time.perf_counter() - began)
            try:
                phases = rounds.send(outcome)
            except StopIteration as stop:
                self._tell_once()
                found: float | None = stop.value
                return found

    def _play(self, number: int, phases: list[Phase], began: float) -> Outcome:
        clients: list[str | None] = [None]
        if isinstance(self._runner, MasterRunner):
            clients = [client.id for client in self._runner.clients.all]
        self._round_began = time.perf_counter()
        for index, client in enumerate(clients):
            self._round = Round(self._plan, number, began, phases, index, len(clients))
            self._runner.send_message("round", {"json": encode(self._round).decode()}, client)
        length = sum(phase.seconds for phase in phases)
        deadline = self._round_began + length + DRAIN_SECONDS
        while sum(finished == number for _, finished in self._finished) < len(clients):
            if time.perf_counter() > deadline:
                raise WorkerLostError(f"{len(clients)} workers were to finish round {number} and not all did")
            gevent.sleep(0.02)
        answered = sum(route.ok + route.errors for route in self._of_round.routes)
        levels = ServiceLevels.of(self._of_round.routes)
        return Outcome(levels.met, answered / (time.perf_counter() - self._round_began))

    def _on_sample(self, msg: Message, **_: Any) -> None:
        sample = decode_sample(msg.data["json"])
        self._latest[msg.node_id] = sample
        if sample.finished:
            self._finished.add((msg.node_id, sample.round))
        self._gathered.merge(sample)
        # merging takes over the other's parts, so each needs its own
        self._of_round.merge(decode_sample(msg.data["json"]))

    def _tell(self) -> None:
        while True:
            gevent.sleep(1.0)
            self._tell_once()

    def _tell_once(self) -> None:
        sample, self._gathered = self._gathered, Sample()
        sample.users = sum(each.users for each in self._latest.values())
        sample.outstanding = sum(each.outstanding for each in self._latest.values())
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
