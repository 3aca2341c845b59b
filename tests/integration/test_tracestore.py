"""The store of traces as a process: killed, restarted, flooded, and beside the service."""

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import SIGINT

import httpx
import pytest

from tests import otlp_records
from tests.otlp_records import request_spans
from tests.servers import Process, free_port, wait_for

PROTOBUF = {"Content-Type": "application/x-protobuf"}


class TraceStore:
    """`glasshouse tracestore` on free ports."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port, otlp_port = free_port(), free_port()
        self.file = folder / "traces.db"
        self.otlp = httpx.Client(base_url=f"http://127.0.0.1:{otlp_port}", trust_env=False, timeout=20)
        self.api = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", trust_env=False, timeout=20)
        self.process = Process(
            [
                *(sys.executable, "-m", "lab", "tracestore", "--file", str(self.file)),
                *("--port", str(self.port), "--otlp-port", str(otlp_port), *options),
            ],
            folder / "tracestore.log",
        )

    def start(self) -> None:
        self.process.start()
        wait_for(self._is_ready, 30, "the store of traces")

    def post(self, body: bytes) -> httpx.Response:
        return self.otlp.post("/v1/traces", content=body, headers=PROTOBUF)

    def has(self, trace_id: bytes) -> bool:
        return self.api.get(f"/api/v2/traces/{trace_id.hex()}").status_code == 200

    def metric(self, name: str) -> float:
        lines = self.api.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def _is_ready(self) -> bool:
        assert self.process.is_running, self.process.output()
        try:
            return self.api.get("/ready").is_success
        except httpx.HTTPError:
            return False


@pytest.fixture
def tracestore(tmp_path: Path) -> Iterator[TraceStore]:
    store = TraceStore(tmp_path, "--most-megabytes", "2")
    store.start()
    yield store
    store.process.stop()
    store.otlp.close()
    store.api.close()


def test_what_was_answered_is_there_after_a_kill_and_what_floods_it_is_bounded(tracestore: TraceStore) -> None:
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
    wait_for(lambda: tracestore.metric("tracestore_database_bytes") <= 2 << 20, 20, "the bound")
    assert tracestore.has(newest)
    assert not tracestore.has(first)
    assert tracestore.metric("tracestore_records_evicted_total") > 1000
    size = sum(file.stat().st_size for file in tracestore.file.parent.glob("traces.db*"))
    # in the worst case a burst in the file, and the same once more in the log ahead of it
    assert size < 40 << 20


def test_ctrl_c_ends_it_without_a_word_and_a_port_that_is_taken_is_one_line(tracestore: TraceStore) -> None:
    second = Process(
        [sys.executable, "-m", "lab", "tracestore", "--port", str(tracestore.port), "--otlp-port", str(free_port())],
        tracestore.file.parent / "second.log",
    )
    second.start()
    wait_for(lambda: not second.is_running, 30, "the second store to give up")
    assert second.returncode == 2
    assert second.output().count("\n") == 1
    assert "TEMPO_PORT" in second.output()
    before = tracestore.process.output()
    assert tracestore.process.stop(SIGINT) == 0
    assert tracestore.process.output() == before
