"""Every test is in the folder of what it tests, and pytest knows when to start it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import FOLDERS

# folders that are not named like the folder of the code
OTHER_NAMES = {
    "kubernetes": ("deploy/kubernetes", "lab/manifests"),
    "lab/load": ("lab/load", "lab/loadtest"),
    "repository": (".",),
    "stack": (".",),
}
# names with which a test starts a part as a process, or reads its files
STANDS_FOR = {
    "lab.alerts.thresholds.ALERTS": "alerts",
    "lab.panels.DASHBOARDS": "observability",
    "testbed.Gateway": "gateway",
    "testbed.RedisCluster": "redis",
    "testbed.Replica": "service",
    "testbed.replicas": "service",
    "testbed.tracestore": "lab/tracestore",
    "tests.stack.stacks.ClonedStack": "lab/stack",
    "tests.stack.stacks.NativeStack": "lab/stack",
}
# modules of `lab` that its rooms share
SHARED = ("lab.panels", "lab.prometheus", "lab.settings")


def imported(source: str) -> Iterator[str]:
    """The modules and names that a test file imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{each.name}" for each in node.names)


def rooms_of(source: str, root: Path) -> set[str]:
    """The folders of the code that a test file imports, starts as a process, or names in a string."""
    found = set()
    for name in imported(source):
        parts = name.removeprefix("tests.").split(".")
        found |= {room for module, room in STANDS_FOR.items() if f"{name}.".startswith(f"{module}.")}
        if not name.startswith(SHARED):
            is_room = len(parts) > 1 and parts[0] == "lab" and (root / "lab" / parts[1]).is_dir()
            found.add("/".join(parts[: 2 if is_room else 1]))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and (root / node.value[:200]).exists():
            found |= {str(parent) for parent in Path(node.value, "x").parents}
    return found


def complaint(folder: str, source: str, root: Path) -> str:
    """What is wrong with the folder of a test file; empty if nothing is."""
    if folder not in FOLDERS:
        return f"tests/{folder} is not in FOLDERS of tests/conftest.py"
    tested = OTHER_NAMES.get(folder, (folder,))
    if missing := [each for each in tested if not (root / each).is_dir()]:
        return f"there is no {missing[0]}"
    if tested == (".",) or rooms_of(source, root) & {*tested, folder}:
        return ""
    return f"nothing of {' or '.join(tested)} is used"


def test_every_test_is_in_the_folder_of_what_it_tests(root: Path) -> None:
    files = sorted((root / "tests").rglob("test_*.py"))
    assert len(files) > 100
    folders = {file: str(file.parent.relative_to(root / "tests")) for file in files}
    said = {str(file): complaint(folder, file.read_text(), root) for file, folder in folders.items()}
    assert {file: text for file, text in said.items() if text} == {}
    assert set(FOLDERS) == set(folders.values())


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        ("unit", "from lab.stack import native"),
        ("lab/desk", "from lab.stack import native"),
        ("lab/stack", "from lab.settings import LabSettings"),
        ("lab", "from lab.settings import LabSettings"),
        ("service", "from testbed import Gateway"),
        ("gateway", "from testbed import Replica"),
        ("observability", "from lab.panels import load_dashboards"),
    ],
)
def test_a_test_in_another_folder_is_found(folder: str, source: str, root: Path) -> None:
    assert complaint(folder, source, root)


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        ("lab/stack", "from lab.stack import native"),
        ("lab/load", "from lab.loadtest.command import load"),
        ("lab", "from lab import check"),
        ("service", "from testbed import Replica"),
        ("gateway", 'read("gateway/nginx.conf")'),
        ("stack", ""),
    ],
)
def test_a_test_in_its_folder_is_accepted(folder: str, source: str, root: Path) -> None:
    assert complaint(folder, source, root) == ""
