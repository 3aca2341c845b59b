"""`glasshouse doctor`: checks this machine for missing programs, ports in use, old versions, and how to fix them."""

import os
import re
import resource
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import click
import psutil

from lab.programs import run_program
from lab.settings import PLACE, ROOT, START_NATIVE, STOP, LabSettings, SettingError, env_settings, load_settings
from lab.stack.leftovers import leftovers
from lab.stack.native import INSTALL, NEEDED, Home, StackError, check_paths, find, find_postgres, postgres_data
from lab.stack.ports import check_ports, check_published_ports
from lab.stack.supervisor import Supervisor

Level = Literal["ok", "warn", "error"]
# the oldest tested versions
OLDEST = {"redis-server": (7, 0), "nginx": (1, 22), "prometheus": (2, 42)}
# older versions reject the stack's configuration (`set-proc-title`, `--web.enable-remote-write-receiver`)
OLDEST_WORKING = {"redis-server": (6, 2), "prometheus": (2, 33)}
NEWER = "use Docker (`make up`), or a newer distribution, such as Debian 12 or Ubuntu 24.04"
OLDEST_ENGINE = (20, 10)
# older versions cannot read compose.yaml (`${NAME:+text}`), or wait forever for a container that has finished
OLDEST_COMPOSE = (2, 10)
FILES, DISK_BYTES, MEMORY_BYTES, DOCKER_MEMORY_BYTES = 1024, 1 << 30, 2 << 30, 3 << 30


@dataclass(frozen=True)
class Finding:
    """The result of one check: `warn` may cause trouble, `error` prevents the stack from starting.

    `is_too_old` is for a program whose version does not work; nothing but this check finds it before the start.
    """

    level: Level
    what: str
    remedy: str = ""
    is_too_old: bool = False

    def __str__(self) -> str:
        """One line of output."""
        return f"{self.level:6}{self.what}" + (f": {self.remedy}" if self.remedy else "")


@click.command("doctor")
def doctor() -> None:
    """Check this machine for missing programs, ports in use, old versions and too little space, and how to fix them.

    Exit status: 0 if the stack can start here natively or with Docker, 1 if neither.
    """
    from lab.stack.up import HOME  # noqa: PLC0415 (`up` runs these checks)

    natively, with_docker = list(native_findings(HOME)), list(docker_findings())
    for way, findings in ((f"without Docker ({START_NATIVE})", natively), ("with Docker (make up)", with_docker)):
        click.echo(way)
        for finding in findings:
            click.echo(f"  {finding}")
    raise SystemExit(0 if any(_can_start(findings) for findings in (natively, with_docker)) else 1)


def _can_start(findings: list[Finding]) -> bool:
    return not any(finding.level == "error" for finding in findings)


def native_findings(home: Home) -> Iterator[Finding]:
    """The checks for the native stack."""
    yield from _programs(home)
    yield from _settings(home)
    yield from _machine(home)


def docker_findings() -> Iterator[Finding]:
    """The checks for Docker."""
    if not shutil.which("docker"):
        yield Finding("error", "Docker is not installed", "install Docker Engine and Compose, or use " + START_NATIVE)
        return
    if "podman" in _output("docker", "--version").lower():
        yield Finding(
            "error", "`docker` is Podman here", "Podman is not supported: use Docker Engine or " + START_NATIVE
        )
        return
    engine = _version(_output("docker", "version", "--format", "{{.Server.Version}}"))
    if not engine:
        yield Finding("error", "no Docker engine answers", "start it, and check that you may use it (group docker)")
        return
    yield _old_or_ok("Docker engine", engine, OLDEST_ENGINE)
    compose = _version(_output("docker", "compose", "version", "--short"))
    if not compose:
        yield Finding("error", "`docker compose` is not installed", "install the Compose v2 plugin")
        return
    finding = _old_or_ok("Docker Compose", compose, OLDEST_COMPOSE)
    yield replace(finding, level="error") if finding.level == "warn" else finding
    yield from _docker_settings()
    memory = _output("docker", "info", "--format", "{{.MemTotal}}").strip()
    if memory.isdecimal() and int(memory) < DOCKER_MEMORY_BYTES:
        yield Finding("warn", f"Docker has {int(memory) >> 20} MB of memory", "the stack takes about 2 GB")


