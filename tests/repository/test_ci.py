"""`.ci/run` requires the Docker tests wherever it can get an engine and the images, and says why if it cannot."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docker import BASE_IMAGE

SKIPPED = "the Docker tests are skipped"
# each prints its arguments; make also whether the Docker tests are required
COMMANDS = {
    "make": 'echo "make $* ${DOCKER_TESTS:-}"',
    "never called": "exit 1",
    "no engine": "exit 1",
    "engine": 'echo "docker $*"',
    "engine without a registry": 'echo "docker $*"; [ "$1" = info ]',
    # as images.sh ends when some images have no recipe
    "images.sh": 'echo "images.sh $*"; [ $# != 0 ] || exit 3',
}


def _run(root: Path, folder: Path, docker: str, *, has_engine_script: bool = False) -> list[str]:
    """The lines of `.ci/run` with another `make` and `docker`; it must succeed."""
    repository, bin_folder, scripts = folder / "repository", folder / "bin", folder / "shared" / "docker"
    for each in (repository / ".ci", repository / "service", bin_folder, scripts):
        each.mkdir(parents=True)
    shutil.copy(root / ".ci" / "run", repository / ".ci" / "run")
    shutil.copy(root / "service" / "Dockerfile", repository / "service" / "Dockerfile")
    programs = {bin_folder / "make": "make", bin_folder / "docker": docker}
    # present, so that nothing is installed
    programs |= {bin_folder / program: "never called" for program in ("git", "curl", "python3")}
    if has_engine_script:
        programs |= {scripts / "images.sh": "images.sh", scripts / "engine.sh": "images.sh"}
    for program, command in programs.items():
        program.write_text(f"#!/bin/sh\n{COMMANDS[command]}\n")
        program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    environment.pop("DOCKER_TESTS", None)
    run = [repository / ".ci" / "run"]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_ci_builds_every_image_where_it_can_start_an_engine(root: Path, tmp_path: Path) -> None:
    lines = _run(root, tmp_path, "engine", has_engine_script=True)
    assert [line.strip() for line in lines if "images.sh" in line] == ["images.sh", f"images.sh {BASE_IMAGE}"]
    assert lines[-3:] == ["make lint required", "make test required", "make test-long required"]


def test_ci_pulls_every_image_where_an_engine_answers(root: Path, tmp_path: Path) -> None:
    lines = _run(root, tmp_path, "engine")
    assert f"docker pull --quiet {BASE_IMAGE}" in lines
    assert lines[-3:] == ["make lint required", "make test required", "make test-long required"]


@pytest.mark.parametrize("docker", ["no engine", "engine without a registry"])
def test_ci_says_why_it_skips_the_docker_tests(root: Path, tmp_path: Path, docker: str) -> None:
    lines = _run(root, tmp_path, docker)
    assert [line for line in lines if SKIPPED in line]
    assert [line.strip() for line in lines[-3:]] == ["make lint", "make test", "make test-long"]
