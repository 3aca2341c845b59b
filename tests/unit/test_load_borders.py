"""Who may know whom in the lab's load and report."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# package → what it must not import
STRANGERS = {
    "lab/load": ("lab.report", "lab.loadtest", "service"),
    "lab/report": ("lab.load", "lab.loadtest", "service"),
    "lab/loadtest": ("service",),
    "lab/runs": ("lab.load", "lab.report", "lab.loadtest", "service"),
}


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("package", STRANGERS)
def test_a_package_imports_none_that_it_must_not_know(package: str) -> None:
    strangers = STRANGERS[package]
    found = [
        f"{file.relative_to(ROOT)}: {name}"
        for file in sorted((ROOT / package).rglob("*.py"))
        for name in imports(file)
        if any(name == stranger or name.startswith(f"{stranger}.") for stranger in strangers)
    ]
    assert not found
