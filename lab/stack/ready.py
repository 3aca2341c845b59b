"""Waiting until every part of the native stack is healthy, or one has failed."""

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

# without any part becoming healthy
READY_SECONDS = 180
# how often it says what it still waits for
SAY_SECONDS = 5
# an exporter that asks of every process takes seconds where there are many, and little to run on
ANSWER_SECONDS = 10
# a part that ended this often before it was healthy does so again: supervisor waits a second longer before each start,
# so this takes some ten seconds
MOST_STARTS = 5


class Watched(Protocol):
    """What is asked of the supervisor: every program's state, as `getAllProcessInfo` tells it."""

    def programs(self) -> list[dict[str, Any]]:
        """One entry a program."""
        ...


def await_ready(supervisor: Watched, programs: Sequence[Program], logs: Path) -> None:
    """Waits for every part. Raises `StackError` once one has failed for good, or nothing comes up any more.

    The message names each part that is not ready, and what it wrote last.
    """
    deadline = time.monotonic() + READY_SECONDS
    said = time.monotonic()
    waiting = {program.name: program for program in programs}
    starts: dict[str, set[int]] = {}
    while waiting:
        for name, program in list(waiting.items()):
            if is_ready(program):
                del waiting[name]
                # whatever the machine's speed: it goes on
                deadline = time.monotonic() + READY_SECONDS
        failed = _failed(supervisor.programs(), starts, waiting)
        if failed:
            raise StackError("; ".join(f"{name} does not start: {_last_words(name, logs, failed)}" for name in failed))
        if waiting and time.monotonic() > deadline:
            ended = "; ".join(f"{name}: {_last_words(name, logs, {})}" for name in waiting)
            raise StackError(f"not healthy within another {READY_SECONDS} s: {ended}")
        if waiting and time.monotonic() > said + SAY_SECONDS:
            said = time.monotonic()
            click.echo(f"up: waiting for {', '.join(waiting)}")
        time.sleep(0.2)


def _failed(
    states: Sequence[Mapping[str, Any]], starts: dict[str, set[int]], waiting: Mapping[str, Program]
) -> dict[str, str]:
    """The parts that supervisor has given up or starts again and again, and why it could not start them, if it says."""
    found = {}
    for each in states:
        name = each["name"]
        starts.setdefault(name, set()).add(each["start"])
        is_given_up = each["statename"] == "FATAL"
        if is_given_up or (name in waiting and len(starts[name]) > MOST_STARTS):
            found[name] = each["spawnerr"]
    return found


def _last_words(name: str, logs: Path, errors: Mapping[str, str]) -> str:
    """The last line of a part's log and where that is; without one, what supervisor says."""
    file = logs / f"{name}.log"
    try:
        lines = [line for line in file.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    words = lines[-1].strip() if lines else errors.get(name) or "it wrote nothing"
    return f"{words} ({file})"


def is_ready(program: Program) -> bool:
    """Whether a part answers as its `ready` says; the cluster, once it is whole."""
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
