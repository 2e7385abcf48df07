"""Waiting in first-in-first-out tiers: nobody is early, and nobody is late because of who waits before them."""

import heapq

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core import delays

TIERS = {"1s": 1_000, "5s": 5_000, "30s": 30_000, "2m": 120_000, "10m": 600_000, "1h": 3_600_000, "4h": 14_400_000}
HOUR_MS = 3_600_000
WAITS = st.one_of(*(st.integers(1, longest) for longest in (20 * HOUR_MS, 70_000, 2_500)))
#: Not longer than the shortest tier.
LATEST_MS = 1_000


def walk(records: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """`(due_at_ms, released_at_ms, hops)` of each `(appended_at_ms, wait_ms)`; each tier is one queue in log order."""
    arrivals = [(at_ms, number, at_ms + wait_ms, 0) for number, (at_ms, wait_ms) in enumerate(records)]
    heapq.heapify(arrivals)
    head_free_at_ms = dict.fromkeys(TIERS, 0)
    released = []
    while arrivals:
        now_ms, number, due_at_ms, hops = heapq.heappop(arrivals)
        tier = delays.choose_tier(now_ms, due_at_ms, TIERS)
        if tier is None:
            released.append((due_at_ms, now_ms, hops))
            continue
        # Nobody leaves a queue before those in front have left it.
        own_at_ms = delays.release_at_ms(now_ms, TIERS[tier], due_at_ms, shortest=tier == "1s")
        leaves_at_ms = max(head_free_at_ms[tier], own_at_ms)
        head_free_at_ms[tier] = leaves_at_ms
        heapq.heappush(arrivals, (leaves_at_ms, number, due_at_ms, hops + 1))
    return released


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 30 * 60_000), WAITS), min_size=1, max_size=40))
def test_no_delivery_is_due_early_nor_late_by_more_than_a_second(records: list[tuple[int, int]]) -> None:
    released = walk(records)
    assert sorted(due_at_ms for due_at_ms, _, _ in released) == sorted(at_ms + wait_ms for at_ms, wait_ms in records)
    for due_at_ms, released_at_ms, _ in released:
        assert 0 <= released_at_ms - due_at_ms <= LATEST_MS


@settings(max_examples=10)
@given(st.integers(0, 5_000), st.lists(WAITS, min_size=50, max_size=100))
def test_a_burst_is_released_on_time(spread_ms: int, waits: list[int]) -> None:
    for due_at_ms, released_at_ms, _ in walk([(place * spread_ms // len(waits), w) for place, w in enumerate(waits)]):
        assert 0 <= released_at_ms - due_at_ms <= LATEST_MS


def test_a_wait_alone_in_its_queues_is_over_to_the_millisecond() -> None:
    for wait_ms in (1, 499, 1_000, 1_499, 5_300, 300_000, 20 * HOUR_MS):
        assert [released - due for due, released, _ in walk([(0, wait_ms)])] == [0]


@settings(max_examples=60)
@given(WAITS)
def test_a_wait_takes_few_hops(wait_ms: int) -> None:
    ((_, _, hops),) = walk([(0, wait_ms)])
    assert 1 <= hops <= 25


@pytest.mark.parametrize(("wait", "tier"), [(1_000, "1s"), (5_000, "5s"), (300_000, "2m"), (72_000_000, "4h")])
def test_a_wait_starts_in_the_longest_tier_that_fits(wait: int, tier: str) -> None:
    assert delays.choose_tier(500, 500 + wait, TIERS) == tier


@settings(max_examples=60)
@given(st.integers(0, 2**42), st.integers(-HOUR_MS, 20 * HOUR_MS))
def test_a_wait_has_a_tier_exactly_while_something_is_left_of_it(now_ms: int, left_ms: int) -> None:
    assert (delays.choose_tier(now_ms, now_ms + left_ms, TIERS) is None) == (left_ms <= 0)


@settings(max_examples=100)
@given(st.integers(0, 2**42), st.sampled_from(list(TIERS.values())), st.integers(-HOUR_MS, 20 * HOUR_MS))
def test_a_head_is_never_held_much_longer_than_its_tier_nor_released_before_it_came(
    appended_at_ms: int, tier_ms: int, left_ms: int
) -> None:
    released_at_ms = delays.release_at_ms(appended_at_ms, tier_ms, appended_at_ms + left_ms)
    assert appended_at_ms <= released_at_ms <= appended_at_ms + tier_ms + delays.HOLD_MS
    assert released_at_ms <= max(appended_at_ms, appended_at_ms + left_ms)
