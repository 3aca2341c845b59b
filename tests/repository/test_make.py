"""`make up`, `make demo` and `make down`, with stubs for Docker and the command `glasshouse`."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from lab.settings import ROOT
from lab.stack.doctor import OLDEST_COMPOSE, OLDEST_WORKING
from testbed.compose import need_compose

# compose's own version differs from the engine's
DOCKER = """#!/bin/sh
all="$*"
case "$*" in
--version) echo "$SAYS" ;;
info) exit "$INFO" ;;
"compose version"*) echo "$COMPOSE" ;;
*logs*) echo "$LOGS" ;;
*" up "*)
    echo "docker $*"
    [ -z "$REAL" ] || "$REAL" ${all%% up *} config --hash '*'
    exit "$UP" ;;
*) echo "docker $*" ;;
esac
"""
GLASSHOUSE = """#!/bin/sh
echo "glasshouse $*"
if [ "$1" = load ]; then exit "$LOAD"; fi
"""
ENGINE = {
    "SAYS": "Docker version 20.10.24",
    "INFO": "0",
    "COMPOSE": "2.40.3-3",
    "LOAD": "0",
    "UP": "0",
    "LOGS": "",
    "REAL": "",
}
# services by the path of a file that compose.yaml mounts as a single file
MOUNTED: dict[str, set[str]] = {}
for name, service in yaml.safe_load((ROOT / "compose.yaml").read_text())["services"].items():
    for source in (volume.partition(":")[0] for volume in service.get("volumes", ())):
        if source.startswith("./") and (ROOT / source).is_file():
            MOUNTED.setdefault(source, set()).add(name)

NO_DOCKER = {"INFO": "1"}
PODMAN = {"SAYS": "podman version 4.3.1"}


@pytest.fixture
def clone(root: Path, tmp_path: Path) -> Path:
    """The repository, with an environment and an install script that are stubs."""
    for name in ("Makefile", "gateway", "redis", "observability", "compose.yaml", "compose.ipv6.yaml"):
        (tmp_path / name).symlink_to(root / name)
    for name in ("requirements/lab.txt", "requirements/build.txt", "pyproject.toml", ".venv/lab"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for name, text in (
        ("bin/docker", DOCKER),
        (".venv/bin/glasshouse", GLASSHOUSE),
        ("lab/stack/install.sh", "#!/bin/sh\n"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return tmp_path


# emulates what lab/stack/python.sh and the Makefile ask of a Python: OLD and NO_VENV are exit statuses
PYTHON = """#!/bin/sh
case "$*" in
*version_info*) exit {old} ;;
*ensurepip*) exit {no_venv} ;;
*venv*)
    echo "venv of ${{0##*/}}"
    mkdir -p .venv/bin
    for name in pip python; do printf '#!/bin/sh\\n' >.venv/bin/$name; done
    chmod 755 .venv/bin/* ;;
esac
"""
NEW = PYTHON.format(old=0, no_venv=0)
OLD = PYTHON.format(old=1, no_venv=0)
NO_VENV = PYTHON.format(old=0, no_venv=1)
TOOLS = ("sh", "make", "cat", "cksum", "grep", "touch", "mkdir", "chmod", "dirname", "awk")


def write_programs(folder: Path, **texts: str) -> None:
    """Writes executable files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


def make(clone: Path, target: str, **changed: str) -> subprocess.CompletedProcess[str]:
    """Runs a target; `changed` are variables of the stubs, or PATH."""
    environment = {**os.environ, **ENGINE, "PATH": f"{clone}/bin:{os.environ['PATH']}", **changed}
    # a make that runs the tests passes its own options on
    environment = {name: value for name, value in environment.items() if not name.startswith("MAKE")}
    return subprocess.run(["make", target], cwd=clone, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("load", "verdict"),
    [
        ("0", []),
        (
            "1",
            [
                "demo: the load test missed a check, which can happen on a small or busy machine: see above, and the"
                + " report"
            ],
        ),
        ("2", ["demo: the load test could not run: see above"]),
    ],
)
def test_a_demo_prints_what_it_does_and_succeeds(clone: Path, load: str, verdict: list[str]) -> None:
    done = make(clone, "demo", **NO_DOCKER, LOAD=load)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "demo: starting the stack without Docker",
        "glasshouse up",
        "demo: running a minute of load; open the dashboards meanwhile",
        "glasshouse load",
        *verdict,
        "demo: the stack is still running ('make down' stops it). Addresses ('glasshouse look --open' opens the"
        + " dashboards):",
        "glasshouse look --offer",
    ]


def test_a_demo_starts_docker_if_its_engine_answers(clone: Path) -> None:
    done = make(clone, "demo")
    assert done.returncode == 0, done.stderr
    assert "demo: starting the stack with Docker; the first time, images are fetched and built" in done.stdout
    assert "up -d --build --wait" in done.stdout
    assert "glasshouse up" not in done.stdout


def test_podman_is_one_line_of_error_and_a_demo_starts_natively(clone: Path) -> None:
    up = make(clone, "up", **PODMAN)
    assert up.returncode == 2
    assert up.stderr.splitlines()[0] == (
        "up: docker is Podman here, which is not supported: use Docker Engine, or make native"
    )
    assert up.stdout == ""
    assert "glasshouse up" in make(clone, "demo", **PODMAN).stdout
    assert make(clone, "down", **PODMAN).stdout == "glasshouse down\n"


@pytest.mark.parametrize(
    ("version", "works"),
    [("2.9.0", False), ("", False), ("2.10.2", True), ("v5.0.1", True), ("10.0.0", True)],
)
def test_make_up_rejects_an_old_compose_with_one_line(clone: Path, version: str, works: bool) -> None:
    up = make(clone, "up", COMPOSE=version)
    assert ("docker compose" in up.stdout, up.returncode) == (works, 0 if works else 2)
    oldest = ".".join(map(str, OLDEST_COMPOSE))
    line = f"up: needs Docker Compose {oldest} or newer (docker compose version): update it, or make native"
    assert works or up.stderr.splitlines()[0] == line


@pytest.mark.parametrize(
    ("logs", "said"),
    [
        ("", []),
        (
            'todo-1 | password authentication failed for user "todo"',
            ["up: the database was created with another POSTGRES_PASSWORD: see README.md, Troubleshooting"],
        ),
    ],
)
def test_a_password_that_is_not_the_databases_is_explained(clone: Path, logs: str, said: list[str]) -> None:
    up = make(clone, "up", UP="1", LOGS=logs)
    assert up.returncode == 2
    assert [line for line in up.stderr.splitlines() if line.startswith("up: ")] == said


def compose_hashes(clone: Path) -> dict[str, str]:
    """The hash of each service's configuration in `make up`; Compose recreates a container if it differs."""
    up = make(clone, "up", REAL=str(shutil.which("docker")))
    assert up.returncode == 0, up.stderr
    return dict(re.findall(r"^([\w-]+) ([0-9a-f]{64})$", up.stdout, re.MULTILINE))


@pytest.mark.parametrize("file", MOUNTED)
def test_make_up_recreates_the_services_whose_mounted_file_changed_and_no_others(clone: Path, file: str) -> None:
    need_compose()
    folder = clone / Path(file).parts[0]
    folder.unlink()
    shutil.copytree(ROOT / folder.name, folder)
    before = compose_hashes(clone)
    with (clone / file).open("a") as text:
        text.write("# changed\n")
    after = compose_hashes(clone)
    assert {name for name in after if after[name] != before[name]} == MOUNTED[file]


@pytest.mark.parametrize(
    ("programs", "named", "found"),
    [
        ({"python3": NEW}, "", "python3"),
        ({"python3": OLD, "python3.12": NEW}, "", "python3.12"),
        ({"python3": NO_VENV, "python3.11": NEW}, "", "python3.11"),
        ({"python3": NEW, "python3.13": NEW}, "python3.13", "python3.13"),
        ({}, "", "but python3 is not installed: name another"),
        ({"python3": OLD}, "", "but python3 is older: name another"),
        ({"python3": NEW}, "python3.13", "but python3.13 is not installed: name another"),
        ({"python3": NEW, "python3.13": NO_VENV}, "python3.13", "has no venv (install the package python3.13-venv)"),
    ],
)
def test_the_first_new_python_with_venv_is_used_or_the_reason_printed(
    root: Path, tmp_path: Path, programs: dict[str, str], named: str, found: str
) -> None:
    write_programs(tmp_path, **programs)
    command = ["/bin/sh", str(root / "lab/stack/python.sh"), *([named] if named else [])]
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    if found.startswith("python3"):
        assert (done.returncode, done.stdout.strip(), done.stderr) == (0, found, "")
    else:
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert found in done.stderr


@pytest.mark.parametrize("there", [{}, {"python3": OLD}, {"python3": NO_VENV}])
def test_a_machine_without_a_new_python_gets_one(clone: Path, there: dict[str, str]) -> None:
    (clone / ".venv/lab").unlink()
    tools = clone / "tools"
    write_programs(tools, **there)
    for name in TOOLS:
        (tools / name).symlink_to(shutil.which(name) or "")
    script = f"#!/bin/sh\necho install.sh $*\ncat >{tools}/python3.11 <<'E'\n{NEW}E\nchmod 755 {tools}/python3.11\n"
    write_programs(
        clone / "lab/stack", **{"install.sh": script, "python.sh": (ROOT / "lab/stack/python.sh").read_text()}
    )
    done = make(clone, "venv", PATH=str(tools))
    assert done.returncode == 0, done.stderr
    # nothing else, because a stack in Docker needs nothing else here
    assert done.stdout.splitlines()[-2:] == ["install.sh --python", "venv of python3.11"]
    assert (clone / ".venv/lab").exists()


def test_a_distribution_whose_programs_are_too_old_is_rejected_before_anything_is_installed(
    root: Path, tmp_path: Path
) -> None:
    policy = "#!/bin/sh\necho '  Candidate: '$([ $2 = prometheus ] && echo 2.31.2+ds1-1 || echo 5:7.0.15)\n"
    write_programs(tmp_path, **{"apt-get": f"#!/bin/sh\necho $* >>{tmp_path}/asked\n", "apt-cache": policy})
    write_programs(tmp_path, sudo='#!/bin/sh\nexec "$@"\n', python3=NEW)
    for name in ("dirname", "dpkg", "dpkg-query", "grep", "id", "ls", "sed"):
        (tmp_path / name).symlink_to(shutil.which(name) or pytest.skip(f"{name} is not installed"))
    command = ["/bin/sh", str(root / "lab/stack/install.sh")]
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "install: prometheus is 2.31.2+ds1-1 in this distribution, and the native stack needs 2.33: use Docker"
        " (make up), or Debian 12 or Ubuntu 24.04\n"
    )
    assert (tmp_path / "asked").read_text() == "update -qq\n"


def test_the_installation_requires_the_same_versions_as_the_doctor(root: Path) -> None:
    script = (root / "lab/stack/install.sh").read_text()
    (pairs,) = re.findall(r"^for oldest in (.*); do$", script, re.MULTILINE)
    # Debian's version of Redis has an epoch, 5:
    versions = {pair.split(":")[0]: pair.rsplit(":", 1)[1] for pair in pairs.split()}
    assert versions == {name: ".".join(map(str, version)) for name, version in OLDEST_WORKING.items()}


def test_the_readme_names_the_oldest_compose(root: Path) -> None:
    assert f"Compose from {'.'.join(map(str, OLDEST_COMPOSE))} on" in (root / "README.md").read_text()
