"""A delivery waits in memory only where its turn comes soon; everything else is put off, longer after failures."""

import dataclasses

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
    failures=st.integers(0, 10**9),
)


@settings(max_examples=80)
@given(LOADS)
def test_a_deferral_has_its_bounds_and_an_empty_endpoint_takes_at_once(load: Load) -> None:
    assert MIN_DEFERRAL_MS <= admission.deferral_ms(load) <= MAX_DEFERRAL_MS
    assert admission.expected_wait_ms(load) >= 0
    assert admission.may_wait(dataclasses.replace(load, queued=0))


@settings(max_examples=80)
@given(LOADS, st.integers(0, 1_000))
def test_a_longer_queue_never_shortens_the_wait(load: Load, more: int) -> None:
    longer = dataclasses.replace(load, queued=load.queued + more)
    assert admission.expected_wait_ms(longer) >= admission.expected_wait_ms(load)
    assert admission.deferral_ms(longer) >= admission.deferral_ms(load)
    assert admission.may_wait(load) or not admission.may_wait(longer)


@settings(max_examples=80)
@given(LOADS, st.integers(0, 10_000))
def test_more_failures_never_shorten_the_deferral(load: Load, more: int) -> None:
    worse = dataclasses.replace(load, failures=load.failures + more)
    assert admission.deferral_ms(worse) >= admission.deferral_ms(load)


@settings(max_examples=60)
@given(LOADS)
def test_a_rate_never_shortens_the_wait(load: Load) -> None:
    free = dataclasses.replace(load, rate_per_s=None)
    assert admission.expected_wait_ms(load) >= admission.expected_wait_ms(free)


def test_a_slow_endpoint_may_hold_five_seconds_of_work_and_no_more() -> None:
    assert admission.may_wait(Load(queued=50, service_ms=1_000, limit=10))
    assert not admission.may_wait(Load(queued=51, service_ms=1_000, limit=10))
    assert MAX_WAIT_MS == 5_000


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
