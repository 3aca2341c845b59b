"""`python -m tests.cases`: the tests of each row of the table of cases, inputs that failed once, as a Markdown table.

They are found by `pytest.mark.case("KIND")` in the tests, and by `# case: KIND` in promtool's.
"""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMENT = re.compile(r"# case: (.+)")
TEST = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)


def by_kind(root: Path) -> dict[str, list[str]]:
    """The tests of each kind, as pytest names them; of promtool's, the file."""
    found: dict[str, list[str]] = {}
    for kind, name in [*_in_python(root), *_in_promtool(root)]:
        names = found.setdefault(kind, [])
        if name not in names:
            names.append(name)
    return found


def _in_python(root: Path) -> Iterator[tuple[str, str]]:
    for file in sorted(root.glob("tests/**/test_*.py")):
        text = file.read_text()
        for mark in re.finditer(r'mark\.case\("([^"]+)"\)|case="([^"]+)"', text):
            test = TEST.search(text, mark.end())
            yield mark[1] or mark[2], f"{file.relative_to(root)}" + (f"::{test[1]}" if test else "")
        if "mark.case(case)" in text:
            # named in a table of parameters, of which the last column is the kind
            for row in re.finditer(r'^    \(.*, "([^"]+)"\),$', text, re.MULTILINE):
                test = TEST.search(text, row.end())
                yield row[1], f"{file.relative_to(root)}" + (f"::{test[1]}" if test else "")


def _in_promtool(root: Path) -> Iterator[tuple[str, str]]:
    for file in sorted(root.glob("alerts/tests/*.yml")):
        for comment in COMMENT.finditer(file.read_text()):
            yield comment[1].strip(), f"{file.relative_to(root)}"


def main() -> None:
    """Prints the table."""
    print("| row | tests |")
    print("| --- | --- |")
    for kind, names in sorted(by_kind(ROOT).items()):
        print(f"| {kind} | {'<br>'.join(f'`{name}`' for name in names)} |")


if __name__ == "__main__":
    main()
