"""No test is longer than sixty lines, and none fails because the machine is slow."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import conditions

MAX_LINES = 60


def _tests_of(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node


def test_no_test_is_longer_than_sixty_lines(root: Path) -> None:
    lengths = {
        f"{file.relative_to(root)}: {test.name}": (test.end_lineno or 0) - test.lineno + 1
        for file in (root / "tests").rglob("test_*.py")
        for test in _tests_of(file)
    }
    assert len(lengths) > 500
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


@pytest.mark.parametrize(("load", "seconds"), [(0.1, 10), (1.0, 10), (3.0, 30), (30.0, 50)])
def test_a_wait_has_a_higher_limit_on_a_busy_machine(
    monkeypatch: pytest.MonkeyPatch, load: float, seconds: float
) -> None:
    monkeypatch.setattr(conditions.os, "getloadavg", lambda: (load * conditions.CORES, 0.0, 0.0))
    assert conditions.patient(10) == pytest.approx(seconds)
