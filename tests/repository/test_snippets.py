"""Every block of code in the documentation is valid in its language, and what can run does."""

import configparser
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from lab.alerts.faults import faults
from lab.alerts.thresholds import load_thresholds
from lab.load.definition import define
from testbed import Postgres
from tests.repository.snippets import (
    NOT_RUN,
    PAGES,
    ROOT,
    RUN_ALONE,
    RUN_ON_STACK,
    Block,
    all_blocks,
    blocks,
    commands,
    scripts,
)

TABLED = Counter([*RUN_ALONE, *RUN_ON_STACK, *(each for group in NOT_RUN.values() for each in group)])
TUTORIAL = ROOT / "docs/tutorial.md"


def check_yaml(text: str, _folder: Path) -> None:
    """Parses it. What stands below a comment with a file's name has only keys that this file has."""
    names, parts = re.findall(r"^# (\S+\.yml)", text, re.MULTILINE), re.split(r"^# \S+\.yml.*\n", text, flags=re.M)
    for name, part in zip(["", *names], parts, strict=True):
        for key, value in (yaml.safe_load(part) or {}).items():
            if (ROOT / name).is_file():
                assert value.keys() <= _keys(ROOT / name, key), f"{name} has other keys in {key}"


def _keys(file: Path, name: str) -> set[str]:
    """The keys of an entry and of those beside it; in a catalog they are below `alerts`."""
    content = yaml.safe_load(file.read_text())
    entries = content.get("alerts", content)
    assert name in entries, f"{file.name} has no {name}"
    return {key for entry in entries.values() for key in entry}


def check_toml(text: str, folder: Path) -> None:
    """Parses it as the profile of a load; no other TOML is in the documentation."""
    tomllib.loads(text)
    (folder / "mine.toml").write_text(text)
    define(str(folder / "mine.toml"))


def check_ini(text: str, _folder: Path) -> None:
    """Parses it."""
    configparser.ConfigParser().read_string(text)


def check_shell(text: str, _folder: Path) -> None:
    """Parses it."""
    done = subprocess.run(["sh", "-n"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def check_python(text: str, folder: Path) -> None:
    """Runs it."""
    done = subprocess.run([sys.executable, "-c", text], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def check_promql(text: str, folder: Path) -> None:
    """Parses each expression; a line that begins with blanks continues the one before."""
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed")
    expressions = text.replace("\n ", " ").splitlines()
    rules = [{"record": f"snippet:{number}", "expr": each} for number, each in enumerate(expressions)]
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "snippet", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", folder / "rules.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


CHECKS: dict[str, Callable[[str, Path], None]] = {
    "ini": check_ini,
    "promql": check_promql,
    "python": check_python,
    "sh": check_shell,
    "toml": check_toml,
    "yaml": check_yaml,
}


@pytest.mark.parametrize("language", [each for each in CHECKS if each not in ("promql", "python")])
def test_every_block_is_valid(language: str, tmp_path: Path) -> None:
    found = all_blocks(language)
    assert found
    for block in found:
        try:
            CHECKS[language](block.text, tmp_path)
        except Exception as error:
            raise AssertionError(str(block)) from error


def test_every_block_of_promql_is_valid(tmp_path: Path) -> None:
    found = all_blocks("promql")
    assert len(found) > 40
    check_promql("".join(block.text for block in found), tmp_path)


def test_every_statement_of_sql_is_accepted(postgres: Postgres) -> None:
    name = postgres.new_database().rpartition("/")[2]
    found = all_blocks("sql")
    assert found
    for block in found:
        postgres.sql(block.text.replace("DATABASE todo", f"DATABASE {name}"), "postgres")


def test_every_block_has_a_language_that_is_checked() -> None:
    # without a language: what a command prints, and lists of files
    others: list[Block] = [each for page in PAGES for each in blocks(page) if each.language not in {*CHECKS, "sql"}]
    assert [str(each) for each in others if each.language not in ("", "text")] == []


def test_a_step_of_a_workflow_is_valid_shell(tmp_path: Path) -> None:
    for where, script in scripts():
        try:
            check_shell(script, tmp_path)
        except AssertionError as error:
            raise AssertionError(where) from error


def test_every_command_runs_in_a_test_or_has_a_reason_why_not() -> None:
    found = {each.text: each.where for each in commands()}
    assert {text: where for text, where in found.items() if text not in TABLED} == {}, (
        "see tests/repository/snippets.py"
    )
    assert TABLED.keys() - found.keys() == set(), "no longer in the documentation"
    assert [text for text, count in TABLED.items() if count > 1] == []


def test_commands_that_need_no_stack_run(tmp_path: Path) -> None:
    for name in ("thresholds.yml", "recordings/drill-RedisNodeDown.om.xz"):
        (tmp_path / "alerts" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "alerts" / name, tmp_path / "alerts" / name)
    path = f"{ROOT / '.venv/bin'}:/usr/local/bin:/usr/bin:/bin"
    for command, status in RUN_ALONE.items():
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=tmp_path,
            env={"PATH": path, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == status, (command, done.stderr)


def test_the_tutorial_changes_a_threshold_and_shows_the_message_of_an_invalid_one(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(ROOT / "alerts", tmp_path / "alerts", ignore=shutil.ignore_patterns("recordings")))
    before = load_thresholds(folder)["LatencyP99High"].threshold
    first, second = (command for command in RUN_ALONE if command.startswith("sed"))
    subprocess.run(first, shell=True, cwd=tmp_path, check=True)
    after = load_thresholds(folder)["LatencyP99High"].threshold
    assert f"{before:g} → {after:g}" in TUTORIAL.read_text()
    subprocess.run(second, shell=True, cwd=tmp_path, check=True)
    [said] = faults(folder, with_files=False)
    assert f"glasshouse reload: {said}\n" in TUTORIAL.read_text()


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("ini", "todo = 1\n"),
        ("promql", "sum(rate(up))\n"),
        ("python", "import nothing_of_that_name\n"),
        ("sh", "if true; then\n"),
        ("toml", "nothing = 1\n"),
        ("yaml", "a: [1\n"),
        ("yaml", "# alerts/thresholds.yml\nLatencyP99High: {nothing: 1}\n"),
    ],
)
def test_an_invalid_block_is_found(language: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011
        CHECKS[language](text, tmp_path)


def test_a_valid_block_of_python_runs(tmp_path: Path) -> None:
    check_python("print(1)\n", tmp_path)
