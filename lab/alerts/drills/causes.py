"""Causes a drill's fault on the running stack and ends it, natively, in Docker and on Kubernetes."""

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

import click

from lab.alerts.drills.definition import Cause
from lab.settings import PLACE, LabSettings
from lab.stack import ends_with_parent
from lab.stack.faults import Stack
from lab.stack.native import StackError
from lab.stack.repeated import concurrently, repeated

STOP_SECONDS = 20
# a Redis node that has been resumed and does not answer for so long is restarted
HUNG_SECONDS = 20.0
RETRY_SECONDS = 1.0


@contextmanager
def caused(
    stack: Stack, cause: Cause, settings: LabSettings, say: Callable[[str], None] = click.echo
) -> Iterator[None]:
    """Causes the fault while the block runs, and always ends it afterwards. Raises `StackError`.

    `say` prints a line about what had to be done beyond that.
    """

    def resume(part: str) -> None:
        _end(stack, "resume", part)
        _restart_if_hung(stack, part, settings, say)

    ends = {"pause": resume, "stop": lambda part: _end(stack, "start", part)}
    with ExitStack() as cleanup:
        if cause.do in {"pause", "stop", "kill", "restart"}:
            if cause.do in ends:
                cleanup.callback(concurrently, cause.parts, ends[cause.do])
            concurrently(cause.parts, lambda part: stack.act(cause.do, part))
        elif cause.do == "stutter":
            cleanup.callback(concurrently, cause.parts, resume)
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


def _restart_if_hung(stack: Stack, part: str, settings: LabSettings, say: Callable[[str], None]) -> None:
    """Restarts a Redis node that was resumed and is in an endless loop, as the runbook of RedisNodeDown says.

    Redis 7.2 to 8.0 can do that when a former primary receives late messages. Raises `StackError`.
    """
    if not re.fullmatch(r"redis-\d+", part):
        return
    try:
        # without an answer, redis-cli waits forever
        subprocess.run(
            [*stack.command(part, settings), "ping"], cwd=PLACE, capture_output=True, timeout=HUNG_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        say(f"{part} does not answer since it was resumed (an endless loop: see its runbook): restarting it")
        stack.act("restart", part)


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
