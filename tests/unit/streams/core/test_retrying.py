"""When a failed attempt is made again, and when no more."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core import retrying
from streams.core.retrying import GiveUp, Retry

SCHEDULES = st.lists(st.integers(0, 30 * 86_400_000), min_size=1, max_size=10)
HOSTILE = st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.sampled_from([-1.0, 2.0, math.nan, math.inf]))


@given(SCHEDULES, HOSTILE, HOSTILE, st.integers(0, 1 << 45))
def test_jitter_only_adds_and_at_most_the_whole_wait(schedule: list[int], jitter: float, draw: float, now: int) -> None:
    plan = retrying.plan_retry(attempt=1, schedule_ms=schedule, jitter=jitter, draw=draw, now_ms=now)
    assert isinstance(plan, Retry)
    assert schedule[0] <= plan.due_at_ms - now <= 2 * schedule[0]


@given(SCHEDULES, HOSTILE, st.integers(0, 1 << 60))
def test_a_retry_never_undercuts_the_receiver_nor_passes_the_ceiling(
    schedule: list[int], draw: float, after: int
) -> None:
    plan = retrying.plan_retry(attempt=1, schedule_ms=schedule, jitter=0.1, draw=draw, now_ms=0, retry_after_ms=after)
    assert isinstance(plan, Retry)
    assert plan.due_at_ms >= min(after, retrying.MAX_RETRY_AFTER_MS)
    assert plan.due_at_ms <= max(2 * schedule[0], retrying.MAX_RETRY_AFTER_MS)


@given(SCHEDULES)
def test_there_is_one_attempt_more_than_waits(schedule: list[int]) -> None:
    attempts = 1
    while isinstance(retrying.plan_retry(attempt=attempts, schedule_ms=schedule, jitter=0, draw=0, now_ms=0), Retry):
        attempts += 1
    assert attempts == len(schedule) + 1


@pytest.mark.parametrize("attempt", [1, 5])
def test_without_a_schedule_there_is_one_attempt(attempt: int) -> None:
    plan = retrying.plan_retry(attempt=attempt, schedule_ms=[], jitter=0, draw=0, now_ms=0)
    assert plan == GiveUp(attempt)
