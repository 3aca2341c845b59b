"""An interrupted test run leaves no process behind, also where pytest-xdist kills its workers before they are done."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from testbed.conditions import patient, wait_for

CONFTEST = """
from testbed import leftovers
from testbed.leftovers import pytest_configure, pytest_unconfigure
from xdist.workermanage import NodeManager
leftovers.STOP_SECONDS = 1
NodeManager.EXIT_TIMEOUT = 0.1
"""
# the process ignores SIGTERM, and has a child without the variable
TEST = """
import threading
from pathlib import Path
import pytest
from testbed import Process

@pytest.fixture
def server():
    child = 'exec env -i PATH=$PATH sleep 1000'
    script = f"trap '' TERM; sh -c '{child}' & echo $$ $! > pids.new; mv pids.new pids; wait; wait"
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
        started = [psutil.Process(int(pid)) for pid in pids.read_text().split()]
        os.killpg(run.pid, signal.SIGINT)
        output, _ = run.communicate(timeout=patient(60))
    assert not [process for process in started if _is_alive(process)]
    assert "left over by tests, stopped now: " in output, output
