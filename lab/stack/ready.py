"""Waits until all parts of the native stack are healthy, or one has failed."""

import os
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import click
import httpx

from lab.settings import ROOT
from lab.stack.native import Program, StackError

# gives up when no further part has become healthy for this long
READY_SECONDS = 180
# interval of progress messages
PROGRESS_SECONDS = 5
# on a slow machine with many processes, process-exporter takes seconds to answer
ANSWER_SECONDS = 10
# A part that exited this often before it was healthy has failed. Supervisor waits a second longer before each start, so
# this takes about ten seconds.
MAX_STARTS = 5


class Watched(Protocol):
    """The supervisor, for the states of programs (`getAllProcessInfo`)."""

    def programs(self) -> list[dict[str, Any]]:
        """One entry per program."""
        ...


def await_ready(supervisor: Watched, programs: Sequence[Program], logs: Path) -> None:
    """Waits for all parts. Raises `StackError` once one has failed, or none becomes healthy within `READY_SECONDS`.

    The message has each part that is not ready, with the last line of its log.
    """
    deadline = time.monotonic() + READY_SECONDS
    printed = time.monotonic()
    waiting = {program.name: program for program in programs}
    starts: dict[str, set[int]] = {}
    while waiting:
        for name, program in list(waiting.items()):
            if is_ready(program):
                del waiting[name]
                # a start on a slow machine may take longer than this, as long as there is progress
                deadline = time.monotonic() + READY_SECONDS
        failed = _failed(supervisor.programs(), starts, waiting)
        if failed:
            raise StackError(
                "; ".join(f"{name} does not start: {_last_log_line(name, logs, failed)}" for name in failed)
            )
        if waiting and time.monotonic() > deadline:
            ended = "; ".join(f"{name}: {_last_log_line(name, logs, {})}" for name in waiting)
            raise StackError(f"not healthy within another {READY_SECONDS} s: {ended}")
        if waiting and time.monotonic() > printed + PROGRESS_SECONDS:
            printed = time.monotonic()
            click.echo(f"up: waiting for {', '.join(waiting)}")
        time.sleep(0.2)


def _failed(
    states: Sequence[Mapping[str, Any]], starts: dict[str, set[int]], waiting: Mapping[str, Program]
) -> dict[str, str]:
    """The parts that supervisor has given up or keeps restarting, with supervisor's error message, if any."""
    found = {}
    for each in states:
        name = each["name"]
        starts.setdefault(name, set()).add(each["start"])
        is_given_up = each["statename"] == "FATAL"
        if is_given_up or (name in waiting and len(starts[name]) > MAX_STARTS):
            found[name] = each["spawnerr"]
    return found


def _last_log_line(name: str, logs: Path, errors: Mapping[str, str]) -> str:
    """The last line of a part's log with the path of the log; without a line, supervisor's error message."""
    file = logs / f"{name}.log"
    try:
        lines = [line for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    text = lines[-1].strip() if lines else errors.get(name) or "no output"
    return f"{text} ({file})"


def is_ready(program: Program) -> bool:
    """Whether a part answers at its `ready` address; for `redis-cluster`, whether the cluster is complete."""
    if program.name == "redis-cluster":
        check = ["sh", str(ROOT / "redis/cluster.sh"), "check"]
        environment = {**os.environ, **program.environment}
        return subprocess.run(check, env=environment, capture_output=True, check=False).returncode == 0
    if program.ready.startswith("http"):
        try:
            return httpx.get(program.ready, timeout=ANSWER_SECONDS, trust_env=False).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False
    host, _, port = program.ready.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
