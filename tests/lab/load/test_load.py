import random
import socket
from itertools import chain, islice
from pathlib import Path

import pytest

from lab.load import capacity
from lab.load.arrivals import Phase, due_times, share_of
from lab.load.conditions import Abort, Condition, ConditionError
from lab.load.definition import define
from lab.load.errors import CannotRunError
from lab.load.measured import Measured
from lab.load.messages import Sample
from lab.load.profiles import PROFILES, HotKey, Profile, Ramp
from lab.load.requests import GRACE_SECONDS, Operation, RequestStream
from lab.load.search import BreakpointSearch, Outcome
from lab.load.target import resolve
from lab.runs.histogram import ERROR, Histogram, quantile_of_counts
from lab.runs.latencies import Latencies
from lab.runs.tally import Tally


def test_a_quantile_is_at_most_one_percent_too_high() -> None:
    draw = random.Random(1)
    values = [draw.lognormvariate(-5, 1) for _ in range(5000)]
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    for q in (0.5, 0.95, 0.99):
        truth = sorted(values)[int(q * len(values)) - 1]
        # latencies are counted in microseconds
        assert truth - 1e-6 <= latencies.quantile(q) <= truth * (1 + ERROR) + 1e-6
        assert quantile_of_counts(latencies.histogram.counts, q) == latencies.histogram.quantile(q)


def test_merged_latencies_are_as_if_counted_together_and_survive_being_sent() -> None:
    apart, together = [Latencies(), Latencies()], Latencies()
    for number in range(100):
        apart[number % 2].add(number / 1000)
        together.add(number / 1000)
    apart[0].histogram = Histogram.decode(apart[0].histogram.encode())
    apart[0].merge(apart[1])
    assert apart[0].histogram == together.histogram
    assert apart[0].buckets == together.buckets
    assert apart[0].longest == together.longest


def test_a_latency_equal_to_a_bucket_bound_is_in_that_bucket_as_in_prometheus() -> None:
    latencies = Latencies()
    latencies.add(0.1)
    assert latencies.within(0.1) == 1


def test_the_ramp_is_the_guides_5_to_50_a_second_in_60_seconds() -> None:
    times = list(due_times(Ramp().phases()))
    assert len(times) == (5 + 50) / 2 * 60
    assert sum(each < 1 for each in times) == pytest.approx(5, abs=1)
    assert sum(each >= 59 for each in times) == pytest.approx(50, abs=1)


@pytest.mark.parametrize("name", [name for name in PROFILES if name != "breakpoint"])
def test_a_profile_keeps_within_its_time_and_rate(name: str) -> None:
    phases = define(name, 20, 30).phases
    assert phases
    times = list(due_times(phases))
    assert sum(phase.seconds for phase in phases) == pytest.approx(30)
    assert max(max(phase.start_rate, phase.end_rate) for phase in phases) == 20
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= 30


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_every_profile_has_a_description(profile: type[Profile]) -> None:
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


def test_a_request_never_uses_a_task_before_its_creation_or_after_its_deletion() -> None:
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


def test_the_hot_key_gets_half_of_the_reads() -> None:
    requests = list(RequestStream(HotKey.traffic, 1).draw(islice(due_times([Phase("", 1e6, 1, 1)]), 4000)))
    assert sum(each.task == 0 for each in requests) / len(requests) == pytest.approx(0.5, abs=0.03)


def search(breaks_at: float, found: BreakpointSearch, flukes: int = 0, collapses: bool = False) -> int:
    rounds = found.rounds()
    (phase,) = next(rounds)
    for steps in range(1, 1000):
        met = phase.end_rate < breaks_at
        achieved = phase.end_rate if met or not collapses else 0.0
        if met and flukes:
            met, flukes = False, flukes - 1
        try:
            (phase,) = rounds.send(Outcome(met, achieved))
        except StopIteration:
            return steps
    raise AssertionError("does not end")


@pytest.mark.parametrize("capacity", [45.0, 100.0, 333.0, 1234.0])
def test_breakpoint_finds_the_rate_at_which_service_levels_break(capacity: float) -> None:
    found = BreakpointSearch(2000, 300)
    search(capacity, found)
    assert found.held is not None
    assert capacity / 1.034 <= found.held <= capacity
    assert found.collapsed is None


def test_breakpoint_repeats_a_failed_step_before_it_counts() -> None:
    found = BreakpointSearch(2000, 300)
    search(200, found, flukes=1)
    assert found.held == pytest.approx(200, rel=0.034)


def test_breakpoint_reports_no_rate_if_the_first_step_fails() -> None:
    found = BreakpointSearch(2000, 300)
    assert search(1, found) == 2
    assert found.held is None


def test_breakpoint_stops_at_the_upper_bound_of_its_rate() -> None:
    found = BreakpointSearch(300, 300)
    search(1e9, found)
    assert found.held == 300


def test_breakpoint_stops_at_a_collapsed_service_and_reports_the_last_rate_that_held() -> None:
    found = BreakpointSearch(2000, 300)
    steps = search(60, found, collapses=True)
    assert found.held == pytest.approx(52)
    assert found.collapsed == pytest.approx(67.6)
    assert steps == 4


