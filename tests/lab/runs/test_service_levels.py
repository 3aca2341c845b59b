"""The lab, the alerts and the service have the same definition of a fast and of a good response."""

import pytest

from lab.alerts.slo import LEVELS
from lab.runs.service_levels import AVAILABILITY, BUCKETS, FAST_READS, FAST_SECONDS
from lab.runs.tally import Tally, service_levels
from service.telemetry.metrics import REQUEST_SECONDS


def test_lab_and_service_count_in_the_same_buckets() -> None:
    assert BUCKETS == REQUEST_SECONDS
    assert FAST_SECONDS in BUCKETS


def test_lab_and_alerts_have_the_same_objectives() -> None:
    objectives = {level.name: level.objective for level in LEVELS}
    assert objectives == {"availability": AVAILABILITY, "latency": FAST_READS}


def test_alerts_and_lab_use_the_same_bound_for_fast_reads() -> None:
    good = next(level.good for level in LEVELS if level.name == "latency")
    assert f'le="{FAST_SECONDS}"' in good


def tally(method: str, answered: int, failed: int, dropped: int, latency: float) -> Tally:
    made = Tally(method, "/tasks")
    for _ in range(answered):
        made.answer(latency)
    for _ in range(failed):
        made.fail(latency)
    for _ in range(dropped):
        made.drop(latency)
    return made


def test_service_levels_are_computed_over_offered_requests() -> None:
    levels = service_levels([tally("GET", 99, 0, 0, 0.01), tally("POST", 899, 1, 1, 0.5)])
    assert levels.fast_reads == 1.0
    assert levels.availability == pytest.approx(0.998)
    assert not levels.met
    assert service_levels([tally("GET", 999, 1, 0, 0.01)]).met
    assert not service_levels([tally("GET", 998, 0, 2, 0.01)]).met
    assert not service_levels([tally("GET", 98, 0, 0, 0.01), tally("GET", 2, 0, 0, 0.2)]).met
    assert service_levels([]).met


def test_a_read_that_failed_quickly_does_not_count_as_fast() -> None:
    assert service_levels([tally("GET", 50, 50, 0, 0.001)]).fast_reads == 0.5
