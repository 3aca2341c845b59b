"""Causes faults: stops, starts, restarts, pauses, resumes or kills one part of the running stack."""

import subprocess
import time
import xmlrpc.client
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from threading import Lock
from typing import Protocol

import click
import msgspec

from lab.programs import last_line, run_program
from lab.settings import PLACE, START, LabSettings, SettingError, load_settings
from lab.stack import kubernetes
from lab.stack.events import FaultLog
from lab.stack.native import StackError
from lab.stack.repeated import paused_repeatedly
from lab.stack.supervisor import Supervisor
from lab.stack.up import HOME

DOCKER_SECONDS = 60.0
ACTIONS = {
    "stop": "Stop a part gracefully.",
    "start": "Start a stopped part.",
    "restart": "Stop a part and start it again.",
    "pause": "Freeze a part: it keeps its connections but does not answer.",
    "resume": "Resume a paused part.",
    "kill": "Kill a part with SIGKILL; supervisor, Docker or Kubernetes starts it again.",
}


class Stack(Protocol):
    """The running stack, for causing faults. The names of parts are those of `glasshouse status`."""

    way: str

    def parts(self) -> dict[str, str]:
        """Every part and its state."""

    def act(self, action: str, part: str) -> None:
        """Runs one of `ACTIONS` on a part. Raises `StackError`."""

    def stuttering(self, parts: Sequence[str], every: float, pause: float) -> AbstractContextManager[None]:
        """Pauses parts for `pause` seconds, lets them run for `every` seconds, and so on, during the block."""

    def command(self, part: str, settings: LabSettings) -> list[str]:
        """A command line to which SQL (for `postgres`) or a Redis command (for a node) can be appended."""


class NativeStack:
    """The stack under supervisor."""

    way = "native"

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        # supervisor's connection handles one request at a time, and drills act on several parts concurrently
        self._lock = Lock()

    def parts(self) -> dict[str, str]:
        """Every part and its state."""
        with self._lock:
            paused, programs = self._supervisor.paused(), self._supervisor.programs()
        return {
            each["name"]: "paused" if each["name"] in paused else f"{each['statename'].lower()} ({each['description']})"
            for each in programs
        }

    def act(self, action: str, part: str) -> None:
        """Runs one of `ACTIONS` on a part. Raises `StackError`."""
        supervisor = self._supervisor
        actions: dict[str, Callable[[], None]] = {
            "stop": lambda: supervisor.stop_program(part),
            "start": lambda: supervisor.start_program(part),
            "pause": lambda: supervisor.signal(part, "STOP"),
            "resume": lambda: supervisor.signal(part, "CONT"),
            "kill": lambda: supervisor.signal(part, "KILL"),
        }
        try:
            with self._lock:
                if action == "restart":
                    supervisor.stop_program(part)
                    supervisor.start_program(part)
                else:
                    actions[action]()
        except xmlrpc.client.Fault as fault:
            raise StackError(f"cannot {action} {part}: {fault.faultString}") from fault

    def stuttering(self, parts: Sequence[str], every: float, pause: float) -> AbstractContextManager[None]:
        """Pauses parts for `pause` seconds, lets them run for `every` seconds, and so on, during the block."""
        return paused_repeatedly(self.act, parts, every, pause)

    def command(self, part: str, settings: LabSettings) -> list[str]:
        """A command line to which SQL (for `postgres`) or a Redis command (for a node) can be appended."""
        if part == "postgres":
            return ["psql", "-h", "127.0.0.1", "-p", str(settings.postgres_port), "-U", "todo", "todo", "-qc"]
        return ["redis-cli", "-p", str(settings.redis_port + int(part.removeprefix("redis-")) - 1)]