def second(answered: int = 0, failed: int = 0, dropped: int = 0, latency: float = 0.01, oldest: float = 0.0) -> Sample:
    tally = Tally("GET", "/tasks")
    for _ in range(answered):
        tally.answer(latency)
    for _ in range(failed):
        tally.fail(latency)
    for _ in range(dropped):
        tally.drop(latency)
    return Sample(offered=tally.ended, tallies=[tally], oldest=oldest)


def measured(*samples: Sample) -> Measured:
    whole = Measured()
    for number, sample in enumerate(samples, 1):
        sample.elapsed = float(number)
        whole.add(sample)
    return whole


@pytest.mark.parametrize(
    ("text", "sample", "holds"),
    [
        ("p99<250ms", second(100, latency=0.2), True),
        ("p99<250ms", second(100, latency=0.3), False),
        ("p50>=1s", second(10, latency=2), True),
        ("errors>5%", second(90, failed=5, dropped=5), True),
        ("errors<0.1%", second(1000), True),
        ("dropped>4%", second(90, dropped=5), True),
        ("rate>=100/s", second(99), False),
        ("p99>500ms", second(oldest=6.0), True),
    ],
)
def test_a_condition_includes_requests_that_never_end(text: str, sample: Sample, holds: bool) -> None:
    assert Condition.parse(text).holds(measured(sample).seconds) == holds


@pytest.mark.parametrize("text", ["p99", "p99<250", "p98<1s", "errors>5ms", "rate>1%", "p99<250ms for", "", "p99=1s"])
def test_an_invalid_condition_is_reported_with_the_syntax(text: str) -> None:
    with pytest.raises(ConditionError, match="must be like"):
        Condition.parse(text)


def test_a_load_is_aborted_only_after_the_condition_held_for_its_whole_duration() -> None:
    abort = Abort(Condition.parse("p99>500ms for 3s"))
    slow, fast = second(10, latency=1.0), second(10)
    samples = [slow, slow, fast, slow, slow, slow, slow]
    reasons = [
        abort.reason(each) for each in measured(*(second(10, latency=s is slow or 0.01) for s in samples)).seconds
    ]
    assert [bool(each) for each in reasons] == [False, False, False, False, False, True, True]
    assert "p99>500ms for 3s" in (reasons[5] or "")


@pytest.mark.parametrize(
    ("rate", "idle", "workers"), [(50, 8, 0), (3000, 8, 0), (3001, 8, 2), (9000, 8, 3), (9000, 2, 2), (9000, 0, 0)]
)
def test_auto_starts_as_many_workers_as_the_rate_needs_and_cores_are_idle(
    monkeypatch: pytest.MonkeyPatch, rate: float, idle: int, workers: int
) -> None:
    monkeypatch.setattr(capacity, "idle_cores", lambda: idle)
    assert capacity.workers_for(define("steady", rate)) == workers


def test_of_several_addresses_one_with_a_listener_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.2", "127.0.0.1")]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
        address = resolve(f"http://both.test:{port}")
    assert address.socket_address == ("127.0.0.1", port)
    assert address.host == f"both.test:{port}"


TEN_LINES = """\
# Reads at twice the ordinary rate.
rate = 80
thresholds = ["p99<200ms", "errors<0.1%"]
abort_on = ["p99>2s for 10s"]
prepared = 50
phases = [
  { name = "warm", seconds = 10, rate = [1, 80] },
  { name = "full", seconds = 20, rate = 80 },
]
mix = { read = 0.9, create = 0.1 }
"""


def test_a_custom_profile_is_a_file_of_ten_lines(tmp_path: Path) -> None:
    file = tmp_path / "reads.toml"
    file.write_text(TEN_LINES)
    load = define(str(file))
    assert (load.name, load.rate, load.seconds) == ("reads", 80, 30)
    assert load.traffic.mix == {Operation.READ: 0.9, Operation.CREATE: 0.1}
    assert [each.text for each in load.thresholds] == ["p99<200ms", "errors<0.1%"]
    assert load.abort_on[0].hold_seconds == 10
    slower = define(str(file), rate=8, seconds=3)
    assert slower.phases == [Phase("warm", 1, 0.1, 8), Phase("full", 2, 8, 8)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rate = 1e9", "rate must be from"),
        ("rate = nan", "rate must be from"),
        ("speed = 1", "unknown field `speed`"),
        ('time = "soon"', "must be a time"),
        ("mix = { fly = 1.0 }", "fly"),
        ("mix = {}", "mix must give shares"),
        ("thresholds = ['p99<1']", "must be like"),
        ("phases = [{ seconds = 0, rate = 1 }]", "seconds must be above 0"),
        ("rate =", "Invalid"),
        (None, "No such file"),
    ],
)
def test_an_invalid_profile_file_is_reported_in_one_line(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "wrong.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(CannotRunError, match=r"wrong\.toml") as error:
        define(str(file))
    assert said.lower() in str(error.value).lower()
    assert "\n" not in str(error.value)


def test_the_smoke_profile_sends_requests_of_every_kind() -> None:
    due = [number / 5 for number in range(75)]
    for seed in range(1, 20):
        found = {each.operation for each in RequestStream(PROFILES["smoke"].traffic, seed).draw(due)}
        assert found == set(Operation)
