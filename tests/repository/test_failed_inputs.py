"""Each row of ../shared/cases.md has a cause and a test; `python -m tests.repository.failed_inputs` prints them."""

from pathlib import Path

import pytest

from tests.repository.failed_inputs import CAUSES, named_tests, rows


def test_every_kind_has_a_cause_with_an_existing_file_and_a_test(root: Path) -> None:
    assert {kind: cause for kind, cause in CAUSES.items() if not (root / cause).is_file()} == {}
    assert named_tests(root).keys() == CAUSES.keys()


def test_every_row_of_the_table_has_a_cause_and_every_cause_a_row(root: Path) -> None:
    page = root.parent / "shared/cases.md"
    if not page.exists():
        pytest.skip("../shared/cases.md is not beside this clone")
    kinds = [kind for kind, _ in rows(page.read_text())]
    assert len(kinds) > 40
    assert set(kinds) == CAUSES.keys()


def test_every_test_of_a_case_exists(root: Path) -> None:
    for kind, names in named_tests(root).items():
        for name in names:
            file, _, test = name.partition("::")
            text = (root / file).read_text()
            assert f"def {test}(" in text or f"- name: {test}" in text.replace('"', ""), (kind, name)


def test_rows_are_distinguished_by_their_input() -> None:
    head = ["# Inputs", "| kind | input | seen | right |", "| --- | --- | --- | --- |"]
    page = [*head, "| a | `x` | 1 | 2 |", "| a | y | 1 | 2 |", "| `.b` | z | 1 | 2 |", ""]
    assert rows("\n".join(page)) == [("a", "`x`"), ("a", "y"), (".b", "z")]


def test_a_marker_is_found_in_a_parametrize_table(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_x.py").write_text(
        "import pytest\n"
        "ODD = pytest.mark.case('odd, one')\n"
        "TABLE = [pytest.param(1, marks=ODD), ('misbehaves', 'kind')]\n"
        "@pytest.mark.parametrize(('a', 'kind'), TABLE)\n"
        "@pytest.mark.case('another')\n"
        "def test_it(a): ...\n"
        "def test_no_row(): ...\n"
    )
    (tmp_path / "alerts/tests").mkdir(parents=True)
    (tmp_path / "alerts/tests/a.yml").write_text('tests:\n  # case: odd, one\n  - name: "A fires: at once"\n')
    assert named_tests(tmp_path) == {
        "odd, one": ["tests/test_x.py::test_it", "alerts/tests/a.yml::A fires: at once"],
        "another": ["tests/test_x.py::test_it"],
    }
