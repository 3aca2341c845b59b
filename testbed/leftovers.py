"""Stops what an interrupted test run left behind.

On Ctrl-C, pytest-xdist kills its workers after ten seconds, and a stack needs longer to stop. At the end, the process
that started the workers stops what is left: the servers that tests recorded here, every process that has the id of the
run in its environment, and their descendants.
"""

import os
import subprocess
import tempfile
import uuid
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from signal import SIGCONT

import psutil
import pytest

VARIABLE = "GLASSHOUSE_TEST_RUN"
ROOT = Path(__file__).parents[1]
STOP_SECONDS = 10.0


def inherited() -> dict[str, str]:
    """The environment variable that marks a process as one of this run; empty outside of a run."""
    return {VARIABLE: os.environ[VARIABLE]} if VARIABLE in os.environ else {}


def record(pid: int) -> None:
    """Records a process of this run: nginx and Redis write their titles over the environment that would mark them."""
    if VARIABLE in os.environ:
        with _record(os.environ[VARIABLE]).open("a") as file:
            file.write(f"{pid} {psutil.Process(pid).create_time()}\n")


def _record(run: str) -> Path:
    return Path(tempfile.gettempdir()) / f"glasshouse-test-{run}.pids"


def pytest_configure(config: pytest.Config) -> None:
    """Gives the run an id. The workers of pytest-xdist inherit it."""
    if not hasattr(config, "workerinput"):
        os.environ[VARIABLE] = uuid.uuid4().hex


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stops the processes and containers that are left, and names them."""
    if hasattr(config, "workerinput"):
        return
    if names := stop_processes(os.environ[VARIABLE]):
        print(f"\nleft over by tests, stopped now: {', '.join(names)}")
    if remove_containers(project := compose_project()):
        print(f"\nleft over by tests, removed now: the containers of {project}")


def stop_processes(run: str) -> list[str]:
    """Stops the processes of this run and their descendants; kills those that do not stop. Returns their names."""
    recorded = set(_record(run).read_text().splitlines()) if _record(run).exists() else set()
    marked = [each for each in psutil.process_iter() if each.pid != os.getpid() and _is_of(each, run, recorded)]
    left = {process.pid: process for process in marked}
    for process in marked:
        with suppress(psutil.Error):
            left |= {child.pid: child for child in process.children(recursive=True)}
    names = []
    for process in left.values():
        with suppress(psutil.Error):
            names.append(process.name())
            process.terminate()
            process.send_signal(SIGCONT)
    _, running = psutil.wait_procs(left.values(), STOP_SECONDS)
    for process in running:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(running, STOP_SECONDS)
    _record(run).unlink(missing_ok=True)
    return sorted(set(names))


def _is_of(process: psutil.Process, run: str, recorded: Collection[str]) -> bool:
    with suppress(psutil.Error, OSError):
        if f"{process.pid} {process.create_time()}" in recorded:
            return True
        return bool(process.environ().get(VARIABLE) == run)
    return False


def compose_project() -> str:
    """The Compose project of this run's Docker stack."""
    return f"glasshouse-test-{os.environ[VARIABLE][:8]}"


def remove_containers(project: str) -> bool:
    """Removes the containers, volumes and networks of a Compose project. Returns whether there were containers."""
    listing = ["docker", "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={project}"]
    try:
        if not subprocess.run(listing, capture_output=True, text=True, timeout=60, check=False).stdout:
            return False
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    down = ["docker", "compose", "-p", project, "--profile", "*", "down", "--volumes", "--remove-orphans"]
    return subprocess.run(down, cwd=ROOT, capture_output=True, check=False).returncode == 0
