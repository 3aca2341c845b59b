"""The messages between the generator's processes and the command, as JSON lines."""

import msgspec
from msgspec import Struct, field

from lab.load.arrivals import Phase
from lab.load.requests import Traffic
from lab.runs.histogram import dec_hook, enc_hook
from lab.runs.record import Machine
from lab.runs.tally import Failure, Tally, merge_failures


class Plan(Struct, frozen=True, tag="plan"):
    """The load to run, sent to the generator once. `tasks` has the id and ETag of each prepared task.

    `phases` is None for a profile that searches for a rate, in which each round depends on the one before.
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
    """An order of the coordinator to a worker: send your share of the arrivals of these phases, starting now."""

    plan: Plan
    number: int
    began: float
    phases: list[Phase]
    worker: int
    workers: int


class Sample(Struct, tag="sample"):
    """What happened since the previous sample, in one worker or in all.

    Times are in seconds. `sent` counts requests that were written to a connection, `resent` those that were written to
    a second one because the first was closed while idle. `dispatch_lag` is the longest delay between the time at which
    a request was due and its dispatch to the queue, for which only the generator is responsible; `lag` is the longest
    delay until a user took a request from the queue, including those still in it. `late_dispatch` and `late_start`
    count the requests for which these delays were over `LATE_SECONDS`. `oldest` is the age of the oldest request
    without a response, `waiting` is the number of requests without a user, `outstanding` of those without a response.
    `cpu` is the CPU time per second of the busiest process. `held` is the highest rate so far at which the service
    levels were met, for a profile that searches for it.
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
        """Adds the counts of another sample of any worker, without sharing objects. Keeps the time of this one."""
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


class Started(Struct, frozen=True, tag="started"):
    """The generator's first message: the machine on which it runs."""

    machine: Machine


class End(Struct, frozen=True, tag="end"):
    """The generator's last message; after a search, the rate found and the one at which the service collapsed."""

    found: float | None = None
    collapsed: float | None = None


class Failed(Struct, frozen=True, tag="failed"):
    """The generator's last message if the load cannot continue, with the reason."""

    reason: str


# A message of the coordinator to each worker, without content: send no more requests. Locust's own "stop" would stop
# the users, and with them the outstanding requests.
STOP = "end-load"

FromGenerator = Started | Sample | End | Failed

encode = msgspec.json.Encoder(enc_hook=enc_hook).encode
decode_plan = msgspec.json.Decoder(Plan).decode
decode_round = msgspec.json.Decoder(Round).decode
decode_sample = msgspec.json.Decoder(Sample, dec_hook=dec_hook).decode
decode_from_generator: msgspec.json.Decoder[FromGenerator] = msgspec.json.Decoder(FromGenerator, dec_hook=dec_hook)
