"""The findings of `glasshouse doctor`, with and without Docker, and their remedies."""

import os
import shutil
import socket
from collections import namedtuple
from pathlib import Path

import pytest
import yaml

from lab.settings import LabSettings
from lab.stack import doctor, native, ports, up
from lab.stack.native import NEEDED, Home, StackError
from testbed.process import free_block, free_port, free_redis_block

DOCKER = """#!/bin/sh
case "$*" in
--version) echo "{says}" ;;
"version --format {{{{.Server.Version}}}}") echo "{engine}"; [ -n "{engine}" ] ;;
"compose version --short") echo "{compose}" ;;
"compose ps --quiet") echo "{running}" ;;
"info --format {{{{.MemTotal}}}}") echo "{memory}" ;;
*) exit 1 ;;
esac
"""
GOOD = {"says": "Docker version 28", "engine": "28.0.1", "compose": "2.40.3", "running": "", "memory": str(8 << 30)}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / ".stack")


@pytest.fixture(autouse=True)
def free(monkeypatch: pytest.MonkeyPatch) -> LabSettings:
    """Settings with free ports."""
    counts = {"todo": free_block(3), "metrics": free_block(3), "redis": free_redis_block(6)}
    names = [name.removesuffix("_port") for name in LabSettings.__dataclass_fields__]
    settings = LabSettings(**{f"{name}_port": counts.get(name) or free_port() for name in names})
    monkeypatch.setattr(doctor, "load_settings", lambda: settings)
    monkeypatch.setattr(doctor, "env_settings", dict)
    return settings


def problems(found: object) -> list[str]:
    """The printed findings other than `ok`."""
    return [str(each) for each in found if each.level != "ok"]  # type: ignore[attr-defined]


def on_path(folder: Path, monkeypatch: pytest.MonkeyPatch, *programs: str, output: str = "9.9") -> None:
    """Leaves only these programs, each of which prints a version."""
    for name in programs:
        (folder / name).write_text(f"#!/bin/sh\necho {output}\n")
        (folder / name).chmod(0o755)
    which = shutil.which
    monkeypatch.setattr(native.shutil, "which", lambda name, path="": which(name, path=str(folder)))


@pytest.mark.parametrize("missing", [names[0] for names in NEEDED])
def test_a_missing_program_is_named_with_how_to_install_it(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    on_path(tmp_path, monkeypatch, *(names[-1] for names in NEEDED if names[0] != missing))
    said = [line for line in problems(doctor.native_findings(home)) if "missing" in line]
    assert len(said) == 1
    assert said[0].startswith(f"error {missing} is missing: run ")
    assert "install.sh (`make native` does)" in said[0]
    if missing != "redis-cli":
        # used only by a script
        with pytest.raises(StackError, match=f"{missing} is not installed"):
            native.programs(LabSettings(), home, {})


def test_an_old_program_is_named_with_the_oldest_tested_version(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path(tmp_path, monkeypatch, *(names[0] for names in NEEDED), output="1.2.3")
    said = problems(doctor.native_findings(home))
    assert "warn  nginx is 1.2.3: the oldest tested version is 1.22" in said
    newer = "use Docker (`make up`), or a newer distribution, such as Debian 12 or Ubuntu 24.04"
    assert f"error redis-server is 1.2.3, and the stack needs 6.2: {newer}" in said
    assert f"error prometheus is 1.2.3, and the stack needs 2.33: {newer}" in said
    on_path(tmp_path, monkeypatch, "redis-server", "prometheus", output="6.2.33")
    assert "warn  redis-server is 6.2.33: the oldest tested version is 7.0" in problems(doctor.native_findings(home))


def test_a_start_with_a_program_that_is_too_old_ends_before_anything_is_started(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path(tmp_path, monkeypatch, *(names[0] for names in NEEDED), output="1.2.3")
    monkeypatch.setattr(up, "HOME", home)
    with pytest.raises(StackError, match=r"^redis-server is 1\.2\.3, and the stack needs 6\.2: use Docker"):
        up.start(LabSettings())
    assert not home.config.exists()


def test_low_limits_and_unknown_settings_are_named_with_their_remedy(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage, memory = namedtuple("usage", "free"), namedtuple("memory", "available")
    monkeypatch.setattr(doctor.resource, "getrlimit", lambda _: (256, 256))
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage(100 << 20))
    monkeypatch.setattr(doctor.psutil, "virtual_memory", lambda: memory(500 << 20))
    monkeypatch.setattr(doctor, "env_settings", lambda: {"GATEWAY_PROT": "1"})
    said = problems(doctor.native_findings(home))
    assert "warn  GATEWAY_PROT in .env is not a setting of the stack: .env.example lists the settings" in said
    assert "warn  a process may open only 256 files: `ulimit -n 1024` before `make native`" in said
    assert f"warn  100 MB are free in {home.path.parent}: the stack keeps up to 3 GB: make room" in said
    assert "warn  500 MB of memory are free: the stack takes about 1.5 GB" in said


def test_a_folder_of_another_user_is_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    other = os.getuid() + 1
    monkeypatch.setattr(doctor.os, "getuid", lambda: other)
    said = problems(doctor._machine(home))
    assert f"error {home.path.parent} belongs to another user: clone the repository as the user that runs it" in said


@pytest.mark.parametrize("way", ["native", "docker"])
def test_a_port_in_use_is_named_with_its_setting(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: LabSettings, way: str
) -> None:
    docker(tmp_path, monkeypatch)
    findings = doctor.docker_findings if way == "docker" else lambda: doctor.native_findings(home)
    with socket.create_server(("127.0.0.1", free.desk_port)):
        said = problems(findings())
    mended = "is in use by another program: stop it, or set another port in .env"
    assert f"error port {free.desk_port} (DESK_PORT) {mended}" in said
    assert "in use" not in str(problems(findings()))


def docker(folder: Path, monkeypatch: pytest.MonkeyPatch, **changed: str) -> None:
    """A working Docker, except for `changed`."""
    (folder / "docker").write_text(DOCKER.format(**{**GOOD, **changed}))
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, []),
        ({"running": "0123abcd"}, []),
        ({"says": "podman version 4"}, ["error `docker` is Podman here: Podman is not supported: use Docker Engine"]),
        ({"engine": ""}, ["error no Docker engine answers: start it, and check that you may use it (group docker)"]),
        ({"engine": "19.03.1"}, ["warn  Docker engine is 19.3.1: the oldest tested version is 20.10"]),
        ({"compose": ""}, ["error `docker compose` is not installed: install the Compose v2 plugin"]),
        ({"compose": "v2.9.0"}, ["error Docker Compose is 2.9.0: the oldest tested version is 2.10"]),
        ({"memory": str(1 << 30)}, ["warn  Docker has 1024 MB of memory: the stack takes about 2 GB"]),
    ],
)
def test_missing_parts_of_docker_are_named_with_their_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], said: list[str]
) -> None:
    docker(tmp_path, monkeypatch, **changed)
    found = problems(doctor.docker_findings())
    assert len(found) == len(said)
    assert all(line.startswith(begin) for line, begin in zip(found, said, strict=True)), found


def test_without_docker_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert problems(doctor.docker_findings()) == [
        "error Docker is not installed: install Docker Engine and Compose, or use `make native`"
    ]


def test_the_ports_that_docker_publishes_are_those_of_compose(root: Path) -> None:
    services = yaml.safe_load((root / "compose.yaml").read_text())["services"]
    published = [port for each in services.values() for port in each.get("ports", [])]
    names = {port.partition("${")[2].partition("_PORT")[0].lower() for port in published}
    assert names == set(ports.PUBLISHED)
