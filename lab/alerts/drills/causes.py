"""Causes a drill's fault on the running stack and ends it, natively, in Docker and on Kubernetes."""

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

from lab.alerts.drills.definition import Cause
from lab.settings import PLACE, LabSettings
from lab.stack import ends_with_parent
from lab.stack.faults import Stack
from lab.stack.kubernetes import KubernetesStack
from lab.stack.native import StackError

ENDED_BY = {"pause": "resume", "stop": "start"}
STOP_SECONDS = 20
RETRY_SECONDS = 1.0
# minimum rest between repetitions that take longer than their period, as a share of the period
LEAST_REST = 0.2


@contextmanager
def caused(stack: Stack, cause: Cause, settings: LabSettings) -> Iterator[None]:
    """Causes the fault while the block runs, and always ends it afterwards. Raises `StackError`."""
    with ExitStack() as cleanup:
        if cause.do in {"pause", "stop", "kill", "restart"}:
            if cause.do in ENDED_BY:
                cleanup.callback(_each, cause.parts, lambda part: _end(stack, ENDED_BY[cause.do], part))
            _each(cause.parts, lambda part: stack.act(cause.do, part))
        elif cause.do == "stutter":
            cleanup.callback(_each, cause.parts, lambda part: _end(stack, "resume", part))
            if isinstance(stack, KubernetesStack):
                for part in cause.parts:
                    cleanup.enter_context(stack.stuttering(part, cause.every, cause.pause))
            else:
                cleanup.enter_context(_again(cause.every + cause.pause, lambda wait: _stutter(stack, cause, wait)))
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
            _each(cause.parts, partial(run, shlex.split(command)))

    try:
        if cause.every:
            with _again(cause.every, lambda _: every_node(cause.text)):
                yield
        else:
            every_node(cause.text)
            yield
    finally:
        if cause.mend:
            every_node(cause.mend)


def _stutter(stack: Stack, cause: Cause, wait: Callable[[float], bool]) -> None:
    _each(cause.parts, lambda part: stack.act("pause", part))
    wait(cause.pause)
    _each(cause.parts, lambda part: stack.act("resume", part))


@contextmanager
def _again(period: float, act: Callable[[Callable[[float], bool]], None]) -> Iterator[None]:
    """Calls `act` every `period` seconds in a thread; errors are ignored.

    If a call takes longer than the period, the next one starts after a short rest.
    """
    ends = threading.Event()

    def run() -> None:
        due = time.monotonic()
        while not ends.is_set():
            with suppress(Exception):
                act(ends.wait)
            due += period
            now = time.monotonic()
            if due < now:
                due = now + LEAST_REST * period
            ends.wait(due - now)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join(STOP_SECONDS)


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


def _each(parts: list[str], act: Callable[[str], None]) -> None:
    with ThreadPoolExecutor(max_workers=max(1, len(parts))) as pool:
        list(pool.map(act, parts))


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
