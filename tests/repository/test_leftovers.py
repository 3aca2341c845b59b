"""An interrupted test run leaves nothing behind, also where pytest-xdist kills its workers before they are done."""

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import psutil
import pytest

from testbed.conditions import patient, wait_for
from testbed.leftovers import remove_containers
from tests.docker import require_docker

CONFTEST = """
from testbed import leftovers
from testbed.leftovers import pytest_configure, pytest_unconfigure
from xdist.workermanage import NodeManager
leftovers.STOP_SECONDS = 1
NodeManager.EXIT_TIMEOUT = 0.1
"""
# a process that ignores SIGTERM, and has a child without the variable, and Redis, which overwrites its environment
TEST = """
import threading
from pathlib import Path
import pytest
from testbed import Process, free_port

@pytest.fixture
def server():
    child = 'exec env -i PATH=$PATH sleep 1000'
    script = f"trap '' TERM; sh -c '{child}' & echo $$ $! > pids.new; mv pids.new pids; wait; wait"
    redis = Process(["redis-server", "--port", str(free_port()), "--save", ""], Path("redis.log"))
    redis.start()
    Path("redis").write_text(str(redis.pid))
    Process(["sh", "-c", script], Path("log"), env={"PATH": "/usr/bin:/bin"}).start()
    yield
    threading.Event().wait()

def test_that_is_interrupted(server):
    threading.Event().wait()
"""


def _is_alive(process: psutil.Process) -> bool:
    try:
        # a process whose parent is gone stays a zombie until init reaps it
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_an_interrupted_run_stops_what_it_started(tmp_path: Path, root: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_interrupted.py").write_text(TEST)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider"]
    # without the options and the worker of the run that this test is part of
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTHONPATH"] = str(root)
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=-1, text=True, process_group=0) as run:
        pids = tmp_path / "pids"
        wait_for(pids.exists, 60, "the server of the test")
        started = [psutil.Process(int(pid)) for pid in f"{pids.read_text()} {(tmp_path / 'redis').read_text()}".split()]
        os.killpg(run.pid, signal.SIGINT)
        output, _ = run.communicate(timeout=patient(60))
    assert not [process for process in started if _is_alive(process)]
    assert "left over by tests, stopped now: " in output, output


@pytest.mark.docker
def test_the_containers_and_data_of_a_run_are_removed(tmp_path: Path) -> None:
    require_docker("redis:8.0")
    project = f"glasshouse-test-{uuid.uuid4().hex[:8]}"
    service = {"image": "redis:8.0", "entrypoint": ["sleep", "1000"], "volumes": ["prometheus:/data"]}
    file = tmp_path / "compose.yaml"
    file.write_text(json.dumps({"services": {"todo": service}, "volumes": {"prometheus": {}}}))
    compose = ["docker", "compose", "-p", project, "-f", str(file)]

    def found() -> list[str]:
        chosen = ["--quiet", "--filter", f"label=com.docker.compose.project={project}"]
        kinds = (["ps", "--all"], ["volume", "ls"], ["network", "ls"])
        return [subprocess.check_output(["docker", *kind, *chosen], text=True).strip() for kind in kinds]

    try:
        subprocess.run([*compose, "up", "--detach"], check=True, capture_output=True)
        assert all(found())
        assert remove_containers(project)
        assert found() == ["", "", ""]
        assert not remove_containers(project)
    finally:
        subprocess.run([*compose, "down", "--volumes"], check=False, capture_output=True)
