"""Causes a drill's fault on the running stack and ends it, natively, in Docker and on Kubernetes."""

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

from lab.alerts.drills.definition import Cause
from lab.settings import PLACE, LabSettings
from lab.stack import ends_with_parent
from lab.stack.faults import Stack
from lab.stack.native import StackError
from lab.stack.repeated import concurrently, repeated

ENDED_BY = {"pause": "resume", "stop": "start"}
STOP_SECONDS = 20
RETRY_SECONDS = 1.0


@contextmanager
def caused(stack: Stack, cause: Cause, settings: LabSettings) -> Iterator[None]:
    """Causes the fault while the block runs, and always ends it afterwards. Raises `StackError`."""
    with ExitStack() as cleanup:
        if cause.do in {"pause", "stop", "kill", "restart"}:
            if cause.do in ENDED_BY:
                cleanup.callback(concurrently, cause.parts, lambda part: _end(stack, ENDED_BY[cause.do], part))
            concurrently(cause.parts, lambda part: stack.act(cause.do, part))
        elif cause.do == "stutter":
            cleanup.callback(concurrently, cause.parts, lambda part: _end(stack, "resume", part))
            cleanup.enter_context(stack.stuttering(cause.parts, cause.every, cause.pause))
        elif cause.do == "load":
            cleanup.enter_context(load(settings, cause.profile, cause.rate))
        elif cause.do == "sql":
            command = stack.command("postgres", settings)
            if cause.mend:
                cleanup.callback(_run_until_done, [*command, cause.mend])
            for _ in range(cause.sessions):
                cleanup.enter_context(_process([*command, cause.text]))
        else:
            cleanup.enter_context(_redis(stack, cause, settings))
        yield


@contextmanager
def load(settings: LabSettings, profile: str, rate: float) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a load profile from this machine while the block runs, and yields its process: it may end early."""
    with tempfile.TemporaryDirectory() as runs:
        command = [sys.executable, "-m", "lab", "load", profile, f"--rate={rate:g}", "--time=2h", f"--runs={runs}"]
        with _process([*command, f"--host={settings.url('gateway')}"]) as child:
            yield child


@contextmanager
def _redis(stack: Stack, cause: Cause, settings: LabSettings) -> Iterator[None]:
    commands = {part: stack.command(part, settings) for part in cause.parts}

    def run(words: list[str], part: str) -> None:
        _run([*commands[part], *words])

    def every_node(text: str) -> None:
        for command in text.split(" ; "):
            concurrently(cause.parts, partial(run, shlex.split(command)))

    try:
        if cause.every:
            with repeated(cause.every, lambda _: every_node(cause.text)):
                yield
        else:
            every_node(cause.text)
            yield
    finally:
        if cause.mend:
            every_node(cause.mend)


@contextmanager
def _process(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a command in its own session, so that Ctrl-C does not reach it, and stops it at the end.

    It also stops if this process is killed.
    """
    child = subprocess.Popen(
        [sys.executable, "-IS", ends_with_parent.__file__, *command],
        cwd=PLACE,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        try:
            # closes its standard input
            child.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _end(stack: Stack, action: str, part: str) -> None:
    """Retries an action until it succeeds, because Docker or supervisor may fail at first. Raises `StackError`."""
    deadline = time.monotonic() + STOP_SECONDS
    while True:
        try:
            stack.act(action, part)
            return
        except StackError:
            if _is_ended(stack, action, part):
                return
            if time.monotonic() > deadline:
                raise
        time.sleep(RETRY_SECONDS)


def _is_ended(stack: Stack, action: str, part: str) -> bool:
    """Whether the part was already resumed or started by somebody else, or does not exist."""
    with suppress(StackError):
        state = stack.parts().get(part, "").lower()
        return not state or (state.startswith(("up", "running", "starting")) and "paused" not in state)
    return False


def _run_until_done(command: list[str]) -> None:
    """Runs a command until it succeeds: the fault itself may prevent it at first."""
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        with suppress(subprocess.TimeoutExpired):
            done = subprocess.run(command, cwd=PLACE, capture_output=True, timeout=STOP_SECONDS, check=False)
            if done.returncode == 0:
                return
        time.sleep(1)


def _run(command: list[str]) -> None:
    with suppress(subprocess.TimeoutExpired):
        subprocess.run(command, cwd=PLACE, capture_output=True, timeout=STOP_SECONDS, check=False)
