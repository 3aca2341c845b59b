import pytest
from prometheus_client.core import Metric

from lab.load.limits import limit_of
from lab.load.measured import Measured
from lab.load.messages import Sample
from lab.load.metrics import metrics
from lab.runs.second import Second
from lab.runs.tally import Failure, Tally


def values(families: list[Metric]) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def sample(elapsed: float, answered: int, failed: int = 0, dropped: int = 0) -> Sample:
    tally = Tally("GET", "/tasks/{task_id}")
    for _ in range(answered):
        tally.answer(0.004)
    for _ in range(failed):
        tally.fail(0.004)
    for _ in range(dropped):
        tally.drop(5.0)
    return Sample(
        elapsed=elapsed, offered=tally.ended, sent=answered + failed, tallies=[tally], users=7, target_rate=3.0
    )


def test_every_counter_of_a_run_exists_from_its_start() -> None:
    measured = Measured()
    measured.add(sample(1, 3, 1))
    before = values(list(metrics(Measured(), "ramp", "prepare")))
    after = values(list(metrics(measured, "ramp", "ramp")))
    info = "load_phase_info"
    assert {key for key in before if key[0] != info} == {key for key in after if key[0] != info}
    assert all(value == 0 for (name, _), value in before.items() if name != info)
    assert (info, frozenset({("profile", "ramp"), ("phase", "prepare")})) in before


def test_counters_add_up_and_exclude_the_preparation() -> None:
    measured = Measured()
    measured.add(sample(1, 3, 1))
    measured.add(sample(2, 5, dropped=2))
    found = values(list(metrics(measured, "ramp", "ramp", prepared=200)))
    read = {("http_request_method", "GET"), ("http_route", "/tasks/{task_id}")}
    results = {
        result: found["load_requests_total", frozenset({*read, ("result", result)})]
        for result in ("answered", "failed", "dropped")
    }
    assert results == {"answered": 8, "failed": 1, "dropped": 2}
    assert found["load_requests_offered_total", frozenset()] == sum(results.values())
    assert found["load_requests_sent_total", frozenset()] == 9
    assert found["load_preparation_requests_total", frozenset()] == 200
    assert found["load_request_duration_seconds_bucket", frozenset({*read, ("le", "0.005")})] == 9
    assert found["load_request_duration_seconds_bucket", frozenset({*read, ("le", "5.0")})] == 9 + 2
    assert found["load_request_duration_seconds_bucket", frozenset({*read, ("le", "0.0025")})] == 0
    assert (measured.answered, measured.failed, measured.dropped) == (8, 1, 2)


def test_added_samples_are_not_changed_by_later_ones() -> None:
    measured = Measured()
    first = sample(1, 3)
    measured.add(first)
    measured.add(sample(2, 5))
    assert first.tallies[0].answered == 3


def test_failures_of_one_kind_keep_one_example() -> None:
    total = Sample()
    for number in range(3):
        total.merge(Sample(failures={"GET /tasks: redirect": Failure(2, f"to {number}")}))
    assert total.failures == {"GET /tasks: redirect": Failure(6, "to 0")}


def seconds(count: int, late_dispatch: int = 0, late_start: int = 0, cpu: float = 0.2) -> list[Second]:
    measured = Measured()
    for number in range(count):
        one = sample(number + 1, 50)
        one.late_dispatch, one.late_start, one.cpu = late_dispatch, late_start, cpu
        measured.add(one)
    return measured.seconds


@pytest.mark.parametrize(
    ("measured", "limit"),
    [
        (seconds(60), None),
        ([*seconds(59), *seconds(1, late_dispatch=1, late_start=1)], None),
        ([*seconds(1), *seconds(1, late_dispatch=5, late_start=5)], None),
        (seconds(60, late_start=20), "users"),
        (seconds(60, late_dispatch=20, late_start=20), "generator"),
        (seconds(60, cpu=0.97), "generator"),
        ([], None),
    ],
    ids=["on time", "one late start", "one bad second", "no user free", "late itself", "no core left", "nothing"],
)
def test_the_bottleneck_is_named_and_a_single_late_start_is_none(measured: list[Second], limit: str | None) -> None:
    assert limit_of(measured) == limit
