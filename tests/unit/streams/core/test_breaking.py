"""When a receiver is left alone, for how long, and who finds out that it is back."""

import pytest

from streams.core.breaking import MAX_OPEN_S, OPEN_AFTER, Breaker, Ending, Report

AWAY, TAKEN, FAULT = Report(Ending.UNAVAILABLE), Report(Ending.ACCEPTED), Report(Ending.FAILED)
BUSY = Report(Ending.BUSY)


def opened(at: float = 100.0) -> Breaker:
    breaker = Breaker()
    for _ in range(OPEN_AFTER):
        assert breaker.wait_s(at) == 0.0
        breaker.end(AWAY, at)
    return breaker


def test_it_opens_after_a_streak_and_not_before() -> None:
    assert opened().wait_s(100.0) == 5.0
    breaker = Breaker()
    for _ in range(50):
        for report in (AWAY,) * (OPEN_AFTER - 1) + (TAKEN,):
            breaker.end(report, 0.0)
            assert breaker.wait_s(0.0) == 0.0
            assert breaker.is_closed


def test_a_receiver_that_answers_with_a_fault_is_there() -> None:
    breaker = Breaker()
    for report in (AWAY, AWAY, AWAY, AWAY, FAULT) * 9 + (FAULT,) * 99:
        breaker.end(report, 0.0)
    assert breaker.is_closed


def test_after_its_time_one_attempt_decides() -> None:
    breaker = opened()
    assert breaker.wait_s(104.0) == 1.0
    assert breaker.wait_s(105.0) == 0.0
    assert not breaker.is_closed
    breaker.end(AWAY, 120.0)
    assert breaker.wait_s(120.0) == 10.0
    breaker.end(TAKEN, 131.0)
    assert breaker.is_closed
    assert breaker.wait_s(131.0) == 0.0


def test_each_time_it_waits_twice_as_long_to_a_bound() -> None:
    breaker, now, waits = opened(0.0), 5.0, []
    for _ in range(9):
        breaker.end(AWAY, now)
        waits.append(breaker.wait_s(now))
        now += waits[-1]
    assert waits == [10, 20, 40, 80, 160, MAX_OPEN_S, MAX_OPEN_S, MAX_OPEN_S, MAX_OPEN_S]


def test_attempts_that_began_before_do_not_prolong_it_but_may_end_it() -> None:
    breaker = opened()
    breaker.end(AWAY, 102.0)
    assert breaker.wait_s(102.0) == 3.0
    breaker.end(TAKEN, 103.0)
    assert breaker.is_closed


def test_one_that_says_that_it_is_busy_is_there() -> None:
    breaker = Breaker()
    for report in (AWAY, AWAY, AWAY, AWAY, BUSY) * 9 + (BUSY,) * 99:
        breaker.end(report, 0.0)
    assert breaker.is_closed
    late = opened()
    late.end(BUSY, 106.0)
    assert late.is_closed


@pytest.mark.parametrize(("asked_ms", "wait_s"), [(3_000, 3.0), (3_600_000, MAX_OPEN_S), (0, 0.0), (None, 0.0)])
def test_one_wish_for_a_pause_is_enough(asked_ms: int | None, wait_s: float) -> None:
    breaker = Breaker()
    breaker.end(Report(Ending.BUSY, asked_ms), 0.0)
    assert breaker.wait_s(0.0) == wait_s
