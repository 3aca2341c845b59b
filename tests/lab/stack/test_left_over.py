"""A native stack in an odd folder and environment, of a plain user if possible: what is left after parts were killed.

The folder has a space and an umlaut; the locale is not installed; the environment has a proxy, which does not answer;
and a process may open few files.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from lab.stack.native import Home
from lab.stack.supervisor import Supervisor
from testbed.conditions import wait_for
from tests.stack.stacks import ClonedStack

pytestmark = [pytest.mark.long, pytest.mark.stack, pytest.mark.timeout(1800)]

USER = "nobody"
# `up` gives up on its own if there is no progress
UP_SECONDS = 600
FEW_FILES = 256
NO_PROXY = "http://127.0.0.1:9"
PROXIES = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), NO_PROXY)


@pytest.fixture(scope="module")
def stack() -> Iterator[ClonedStack]:
    """The stack, stopped."""
    # not in pytest's directories, which other users cannot access
    folder = Path(tempfile.mkdtemp(prefix="glasshouse a b h\u00e4user "))
    folder.chmod(0o755)
    made = ClonedStack(folder / "clone")
    made.environment |= {**PROXIES, "LC_ALL": "xx_XX.UTF-8", "HOME": str(folder / "clone"), "USER": USER}
    made.prefix = ("prlimit", f"--nofile={FEW_FILES}:{FEW_FILES}")
    account = pwd.getpwnam(USER)
    setpriv = ("setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups")
    if os.geteuid() == 0 and may_run_python(made, setpriv):
        made.prefix += setpriv
        os.chown(folder / "clone", account.pw_uid, account.pw_gid)
    print(f"as {USER if setpriv[0] in made.prefix else 'the user of the tests'}")
    yield made
    made.http.close()
    made.prometheus.close()
    made.stop()
    for process in made.processes():
        process.kill()
    shutil.rmtree(folder)


def may_run_python(stack: ClonedStack, setpriv: tuple[str, ...]) -> bool:
    """Whether another user can run this Python and its subprocesses; it may be in a folder of root."""
    twice = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import lab.cli, service.app'], check=True)"
    command = [*setpriv, sys.executable, "-c", twice]
    return subprocess.run(command, cwd=stack.folder, capture_output=True, check=False).returncode == 0


def kill_the_supervisor(stack: ClonedStack) -> None:
    psutil.Process(int((stack.home / "supervisord.pid").read_text())).kill()


def kill_half_of_the_parts(stack: ClonedStack) -> None:
    """Kills the first processes of half of the parts, including gateway and postgres; nginx' workers continue."""
    for number, part in enumerate(Supervisor(Home(stack.home)).programs()):
        if number % 2 or part["name"] in ("gateway", "postgres"):
            psutil.Process(part["pid"]).kill()


def kill_half_of_the_parts_and_the_supervisor(stack: ClonedStack) -> None:
    kill_half_of_the_parts(stack)
    # the new gateway cannot listen on the port, which the workers of the old one still use
    log = stack.home / "log/supervisord.log"
    wait_for(lambda: log.read_text().count("spawned: 'gateway'") > 2, 60, "another start of the gateway")
    kill_the_supervisor(stack)


def reboot(stack: ClonedStack) -> None:
    """Kills all processes at once; their files remain."""
    kill_the_supervisor(stack)
    for process in stack.processes():
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_for(lambda: not stack.processes(), 20, "the end of all processes")


@pytest.mark.case("supervisor gone")
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (kill_the_supervisor, "the supervisor was killed and left alertmanager, "),
        (kill_half_of_the_parts, "the native stack has stopped"),
        (kill_half_of_the_parts_and_the_supervisor, "the supervisor was killed and left "),
        (reboot, "no native stack is running in "),
    ],
)
def test_down_stops_all_leftovers_and_the_next_up_is_healthy(
    stack: ClonedStack, fault: Callable[[ClonedStack], None], said: str
) -> None:
    up = stack.glasshouse("up", timeout=UP_SECONDS)
    assert up.returncode == 0, up.stdout + up.stderr
    assert len(stack.processes()) > 20
    task = stack.http.post("/tasks", json={"task": "kept"}).headers["location"]
    fault(stack)
    down = stack.glasshouse("down")
    print(down.stdout)
    assert (down.returncode, said in down.stdout) == (0, True), down.stdout + down.stderr
    assert [process.cmdline() for process in stack.processes()] == []
    up = stack.glasshouse("up", timeout=UP_SECONDS)
    print(up.stdout)
    assert up.returncode == 0, up.stdout + up.stderr
    assert f"a process may open only {FEW_FILES} files" in up.stderr
    wait_for(lambda: stack.health().get("status") == "healthy", 60, "health")
    assert stack.http.get(task).json()["task"] == "kept"
    wait_for(stack.is_scraped, 60, "every target of Prometheus")


def test_the_next_up_waits_for_the_parts_of_an_interrupted_one(stack: ClonedStack) -> None:
    stack.glasshouse("down")
    first = stack.begin("up")
    wait_for(Supervisor(Home(stack.home)).is_running, 120, "the supervisor")
    first.send_signal(signal.SIGINT)
    assert first.wait(60) == 130
    up = stack.glasshouse("up", timeout=UP_SECONDS)
    assert up.returncode == 0, up.stdout + up.stderr
    assert "the native stack is already running" in up.stdout
    wait_for(lambda: stack.health().get("status") == "healthy", 60, "health")


def test_a_load_works_in_an_odd_environment(stack: ClonedStack) -> None:
    assert stack.glasshouse("up", timeout=UP_SECONDS).returncode == 0
    load = stack.glasshouse("load", "smoke", timeout=120)
    assert load.returncode in (0, 1), load.stdout + load.stderr
    assert "offered 75 = answered 75" in load.stdout
