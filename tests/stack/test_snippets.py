"""The documentation's commands for a running stack work on one without load and without faults, here natively."""

import subprocess

import pytest

from tests.repository.snippets import RUN_ON_STACK
from tests.stack.stacks import Stack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300), pytest.mark.long]


@pytest.mark.parametrize("command", RUN_ON_STACK)
def test_a_command_of_the_documentation_works_on_a_stack(native_stack: Stack, command: str) -> None:
    # the command is in .venv/bin of a clone, and the gateway's port is the default
    script = command.replace("glasshouse", f"{native_stack.python} -m lab").replace(
        "http://127.0.0.1:5000", native_stack.gateway
    )
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        cwd=native_stack.folder,
        env=native_stack.environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode in RUN_ON_STACK[command], done.stdout[-2000:] + done.stderr[-2000:]
    assert done.stdout or done.stderr
