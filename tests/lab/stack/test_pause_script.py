"""The scripts with which pods are paused, in a PID namespace like that of a pod with `shareProcessNamespace`."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import pytest

from lab.stack.pausing import SIGNALS, stutter_script
from testbed.conditions import wait_for

SHELLS = [["sh"], *([["busybox", "sh"]] if shutil.which("busybox") else [])]
# users other than root need a namespace of users too
AS_USER = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
# the first process stands for the pod's sandbox, two others for the container's; the shell reads the pipe of the test
SANDBOX = 'exec 3<&0; sleep 600 & sleep 600 & "$@" <&3 & wait'


class Pod:
    """The processes of a namespace, and the pipe that is the standard input of the shell in it."""

    def __init__(self, sandbox: psutil.Process, pipe: int) -> None:
        self.sandbox = sandbox
        self.pipe = pipe
        self.container = [each for each in sandbox.children() if each.cmdline() == ["sleep", "600"]]

    def is_stopped(self) -> bool:
        return {each.status() for each in self.container} == {psutil.STATUS_STOPPED}

    def runs(self) -> bool:
        return psutil.STATUS_STOPPED not in {each.status() for each in self.container}

    def has_only_the_container(self) -> bool:
        return {each.pid for each in self.sandbox.children()} == {each.pid for each in self.container}


@contextmanager
def pod(shell: list[str], script: str) -> Iterator[Pod]:
    """A namespace in which a shell runs a script. If it cannot be made, the test is skipped."""
    theirs, ours = os.pipe()
    command = ["unshare", *AS_USER, "--pid", "--fork", "--kill-child", "--", "sh", "-c", SANDBOX]
    outer = subprocess.Popen([*command, "sh", *shell, "-c", script], stdin=theirs, stderr=subprocess.DEVNULL)
    os.close(theirs)
    try:

        def is_complete() -> bool:
            with suppress(psutil.NoSuchProcess, IndexError):
                return len(Pod(psutil.Process(outer.pid).children()[0], ours).container) == 2
            return False

        wait_for(lambda: outer.poll() is not None or is_complete(), what="the processes")
        if outer.poll() is not None:
            pytest.skip("no PID namespace can be made here")
        yield Pod(psutil.Process(outer.pid).children()[0], ours)
    finally:
        # the namespace ends with its first process
        outer.kill()
        outer.wait()
        with suppress(OSError):
            os.close(ours)


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_all_processes_except_the_first_are_stopped_and_continued(shell: list[str]) -> None:
    pause, resume = (f"kill -{SIGNALS[action]} -1" for action in ("pause", "resume"))
    with pod(shell, f"read -r _; {pause}; read -r _; {resume}; {resume}") as there:
        os.write(there.pipe, b"\n")
        wait_for(there.is_stopped, what="the pause")
        assert there.sandbox.status() != psutil.STATUS_STOPPED
        os.write(there.pipe, b"\n")
        wait_for(there.runs, what="the end of the pause")
        wait_for(there.has_only_the_container, what="the end of the shell")


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_stutter_ends_with_its_standard_input_and_leaves_no_process_stopped(shell: list[str]) -> None:
    with pod(shell, stutter_script(0.05, 0.05)) as there:
        for _ in range(3):
            wait_for(there.is_stopped, what="a pause")
            wait_for(there.runs, what="the end of a pause")
        os.close(there.pipe)
        wait_for(there.has_only_the_container, what="the end of the loop")
        assert there.runs()
