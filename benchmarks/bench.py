"""The bench: assigns cores, and starts and stops the servers that a measurement needs."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from testbed import Postgres, Process, RedisCluster, Replica, environment, free_port, wait_for
from testbed.process import is_listening
from testbed.prometheus import PrometheusServer

ROOT = Path(__file__).parents[1]
# far above what one core serves in a minute, so that every request is counted but none is rejected
HIGH_LIMIT = "1000000000/minute"
# long timeouts, so that a busy moment of the machine does not make a request bypass the cache or the rate limit
REDIS_TIMEOUT_SECONDS = "2"


class CannotRun(Exception):  # noqa: N818 (it reads as what happened)
    """The benchmarks cannot run here; the message has the reason and what to do, in one line."""


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Processes started in the block run only on this core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Bench:
    """`with Bench() as bench:` manages a directory and all processes started through it.

    The last core runs wrk, Redis, PostgreSQL and the receiver; the others run replicas.
    """

    def __init__(self) -> None:
        if not hasattr(os, "sched_setaffinity"):
            raise CannotRun("the benchmarks pin processes to cores, which needs Linux")
        for program, package in (("wrk", "wrk"), ("redis-server", "redis-server")):
            if shutil.which(program) is None:
                raise CannotRun(f"{program} is not installed: apt install {package}")
        *service, load = sorted(os.sched_getaffinity(0))
        if not service:
            raise CannotRun("two cores are needed, one for the service and one for the load")
        self._service_cores = service
        self._load_core = load
        self._everything = ExitStack()
        self._redis: RedisCluster | None = None
        self._postgres: Postgres | None = None
        self._receiver: int | None = None
        self._started = 0

    def __enter__(self) -> "Bench":
        cores = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {self._load_core})
        self._everything.callback(os.sched_setaffinity, 0, cores)
        self.directory = Path(self._everything.enter_context(tempfile.TemporaryDirectory(prefix="glasshouse-bench-")))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._everything.close()

    @property
    def service_core_count(self) -> int:
        """The number of cores for replicas."""
        return len(self._service_cores)

    @property
    def postgres(self) -> Postgres:
        """PostgreSQL with fsync on, as by default."""
        if self._postgres is None:
            self._postgres = self._everything.enter_context(Postgres(is_durable=True))
        return self._postgres

    @property
    def redis_url(self) -> str:
        """A Redis Cluster of six nodes without persistence."""
        if self._redis is None:
            self._redis = self._everything.enter_context(RedisCluster(self.directory / "redis"))
        return self._redis.url

    @property
    def otlp_endpoint(self) -> str:
        """A trace receiver."""
        if self._receiver is None:
            self._receiver = free_port()
            self._start(Process(self._module("benchmarks.receiver", str(self._receiver)), self._log(), cwd=ROOT))
            port = self._receiver
            wait_for(lambda: is_listening(port), what="the receiver of traces")
        return f"http://127.0.0.1:{self._receiver}"

    @contextmanager
    def prometheus(
        self, scrapes: Sequence[Mapping[str, Any]], rules: Sequence[Path], interval: str, folder: Path | None = None
    ) -> Iterator[PrometheusServer]:
        """A Prometheus on the first of the replicas' cores, in a new folder or in one that may contain `data`."""
        self._started += 1
        if folder is None:
            folder = self.directory / f"prometheus-{self._started}"
            folder.mkdir()
        server = PrometheusServer(folder, scrapes, rules, interval)
        with pinned(self._service_cores[0]):
            server.process.start()
        with server:
            yield server

    def received_spans(self) -> int:
        """The number of spans that the receiver has read."""
        return int(httpx.get(self.otlp_endpoint).text)

    @contextmanager
    def replica(self, settings: Mapping[str, str], core: int = 0) -> Iterator[Replica]:
        """A replica on one of the replicas' cores (modulo their number).

        By default its cache and rate limit are in Redis, and it has its own SQLite file.
        """
        self._started += 1
        given = {
            "REDIS_URL": self.redis_url,
            "REDIS_TIMEOUT_SECONDS": REDIS_TIMEOUT_SECONDS,
            "RATE_LIMIT": HIGH_LIMIT,
            **settings,
        }
        replica = Replica(self.directory / f"replica-{self._started}", f"todo-{self._started}", **given)
        try:
            with pinned(self._service_cores[core % len(self._service_cores)]):
                replica.launch()
            replica.start()
            yield replica
        finally:
            replica.stop()

    @contextmanager
    def bare(self, kind: str) -> Iterator[tuple[int, str]]:
        """The process id and the address of a bare app, `asgi` or `litestar`, on the replicas' core."""
        port = free_port()
        app = Process(self._module("benchmarks.bare", kind, str(port)), self._log(), cwd=ROOT, env=environment())
        try:
            with pinned(self._service_cores[0]):
                app.start()
            wait_for(lambda: is_listening(port), what=f"the bare {kind} app")
            yield app.pid, f"http://127.0.0.1:{port}"
        finally:
            app.stop()

    def _start(self, process: Process) -> None:
        self._everything.callback(process.stop)
        process.start()

    def _log(self) -> Path:
        self._started += 1
        return self.directory / f"process-{self._started}.log"

    @staticmethod
    def _module(name: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", name, *arguments]
