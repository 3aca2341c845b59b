"""A replica of the service: `python -m service` in a separate process."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from testbed.conditions import wait_for
from testbed.process import Process, free_port

ROOT = Path(__file__).parents[1]
START_SECONDS = 90.0
# the environment variables that a replica inherits; none of them is a setting
KEPT = ("PATH", "HOME", "LANG", "VIRTUAL_ENV", "TMPDIR")


def environment(**settings: str) -> dict[str, str]:
    """The environment of a replica with these settings, without other settings of this process."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | settings


class Replica(Process):
    """One replica. Settings are given by name (`RATE_LIMIT="off"`); without DATABASE_URL it uses an SQLite file."""

    arguments: tuple[str, ...] = ("-m", "service")
    """Arguments for Python."""

    def __init__(self, directory: Path, name: str = "todo-1", **settings: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.port = int(settings["PORT"]) if "PORT" in settings else free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        metrics_port = settings.get("METRICS_PORT") or str(free_port())
        self.metrics_url = f"http://127.0.0.1:{metrics_port}/metrics"
        defaults = {
            "PORT": str(self.port),
            "METRICS_PORT": metrics_port,
            "REPLICA": name,
            "RATE_LIMIT": "1000000/minute",
            "DATABASE_URL": f"sqlite+aiosqlite:///{directory / name}.db",
        }
        super().__init__(
            [sys.executable, *self.arguments],
            directory / f"{name}.log",
            cwd=directory,
            env=environment(**(defaults | settings)),
        )

    def __enter__(self) -> "Replica":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # killed, because no request is in flight any more
        self.kill()

    def launch(self) -> None:
        """Starts it, without waiting."""
        super().start()

    def start(self) -> None:
        """Starts it, and waits until it is live."""
        self.launch()
        wait_for(self._is_live, START_SECONDS, f"an answer of {self.name}")

    def metrics(self) -> "Samples":
        """All samples of `/metrics`."""
        return Samples(httpx.get(self.metrics_url, timeout=10).text)

    @property
    def memory_bytes(self) -> int:
        """Resident memory in bytes."""
        return int(psutil.Process(self.pid).memory_info().rss)

    def local_ports(self) -> set[int]:
        """The local ports of its connections."""
        return {each.laddr.port for each in psutil.Process(self.pid).net_connections() if each.laddr}

    def _is_live(self) -> bool:
        assert self.is_running, f"{self.name} ended with {self.returncode}:\n{self.output()[-4000:]}"
        try:
            return httpx.get(f"{self.url}/health/live", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False


@contextmanager
def replicas(directory: Path, count: int, **settings: str) -> Iterator[list[Replica]]:
    """Replicas todo-1, todo-2 and so on with the same settings, started together."""
    made = [Replica(directory, f"todo-{number}", **settings) for number in range(1, count + 1)]
    try:
        for each in made:
            each.launch()
        for each in made:
            each.start()
        yield made
    finally:
        for each in made:
            each.kill()


class Samples:
    """The samples of an exposition in Prometheus's text format."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families = list(text_string_to_metric_families(text))
        self._samples = [sample for family in self.families for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples with this name and at least these labels; 0 if there are none."""
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == name and all(sample.labels.get(key) == value for key, value in labels.items())
        )

    def series(self) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
        """All series, as name and labels."""
        return {(sample.name, tuple(sorted(sample.labels.items()))) for sample in self._samples}
