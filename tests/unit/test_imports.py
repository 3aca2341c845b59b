"""Allowed imports: the contracts of import-linter in pyproject.toml."""

from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports


def test_no_room_imports_one_that_it_must_not_know() -> None:
    assert lint_imports(no_cache=True) == EXIT_STATUS_SUCCESS
