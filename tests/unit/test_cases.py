"""Each row of ../shared/cases.md, inputs that failed on the product once, has a test.

`python -m tests.cases` names it.
"""

from pathlib import Path

import pytest

from tests.cases import by_kind


@pytest.fixture(scope="module")
def kinds(root: Path) -> set[str]:
    """The first column of the table."""
    page = root.parent / "shared/cases.md"
    if not page.exists():
        pytest.skip("../shared/cases.md is not beside this clone")
    rows = [line.split("|")[1].strip(" `") for line in page.read_text().splitlines() if line.startswith("| ")]
    return set(rows) - {"kind", "---"}


def test_every_row_has_a_test(kinds: set[str], root: Path) -> None:
    found = by_kind(root)
    assert len(kinds) > 40
    assert kinds - found.keys() == set()


def test_the_command_names_tests_that_there_are(root: Path) -> None:
    for kind, names in by_kind(root).items():
        for name in names:
            file, _, test = name.partition("::")
            assert f"def {test}(" in (root / file).read_text() or file.startswith("alerts/"), (kind, name)
