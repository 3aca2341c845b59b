"""The lab's trace store as a process."""

import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from testbed.conditions import wait_for
from testbed.process import Process, free_port

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

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.stop()
        self.otlp.close()
        self.api.close()

    def start(self) -> None:
        """Starts it, and waits until it is ready."""
        self.process.start()
        wait_for(self._is_ready, 30, "the store of traces")

    def post(self, body: bytes, signal: str = "traces") -> httpx.Response:
        """Sends an OTLP request."""
        return self.otlp.post(f"/v1/{signal}", content=body, headers=PROTOBUF)

    def has(self, trace_id: bytes) -> bool:
        """Whether it has the trace."""
        return self.api.get(f"/api/v2/traces/{trace_id.hex()}").status_code == 200

    def metric(self, name: str) -> float:
        """The sum of one of its metrics."""
        lines = self.api.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def _is_ready(self) -> bool:
        assert self.process.is_running, self.process.output()
        try:
            return self.api.get("/ready").is_success
        except httpx.HTTPError:
            return False
