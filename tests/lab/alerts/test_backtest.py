"""Scores of episodes against known faults, comparisons of candidates, and recordings."""

from pathlib import Path

import numpy as np
import pytest

from lab.alerts.tuning import recording
from lab.alerts.tuning.backtest import Episode, episodes, trace
from lab.alerts.tuning.compared import compare
from lab.alerts.tuning.form import Numbers, Watched
from lab.alerts.tuning.history import HistoryError, Samples
from lab.alerts.tuning.judged import judge
from lab.alerts.tuning.recording import Recording
from lab.alerts.tuning.truth import Expectations, Expected, Fault, Truth, faults_of, samples_of, truth_of

STEP = 5_000
WATCHED = Watched("Loud", Numbers(threshold=5, hold=10_000))


def _samples(name: str, values: list[float | None], offset: int = 0, **labels: str) -> Samples:
    kept = [(index * STEP + offset, value) for index, value in enumerate(values) if value is not None]
    return Samples(name, labels, np.array([time for time, _ in kept], np.int64), np.array([value for _, value in kept]))


def _episode(fired: int, ended: int | None, **labels: str) -> Episode:
    return Episode(labels, fired, fired * 1000, None if ended is None else ended * 1000)


def _history(*series: Samples) -> Recording:
    return Recording("made", series)


def test_the_backtest_uses_the_thresholds_in_force_or_those_given() -> None:
    history = _history(
        _samples("alert_threshold", [5.0] * 10 + [9.0] * 10, alert="Loud"),
        _samples("alert_signal", [7.0] * 20, 1_700, alert="Loud", unit="a"),
        _samples("alert_signal", [None, 1.0, None, 7.0, 7.0, 7.0, None, 7.0, 7.0, 7.0], 1_700, alert="Loud", unit="b"),
    )
    traced = trace(history, WATCHED)
    assert traced
    found = episodes(traced)
    assert [(each.labels["unit"], each.fired, each.ended) for each in found] == [
        ("a", 15_000, 50_000),
        ("b", 30_000, 35_000),
    ]
    assert episodes(traced, WATCHED.turned(threshold=8).numbers) == []
    assert [each.fired for each in episodes(traced, WATCHED.turned(hold=0).numbers)] == [5_000, 20_000, 40_000]


def test_below_its_floor_of_bad_events_an_alert_does_not_fire() -> None:
    history = _history(
        _samples("alert_threshold", [5.0] * 8, alert="Loud"),
        _samples("alert_floor", [3.0] * 8, alert="Loud"),
        _samples("alert_signal", [7.0] * 8, alert="Loud", unit="a"),
        _samples("alert_events", [1.0, 2.0, 3.0, 3.0, None, 3.0, 3.0, 3.0], alert="Loud", unit="a"),
    )
    watched = Watched("Loud", Numbers(threshold=5, floor=3))
    traced = trace(history, watched)
    assert traced
    assert [(each.fired, each.ended) for each in episodes(traced)] == [(10_000, 20_000), (25_000, None)]
    assert [each.fired for each in episodes(traced, watched.turned(floor=2).numbers)] == [5_000, 25_000]


def test_an_episode_is_true_during_a_fault_that_may_cause_it_and_false_elsewhere() -> None:
    expected = Expected(must={"Loud": 30_000}, may=frozenset({"Aside"}), clears=20_000)
    truth = Truth(
        [
            (Fault("redis-1", "pause", 100_000, 160_000), expected),
            (Fault("redis-2", "pause", 600_000, 660_000), expected),
            (Fault("gateway", "restart", 900_000, 960_000), None),
        ]
    )
    found = [_episode(10, 40), _episode(112, 170), _episode(930, 1500), _episode(175, 190)]
    score = judge("Loud", found, truth).score
    assert (score.true, score.false, score.unclear, score.missed) == (2, 1, 1, 1)
    assert score.precision == pytest.approx(2 / 3)
    assert score.recall == 0.5
    assert score.delays == [12.0]
    assert (score.flaps, score.short, score.closed) == (2, 3, 4)
    # an alert that a fault may fire is neither missed nor false; one that it must not fire is false
    aside = judge("Aside", [_episode(120, 130)], truth).score
    assert (aside.true, aside.missed, aside.recall) == (1, 0, None)
    assert judge("Other", [_episode(120, 130)], truth).score.false == 1


def test_an_alert_of_three_replicas_counts_once() -> None:
    found = [_episode(10, 40, replica="1"), _episode(12, 50, replica="2"), _episode(30, 45, replica="3")]
    assert judge("Loud", found, Truth()).score.episodes == 1


def test_now_and_then_are_paired_by_label_set_and_time() -> None:
    then = [_episode(10, 40, unit="a"), _episode(100, 140, unit="a"), _episode(200, 240, unit="a")]
    now = [_episode(20, 40, unit="a"), _episode(95, 140, unit="a"), _episode(200, 240, unit="b")]
    assert [(each.kind, each.seconds) for each in compare(then, now)] == [
        ("later", 10.0),
        ("earlier", -5.0),
        ("gone", 0.0),
        ("new", 0.0),
    ]


def test_a_fault_lasts_from_its_first_to_its_last_sample() -> None:
    history = _history(
        _samples("fault_active", [1.0, 1.0, 1.0, 0.0], part="redis-1", kind="pause", drill="RedisNodeDown"),
        _samples("fault_active", [None] * 30 + [1.0, 1.0], part="redis-1", kind="kill"),
    )
    assert faults_of(history) == [
        Fault("redis-1", "pause", 0, 15_000, "RedisNodeDown"),
        Fault("redis-1", "kill", 150_000, None),
    ]
    exact = Fault("redis-1", "pause", 7_123, 21_456, "RedisNodeDown")
    assert faults_of(_history(samples_of(exact), _samples("alert_signal", [1.0] * 9))) == [exact]
    expected = Expected({"RedisNodeDown": 30_000})
    truth = truth_of(history, Expectations({"RedisNodeDown": expected}))
    assert [each for _, each in truth.faults] == [expected, None]


def test_a_recording_survives_a_round_trip_and_a_broken_one_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "a.om.xz"
    odd = _samples("alert_signal", [0.25, None, 7.0], 123, alert="Loud", path='a"b\\c\nd')
    recording.save(Recording("a", [odd], "made by a test\non two lines"), file)
    again = recording.load(file)
    assert again.about == "made by a test\non two lines"
    [series] = again.series
    assert (series.name, series.labels) == (odd.name, odd.labels)
    assert series.times.tolist() == odd.times.tolist()
    assert series.values.tolist() == odd.values.tolist()
    whole = file.read_bytes()
    for broken in (whole[: len(whole) // 2], b"no recording", b""):
        file.write_bytes(broken)
        with pytest.raises(HistoryError, match=r"a\.om\.xz: is"):
            recording.load(file)
    with pytest.raises(HistoryError, match="no such recording"):
        recording.load(tmp_path / "b.om.xz")
