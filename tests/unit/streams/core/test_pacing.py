"""Transactions come at once where little is to do, seldom where much is, and never later than a lane may wait."""

import heapq
import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core import pacing
from streams.core.pacing import Pacer, Patience

LONGEST_MS = 500
TRANSACTION_S = 0.008


class Lanes:
    """Lanes of one process, each of which has something to commit when a record has come for it."""

    def __init__(self, count: int, patience: Patience) -> None:
        self.pacer = Pacer(patience)
        self.lanes = range(count)
        self.waits: list[float] = []
        self.turns: list[tuple[float, int]] = []
        self.longest_s = 0.0

    def run(self, arrivals: Iterable[tuple[float, int]]) -> None:
        """`arrivals`: when a record comes, and for which lane."""
        events = [(at, order, "record", lane) for order, (at, lane) in enumerate(arrivals)]
        heapq.heapify(events)
        held: defaultdict[int, list[float]] = defaultdict(list)
        ended = dict.fromkeys(self.lanes, float("-inf"))
        asked: set[int] = set()
        while events:
            now, order, what, lane = heapq.heappop(events)
            match what:
                case "record":
                    held[lane].append(now)
                case "begin":
                    self.waits += [now - came for came in held[lane]]
                    self.turns.append((now, lane))
                    heapq.heappush(events, (now + TRANSACTION_S, order, f"end {len(held[lane])}", lane))
                    held[lane] = []
                case _:
                    self.pacer.ended(now, int(what.removeprefix("end ")), TRANSACTION_S)
                    ended[lane] = now
                    asked.discard(lane)
            if held[lane] and lane not in asked:
                asked.add(lane)
                turn = self.pacer.turn(now, ended[lane])
                self.longest_s = max(self.longest_s, turn - now)
                heapq.heappush(events, (turn, order, "begin", lane))


def arrivals(rate_per_s: float, lanes: int, seconds: float, seed: int = 1) -> list[tuple[float, int]]:
    draw = random.Random(seed)
    at, made = 0.0, []
    while (at := at + draw.expovariate(rate_per_s)) < seconds:
        made.append((at, draw.randrange(lanes)))
    return made


