"""No test is longer than sixty lines."""

import ast
from collections.abc import Iterator
from pathlib import Path

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
