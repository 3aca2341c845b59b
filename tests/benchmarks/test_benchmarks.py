"""Statistics of the benchmarks, and their messages if they cannot run."""

import json
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import bench, report, wrk
from benchmarks.bench import Bench, CannotRun
from benchmarks.figures import Figure, differences, growth, percentile, ratios, spread
from benchmarks.guide import tree
from benchmarks.legs import CALM, Leg, Target, interleaved
from benchmarks.part import Part, Table
from benchmarks.requests import summary

PRINTED = """Running 3s test @ http://127.0.0.1:8000/tasks/1
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     7.91ms    2.11ms  41.36ms   93.70%
    Req/Sec     4.08k   372.21     4.64k    76.67%
  Latency Distribution
     50%  812.00us
     75%    8.11ms
     90%    9.50ms
     99%    1.20s
  12198 requests in 3.00s, 6.92MB read
Requests/sec:   4063.52
Transfer/sec:      2.31MB
"""


def test_the_output_of_wrk_is_parsed_with_latencies_in_milliseconds():
    # wrk pads one-letter units
    assert wrk.parse(PRINTED.replace("1.20s", "1.20s ")) == wrk.Outcome(12198, 4063.52, 0.812, 1200.0)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("  Non-2xx or 3xx responses: 7\n", "7 of 12198 requests were not answered with 2xx"),
        ("  Socket errors: connect 0, read 3, write 0, timeout 0\n", "read 3"),
    ],
)
def test_a_run_with_failed_requests_is_an_error(line: str, said: str):
    with pytest.raises(wrk.WrkError, match=said):
        wrk.parse(PRINTED.replace("Requests/sec", line + "Requests/sec"))