class DockerStack:
    """The stack under Docker Compose."""

    way = "docker"

    def parts(self) -> dict[str, str]:
        """Every container's part and state; replicas have the native names, such as `todo-1`."""
        return {name: state for name, (_, state) in self._containers().items()}

    def act(self, action: str, part: str) -> None:
        """Runs one of `ACTIONS` on a part. Raises `StackError`."""
        found = self._containers().get(part)
        if found is None:
            raise StackError(f"cannot {action} {part}: its container no longer exists")
        container = found[0]
        command = {"resume": "unpause"}.get(action, action)
        self._docker(command, container, f"cannot {action} {part}")
        # Docker does not restart a container after `docker kill`, because it counts as a manual stop
        if action == "kill":
            time.sleep(1)
            self._docker("start", container, f"{part} was killed, and cannot be started again")

    def stuttering(self, parts: Sequence[str], every: float, pause: float) -> AbstractContextManager[None]:
        """Pauses parts for `pause` seconds, lets them run for `every` seconds, and so on, during the block."""
        return paused_repeatedly(self.act, parts, every, pause)

    @staticmethod
    def _docker(command: str, container: str, problem: str) -> None:
        try:
            done = run_program(["docker", command, container], timeout=DOCKER_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise StackError(f"{problem}: Docker does not answer within {error.timeout:.0f} s") from error
        if done.returncode:
            raise StackError(f"{problem}: {done.stderr.strip()}")

    def command(self, part: str, settings: LabSettings) -> list[str]:
        """A command line to which SQL (for `postgres`) or a Redis command (for a node) can be appended."""
        inside = ["psql", "-U", "todo", "todo", "-qc"] if part == "postgres" else ["redis-cli"]
        return ["docker", "compose", "exec", "-T", part, *inside]

    def _containers(self) -> dict[str, tuple[str, str]]:
        return compose_containers(compose("ps", "--all", "--format", "json"))


class _Container(msgspec.Struct, rename="pascal", frozen=True):
    """The fields of `docker compose ps` that are used here."""

    name: str
    service: str
    state: str
    status: str = ""


def compose_containers(output: str) -> dict[str, tuple[str, str]]:
    """Name and state of each part's container, from `docker compose ps --format json`. Raises `StackError`.

    Compose prints one object per line; before 2.21 an array of objects, and before 2.20 without `Status`.
    """
    found: dict[str, tuple[str, str]] = {}
    try:
        if output.startswith("["):
            containers = msgspec.json.decode(output, type=list[_Container])
        else:
            rows = (row for row in output.split("\n") if row.strip())
            containers = [msgspec.json.decode(row, type=_Container) for row in rows]
    except msgspec.MsgspecError as error:
        raise StackError(f"cannot read what `docker compose ps --format json` printed: {error}") from error
    for each in containers:
        part = f"todo-{each.name.rpartition('-')[2]}" if each.service == "todo" else each.service
        found[part] = (each.name, each.status or each.state)
    return found


def compose(*arguments: str) -> str:
    """The output of `docker compose`; empty if Docker is not installed. Raises `StackError` if it fails."""
    try:
        done = run_program(["docker", "compose", *arguments], cwd=PLACE, timeout=DOCKER_SECONDS)
    except FileNotFoundError:
        return ""
    except subprocess.TimeoutExpired as error:
        raise StackError(f"`docker compose` does not answer within {error.timeout:.0f} s") from error
    if done.returncode:
        raise StackError(f"`docker compose {arguments[0]}`: {last_line(done.stderr)}")
    return done.stdout


def running_stack() -> Stack:
    """The running stack. Raises `StackError` if there is none."""
    if (chosen := kubernetes.chosen_stack()) is not None:
        return chosen
    supervisor = Supervisor(HOME)
    if supervisor.is_running():
        return NativeStack(supervisor)
    why = ""
    try:
        if compose("ps", "--quiet"):
            return DockerStack()
    except StackError as error:
        why = f" ({error})"
    raise StackError(f"no stack is running: start one with {START}{why}")


def act(action: str, part: str) -> None:
    """Runs one of `ACTIONS` on a part of the running stack, and reports the fault to `desk`. Raises `StackError`."""
    stack = running_stack()
    parts = stack.parts()
    if part not in parts:
        raise StackError(f"unknown part {part!r}; the parts are {', '.join(sorted(parts))}")
    log = FaultLog(load_settings().url("desk"))
    with log.of_action(part, action):
        stack.act(action, part)
    if log.missed:
        click.echo(f"{action}: `desk` did not answer, so this fault will not be in Prometheus", err=True)


def _command(action: str, meaning: str) -> click.Command:
    @click.command(action, help=meaning)
    @click.argument("part")
    def command(part: str) -> None:
        try:
            act(action, part)
        except (StackError, SettingError) as error:
            click.echo(f"{action}: {error}", err=True)
            raise SystemExit(2) from error
        click.echo(f"{action}: {part}")

    return command


stop, start, restart, pause, resume, kill = (_command(action, meaning) for action, meaning in ACTIONS.items())


@click.command("status")
def status() -> None:
    """Print every part of the running stack and its state."""
    try:
        parts = running_stack().parts()
    except StackError as error:
        click.echo(f"status: {error}", err=True)
        raise SystemExit(2) from error
    for part, state in sorted(parts.items()):
        click.echo(f"{part:18} {state}")
