"""The messages between the generator's processes and the command, as JSON lines."""

import msgspec
from msgspec import Struct, field

from lab.load.arrivals import Phase
from lab.load.requests import Traffic
from lab.runs.histogram import dec_hook, enc_hook
from lab.runs.record import Machine
from lab.runs.tally import Failure, Tally, merge_failures


class Plan(Struct, frozen=True, tag="plan"):
    """To the generator, once: the load to run. `tasks` are id and ETag of each prepared task.

    `phases` is None for a profile that searches for a rate: each round depends on the one before.
    """

    profile: str
    rate: float
    seconds: float
    phases: list[Phase] | None
    traffic: Traffic
    users: int
    seed: int
    host: str
    tasks: list[tuple[str, str]]
    ends_on_worker_loss: bool = False


class Round(Struct, frozen=True, tag="round"):
    """From the coordinator to each worker: send your share of the arrivals of these phases, starting now."""

    plan: Plan
    number: int
    began: float
    phases: list[Phase]
    worker: int
    workers: int


class Sample(Struct, tag="sample"):
    """What happened since the previous sample, in one worker or in all.

    Times are in seconds. `sent` counts requests that were written to a connection, `resent` those that had to be
    written to a second one because the first was closed while idle. `lag` is the age of the oldest request that waits
    or waited to be sent, `dispatch_lag` how much of it was the generator's own doing, the rest being the wait for a
    free user; `late_dispatch` and `late_start` count the requests of which each was over `LATE_SECONDS`. `oldest` is
    the age of the oldest request without an answer, `waiting` how many have no user, `outstanding` how many have no
    answer. `cpu` is the processor time a second of the busiest process. `held` is the highest rate that a profile
    which looks for one has seen to hold.
    """

    elapsed: float = 0.0
    round: int = 0
    phase: str = ""
    target_rate: float = 0.0
    offered: int = 0
    sent: int = 0
    resent: int = 0
    tallies: list[Tally] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    lag: float = 0.0
    dispatch_lag: float = 0.0
    late_start: int = 0
    late_dispatch: int = 0
    oldest: float = 0.0
    users: int = 0
    waiting: int = 0
    outstanding: int = 0
    cpu: float = 0.0
    held: float | None = None
    lost_workers: list[str] = field(default_factory=list)
    finished: bool = False

    def merge(self, other: "Sample") -> None:
        """Adds the counts of another worker, or of the same one later, without sharing objects. Keeps the time."""
        self.offered += other.offered
        self.sent += other.sent
        self.resent += other.resent
        known = {(each.method, each.route): each for each in self.tallies}
        for tally in other.tallies:
            mine = known.get((tally.method, tally.route))
            if mine is None:
                mine = Tally(tally.method, tally.route)
                self.tallies.append(mine)
            mine.merge(tally)
        for name, count in other.statuses.items():
            self.statuses[name] = self.statuses.get(name, 0) + count
        merge_failures(self.failures, other.failures)
        self.lag = max(self.lag, other.lag)
        self.dispatch_lag = max(self.dispatch_lag, other.dispatch_lag)
        self.late_start += other.late_start
        self.late_dispatch += other.late_dispatch
        self.cpu = max(self.cpu, other.cpu)


class Began(Struct, frozen=True, tag="began"):
    """The generator's first message: the machine on which it runs."""

    machine: Machine


class End(Struct, frozen=True, tag="end"):
    """The generator's last message: the rate that the profile has found, and the one at which the service collapsed."""

    found: float | None = None
    collapsed: float | None = None


class Failed(Struct, frozen=True, tag="failed"):
    """The generator cannot go on; says why."""

    reason: str


# From the coordinator to each worker, without content: send nothing more. (Locust's own "stop" would end the users.)
STOP = "end-load"

FromGenerator = Began | Sample | End | Failed

encode = msgspec.json.Encoder(enc_hook=enc_hook).encode
decode_plan = msgspec.json.Decoder(Plan).decode
decode_round = msgspec.json.Decoder(Round).decode
decode_sample = msgspec.json.Decoder(Sample, dec_hook=dec_hook).decode
decode_from_generator: msgspec.json.Decoder[FromGenerator] = msgspec.json.Decoder(FromGenerator, dec_hook=dec_hook)
