"""What a run's report, comparison and results say."""

import re
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from click.testing import CliRunner

from lab.loadtest.results import write_json, write_junit
from lab.report.command import runs as runs_command
from lab.report.compare import compare, oddities
from lab.report.counts import count_lines
from lab.report.inside import rise
from lab.report.summary import breakpoint_fact, facts
from lab.runs.check import Check
from lab.runs.record import (
    FORMAT,
    Inside,
    UnreadableRunError,
    load,
    names,
    run_id,
    save,
)
from lab.runs.tally import Failure
from tests.lab.report.made_run import run, seconds


def test_two_runs_of_the_same_code_do_not_differ_beyond_noise() -> None:
    false_alarms = [
        change.name for seed in range(6) for change in compare(run(seed), run(seed + 100)) if change.is_real
    ]
    assert false_alarms == []


def test_a_run_that_is_slower_by_half_with_fewer_hits_is_worse() -> None:
    changes = {change.name: change for change in compare(run(1), run(2, slower=1.5, hit_ratio=0.0))}
    assert changes["reads p50"].is_worse
    assert changes["writes p95"].is_worse
    assert changes["hit ratio"].is_worse
    assert not changes["answered"].is_real
    back = {change.name: change for change in compare(run(2, slower=1.5), run(1))}
    assert back["reads p50"].is_real
    assert not back["reads p50"].is_worse


def test_a_run_that_was_saved_is_read_again(tmp_path: Path) -> None:
    folder = tmp_path / "20260101-000000-steady"
    folder.mkdir()
    whole = run()
    save(whole, folder)
    assert load(folder.name, tmp_path) == whole
    assert names(tmp_path) == [folder.name]
    assert msgspec.json.decode((folder / "run.json").read_bytes())["format"] == FORMAT


def test_a_run_of_an_older_version_is_reported_as_such(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "run.json").write_text('{"format": 1}')
    with pytest.raises(UnreadableRunError, match="old: was written by an earlier version"):
        load("old", tmp_path)


@pytest.mark.case("time")
def test_run_ids_sort_by_time_across_time_zones_and_are_unique(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []
    for began, zone in (
        (1_795_000_000.0, "Asia/Tokyo"),
        (1_795_000_001.0, "America/New_York"),
        (1_795_000_001.0, "UTC"),
    ):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        made.append(run_id(began, "ramp"))
    monkeypatch.undo()
    time.tzset()
    assert made[0] < made[1]
    assert made[0].startswith("20261118-110640-ramp-")
    assert len(set(made)) == 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "the three counts agree"),
        ({"gateway_requests": 2002, "requests": 2002}, "the gateway counted 2 more than was sent"),
        ({"gateway_requests": 1999, "requests": 1999}, "the gateway counted 1 fewer than was sent"),
        ({"requests": 2003, "retries": 3}, "the service counted 3 more than the gateway: the gateway tried 3 a second"),
        ({"requests": 1990}, "the service counted 10 fewer than the gateway"),
        (
            {"gateway_requests": 2500, "requests": 2500, "other_runs": {"b": 500}},
            "500 of the counted requests were sent by run b",
        ),
    ],
)
def test_the_report_explains_differences_between_the_three_counts(changes: dict[str, Any], said: str) -> None:
    inside = Inside(**{"gateway_requests": 2000, "requests": 2000, **changes})
    lines = count_lines(run(inside=inside))
    assert any(said in line for line in lines), lines
    assert len(lines) == 2


def test_unreported_requests_of_a_lost_worker_are_named_as_a_cause() -> None:
    inside = Inside(gateway_requests=2011, requests=2011)
    lines = count_lines(run(inside=inside, lost_workers=["worker 2 of 2 was lost at 7 s"]))
    assert lines[1].startswith(
        "the gateway counted 11 more than was sent: requests of a load process that ended before"
    )


def test_failures_are_grouped_and_lost_workers_and_limits_are_named() -> None:
    lines = facts(
        run(
            failures={"GET /tasks: redirect": Failure(7, "status 302 to http://a/")},
            lost_workers=["worker 2 of 2 was lost at 12 s"],
            limit="generator",
            checks=[Check("dropped requests", "3", "none", False)],
        )
    )
    assert "failed: 7 x GET /tasks: redirect (such as: status 302 to http://a/)" in lines
    assert "worker 2 of 2 was lost at 12 s" in lines
    assert any(line.startswith("the generator was measured, not the service") for line in lines)
    assert "missed: dropped requests 3 (none)" in lines


