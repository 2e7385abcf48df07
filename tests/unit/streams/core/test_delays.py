"""Nothing is due too early, and little is late."""

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core import delays

TIERS = {"1s": 1_000, "5s": 5_000, "30s": 30_000, "2m": 120_000, "10m": 600_000, "1h": 3_600_000, "4h": 14_400_000}


def walk(waits: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Run deliveries, each (arrival, wait), through the tiers; each one's due time, when it came out, and its hops."""
    queues: dict[str, deque[tuple[int, int, int]]] = {name: deque() for name in TIERS}
    out: list[tuple[int, int, int]] = []
    clock = 0
    arrivals = deque(sorted((at, at + wait) for at, wait in waits))

    def place(now: int, due: int, hops: int) -> None:
        tier = delays.choose_tier(now, due, TIERS)
        if tier is None:
            out.append((due, now, hops))
        else:
            queues[tier].append((now, due, hops + 1))

    while arrivals or any(queues.values()):
        heads = [
            (delays.release_at_ms(queue[0][0], TIERS[name], queue[0][1]), name)
            for name, queue in queues.items()
            if queue
        ]
        at, name = min(heads, default=(1 << 62, ""))
        if arrivals and arrivals[0][0] <= at:
            now, due = arrivals.popleft()
            place(now, due, 0)
            continue
        _, due, hops = queues[name].popleft()
        clock = max(clock, at)
        place(clock, due, hops)
    return out


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20_000), st.integers(1_000, 72_000_000)), min_size=1, max_size=40))
def test_nobody_is_due_early_and_nobody_later_than_a_second_and_a_percent(waits: list[tuple[int, int]]) -> None:
    out = walk(waits)
    assert len(out) == len(waits)
    for due, at, _ in out:
        assert at >= due
    longest = max(wait for _, wait in waits)
    assert max(at - due for due, at, _ in out) <= 1_000 + longest // 100


@pytest.mark.parametrize(("wait_ms", "hops"), [(1_000, 1), (4_900, 1), (5_000, 1), (30_000, 1), (36_000, 3)])
def test_a_wait_of_the_schedule_takes_few_hops(wait_ms: int, hops: int) -> None:
    assert walk([(0, wait_ms)])[0][2] <= hops


def test_what_is_due_now_waits_nowhere() -> None:
    assert delays.choose_tier(1_000, 1_000, TIERS) is None
    assert delays.choose_tier(1_000, 1_001, TIERS) == "1s"
