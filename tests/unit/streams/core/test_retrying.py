"""When a failed delivery is tried again, and when no more."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.settings import MAX_DELAY_MS
from streams.core import retrying
from streams.core.retrying import MAX_RETRY_AFTER_MS, GiveUp, Retry

SCHEDULES = st.lists(st.integers(0, MAX_DELAY_MS), min_size=1, max_size=10)
#: Draws and shares as a broken source of randomness would give them, and honest ones.
HOSTILE = st.one_of(st.floats(0, 1), st.sampled_from([math.nan, math.inf, -math.inf, -1.0, 2.0, 1e308, -0.0]))
WISHES = st.one_of(st.none(), st.integers(-1_000, 10 * MAX_RETRY_AFTER_MS))


def due(attempt: int, schedule: list[int], jitter: float, draw: float, wish: int | None = None, now: int = 0) -> int:
    plan = retrying.plan_retry(
        attempt=attempt, schedule_ms=schedule, jitter=jitter, draw=draw, now_ms=now, retry_after_ms=wish
    )
    assert isinstance(plan, Retry)
    return plan.due_at_ms


@settings(max_examples=40)
@given(SCHEDULES, HOSTILE, HOSTILE, st.integers(0, 10 * MAX_RETRY_AFTER_MS), st.integers(0, 2**42))
def test_a_retry_never_undercuts_the_receiver(
    schedule: list[int], jitter: float, draw: float, wish: int, now: int
) -> None:
    for attempt in range(1, len(schedule) + 1):
        assert due(attempt, schedule, jitter, draw, wish, now) - now >= min(wish, MAX_RETRY_AFTER_MS)


@settings(max_examples=40)
@given(SCHEDULES, HOSTILE, HOSTILE, WISHES, st.integers(0, 2**42))
def test_a_retry_never_passes_its_ceiling(
    schedule: list[int], jitter: float, draw: float, wish: int | None, now: int
) -> None:
    for attempt, wait_ms in enumerate(schedule, 1):
        waited_ms = due(attempt, schedule, jitter, draw, wish, now) - now
        assert wait_ms <= waited_ms <= max(2 * wait_ms, MAX_RETRY_AFTER_MS)


@settings(max_examples=40)
@given(SCHEDULES, HOSTILE, HOSTILE)
def test_jitter_only_adds_and_never_more_than_its_share(schedule: list[int], jitter: float, draw: float) -> None:
    share = jitter if 0 <= jitter <= 1 else (1.0 if jitter > 1 else 0.0)
    for attempt, wait_ms in enumerate(schedule, 1):
        assert wait_ms <= due(attempt, schedule, jitter, draw) <= wait_ms * (1 + share) + 1


@settings(max_examples=40)
@given(SCHEDULES, st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_draw_never_comes_back_sooner(schedule: list[int], jitter: float, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert due(1, schedule, jitter, low) <= due(1, schedule, jitter, high)


@settings(max_examples=40)
@given(st.lists(st.integers(0, MAX_DELAY_MS), max_size=10), st.integers(1, 20), WISHES)
def test_there_is_one_attempt_more_than_waits_whatever_the_receiver_asks(
    schedule: list[int], attempt: int, wish: int | None
) -> None:
    plan = retrying.plan_retry(
        attempt=attempt, schedule_ms=schedule, jitter=0.1, draw=0.5, now_ms=0, retry_after_ms=wish
    )
    assert plan == GiveUp(attempt) if attempt > len(schedule) else isinstance(plan, Retry)


@pytest.mark.parametrize(
    ("jitter", "draw", "wish", "wait_ms"),
    [
        (0.0, 0.9, None, 5_000),
        (0.1, 0.0, None, 5_000),
        (0.1, 1.0, None, 5_500),
        (1.0, 1.0, None, 10_000),
        (0.1, 1.0, 5_200, 5_500),
        (0.1, 0.0, 5_200, 5_200),
        (0.1, 0.5, 3_600_000, 3_600_000),
        (0.1, 0.5, 10**15, MAX_RETRY_AFTER_MS),
        (math.nan, math.nan, None, 5_000),
    ],
)
def test_a_wait_is_the_later_of_the_schedule_and_the_wish(
    jitter: float, draw: float, wish: int | None, wait_ms: int
) -> None:
    assert due(1, [5_000], jitter, draw, wish, 1_000) == 1_000 + wait_ms
