"""Stops what an interrupted test run left behind.

On Ctrl-C, pytest-xdist kills its workers after ten seconds, and a stack needs longer to stop. Every process that the
tests start has the id of the run in its environment; at the end, the process that started the workers stops those left.
"""

import os
import subprocess
import uuid
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
    # nginx writes its title over its environment, but is a child of one that has it
    marked = [process for process in psutil.process_iter() if _run_of(process) == run and process.pid != os.getpid()]
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
    return sorted(set(names))


def _run_of(process: psutil.Process) -> str | None:
    try:
        return str(process.environ().get(VARIABLE))
    except (psutil.Error, OSError):
        return None


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
