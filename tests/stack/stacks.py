"""A whole stack for tests, native or in Docker, with its own ports, used only from outside."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
import pytest

from lab.prometheus import Prometheus, PrometheusError
from lab.settings import ROOT
from lab.stack.loopback import has_ipv6_loopback
from testbed.conditions import patient, wait_for
from testbed.leftovers import compose_project
from testbed.process import free_block, free_port, free_redis_block
from tests.docker import has_image

# the two stacks, and a mark for tests that `make test` runs only natively
WAYS = ["native", pytest.param("docker", marks=pytest.mark.docker)]
DOCKER_IS_LONG = pytest.mark.parametrize(
    "stack",
    ["native", pytest.param("docker", marks=[pytest.mark.docker, pytest.mark.long])],
    indirect=True,
    scope="package",
)

START_SECONDS = 240
PASSWORD = "p@s/s%"
# higher than the tests' own rate
RATE_LIMIT = "100000/minute"
# receives the spans in Docker if Tempo's image is not available
TEMPO_IMAGE = re.findall(r"image: (grafana/tempo\S+)", (ROOT / "compose.yaml").read_text())[0]
STORE_URL = "http://tracestore:4318"
# folders that a running stack does not need
TESTS_ONLY = ("tests/", "docs/", "alerts/recordings/")


class Stack:
    """What both stacks have in common: the ports of the parts, and the command `glasshouse`."""

    way: str
    replicas = ("todo-1", "todo-2", "todo-3")
    # the directory and the Python of the command `glasshouse`, and words in front of it, such as a command for limits
    folder = ROOT
    python = sys.executable
    prefix: tuple[str, ...] = ()
    # parts that this stack does not have on this machine
    absent_jobs: frozenset[str] = frozenset()

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = {**os.environ, "RATE_LIMIT": RATE_LIMIT, **environment}
        self.gateway = f"http://127.0.0.1:{environment['GATEWAY_PORT']}"
        self.prometheus_url = f"http://127.0.0.1:{environment['PROMETHEUS_PORT']}"
        self.desk = f"http://127.0.0.1:{environment['DESK_PORT']}"
        self.http = httpx.Client(base_url=self.gateway, timeout=patient(10), trust_env=False)
        self.prometheus = Prometheus(self.prometheus_url)

    def __enter__(self) -> Self:
        try:
            self.start()
            wait_for(self.is_scraped, 60, "every target of Prometheus")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()
        self.prometheus.close()
        self.stop()

    def start(self) -> None:
        """Starts everything, and waits until it is healthy."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stops everything that `start` started."""
        raise NotImplementedError

    def glasshouse(self, *arguments: str, timeout: float = 180) -> subprocess.CompletedProcess[str]:
        """Runs the command `glasshouse` against this stack."""
        command = [*self.prefix, self.python, "-m", "lab", *arguments]
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=patient(timeout),
            check=False,
        )

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts the command `glasshouse` in the background."""
        command = [*self.prefix, self.python, "-m", "lab", *arguments]
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=subprocess.DEVNULL)

    def act(self, action: str, part: str) -> None:
        """Runs an action on a part: stop, start, restart, pause, resume or kill."""
        done = self.glasshouse(action, part)
        assert done.returncode == 0, done.stderr

    def up(self) -> dict[str, list[float]]:
        """The `up` of every target, by job."""
        found: dict[str, list[float]] = {}
        for series in self.prometheus.query("up"):
            found.setdefault(series.labels["job"], []).append(series.value)
        return found

    def is_scraped(self) -> bool:
        """Whether Prometheus has scraped every target of this stack."""
        try:
            jobs = {job: values for job, values in self.up().items() if job not in self.absent_jobs}
        except PrometheusError:
            return False
        return {"todo", "gateway", "redis", "postgres", "desk"} <= set(jobs) and all(
            all(values) for values in jobs.values()
        )

    def health(self) -> Any:
        """The body of `/health` through the gateway; empty if nothing answers."""
        try:
            return self.http.get("/health").json()
        except (httpx.HTTPError, ValueError):
            return {}


class NativeStack(Stack):
    """`make native`, on free ports."""

    way = "native"

    def __init__(self, home: Path) -> None:
        self.home = home
        names = ("GATEWAY", "GRAFANA", "PROMETHEUS", "ALERTMANAGER", "TEMPO", "VIEWER", "DESK", "LOCUST", "POSTGRES")
        names += (
            "REDIS_EXPORTER",
            "GATEWAY_EXPORTER",
            "POSTGRES_EXPORTER",
            "HOST_EXPORTER",
            "PROCESS_EXPORTER",
            "GATEWAY_STATUS",
            "OTLP",
            "LOKI",
            "TEMPO_GRPC",
        )
        ports = {f"{name}_PORT": str(free_port()) for name in names}
        super().__init__(
            {
                **ports,
                "TODO_PORT": str(free_block(3)),
                "METRICS_PORT": str(free_block(3)),
                "REDIS_PORT": str(free_redis_block(6)),
                "GLASSHOUSE_HOME": str(home),
            }
        )

    def start(self) -> None:
        """Starts everything, and waits until it is healthy."""
        done = self.glasshouse("up", timeout=START_SECONDS)
        assert done.returncode == 0, done.stderr

    def stop(self) -> None:
        """Stops everything that `start` started."""
        self.glasshouse("down")

    def processes(self) -> list[psutil.Process]:
        """The processes of this stack: those whose environment has its home, or that have a file of it open.

        nginx writes its title over its environment.
        """
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                is_ours = process.environ().get("GLASSHOUSE_HOME") == str(self.home)
                if is_ours or (
                    process.name() == "nginx"
                    and any(Path(file.path).is_relative_to(self.home) for file in process.open_files())
                ):
                    found.append(process)
        return found


class ClonedStack(NativeStack):
    """`make native` in a copy of the repository, with its ports in `.env`."""

    def __init__(self, clone: Path) -> None:
        super().__init__(clone / ".stack")
        self.folder = clone
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
        for name in listed.stdout.rstrip("\0").split("\0"):
            if name.startswith(TESTS_ONLY):
                continue
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name)
        self.ports = {name: self.environment.pop(name) for name in list(self.environment) if name.endswith("_PORT")}
        (clone / ".env").write_text("".join(f"{name}={port}\n" for name, port in self.ports.items()))


class DockerStack(Stack):
    """`make up`, as a separate Compose project, with the services whose images are available."""

    way = "docker"

    def __init__(self) -> None:
        names = ("GATEWAY", "GRAFANA", "PROMETHEUS", "ALERTMANAGER", "TEMPO", "DESK", "OTLP", "LOKI", "LOCUST")
        ports = {f"{name}_PORT": str(free_port()) for name in names}
        # as `make up` does
        files = ["compose.yaml", "compose.ipv6.yaml"] if has_ipv6_loopback() else ["compose.yaml"]
        store = {}
        if not has_image(TEMPO_IMAGE):
            files.append("tests/stack/compose.tracestore.yaml")
            store = {"OTEL_EXPORTER_OTLP_ENDPOINT": STORE_URL}
        super().__init__(
            {
                **ports,
                **store,
                "COMPOSE_PROJECT_NAME": compose_project(),
                "COMPOSE_FILE": ":".join(files),
                "POSTGRES_PASSWORD": PASSWORD,
            }
        )
        self.services = [name for name, service in self._services().items() if _is_to_be_had(service)]
        self.absent_jobs = frozenset({"grafana", "tempo", "loki"} - set(self.services))

    def start(self) -> None:
        """Starts everything, and waits until it is healthy."""
        self.compose("up", "-d", "--build", "--wait", *self.services)

    def stop(self) -> None:
        """Stops everything that `start` started, and removes its volumes."""
        self.compose("--profile", "*", "down", "--volumes", "--remove-orphans")

    def scale(self, replicas: int) -> None:
        """Scales to another number of replicas, and waits until they are healthy."""
        self.compose("up", "-d", "--no-recreate", "--wait", "--scale", f"todo={replicas}", *self.services)

    def compose(self, *arguments: str) -> str:
        """The output of `docker compose`."""
        done = subprocess.run(
            ["docker", "compose", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=patient(START_SECONDS),
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    def _services(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.compose("config", "--format", "json"))["services"]
        return found


def _is_to_be_had(service: Mapping[str, Any]) -> bool:
    return "build" in service or has_image(service["image"])
