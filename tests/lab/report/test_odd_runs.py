"""Unusual files of runs: shown as meant, or rejected with one line."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from lab.loadtest.results import write_junit
from lab.report.command import report
from lab.report.command import runs as runs_command
from lab.report.compare import compare
from lab.runs.record import UnreadableRunError, load, save
from lab.runs.tally import Failure
from tests.lab.command_line import invoke
from tests.lab.report.made_run import run

SEED = 19


def write_run(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Writes a run with one change to its record."""
    folder.mkdir(parents=True)
    save(run(), folder)
    written = json.loads((folder / "run.json").read_bytes())
    change(written)
    (folder / "run.json").write_text(json.dumps(written))


@pytest.mark.parametrize("text", ["", "AAAA", "!!!", "é", "HISTFAAAACx42pNpmSzMwMDAxAABzFCaEUoz2X+AsUAA"])
def test_a_run_with_an_invalid_histogram_is_named_and_the_others_are_listed(tmp_path: Path, text: str) -> None:
    write_run(tmp_path / "a-good", lambda written: None)
    write_run(tmp_path / "b-bad", lambda written: written["seconds"][0].update(reads=text))
    listed = invoke(runs_command, "--runs", str(tmp_path)).output
    assert "1970-01-01 00:00:00" in listed
    assert "b-bad" in listed
    with pytest.raises(UnreadableRunError, match="not readable"):
        load("b-bad", tmp_path)


def test_a_run_of_a_newer_version_is_reported_as_such(tmp_path: Path) -> None:
    write_run(tmp_path / "later", lambda written: written.update(format=99))
    with pytest.raises(UnreadableRunError, match="a later version"):
        load("later", tmp_path)


@pytest.mark.parametrize("began", [1e300, -1e14])
def test_a_time_outside_the_calendar_is_shown_as_a_number(tmp_path: Path, began: float) -> None:
    write_run(tmp_path / "odd", lambda written: written.update(began=began))
    assert f"{began:g}" in invoke(runs_command, "--runs", str(tmp_path)).output
    assert invoke(report, "odd", "--draw", "--runs", str(tmp_path)).exit_code == 0


def test_a_run_without_a_complete_second_cannot_be_compared() -> None:
    assert compare(run(), run(seconds=[])) == []


def test_a_name_with_brackets_is_shown_as_it_is(tmp_path: Path) -> None:
    write_run(tmp_path / "[red]x", lambda written: written.update(id="[/nope]", profile="[bold]"))
    for arguments in (["[red]x"], ["[red]x", "[red]x"]):
        done = invoke(report, *arguments, "--runs", str(tmp_path))
        assert "[/nope]" in done.output or "[bold]" in done.output
    assert "[red]x" in invoke(report, "[red]x", "--runs", str(tmp_path)).output.replace("\n", "")


def test_pruning_does_not_touch_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("runs", "backup"):
        write_run(tmp_path / folder / "one", lambda written: None)
    monkeypatch.chdir(tmp_path / "backup")
    invoke(runs_command, "--prune", "0", "--runs", str(tmp_path / "runs"))
    assert (tmp_path / "backup/one/run.json").exists()
    assert not (tmp_path / "runs/one").exists()


def test_junit_is_well_formed_for_any_server_response(tmp_path: Path) -> None:
    failures = {"GET /tasks: status 500": Failure(1, "\x00\x1b[31m\ufffe \U0001f600 <&>")}
    write_junit(run(failures=failures), tmp_path / "junit.xml")
    said = ElementTree.parse(tmp_path / "junit.xml").getroot().findtext("testsuite/system-out")
    assert said is not None
    assert "\ufffd\ufffd[31m\ufffd \U0001f600 <&>" in said


def test_fuzzed_run_records_are_listed_or_named(tmp_path: Path) -> None:
    chance, readable = random.Random(SEED), 0
    odd: tuple[Any, ...] = (None, [], {}, -1, 0, 1e300, 10**30, "", "[/red]", "\x00", True, ["x"], {"a": 1})

    def change(written: dict[str, Any]) -> None:
        """A value at a random place changed or removed."""
        place: Any = written
        while True:
            key = chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
            if isinstance(place[key], dict | list) and place[key] and chance.randrange(3):
                place = place[key]
            elif isinstance(place, dict) and not chance.randrange(4):
                del place[key]
                return
            else:
                place[key] = chance.choice(odd)
                return

    for number in range(120):
        folder = tmp_path / f"{number:03}"
        write_run(folder, change)
        try:
            load(str(folder))
        except UnreadableRunError:
            continue
        readable += 1
        done = invoke(report, str(folder), "--draw", "--runs", str(tmp_path))
        assert done.exit_code == 0, done.output
    assert 10 < readable < 110
    listed = invoke(runs_command, "--runs", str(tmp_path)).output
    assert listed.count("run.json is not readable") >= 1
