"""The circuit breaker, with a fake clock."""

import pytest

from service.infrastructure.breaker import CLOSED, HALF_OPEN, OPEN, Breaker, Unavailable


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    """A breaker that three consecutive failures open for a second."""
    return Breaker("redis", 3, 1.0, lambda _: None, clock)


def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        breaker.failed(breaker.admit(), TimeoutError())


def test_it_opens_after_consecutive_failures_and_rejects_calls_while_open(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 2)
    breaker.succeeded(breaker.admit())
    fail(breaker, 2)
    assert breaker.state == CLOSED
    fail(breaker)
    assert breaker.state == OPEN
    clock.now = 0.9
    with pytest.raises(Unavailable) as refused:
        breaker.admit()
    assert not refused.value.asked
    clock.now = 1.0
    breaker.admit()
    assert breaker.state == HALF_OPEN


@pytest.mark.parametrize(("is_answered", "state"), [(True, CLOSED), (False, OPEN)])
def test_one_trial_call_decides(breaker: Breaker, clock: Clock, is_answered: bool, state: int) -> None:
    fail(breaker, 3)
    clock.now = 2.0
    trial = breaker.admit()
    with pytest.raises(Unavailable):
        breaker.admit()
    breaker.succeeded(trial) if is_answered else breaker.failed(trial, TimeoutError())
    assert breaker.state == state


@pytest.mark.case("clock")
def test_setting_the_wall_clock_back_does_not_keep_it_open(monkeypatch: pytest.MonkeyPatch) -> None:
    breaker = Breaker("redis", 1, 0.0, lambda _: None)
    fail(breaker)
    monkeypatch.setattr("time.time", lambda: 0.0)
    breaker.succeeded(breaker.admit())
    assert breaker.state == CLOSED


def test_a_cancelled_trial_neither_closes_the_breaker_nor_blocks_the_next_trial(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now = 2.0
    breaker.abandoned(breaker.admit())
    assert breaker.state == OPEN
    breaker.succeeded(breaker.admit())
    assert breaker.state == CLOSED


def test_the_late_end_of_an_old_call_does_not_change_the_state(breaker: Breaker, clock: Clock) -> None:
    old = breaker.admit()
    fail(breaker, 3)
    clock.now = 2.0
    trial = breaker.admit()
    breaker.failed(old, TimeoutError())
    breaker.succeeded(old)
    breaker.abandoned(old)
    assert breaker.state == HALF_OPEN
    breaker.succeeded(trial)
    for _ in range(3):
        breaker.failed(old, TimeoutError())
        breaker.failed(trial, TimeoutError())
    assert breaker.state == CLOSED


def test_a_successful_ping_closes_it(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    breaker.answered()
    assert breaker.state == CLOSED
    fail(breaker, 3)
    clock.now = 2.0
    trial = breaker.admit()
    breaker.answered()
    breaker.failed(trial, TimeoutError())
    assert breaker.state == CLOSED


def test_a_ping_does_not_hide_failures_of_calls(breaker: Breaker) -> None:
    fail(breaker, 2)
    breaker.answered()
    fail(breaker)
    assert breaker.state == OPEN


def test_each_change_of_state_is_reported_once(clock: Clock) -> None:
    states: list[int] = []
    breaker = Breaker("redis", 1, 1.0, states.append, clock)
    fail(breaker)
    clock.now = 2.0
    breaker.succeeded(breaker.admit())
    breaker.answered()
    assert states == [OPEN, HALF_OPEN, CLOSED]
