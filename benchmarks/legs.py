"""One leg: a short run of wrk against one process, and the CPU time that the process spent on it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx
import psutil

from benchmarks import wrk
from tests.servers import Replica

# Enough to keep a core busy all the time, and so few that a request does not wait long.
CONNECTIONS = 32
WARM_UP_SECONDS = 2


@dataclass(frozen=True)
class Target:
    """What a leg runs against: an address, and the process that answers there."""

    name: str
    url: str
    pid: int


@dataclass(frozen=True)
class Leg:
    """What a leg came to. `cpu_us` is the process's CPU time, user and system, of all its threads, per request."""

    per_second: float
    cpu_us: float
    busy: float
    """The share of its core that the process used."""
    p50_ms: float
    p99_ms: float


def run_leg(target: Target, seconds: int, connections: int = CONNECTIONS) -> Leg:
    """Runs wrk against one target. Raises `wrk.WrkError` where any request failed."""
    process = psutil.Process(target.pid)
    cpu, started = cpu_seconds(process), time.perf_counter()
    outcome = wrk.run([wrk.command(target.url, seconds, connections)])[0]
    cpu, taken = cpu_seconds(process) - cpu, time.perf_counter() - started
    return Leg(outcome.per_second, cpu / outcome.requests * 1e6, cpu / taken, outcome.p50_ms, outcome.p99_ms)


def interleaved(targets: Sequence[Target], rounds: int, seconds: int) -> dict[str, list[Leg]]:
    """Legs of every target by name, in rounds A B C, C B A and so on, so that a drift of the machine hits all alike."""
    for target in targets:
        run_leg(target, WARM_UP_SECONDS)
    legs: dict[str, list[Leg]] = {target.name: [] for target in targets}
    for number in range(rounds):
        for target in targets if number % 2 == 0 else reversed(targets):
            legs[target.name].append(run_leg(target, seconds))
    return legs


def cpu_seconds(process: psutil.Process) -> float:
    """The CPU time that a process has used so far, user and system."""
    times = process.cpu_times()
    return float(times.user + times.system)


def cached_task(name: str, replica: Replica) -> Target:
    """`GET /tasks/{id}` of a task that is in the cache."""
    created = httpx.post(f"{replica.url}/tasks", json={"task": "Water the plants"})
    created.raise_for_status()
    return Target(name, f"{replica.url}/tasks/{created.json()['id']}", replica.pid)
