import random
from itertools import chain, islice

import pytest

from lab.load.arrivals import Phase, due_times, share_of
from lab.load.latencies import Latencies
from lab.load.messages import RouteSample
from lab.load.profiles import PROFILES, Breakpoint, HotKey, Outcome, Profile, Ramp
from lab.load.requests import GRACE_SECONDS, Operation, RequestStream
from lab.load.service_levels import ServiceLevels


def test_a_quantile_is_within_one_percent_of_the_true_one() -> None:
    draw = random.Random(1)
    values = [draw.lognormvariate(-5, 1) for _ in range(5000)]
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    for q in (0.5, 0.95, 0.99):
        truth = sorted(values)[int(q * len(values)) - 1]
        assert latencies.quantile(q) == pytest.approx(truth, rel=0.011)


def test_merged_latencies_are_as_if_counted_together() -> None:
    apart, together = [Latencies(), Latencies()], Latencies()
    for number in range(100):
        apart[number % 2].add(number / 1000)
        together.add(number / 1000)
    apart[0].merge(apart[1])
    assert apart[0].fine == together.fine
    assert apart[0].coarse == together.coarse
    assert apart[0].longest == together.longest


def test_a_latency_on_a_bound_is_within_it_as_in_prometheus() -> None:
    latencies = Latencies()
    latencies.add(0.1)
    assert latencies.share_within(0.1) == 1.0


def test_the_ramp_is_the_guides_5_to_50_a_second_in_60_seconds() -> None:
    times = list(due_times(Ramp().phases()))
    assert len(times) == (5 + 50) / 2 * 60
    assert sum(each < 1 for each in times) == pytest.approx(5, abs=1)
    assert sum(each >= 59 for each in times) == pytest.approx(50, abs=1)


@pytest.mark.parametrize("name", [name for name in PROFILES if name != "breakpoint"])
def test_a_profile_keeps_within_its_time_and_rate(name: str) -> None:
    profile = PROFILES[name](20, 30)
    phases = next(profile.rounds())
    times = list(due_times(phases))
    assert sum(phase.seconds for phase in phases) == pytest.approx(30)
    assert max(max(phase.start_rate, phase.end_rate) for phase in phases) == 20
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= 30


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_every_profile_says_what_it_is_for(profile: type[Profile]) -> None:
    assert profile.__doc__
    assert abs(sum(profile.traffic.mix.values()) - 1) < 1e-9


def test_workers_share_the_arrivals_without_losing_one() -> None:
    phases = [Phase("a", 3, 7, 31), Phase("b", 2, 10, 10)]
    parts = [list(share_of(due_times(phases), worker, 3)) for worker in range(3)]
    assert sorted(chain.from_iterable(parts)) == list(due_times(phases))


def test_the_same_seed_draws_the_same_requests_and_another_seed_others() -> None:
    times = list(due_times(Ramp().phases()))
    first, second, other = (list(RequestStream(Ramp.traffic, seed).draw(times)) for seed in (1, 1, 2))
    assert first == second
    assert first != other


def test_a_request_never_speaks_of_a_task_before_it_was_created_or_after_it_was_deleted() -> None:
    created: dict[int, float] = {}
    deleted: set[int] = set()
    for request in RequestStream(Ramp.traffic, 3).draw(due_times(Ramp().phases())):
        if request.operation is Operation.CREATE:
            created[request.task] = request.due
        elif request.operation is not Operation.LIST and request.task >= Ramp.traffic.prepared:
            assert created[request.task] <= request.due - GRACE_SECONDS
            assert request.task not in deleted
            if request.operation is Operation.DELETE:
                deleted.add(request.task)
    assert deleted


def test_the_hot_key_takes_half() -> None:
    requests = list(RequestStream(HotKey.traffic, 1).draw(islice(due_times([Phase("", 1e6, 1, 1)]), 4000)))
    assert sum(each.task == 0 for each in requests) / len(requests) == pytest.approx(0.5, abs=0.03)


def search(breaks_at: float, profile: Breakpoint, flukes: int = 0) -> float | None:
    rounds = profile.rounds()
    (phase,) = next(rounds)
    while True:
        met = phase.end_rate < breaks_at
        if met and flukes:
            met, flukes = False, flukes - 1
        try:
            (phase,) = rounds.send(Outcome(met, phase.end_rate))
        except StopIteration as stop:
            return stop.value


@pytest.mark.parametrize("capacity", [45.0, 100.0, 333.0, 1234.0])
def test_breakpoint_finds_the_rate_at_which_service_levels_break(capacity: float) -> None:
    found = search(capacity, Breakpoint())
    assert found is not None
    assert capacity / 1.034 <= found <= capacity


def test_breakpoint_takes_no_single_bad_step_for_the_limit() -> None:
    assert search(200, Breakpoint(), flukes=1) == pytest.approx(200, rel=0.034)


def test_breakpoint_says_none_when_the_first_step_breaks() -> None:
    assert search(1, Breakpoint()) is None


def test_breakpoint_stops_at_the_highest_rate_it_may_try() -> None:
    assert search(1e9, Breakpoint(rate=300)) == 300


def sample(method: str, ok: int, errors: int, latency: float) -> RouteSample:
    route = RouteSample(method, "/tasks", ok, errors)
    for _ in range(ok + errors):
        route.latencies.add(latency)
    return route


def test_service_levels_count_reads_only_for_latency_and_all_for_availability() -> None:
    levels = ServiceLevels.of([sample("GET", 99, 0, 0.01), sample("POST", 900, 1, 0.5)])
    assert levels.fast_reads == 1.0
    assert levels.availability == pytest.approx(0.999)
    assert levels.met
    assert not ServiceLevels.of([sample("GET", 98, 0, 0.01), sample("GET", 2, 0, 0.2)]).met
    assert not ServiceLevels.of([sample("GET", 998, 2, 0.01)]).met
    assert ServiceLevels.of([]).met
