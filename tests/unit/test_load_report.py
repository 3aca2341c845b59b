import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lab.load.latencies import Latencies
from lab.load.measured import Second
from lab.load.service_levels import ServiceLevels
from lab.report.compare import compare
from lab.report.inside import rise
from lab.report.record import FORMAT, Figures, Inside, Machine, Run, Settings, UnreadableRunError, load, names, save


def seconds(seed: int, slower: float = 1.0, length: int = 60) -> list[Second]:
    draw = random.Random(seed)
    made = []
    for number in range(length):
        kinds = []
        for _ in range(2):
            latencies = Latencies()
            for _ in range(15):
                latencies.add(draw.lognormvariate(-5.5, 0.5) * slower)
            kinds.append(latencies.fine)
        made.append(Second(number + 1.0, 1.0, "steady", 30, 30, 30, 0, 100, 0, 0.0, 0.0, *kinds))
    return made


def run(seed: int = 1, slower: float = 1.0, hit_ratio: float = 0.9, **changes: Any) -> Run:
    figures = Figures(0, 0, 0, 0, 0, 0, 0)
    values: dict[str, Any] = {
        "id": f"run-{seed}",
        "profile": "steady",
        "began": 0.0,
        "ended": 60.0,
        "settings": Settings(30, 60, 100, seed, "http://127.0.0.1:5000", 0, "glasshouse load"),
        "versions": {},
        "machine": Machine("Linux", "x86", 2, 1),
        "sent": 1800,
        "offered": 1800,
        "answered": 1800,
        "errors": 0,
        "statuses": {"200": 1800},
        "failures": {},
        "service_levels": ServiceLevels(1.0, 1.0),
        "total": figures,
        "reads": figures,
        "writes": figures,
        "routes": {},
        "limit": None,
        "lag": 0.0,
        "cut_short": None,
        "found": None,
        "inside": Inside(hit_ratio=hit_ratio, lookups=1000),
        "seconds": seconds(seed, slower),
    }
    return Run(**{**values, **changes})


def test_two_runs_of_the_same_thing_differ_by_nothing_beyond_noise() -> None:
    false_alarms = [
        change.name for seed in range(6) for change in compare(run(seed), run(seed + 100)) if change.is_real
    ]
    assert false_alarms == []


def test_a_run_that_is_slower_by_half_and_misses_the_cache_is_told_apart() -> None:
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


@pytest.mark.parametrize("content", [None, "{", "{}"])
def test_a_run_that_is_none_is_named(tmp_path: Path, content: str | None) -> None:
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
