"""How many worker processes a load needs, and how many cores are idle."""

import math
import os

import psutil

from lab.load.definition import Definition

# Requests a second that one process sends while more than half of its core is idle, so that it adds no delay; measured
# by benchmarks/generator.py, see docs/load.md.
RATE_PER_PROCESS = 3000.0
LOOK_SECONDS = 0.5


def workers_for(definition: Definition) -> int:
    """`--workers auto`: as many as the rate needs, at most one for each idle core; 0 if one process is enough."""
    needed = math.ceil(definition.rate / RATE_PER_PROCESS)
    if needed <= 1:
        return 0
    workers = min(needed, max(1, idle_cores()))
    return workers if workers > 1 else 0


def pods_for(definition: Definition) -> int:
    """`--workers auto` in a cluster: as many worker pods as the rate needs, whatever this machine's cores do."""
    return max(1, math.ceil(definition.rate / RATE_PER_PROCESS))


def idle_cores() -> int:
    """How many cores that this process may use are idle."""
    allowed = sorted(os.sched_getaffinity(0))
    usage = psutil.cpu_percent(LOOK_SECONDS, percpu=True)
    busy = sum(usage[core] for core in allowed if core < len(usage)) / 100
    return math.floor(len(allowed) - busy)