def test_a_run_that_lost_a_worker_or_was_cut_short_is_not_met() -> None:
    assert run().met
    assert not run(lost_workers=["worker 1 of 2 was lost at 3 s"]).met
    assert not run(cut_short="stopped by SIGINT").met


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"found": 235.0}, "hold up to 235"),
        ({"found": 235.0, "collapsed": 305.0}, "last held at 235 requests a second; at 305 the service collapsed"),
        ({"found": 235.0, "cut_short": "stopped by SIGINT"}, "last held at 235 .*cut short"),
        ({}, "missed at the first rate"),
        ({"cut_short": "stopped by SIGINT"}, "ended before any rate held"),
    ],
)
def test_a_search_reports_the_last_rate_that_held(changes: dict[str, Any], said: str) -> None:
    assert re.search(said, breakpoint_fact(run(is_search=True, **changes)))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"profile": "ramp"}, "the profiles differ: steady and ramp"),
        ({"cut_short": "stopped by SIGINT"}, "was cut short: stopped by SIGINT"),
        ({"seconds": seconds(2, length=1)}, "lasted 1.0 s: too short"),
        ({"lost_workers": ["worker 1 of 2 was lost at 3 s"]}, "worker 1 of 2 was lost"),
        ({"limit": "generator"}, "measured the generator"),
    ],
)
def test_reasons_that_runs_are_not_comparable_are_reported(other: dict[str, Any], said: str) -> None:
    (line,) = oddities(run(1), run(2, **other))
    assert said in line
    assert not oddities(run(1), run(2))


def test_junit_and_json_have_a_case_for_each_check(tmp_path: Path) -> None:
    checks = [Check("failed requests", "0", "none", True), Check("p99<200ms", "312.0 ms", "p99<200ms", False)]
    made = run(checks=checks)
    write_junit(made, tmp_path / "junit.xml")
    write_json(made, tmp_path / "run.json")
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("4", "1")
    failed = [case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None]
    assert failed == ["p99<200ms"]
    summary = msgspec.json.decode((tmp_path / "run.json").read_bytes())
    assert summary["met"] is False
    assert summary["offered"] == summary["answered"] + summary["failed"] + summary["dropped"]


@pytest.mark.parametrize("content", [None, "{", "{}"])
def test_an_invalid_run_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "broken").mkdir()
        (tmp_path / "broken" / "run.json").write_text(content)
    with pytest.raises(UnreadableRunError, match="broken"):
        load("broken", tmp_path)


class FakePrometheus:
    def __init__(self, *series: list[tuple[float, float]]) -> None:
        self._series = series

    def get(self, path: str, **params: Any) -> Any:
        return {
            "result": [
                {"metric": {"n": str(number)}, "values": [[at, str(value)] for at, value in points]}
                for number, points in enumerate(self._series)
            ]
        }


@pytest.mark.parametrize(
    ("points", "risen"),
    [
        ([(5, 10), (15, 14), (20, 17)], 7),
        ([(15, 14), (20, 17)], 17),
        ([(5, 10), (15, 14), (20, 2), (25, 3)], 7),
        ([(5, 10)], 0),
    ],
    ids=["counts on", "was not there before", "began again at 0", "stood still"],
)
def test_a_rise_is_read_from_raw_samples_exactly(points: list[tuple[float, float]], risen: float) -> None:
    assert list(rise(FakePrometheus(points), "x", 10, 30).values()) == [risen]  # type: ignore[arg-type]


def test_pruning_keeps_the_newest_runs(tmp_path: Path) -> None:
    for day in ("20260101", "20260103", "20260102"):
        (tmp_path / f"{day}-smoke").mkdir()
        (tmp_path / f"{day}-smoke/run.json").write_text("{}")
    (tmp_path / "notes").mkdir()
    outcome = CliRunner().invoke(runs_command, ["--prune", "2", "--runs", str(tmp_path)])
    assert outcome.output.startswith("runs: removed 1, kept 2")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["20260102-smoke", "20260103-smoke", "notes"]
    assert CliRunner().invoke(runs_command, ["--prune", "-1", "--runs", str(tmp_path)]).exit_code == 2
