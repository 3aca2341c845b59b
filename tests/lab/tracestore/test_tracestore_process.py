"""The trace store as a process: killed, restarted, overloaded, and with the service."""

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import SIGINT

import pytest

from testbed import Process, free_port, otlp_records, wait_for
from testbed.otlp_records import request_spans
from testbed.tracestore import TraceStore


@pytest.fixture
def tracestore(tmp_path: Path) -> Iterator[TraceStore]:
    with TraceStore(tmp_path, "--max-megabytes", "2") as store:
        yield store


def test_acknowledged_spans_survive_a_kill_and_a_flood_is_bounded(tracestore: TraceStore) -> None:
    first = random.randbytes(16)
    assert tracestore.post(otlp_records.traces(request_spans(first))).status_code == 200
    tracestore.process.kill()
    tracestore.start()
    assert tracestore.has(first)

    padding = "x" * 2000
    newest = first
    for _ in range(20):
        trace_ids = [random.randbytes(16) for _ in range(200)]
        newest = trace_ids[-1]
        body = otlp_records.traces([span for each in trace_ids for span in request_spans(each, padding=padding)])
        assert tracestore.post(body).status_code == 200
    # the oldest goes first
    wait_for(lambda: not tracestore.has(first), what="the first trace to be evicted")
    wait_for(lambda: tracestore.metric("tracestore_database_bytes") <= 2 << 20, what="the bound")
    assert tracestore.has(newest)
    wait_for(lambda: tracestore.metric("tracestore_records_evicted_total") > 1000, what="the count of what was evicted")
    size = sum(file.stat().st_size for file in tracestore.file.parent.glob("traces.db*"))
    # in the worst case, a burst is in the file and once more in the write-ahead log
    assert size < 40 << 20


def test_ctrl_c_ends_it_silently_and_a_port_in_use_is_one_line_of_error(tracestore: TraceStore) -> None:
    second = Process(
        [sys.executable, "-m", "lab", "tracestore", "--port", str(tracestore.port), "--otlp-port", str(free_port())],
        tracestore.file.parent / "second.log",
    )
    second.start()
    wait_for(lambda: not second.is_running, 30, "the second store to exit")
    assert second.returncode == 2
    assert second.output().count("\n") == 1
    assert "TEMPO_PORT" in second.output()
    before = tracestore.process.output()
    assert tracestore.process.stop(SIGINT) == 0
    assert tracestore.process.output() == before
