"""A delivery waits in memory only where its turn comes soon; all else is put off, longer where its endpoint is away."""

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core import admission
from streams.core.admission import MAX_DEFERRAL_MS, MAX_WAIT_MS, MIN_DEFERRAL_MS, Load

LOADS = st.builds(
    Load,
    queued=st.integers(0, 100_000),
    service_ms=st.floats(0, 600_000),
    limit=st.integers(1, 10_000),
    rate_per_s=st.one_of(st.none(), st.floats(0, 10**6, exclude_min=True)),
    away_ms=st.floats(0, 10**9),
)


@settings(max_examples=80)
@given(LOADS)
def test_a_deferral_has_its_bounds_and_an_empty_endpoint_takes_at_once(load: Load) -> None:
    assert MIN_DEFERRAL_MS <= admission.deferral_ms(load) <= MAX_DEFERRAL_MS
    assert admission.expected_wait_ms(load) >= 0
    assert admission.may_wait(load._replace(queued=0))


@settings(max_examples=80)
@given(LOADS, st.integers(0, 1_000))
def test_a_longer_queue_never_shortens_the_wait(load: Load, more: int) -> None:
    longer = load._replace(queued=load.queued + more)
    assert admission.expected_wait_ms(longer) >= admission.expected_wait_ms(load)
    assert admission.deferral_ms(longer) >= admission.deferral_ms(load)
    assert admission.may_wait(load) or not admission.may_wait(longer)


@settings(max_examples=80)
@given(LOADS, st.floats(0, 10**9))
def test_a_longer_absence_never_shortens_the_deferral(load: Load, more_ms: float) -> None:
    worse = load._replace(away_ms=load.away_ms + more_ms)
    assert admission.deferral_ms(worse) >= admission.deferral_ms(load)


TIERS_MS = [1_000, 5_000, 30_000, 120_000, 600_000, 3_600_000]


@given(st.integers(1, 10**8))
def test_a_deferral_on_tiers_is_about_as_long(deferral_ms: int) -> None:
    assert deferral_ms / 3 <= admission.on_tiers(deferral_ms, TIERS_MS) <= deferral_ms * 3


def test_and_mostly_one_move() -> None:
    on_tiers = {ms: admission.on_tiers(ms, TIERS_MS) for ms in (300, 5_001, 9_000, 37_000, 70_000, 200_000, 300_000)}
    assert list(on_tiers.values()) == [300, 5_000, 5_000, 30_000, 120_000, 120_000, 600_000]
    assert admission.on_tiers(300_000, [1_000, 5_000]) == 300_000


def test_what_waits_for_an_endpoint_that_is_away_is_looked_at_a_few_times_and_not_all_the_time() -> None:
    """Ten minutes of a delivery that came when its endpoint had been away for a second."""
    away_ms, looks = 1_000, 0
    while away_ms < 600_000:
        load = Load(queued=0, service_ms=15_000, limit=1, away_ms=away_ms)
        away_ms += admission.on_tiers(admission.deferral_ms(load), TIERS_MS)
        looks += 1
    assert looks <= 15


@settings(max_examples=60)
@given(LOADS)
def test_a_rate_never_shortens_the_wait(load: Load) -> None:
    free = load._replace(rate_per_s=None)
    assert admission.expected_wait_ms(load) >= admission.expected_wait_ms(free)


def test_a_slow_endpoint_may_hold_eight_seconds_of_work_and_no_more() -> None:
    assert admission.may_wait(Load(queued=80, service_ms=1_000, limit=10))
    assert not admission.may_wait(Load(queued=81, service_ms=1_000, limit=10))
    assert MAX_WAIT_MS == 8_000


def test_what_is_put_off_is_back_before_the_endpoint_stands_idle() -> None:
    for rate in (1.0, 20.0, 500.0):
        load = Load(queued=int(9 * rate) + 1, service_ms=0, limit=100, rate_per_s=rate)
        assert not admission.may_wait(load)
        assert admission.deferral_ms(load) <= admission.expected_wait_ms(load) - 2_000


def test_only_a_queue_that_is_empty_in_a_moment_is_waited_for() -> None:
    assert admission.is_quick(Load(queued=1_000, service_ms=4, limit=10))
    assert not admission.is_quick(Load(queued=1_000, service_ms=20, limit=10))
    assert not admission.is_quick(Load(queued=1_000, service_ms=1, limit=10, rate_per_s=500))


def test_a_rate_lets_its_burst_through_at_once() -> None:
    assert admission.expected_wait_ms(Load(queued=10, service_ms=0, limit=100, rate_per_s=10)) == 0
    assert admission.expected_wait_ms(Load(queued=30, service_ms=0, limit=100, rate_per_s=10)) == 2_000


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 50))
def test_a_window_stays_between_one_and_the_limit_and_answers_open_it_again(ends: list[bool], limit: int) -> None:
    window = admission.FIRST_WINDOW
    for failed in ends:
        window = admission.next_window(window, limit, failed=failed)
        assert 1 <= window <= max(limit, admission.FIRST_WINDOW)
    for _ in range(limit):
        window = admission.next_window(window, limit, failed=False)
    assert window == limit