def _docker_settings() -> Iterator[Finding]:
    try:
        settings = load_settings()
    except SettingError as error:
        yield Finding("error", str(error))
        return
    try:
        # any output is the id of a container
        if run_program(["docker", "compose", "ps", "--quiet"], cwd=PLACE, timeout=10).stdout.strip():
            yield Finding("ok", "the stack is running in Docker")
            return
        check_published_ports(settings)
    except (OSError, subprocess.TimeoutExpired):
        return
    except StackError as error:
        yield Finding("error", str(error))
    else:
        yield Finding("ok", "all ports are free")


def _programs(home: Home) -> Iterator[Finding]:
    for name, *_ in NEEDED:
        try:
            program = find(name)
        except StackError:
            yield Finding("error", f"{name} is missing", INSTALL)
            continue
        if name in OLDEST:
            version = _version(_output(program, "-v" if name == "nginx" else "--version"))
            if () < version < OLDEST_WORKING.get(name, ()):
                what = f"{name} is {_text(version)}, and the stack needs {_text(OLDEST_WORKING[name])}"
                yield Finding("error", what, NEWER, is_too_old=True)
            else:
                yield _old_or_ok(name, version, OLDEST[name])
    for check in (lambda: find_postgres("postgres", postgres_data(home)), lambda: check_paths(home)):
        try:
            check()
        except StackError as error:
            yield Finding("error", str(error))


def _settings(home: Home) -> Iterator[Finding]:
    try:
        settings, written = load_settings(), env_settings()
    except SettingError as error:
        yield Finding("error", str(error))
        return
    known = set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE))
    for name in sorted(written.keys() - known - {"COMPOSE_PROJECT_NAME"}):
        if not name.startswith(("OTEL_", "GF_", "COMPOSE_", "DOCKER_")):
            yield Finding("warn", f"{name} in .env is not a setting of the stack", ".env.example lists the settings")
    yield from _ports(settings, home)


def _ports(settings: LabSettings, home: Home) -> Iterator[Finding]:
    supervisor = Supervisor(home)
    if supervisor.is_running():
        yield Finding("ok", "the native stack is running")
        return
    if left := leftovers(supervisor.log):
        yield Finding(
            "warn", f"{', '.join(sorted(left))} still run although their supervisor has ended", f"{STOP} stops them"
        )
        return
    try:
        check_ports(settings, {"viewer"})
    except StackError as error:
        yield Finding("error", str(error))
    else:
        yield Finding("ok", "all ports are free")


def _machine(home: Home) -> Iterator[Finding]:
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != resource.RLIM_INFINITY and files < FILES:
        yield Finding("warn", f"a process may open only {files} files", f"`ulimit -n {FILES}` before {START_NATIVE}")
    place = next(path for path in (home.path, *home.path.parents) if path.exists())
    if (free := shutil.disk_usage(place).free) < DISK_BYTES:
        yield Finding("warn", f"{free >> 20} MB are free in {place}", "the stack keeps up to 3 GB: make room")
    if (memory := psutil.virtual_memory().available) < MEMORY_BYTES:
        yield Finding("warn", f"{memory >> 20} MB of memory are free", "the stack takes about 1.5 GB")
    if os.getuid() != 0 and place.stat().st_uid != os.getuid():
        yield Finding("error", f"{place} belongs to another user", "clone the repository as the user that runs it")


def _old_or_ok(name: str, version: tuple[int, ...], oldest: tuple[int, ...]) -> Finding:
    text = _text(version) or "of an unknown version"
    if version < oldest:
        return Finding("warn", f"{name} is {text}", f"the oldest tested version is {_text(oldest)}")
    return Finding("ok", f"{name} {text}")


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _version(text: str) -> tuple[int, ...]:
    """The first version in a tool's output, as numbers; empty if there is none."""
    found = re.search(r"\d+(?:\.\d+)+", text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def _output(*command: str) -> str:
    """A tool's output on stdout and stderr; empty if it fails or takes longer than ten seconds."""
    try:
        done = run_program(command, cwd=Path("/"), timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr if done.returncode == 0 else ""
