"""The wheel, installed outside a clone, as by `pipx install`."""

import json
import os
import site
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import httpx
import pytest

from tests.stack.stacks import NativeStack


class Installed:
    """The command `glasshouse` of an installed wheel, run in a new folder."""

    def __init__(self, wheel: Path, environment: Path, folder: Path) -> None:
        self.wheel, self.folder = wheel, folder
        self.command = environment / "bin" / "glasshouse"

    def __call__(self, *arguments: str, timeout: float = 120, **settings: str) -> subprocess.CompletedProcess[str]:
        variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return subprocess.run(
            [self.command, *arguments],
            cwd=self.folder,
            env={**variables, **settings},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


@pytest.fixture(scope="module")
def installed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel in an environment of its own, with its dependencies from the environment of the tests."""
    place = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    build = ["wheel", "--no-index", "--no-deps", "--no-build-isolation", "-w", str(place), str(root)]
    subprocess.run([*pip, *build], check=True, capture_output=True)
    (wheel,) = place.glob("*.whl")
    environment = place / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    install = [f"--python={python}", "install", "--no-index", "--no-deps", str(wheel)]
    subprocess.run([*pip, *install], check=True, capture_output=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    # (.pth files in a folder that is itself added by a .pth file are not read, so that the clone is not importable)
    (packages / "needed.pth").write_text("\n".join(site.getsitepackages()))
    folder = place / "an empty folder"
    folder.mkdir()
    return Installed(wheel, environment, folder)


def test_the_wheel_has_what_the_command_reads_and_no_developer_tools(installed: Installed) -> None:
    names = zipfile.ZipFile(installed.wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"lab", "service"}
    carried = {name.removeprefix("lab/carried/") for name in names if name.startswith("lab/carried/")}
    assert {"alerts/thresholds.yml", "gateway/nginx.conf", "redis/cluster.sh", ".env.example"} <= carried
    assert "observability/grafana/dashboards/overview.json" in carried
    assert [name for name in carried if name.startswith(("alerts/tests", "observability/dashboards"))] == []
    assert [name for name in names if name.endswith("Dockerfile")] == []
    developers = ("lab/manifests/", "lab/alerts/index.py", "lab/viewer/pictures.py", "lab/viewer/chromium.py")
    assert [name for name in names if name.startswith(developers)] == []


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--help"], 0, "Start the Glasshouse stack"),
        (["tune", "--no-history"], 0, "0 false"),
        (["load", "--help"], 0, "ramp"),
        (["runs"], 0, ""),
        (["down"], 0, "no native stack is running in"),
        (["alerts"], 2, "is the stack up? `glasshouse up` starts it"),
    ],
)
def test_its_commands_work_from_an_empty_folder(
    installed: Installed, arguments: list[str], status: int, said: str
) -> None:
    done = installed(*arguments, PROMETHEUS_PORT="9")
    assert (done.returncode, said in done.stdout + done.stderr) == (status, True), done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_version_of_the_wheel_matches_the_project_and_the_service(installed: Installed, root: Path) -> None:
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    assert installed("--version").stdout.strip().endswith(f"version {version}")
    assert f'"{version}"' in (root / "service/__init__.py").read_text()


def test_the_image_of_the_service_has_what_the_wheel_needs_for_it(root: Path) -> None:
    needed = tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]
    named = [line for line in (root / "requirements/service.in").read_text().splitlines() if not line.startswith("#")]
    assert [each.split(">=")[0] for each in needed[: len(named)]] == named


@pytest.mark.long
@pytest.mark.stack
def test_the_native_stack_starts_from_the_wheel(installed: Installed) -> None:
    stack = NativeStack(installed.folder / ".stack")
    ports = {name: value for name, value in stack.environment.items() if name.endswith("_PORT")}
    (installed.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in ports.items()))
    try:
        up = installed("up", timeout=240)
        assert up.returncode == 0, up.stdout + up.stderr
        assert f"logs are in {installed.folder}/.stack/log" in up.stdout
        made = httpx.post(f"{stack.gateway}/tasks", json={"task": "Carried"}, trust_env=False)
        assert made.status_code == 201
        page = httpx.get(f"http://127.0.0.1:{ports['VIEWER_PORT']}/", trust_env=False, follow_redirects=True)
        assert page.status_code == 200
        load = installed("load", "smoke", timeout=120)
        assert load.returncode in (0, 1), load.stdout + load.stderr
        (run,) = (installed.folder / "runs").glob("*/run.json")
        assert json.loads(run.read_text())["versions"]["commit"] == "none: installed from a wheel"
    finally:
        down = installed("down")
    assert "has stopped" in down.stdout
