"""Allowed imports: the contracts of import-linter in pyproject.toml."""

from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports


def test_no_package_imports_one_that_its_contract_forbids() -> None:
    assert lint_imports(no_cache=True) == EXIT_STATUS_SUCCESS
