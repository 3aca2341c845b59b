import pytest
from prometheus_client.parser import text_string_to_metric_families

from lab.desk.relay import GONE_SECONDS, Relay
from lab.load.measured import Measured, limit_of
from lab.load.messages import RouteSample, Sample
from lab.load.metrics import exposition, idle_exposition


def values(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def sample(elapsed: float, ok: int, errors: int = 0) -> Sample:
    route = RouteSample("GET", "/tasks/{task_id}", ok, errors)
    for _ in range(ok + errors):
        route.latencies.add(0.004)
    return Sample(elapsed=elapsed, offered=ok + errors, routes=[route], users=7, target_rate=3.0)


def test_an_idle_relay_has_every_series_of_a_running_one_and_all_are_zero() -> None:
    measured = Measured()
    measured.add(sample(1, 3, 1))
    idle, busy = values(idle_exposition()), values(exposition(measured, "ramp", "ramp"))
    info = "load_phase_info"
    assert {key for key in idle if key[0] != info} == {key for key in busy if key[0] != info}
    assert all(value == 0 for (name, _), value in idle.items() if name != info)
    assert (info, frozenset({("profile", "none"), ("phase", "idle")})) in idle


def test_counters_add_up_over_samples_and_preparation() -> None:
    measured = Measured(prepared=Sample(offered=2, routes=[RouteSample("POST", "/tasks", ok=2)]))
    measured.add(sample(1, 3, 1))
    measured.add(sample(2, 5))
    found = values(exposition(measured, "ramp", "ramp"))
    read = {("http_request_method", "GET"), ("http_route", "/tasks/{task_id}")}
    assert found["load_requests_total", frozenset({*read, ("result", "ok")})] == 8
    assert found["load_requests_total", frozenset({*read, ("result", "error")})] == 1
    assert found["load_requests_offered_total", frozenset()] == 11
    assert found["load_request_duration_seconds_bucket", frozenset({*read, ("le", "0.005")})] == 9
    assert found["load_request_duration_seconds_bucket", frozenset({*read, ("le", "0.0025")})] == 0
    assert measured.sent == 11
    assert measured.answered == 9


def test_the_last_word_of_a_run_keeps_its_counters_and_says_idle() -> None:
    measured = Measured()
    measured.add(sample(1, 3))
    found = values(exposition(measured))
    assert found["load_users", frozenset()] == 0
    assert found["load_target_rate", frozenset()] == 0
    assert found["load_requests_offered_total", frozenset()] == 3


def test_samples_that_were_added_are_not_changed_by_later_ones() -> None:
    measured = Measured()
    first = sample(1, 3)
    measured.add(first)
    measured.add(sample(2, 5))
    assert first.routes[0].ok == 3


@pytest.mark.parametrize(
    ("lag", "dispatch_lag", "limit"), [(0.01, 0.01, None), (0.5, 0.01, "users"), (0.5, 0.5, "generator")]
)
def test_what_holds_the_load_up_is_named(lag: float, dispatch_lag: float, limit: str | None) -> None:
    assert limit_of(Sample(lag=lag, dispatch_lag=dispatch_lag)) == limit


def test_the_relay_serves_what_was_put_until_its_generator_is_gone() -> None:
    now = 0.0
    relay = Relay(clock=lambda: now)
    measured = Measured()
    measured.add(sample(1, 3))
    text = exposition(measured, "ramp", "ramp")
    relay.put(text)
    assert relay.exposition() == text
    now = GONE_SECONDS + 1
    assert relay.exposition() == idle_exposition()


def test_the_relay_keeps_the_last_word_of_a_generator_that_ended() -> None:
    now = 0.0
    relay = Relay(clock=lambda: now)
    measured = Measured()
    measured.add(sample(1, 3))
    relay.put(exposition(measured))
    now = 10 * GONE_SECONDS
    assert relay.exposition() == exposition(measured)


@pytest.mark.parametrize("text", ["", "no metrics at all {", "up 1\n", "load_users 1\nup 1\n", "#" * 300_000])
def test_the_relay_refuses_what_is_no_load(text: str) -> None:
    relay = Relay()
    with pytest.raises(ValueError, match=r"."):
        relay.put(text)
    assert relay.exposition() == idle_exposition()
