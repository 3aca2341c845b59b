"""One leg: a short run of wrk against one process, and the CPU time that the process spent on it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks import wrk
from testbed import Replica

IN_TURN = Path(__file__).with_name("in_turn.lua")
TASKS = 100

# enough to keep a core busy, but few enough that a request does not wait long
CONNECTIONS = 32
WARM_UP_SECONDS = 2
# below this share of its core, a busy process shared its core or waited for one that did
CALM = 0.9


@dataclass(frozen=True)
class Target:
    """The target of a leg: an address, the paths that are requested in turn, and the process that answers."""

    name: str
    url: str
    paths: Sequence[str]
    pid: int


@dataclass(frozen=True)
class Leg:
    """The result of a leg. `cpu_us` is the process' CPU time per request: user and system, all threads."""

    per_second: float
    cpu_us: float
    busy: float
    """The share of the core that the process used."""
    p50_ms: float
    p99_ms: float


def run_leg(target: Target, seconds: int, connections: int = CONNECTIONS) -> Leg:
    """Runs wrk against one target. Raises `wrk.WrkError` if a request failed."""
    process = psutil.Process(target.pid)
    cpu, started = cpu_seconds(process), time.perf_counter()
    outcome = wrk.run([wrk.command(target.url, seconds, connections, script=IN_TURN, arguments=target.paths)])[0]
    cpu, taken = cpu_seconds(process) - cpu, time.perf_counter() - started
    return Leg(outcome.per_second, cpu / outcome.requests * 1e6, cpu / taken, outcome.p50_ms, outcome.p99_ms)


def interleaved(targets: Sequence[Target], rounds: int, seconds: int) -> dict[str, list[Leg]]:
    """Legs of every target by name, in rounds A B C, C B A and so on, so that drift affects all targets equally.

    A round in which the machine was busy is repeated, up to the number of rounds. The least disturbed ones are used, so
    that there are results even on a machine that is always busy; `busy` reports it.
    """
    for target in targets:
        run_leg(target, WARM_UP_SECONDS)
    done: list[dict[str, Leg]] = []
    while len(done) < 2 * rounds and sum(_calm(each) >= CALM for each in done) < rounds:
        order = targets if len(done) % 2 == 0 else targets[::-1]
        done.append({target.name: run_leg(target, seconds) for target in order})
    calmest = sorted(done, key=_calm, reverse=True)[:rounds]
    return {target.name: [each[target.name] for each in calmest] for target in targets}


def _calm(legs: dict[str, Leg]) -> float:
    """The smallest share of its core that the process of each leg got."""
    return min(leg.busy for leg in legs.values())


def cpu_seconds(process: psutil.Process) -> float:
    """The CPU time of a process so far, user and system."""
    times = process.cpu_times()
    return float(times.user + times.system)


def cached_tasks(name: str, replica: Replica) -> Target:
    """`GET /tasks/{id}` of tasks that are in the cache.

    A read goes in the same batch as its rate limit check if both keys are of one shard. With a single task, its random
    id would decide that, and with it up to 15 % of the cost.
    """
    paths = []
    for _ in range(TASKS):
        created = httpx.post(f"{replica.url}/tasks", json={"task": "Water the plants"})
        created.raise_for_status()
        paths.append(f"/tasks/{created.json()['id']}")
    return Target(name, replica.url, paths, replica.pid)
