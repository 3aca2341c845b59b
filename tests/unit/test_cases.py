"""Each row of ../shared/cases.md, inputs that failed on the product once, has a test.

To find it: `grep -rnF '"KIND"' tests` finds `pytest.mark.case("KIND")`, and promtool's cases have `# case: KIND`.
"""

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def kinds(root: Path) -> set[str]:
    """The first column of the table."""
    page = root.parent / "shared/cases.md"
    if not page.exists():
        pytest.skip("../shared/cases.md is not beside this clone")
    rows = [line.split("|")[1].strip(" `") for line in page.read_text().splitlines() if line.startswith("| ")]
    return set(rows) - {"kind", "---"}


def test_every_row_has_a_test(kinds: set[str], root: Path) -> None:
    marked = [text for file in root.glob("tests/**/test_*.py") if "mark.case(" in (text := file.read_text())]
    commented = [file.read_text() for file in root.glob("alerts/tests/*.yml")]
    named = {kind for kind in kinds if any(f'"{kind}"' in text for text in marked)}
    named |= {kind for kind in kinds if any(f"# case: {kind}\n" in text for text in commented)}
    assert len(kinds) > 40
    assert kinds - named == set()
