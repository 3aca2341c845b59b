"""(f) The lab's trace store under a steady load: memory and disk, once it has reached its size limit."""

import random
import time
from pathlib import Path

import psutil

from benchmarks.bench import Bench
from benchmarks.figures import Figure, growth
from benchmarks.part import Part, Scale, Table
from testbed import otlp_records
from testbed.tracestore import TraceStore

TRACES_A_SECOND = 200
POSTS_A_SECOND = 4
BOUND_MEGABYTES = 48
SAMPLE_SECONDS = 2.0
MEGABYTE = 1e6


def measure(bench: Bench, scale: Scale) -> Part:
    """Sends traces of four spans at a steady rate, and samples the store's resident memory and file sizes."""
    seconds = max(20, int(scale.memory_minutes * 60))
    with TraceStore(bench.directory, "--max-megabytes", str(BOUND_MEGABYTES)) as store:
        process = psutil.Process(store.process.pid)
        before, began_cpu = process.memory_info().rss / MEGABYTE, sum(process.cpu_times()[:2])
        memory: list[float] = []
        disk: list[float] = []
        sent = refused = 0
        began = time.monotonic()
        while (now := time.monotonic() - began) < seconds:
            if len(memory) <= now / SAMPLE_SECONDS:
                memory.append(process.memory_info().rss / MEGABYTE)
                disk.append(_files(store.file) / MEGABYTE)
            due = int(now * POSTS_A_SECOND) * (TRACES_A_SECOND // POSTS_A_SECOND)
            if sent < due:
                refused += store.post(_traces(TRACES_A_SECOND // POSTS_A_SECOND)).is_error
                sent += TRACES_A_SECOND // POSTS_A_SECOND
            else:
                time.sleep(0.01)
        took = time.monotonic() - began
        cpu = (sum(process.cpu_times()[:2]) - began_cpu) / took
        evicted = store.metric("tracestore_records_evicted_total")
        kept = store.metric("tracestore_records_received_total")
    rose = growth(memory), growth(disk)
    row = (
        f"{took / 60:.0f} min, {sent / took:.0f} traces a second",
        *(f"{value:.1f}" for value in (before, max(memory), rose[0], max(disk), rose[1], cpu * 100)),
        f"{kept:.0f}",
        f"{evicted:.0f}",
    )
    columns = ("load", "before MB", "most MB", "rise MB", "most disk MB", "rise MB", "CPU %", "spans kept", "evicted")
    return Part(
        [Table(f"Trace store, limit of {BOUND_MEGABYTES} MiB; rises are those of the second half", columns, [row])],
        [
            Figure("maximum memory of the trace store", max(memory), 150, " MB", is_ceiling=True),
            Figure("rise of it in the second half", rose[0], 2, " MB", is_ceiling=True),
            Figure("rise of its files in the second half", rose[1], 2, " MB", is_ceiling=True),
            Figure("requests that it refused", refused, 0, is_ceiling=True),
        ],
        {"seconds": took, "traces": sent, "memory_mb": memory, "disk_mb": disk, "cpu_cores": cpu, "evicted": evicted},
    )


def _traces(count: int) -> bytes:
    """A request with traces of two server and two client spans each."""
    spans = []
    for _ in range(count):
        trace_id = random.randbytes(16)  # noqa: S311 (no secret)
        spans += otlp_records.request_spans(trace_id) + otlp_records.request_spans(trace_id, "/tasks/{task_id}")
    return otlp_records.traces(spans)


def _files(file: Path) -> int:
    return sum(each.stat().st_size for each in file.parent.glob(f"{file.name}*"))
