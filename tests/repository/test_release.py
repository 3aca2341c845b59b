"""The release workflow: its references exist, its steps work on this repository, its images match the manifests."""

import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.manifests.digests import OUR_OWN


@pytest.fixture(scope="module")
def jobs(root: Path) -> dict[str, Any]:
    """The jobs of the release workflow."""
    found: dict[str, Any] = yaml.safe_load((root / ".github/workflows/release.yml").read_text())["jobs"]
    return found


def step(jobs: dict[str, Any], job: str, name: str) -> str:
    """The shell script of the step whose name starts with this text."""
    (found,) = (each["run"] for each in jobs[job]["steps"] if each.get("name", "").startswith(name))
    assert isinstance(found, str)
    return found


def run(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a step as GitHub does."""
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def version(root: Path) -> str:
    found: str = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    return found


@pytest.fixture
def released(root: Path, tmp_path: Path) -> Path:
    """The files with the version, as they are when 1.2.3 is tagged."""
    (tmp_path / "service").mkdir()
    for name in ("pyproject.toml", "service/__init__.py"):
        text = (root / name).read_text()
        assert version(root) in text
        (tmp_path / name).write_text(text.replace(version(root), "1.2.3"))
    changes = (root / "CHANGELOG.md").read_text()
    assert "## Unreleased\n" in changes
    (tmp_path / "CHANGELOG.md").write_text(changes.replace("## Unreleased\n", "## 1.2.3\n"))
    return tmp_path


def test_a_tag_is_released_with_its_section_of_the_changelog(jobs: dict[str, Any], released: Path, root: Path) -> None:
    done = run(step(jobs, "wheel", "The tag is the version"), released, GITHUB_REF_NAME="v1.2.3")
    assert done.returncode == 0, done.stderr
    notes = (released / "notes.md").read_text()
    assert notes.strip() == (root / "CHANGELOG.md").read_text().split("\n## ")[1].partition("\n")[2].strip()


@pytest.mark.parametrize(
    ("tag", "file", "old", "new"),
    [
        ("v1.2.4", "pyproject.toml", "", ""),
        ("v1.2.3", "pyproject.toml", "1.2.3", "1.2.3.dev0"),
        ("v1.2.3", "service/__init__.py", "1.2.3", "1.2.2"),
        ("v1.2.3", "CHANGELOG.md", "## 1.2.3\n", "## Unreleased\n"),
    ],
)
def test_a_tag_that_is_not_the_version_or_has_no_section_is_rejected(
    jobs: dict[str, Any], released: Path, tag: str, file: str, old: str, new: str
) -> None:
    (released / file).write_text((released / file).read_text().replace(old, new))
    done = run(step(jobs, "wheel", "The tag is the version"), released, GITHUB_REF_NAME=tag)
    assert done.returncode != 0


def test_everything_that_the_workflow_runs_exists(jobs: dict[str, Any], root: Path) -> None:
    scripts = "\n".join(each.get("run", "") for job in jobs.values() for each in job["steps"])
    targets = re.findall(r"^([a-z0-9-]+):", (root / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"make ([a-z-]+)", scripts)) <= set(targets)
    # test_wheel.py does the same with the wheel
    assert "glasshouse tune --no-history --strict" in scripts
    for each in jobs["images"]["strategy"]["matrix"]["include"]:
        assert (root / each["file"]).is_file()


def test_the_released_images_are_those_of_the_manifests(jobs: dict[str, Any], root: Path, tmp_path: Path) -> None:
    names = [each["image"] for each in jobs["images"]["strategy"]["matrix"]["include"]]
    assert sorted(names) == sorted(OUR_OWN)
    output = tmp_path / "output"
    for name in names:
        script = step(jobs, "images", "The image's name").replace("${{ matrix.image }}", name)
        done = run(
            script, tmp_path, GITHUB_REPOSITORY_OWNER="An-Owner", GITHUB_REF_NAME="v1.2.3", GITHUB_OUTPUT=str(output)
        )
        assert done.returncode == 0, done.stderr
    # the names that `make k8s-digests REGISTRY=ghcr.io/an-owner` requests
    assert output.read_text() == "".join(f"name=ghcr.io/an-owner/{name}\ntag=1.2.3\n" for name in names)
    tags = set()
    for file in (root / "deploy/kubernetes").rglob("*.yaml"):
        tags |= set(re.findall(r"image: glasshouse-(?:todo|lab):(\S+)", file.read_text()))
    assert tags == {version(root)}
