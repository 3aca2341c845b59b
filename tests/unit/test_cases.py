"""Each row of ../shared/cases.md, inputs that failed on the product once, has a test: `grep -rn 'case("KIND")' tests`."""

import re
from pathlib import Path

import pytest

MARKER = re.compile(r"mark\.case\(\s*\"([^\"]+)\"")


@pytest.fixture(scope="module")
def kinds(root: Path) -> set[str]:
    """The first column of the table."""
    page = root.parent / "shared/cases.md"
    if not page.exists():
        pytest.skip("../shared/cases.md is not beside this clone")
    rows = [line.split("|")[1].strip() for line in page.read_text().splitlines() if line.startswith("| ")]
    return set(rows) - {"kind", "---"}


def test_every_row_has_a_test_and_every_marked_test_a_row(kinds: set[str], root: Path) -> None:
    marked = {kind for file in root.glob("tests/**/test_*.py") for kind in MARKER.findall(file.read_text())}
    assert len(kinds) > 40
    assert kinds - marked == set(), "rows without a test"
    assert marked - kinds == set(), "markers that name no row"