@pytest.mark.parametrize("seed", range(5))
def test_where_little_is_to_do_next_to_no_record_waits(seed: int) -> None:
    lanes = Lanes(8, Patience(LONGEST_MS))
    lanes.run(arrivals(50, 8, 60, seed))
    waits = sorted(lanes.waits)
    assert waits[len(waits) // 2] == 0
    assert waits[int(len(waits) * 0.99)] < 0.02


@pytest.mark.parametrize("rate_per_s", [2_000, 4_000])
@pytest.mark.parametrize("lanes", [1, 8])
def test_where_much_is_to_do_transactions_are_few_and_shared_out_evenly(rate_per_s: int, lanes: int) -> None:
    run = Lanes(lanes, Patience(LONGEST_MS))
    run.run(arrivals(rate_per_s, lanes, 10))
    steady = [(at, lane) for at, lane in run.turns if 4 < at < 10]
    most = max(pacing.BUSY_SHARE / pacing.PRICE_S, lanes * 1_000 / LONGEST_MS)
    assert len(steady) / 6 == pytest.approx(most, rel=0.15)
    counts = Counter(lane for _, lane in steady)
    assert max(counts.values()) - min(counts.values()) <= 2


@pytest.mark.parametrize("rate_per_s", [500, 1_000, 1_600, 3_000])
def test_at_an_even_rate_the_distances_do_not_swing(rate_per_s: int) -> None:
    run = Lanes(8, Patience(LONGEST_MS))
    run.run(arrivals(rate_per_s, 8, 10))
    starts = [at for at, lane in run.turns if lane == 0 and at > 4]
    distances = [after - before for before, after in pairwise(starts)]
    usual = sorted(distances)[len(distances) // 2]
    assert all(0.5 * usual < one < 1.7 * usual for one in distances)


@settings(max_examples=60, deadline=None)
@given(st.floats(1, 3_000), st.integers(1, 64), st.integers(5, LONGEST_MS), st.integers(0, 200), st.integers(0, 5))
def test_no_lane_waits_longer_than_it_may(rate: float, lanes: int, longest_ms: int, linger_ms: int, seed: int) -> None:
    run = Lanes(lanes, Patience(longest_ms, linger_ms))
    run.run(arrivals(rate, lanes, 1_000 / rate if rate > 100 else 5, seed))
    assert run.longest_s <= max(longest_ms / 1_000, pacing.SETTLE_S) + 1e-9


@settings(max_examples=25, deadline=None)
@given(st.floats(100, 3_000), st.integers(0, 5))
def test_transactions_of_a_process_take_no_more_than_their_share(rate: float, seed: int) -> None:
    run = Lanes(8, Patience(60_000))
    run.run(arrivals(rate, 8, 3, seed))
    assert len(run.turns) <= pacing.BURST + 3.5 * pacing.CALM_SHARE / pacing.PRICE_S + 8


def distance_at(rate_per_s: int, *took_s: float, pacer: Pacer | None = None, now_s: float = 5.0) -> float:
    """The distance of turns after a hundred transactions of each of these lengths, the last of which had records."""
    pacer = pacer or Pacer(Patience(LONGEST_MS))
    for one in took_s:
        for _ in range(100):
            pacer.ended(now_s, 0, one)
    pacer.ended(now_s, rate_per_s, took_s[-1])
    return pacer.distance_s(now_s)


CALM_S, BUSY_S = pacing.PRICE_S / pacing.CALM_SHARE, pacing.PRICE_S / pacing.BUSY_SHARE


def test_where_transactions_take_long_less_work_makes_them_few() -> None:
    assert CALM_S < distance_at(400, 0.004) == distance_at(400, 0.004, 0.008) < distance_at(400, 0.004, 0.04)
    assert distance_at(400, 0.004, 0.04) == pytest.approx(BUSY_S)
    assert distance_at(400, 0.004, 0.04, 0.004) == distance_at(400, 0.004)


def test_where_transactions_take_long_a_little_work_is_still_done_soon() -> None:
    assert distance_at(20, 0.004, 1.0) == pytest.approx(CALM_S)
    assert distance_at(50, 0.004, 1.0) < 1.15 * CALM_S


def test_a_broker_that_is_far_away_is_not_taken_for_a_busy_one() -> None:
    assert distance_at(100, 0.08) == pytest.approx(CALM_S)
    pacer = Pacer(Patience(LONGEST_MS))
    assert distance_at(100, 0.004, pacer=pacer) == pytest.approx(CALM_S)
    for hours in range(1, 9):
        distance_s = distance_at(100, 0.08, pacer=pacer, now_s=3_600.0 * hours)
    assert distance_s == pytest.approx(CALM_S)


def test_a_process_with_many_lanes_is_calm_again_at_once() -> None:
    run = Lanes(64, Patience(LONGEST_MS))
    run.run(arrivals(3_000, 64, 3))
    assert run.pacer.turn(20.0, 10.0) == 20.0


def test_a_record_waits_for_company_where_the_service_says_so() -> None:
    assert Pacer(Patience(LONGEST_MS, linger_ms=100)).turn(5.0, float("-inf")) == pytest.approx(5.1)


def test_a_lane_does_not_begin_before_its_last_transaction_is_written_down() -> None:
    assert Pacer(Patience(LONGEST_MS)).turn(5.0, 5.0) == pytest.approx(5.0 + pacing.SETTLE_S)


def test_a_turn_that_is_not_used_is_the_next_ones() -> None:
    used, unused = Pacer(Patience(LONGEST_MS)), Pacer(Patience(LONGEST_MS))
    for _ in range(pacing.BURST + 5):
        used.turn(5.0, float("-inf"))
        unused.turn(5.0, float("-inf"))
        unused.unused(5.0)
    assert unused.turn(5.0, float("-inf")) == 5.0 < used.turn(5.0, float("-inf"))


def test_a_clock_may_be_of_any_age_and_a_process_idle_for_weeks() -> None:
    pacer = Pacer(Patience(500))
    for now_s in (1e7, 1e9):
        pacer.ended(now_s, 1, 0.01)
        assert now_s <= pacer.turn(now_s, now_s) <= now_s + 0.5
