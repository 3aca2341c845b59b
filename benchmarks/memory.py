"""(e) The memory of a replica during minutes of load, with all telemetry on."""

import subprocess
from pathlib import Path

from benchmarks import wrk
from benchmarks.bench import Bench
from benchmarks.figures import Figure, growth
from benchmarks.guide import NEW_TASK
from benchmarks.legs import CONNECTIONS
from benchmarks.part import Part, Scale, Table
from benchmarks.requests import Request, timed
from testbed import Replica

SAMPLE_SECONDS = 2.0
TASKS_READ = 200
MEGABYTE = 1e6


def measure(bench: Bench, scale: Scale) -> Part:
    """Samples a replica's resident memory while it serves a mix of reads, lists and creates."""
    settings = {"DATABASE_URL": bench.postgres.new_database(), "OTEL_EXPORTER_OTLP_ENDPOINT": bench.otlp_endpoint}
    with bench.replica(settings) as replica:
        _, made = timed(replica.url, [Request("POST", "/tasks", 201, NEW_TASK)] * TASKS_READ)
        idle = replica.memory_bytes / MEGABYTE
        seconds = max(10, int(scale.memory_minutes * 60))
        outcome, samples = _under_load(replica, [f"/tasks/{task['id']}" for task in made], seconds)
    rose = growth(samples)
    row = (
        f"{seconds / 60:.0f} min, {outcome.requests:,} requests",
        *(f"{value:.1f}" for value in (idle, samples[len(samples) // 2], max(samples), rose)),
    )
    columns = ("load", "before MB", "halfway MB", "most MB", "rise in the second half MB")
    return Part(
        [Table("Memory of a replica under load: 90 % reads, 8 % lists, 2 % creates", columns, [row])],
        [
            Figure("maximum memory of a replica under load", max(samples), 120, " MB", is_ceiling=True),
            Figure("rise of it in the second half", rose, 2, " MB", is_ceiling=True),
        ],
        {"seconds": seconds, "before_mb": idle, "samples_mb": samples, "requests": outcome.requests},
    )


def _under_load(replica: Replica, paths: list[str], seconds: int) -> tuple[wrk.Outcome, list[float]]:
    mix = Path(__file__).with_name("mix.lua")
    command = wrk.command(replica.url, seconds, CONNECTIONS, script=mix, arguments=paths)
    samples: list[float] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        try:
            while True:
                try:
                    text, _ = running.communicate(timeout=SAMPLE_SECONDS)
                    return wrk.parse(text), samples
                except subprocess.TimeoutExpired:
                    samples.append(replica.memory_bytes / MEGABYTE)
        finally:
            running.kill()
