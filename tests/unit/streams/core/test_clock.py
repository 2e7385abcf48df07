"""Whatever a host's clock says, time is Kafka's; never ahead of what is known, and a slow answer moves nothing."""

from hypothesis import given
from hypothesis import strategies as st

from streams.core.clock import Clock

HOUR_MS = 3_600_000


def test_the_wall_clock_counts_until_kafka_has_said_something() -> None:
    assert Clock(1_000, 50_000).at(3_000) == 52_000


def test_a_host_an_hour_ahead_or_behind_goes_by_kafkas_time_after_one_answer() -> None:
    for wrong_ms in (HOUR_MS, -HOUR_MS):
        clock = Clock(0, 10 * HOUR_MS + wrong_ms)
        correction = clock.appended(10 * HOUR_MS + 5, 0, 10)
        assert abs(correction + wrong_ms) <= 10
        assert 10 * HOUR_MS + 90 <= clock.at(100) <= 10 * HOUR_MS + 100


def test_a_slow_answer_does_not_set_the_clock_back() -> None:
    clock = Clock(0, 10 * HOUR_MS)
    clock.appended(10 * HOUR_MS, 0, 1)
    before = clock.at(20_000)
    clock.appended(10 * HOUR_MS + 1_500, 1_000, 16_000)  # stamped at once, answered 15 s later
    assert clock.at(20_000) == before


def test_kafkas_own_jump_is_followed_both_ways() -> None:
    clock = Clock(0, 10 * HOUR_MS)
    clock.appended(10 * HOUR_MS, 0, 2)
    clock.appended(11 * HOUR_MS, 100, 104)
    assert clock.at(104) == 11 * HOUR_MS
    clock.appended(10 * HOUR_MS, 200, 204)
    assert clock.at(204) <= 10 * HOUR_MS + 4


def test_a_record_from_the_future_shows_that_the_clock_is_behind() -> None:
    clock = Clock(0, 10 * HOUR_MS)
    assert clock.seen(10 * HOUR_MS + 700, 0) == 700
    assert clock.seen(9 * HOUR_MS, 5) == 0  # an old record shows nothing


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 10_000))
def test_what_is_left_until_a_time_is_over_when_the_clock_shows_it(
    steady_ms: int, correction_ms: int, ahead: int
) -> None:
    clock = Clock(0, 10 * HOUR_MS)
    clock.seen(10 * HOUR_MS + correction_ms, 0)
    wanted = clock.at(steady_ms) + ahead
    left_ms = clock.left_ms(wanted, steady_ms)
    assert clock.at(steady_ms + left_ms) == wanted
    assert clock.at(steady_ms + left_ms - 0.5) < wanted


@given(
    st.integers(-HOUR_MS, HOUR_MS),
    st.lists(st.tuples(st.floats(0, 1_000), st.floats(0, 50), st.floats(0, 50)), min_size=1, max_size=30),
)
def test_it_is_never_ahead_of_kafka_and_behind_by_no_more_than_the_quickest_answer(
    wrong_ms: int, answers: list[tuple[float, float, float]]
) -> None:
    start = 10 * HOUR_MS
    clock = Clock(0, start + wrong_ms)
    steady, slack = 0.0, float("inf")
    for idle, there, back in answers:
        began = steady + idle
        stamped = began + there
        steady = stamped + back
        clock.appended(int(start + stamped), began, steady)
        slack = min(slack, there + back)
    assert clock.at(steady) <= start + steady
    assert clock.at(steady) >= start + steady - 102
