"""A moment of Kafka's clock is waited for, and not for longer than is allowed."""

import pytest

from streams.lane import clock


@pytest.mark.parametrize("ahead_ms", [-5, 0, 1, 2, 7, 40])
async def test_nobody_goes_on_before_the_time(ahead_ms: int) -> None:
    for _ in range(10):
        wanted_ms = clock.now_ms() + ahead_ms
        await clock.reach(wanted_ms, 1_000)
        assert clock.now_ms() >= wanted_ms


async def test_a_time_that_is_far_away_is_not_waited_for() -> None:
    began_ms = clock.steady_ms()
    await clock.reach(clock.now_ms() + 3_600_000, 20)
    assert 20 <= clock.steady_ms() - began_ms < 5_000
