"""The recording rules, with promtool."""

import subprocess
from pathlib import Path

import pytest

RULES = "observability/prometheus/rules"


def _promtool(root: Path, *arguments: str) -> str:
    done = subprocess.run(["promtool", *arguments], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_lints_the_recording_rules(root: Path) -> None:
    files = sorted(str(file.relative_to(root)) for file in (root / RULES).glob("*.yml"))
    assert _promtool(root, "check", "rules", "--lint=all", "--lint-fatal", *files).count("SUCCESS") == len(files)


@pytest.mark.case("no data")
def test_recording_rules_pass_their_promtool_cases(root: Path) -> None:
    _promtool(root, "test", "rules", "tests/observability/recording.yml")


def test_every_rule_file_is_tested(root: Path) -> None:
    tested = (root / "tests/observability/recording.yml").read_text()
    assert all(f"rules/{file.name}" in tested for file in (root / RULES).glob("*.yml"))
