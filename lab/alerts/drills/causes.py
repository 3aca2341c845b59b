"""Causing a drill's fault on the running stack, and mending it, in both ways to run the stack."""

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
from lab.stack.faults import Stack
from lab.stack.native import StackError

MENDED_BY = {"pause": "resume", "stop": "start"}
STOP_SECONDS = 20
# of a period, for what does not keep up with it
LEAST_REST = 0.2


@contextmanager
def caused(stack: Stack, cause: Cause, settings: LabSettings) -> Iterator[None]:
    """The fault stands as long as the block runs, and is mended whatever happens in it. Raises `StackError`."""
    with ExitStack() as mending:
        if cause.do in {"pause", "stop", "kill", "restart"}:
            if cause.do in MENDED_BY:
                mending.callback(_each, cause.parts, lambda part: _mend(stack, MENDED_BY[cause.do], part))
            _each(cause.parts, lambda part: stack.act(cause.do, part))
        elif cause.do == "stutter":
            mending.callback(_each, cause.parts, lambda part: _mend(stack, "resume", part))
            mending.enter_context(_again(cause.every + cause.pause, lambda wait: _stutter(stack, cause, wait)))
        elif cause.do == "load":
            mending.enter_context(load(settings, cause.profile, cause.rate))
        elif cause.do == "sql":
            command = stack.command("postgres", settings)
            if cause.mend:
                mending.callback(_run_until_done, [*command, cause.mend])
            for _ in range(cause.sessions):
                mending.enter_context(_process([*command, cause.text]))
        else:
            mending.enter_context(_redis(stack, cause, settings))
        yield


@contextmanager
def load(settings: LabSettings, profile: str, rate: float) -> Iterator[None]:
    """A load from this machine as long as the block runs."""
    with tempfile.TemporaryDirectory() as runs:
        command = [sys.executable, "-m", "lab", "load", profile, f"--rate={rate:g}", "--time=2h", f"--runs={runs}"]
        with _process([*command, f"--host={settings.url('gateway')}"], signal.SIGINT):
            yield


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
    """Does it every `period` seconds, in a thread; an attempt that fails is tried again.

    What takes longer than its period is done again soon, but not at once.
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
def _process(command: list[str], stop: signal.Signals = signal.SIGTERM) -> Iterator[None]:
    """A command in a session of its own, so that Ctrl-C is not for it; it is stopped at the end."""
    child = subprocess.Popen(
        command,
        cwd=PLACE,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        child.send_signal(stop)
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _each(parts: list[str], act: Callable[[str], None]) -> None:
    with ThreadPoolExecutor(max_workers=max(1, len(parts))) as pool:
        list(pool.map(act, parts))


def _mend(stack: Stack, action: str, part: str) -> None:
    # a part that somebody else has mended is as good
    with suppress(StackError):
        stack.act(action, part)


def _run_until_done(command: list[str]) -> None:
    """Again until it succeeds: what was broken may be what lets it in."""
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