def test_a_run_without_responses_is_an_error():
    with pytest.raises(wrk.WrkError, match="no request was answered"):
        wrk.parse(PRINTED.replace("12198 requests", "0 requests"))
    with pytest.raises(wrk.WrkError, match="unable to connect"):
        wrk.parse("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_the_command_line_gives_the_script_its_arguments_after_the_address():
    line = wrk.command("http://host/", 3, 8, script=Path("mix.lua"), arguments=["/a", "/b"])
    assert line[-6:] == ["-s", "mix.lua", "http://host/", "--", "/a", "/b"]
    assert "-d3s" in line
    assert "-c8" in line


def test_a_spread_is_the_median_between_its_quartiles():
    found = spread([5.0, 1.0, 3.0, 2.0, 4.0])
    assert (found.low, found.median, found.high) == (2.0, 3.0, 4.0)
    assert found.text(1) == "3.0 (2.0 to 4.0)"


def test_a_spread_of_one_value_is_that_value():
    assert spread([7.0]).text(0) == "7 (7 to 7)"


def test_ratios_are_computed_within_pairs_so_that_slow_moments_cancel_out():
    off = [100.0, 50.0, 200.0]
    on = [90.0, 45.0, 180.0]
    found = ratios(on, off)
    assert found.low == found.median == found.high == pytest.approx(0.9)
    assert differences(off, on).median == pytest.approx(10.0)


def test_pairs_of_unequal_number_are_an_error():
    with pytest.raises(ValueError, match="longer"):
        ratios([1.0], [1.0, 2.0])


def test_a_percentile_is_a_value_of_the_sample():
    values = [float(value) for value in range(1, 101)]
    assert percentile(values, 0.99) == 99.0
    assert percentile(values, 0.5) == 50.0
    assert percentile(values, 1.0) == 100.0
    assert percentile([3.0], 0.99) == 3.0


def test_growth_is_computed_from_the_second_half_only():
    filling = [float(value) for value in range(50)]
    assert growth(filling + [50.0] * 50) == 0.0
    assert growth([0.0] * 50 + filling) == pytest.approx(37.5, abs=1.0)
    # a single peak is not growth
    assert growth([50.0] * 90 + [90.0] + [50.0] * 9) == 0.0


def test_a_figure_meets_its_target_at_it_and_on_the_better_side():
    assert Figure("ratio", 0.9, 0.9).is_met
    assert not Figure("ratio", 0.89, 0.9).is_met
    assert Figure("memory", 119.0, 120, " MB", is_ceiling=True).is_met
    assert not Figure("memory", 121.0, 120, " MB", is_ceiling=True).is_met
    assert Figure("memory", 1, 120, " MB", is_ceiling=True).wanted == "at most 120 MB"


def test_latencies_are_summarized():
    found = summary([1.0] * 99 + [101.0])
    assert (found.requests, found.average_ms, found.p50_ms, found.p99_ms, found.max_ms) == (100, 2.0, 1.0, 1.0, 101.0)


def test_the_tree_is_printed_as_in_the_guide():
    assert tree({"Create Task": summary([1.0, 2.0]), "Delete Task": summary([3.0])}).splitlines() == [
        "├── Create Task",
        "│   └── 2 requests: Avg 1.50ms, p99 2.00ms, Max 2.00ms",
        "└── Delete Task",
        "    └── 1 requests: Avg 3.00ms, p99 3.00ms, Max 3.00ms",
    ]


class Machine:
    """A fake of wrk: records the order of the legs; in the given rounds the machine is busy."""

    def __init__(self, busy_rounds: set[int], warm_up_legs: int) -> None:
        self.order: list[str] = []
        self._busy_rounds = busy_rounds
        self._warm_up_legs = warm_up_legs

    def run_leg(self, target: Target, _seconds: int) -> Leg:
        self.order.append(target.name)
        number = (len(self.order) - 1 - self._warm_up_legs) // 2
        is_disturbed = number in self._busy_rounds and target.name == "on"
        return Leg(float(number), 100.0, CALM - 0.1 * (number + 1) if is_disturbed else 1.0, 1.0, 2.0)


@pytest.fixture
def targets() -> list[Target]:
    return [Target("off", "http://host", ["/"], 1), Target("on", "http://host", ["/"], 2)]


def test_rounds_alternate_their_order_after_a_warm_up(monkeypatch: pytest.MonkeyPatch, targets: list[Target]):
    machine = Machine(set(), 2)
    monkeypatch.setattr("benchmarks.legs.run_leg", machine.run_leg)
    interleaved(targets, 3, 1)
    assert machine.order == ["off", "on", "off", "on", "on", "off", "off", "on"]


def test_a_disturbed_round_is_repeated(monkeypatch: pytest.MonkeyPatch, targets: list[Target]):
    monkeypatch.setattr("benchmarks.legs.run_leg", Machine({1}, 2).run_leg)
    legs = interleaved(targets, 3, 1)
    # both legs of a round are dropped or kept together
    assert [leg.per_second for leg in legs["off"]] == [leg.per_second for leg in legs["on"]] == [0.0, 2.0, 3.0]


def test_on_a_busy_machine_the_least_disturbed_rounds_are_used(monkeypatch: pytest.MonkeyPatch, targets: list[Target]):
    monkeypatch.setattr("benchmarks.legs.run_leg", Machine(set(range(100)), 2).run_leg)
    legs = interleaved(targets, 2, 1)
    assert [leg.per_second for leg in legs["on"]] == [0.0, 1.0]
    assert max(leg.busy for leg in legs["on"]) < CALM


def test_a_missing_program_is_one_line_of_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(bench.shutil, "which", lambda program: None if program == "wrk" else f"/usr/bin/{program}")
    assert command.main(["price", "--quick"]) == 2
    assert capsys.readouterr().err == "benchmarks: wrk is not installed: apt install wrk\n"


def test_one_core_is_not_enough(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bench.shutil, "which", lambda program: f"/usr/bin/{program}")
    monkeypatch.setattr(bench.os, "sched_getaffinity", lambda _: {0})
    with pytest.raises(CannotRun, match="two cores"):
        Bench()


def test_an_unknown_part_is_reported_with_the_list_of_parts(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        command.main(["speed"])
    assert stopped.value.code == 2
    assert "price" in capsys.readouterr().err


def test_results_are_written_with_figures_and_their_verdicts(tmp_path: Path):
    part = Part([Table("Title", ("what", "µs"), [("a", "1.0")])], [Figure("ratio", 0.95, 0.9)], {"legs": [1.0]})
    path = report.write(tmp_path / "out.json", {"price": part}, is_quick=True)
    content = json.loads(path.read_text())
    assert content["figures"] == [
        {"name": "ratio", "value": 0.95, "target": 0.9, "unit": "", "is_ceiling": False, "is_met": True}
    ]
    assert content["parts"]["price"]["tables"][0]["rows"] == [["a", "1.0"]]
    assert content["parts"]["price"]["data"] == {"legs": [1.0]}
    assert content["is_quick"] is True
    assert content["machine"]["cores"] >= 1
