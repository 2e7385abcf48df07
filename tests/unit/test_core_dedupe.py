"""An event sent twice is one event, as far back as the window reaches in time and number."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.dedupe import SeenIds

LOG = st.lists(
    st.tuples(st.sampled_from(["t", "u"]), st.sampled_from(["1", "2", "3", "4", "5"]), st.integers(0, 400)), max_size=40
)


def at_times(log: list[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
    """The log with its gaps summed up to times."""
    at_ms, made = 0, []
    for tenant, event_id, gap_ms in log:
        at_ms += gap_ms
        made.append((tenant, event_id, at_ms))
    return made


@settings(max_examples=40)
@given(LOG)
def test_an_id_is_known_exactly_within_the_window_since_its_first_record(log: list[tuple[str, str, int]]) -> None:
    seen = SeenIds(window_ms=1_000, max_events=1_000)
    first: dict[tuple[str, str], int] = {}
    for tenant, event_id, at_ms in at_times(log):
        began_ms = first.get((tenant, event_id))
        known = began_ms is not None and at_ms - began_ms <= 1_000
        if not known:
            first[tenant, event_id] = at_ms
        assert seen.seen(tenant, event_id, at_ms) == known


@settings(max_examples=30)
@given(LOG, st.integers(0, 6))
def test_no_more_ids_are_kept_than_told_and_the_oldest_go_first(log: list[tuple[str, str, int]], most: int) -> None:
    seen = SeenIds(window_ms=10**9, max_events=most)
    kept: list[tuple[str, str]] = []
    for tenant, event_id, at_ms in at_times(log):
        known = (tenant, event_id) in kept
        assert seen.seen(tenant, event_id, at_ms) == known
        if not known:
            kept = [*kept, (tenant, event_id)][-most:] if most else []
        assert len(seen) == len(kept) <= most


@settings(max_examples=30)
@given(LOG)
def test_the_same_records_in_the_same_order_give_the_same_answers(log: list[tuple[str, str, int]]) -> None:
    one, other = SeenIds(1_000, 3), SeenIds(1_000, 3)
    assert [one.seen(*record) for record in at_times(log)] == [other.seen(*record) for record in at_times(log)]


@pytest.mark.parametrize(
    ("one", "other"), [(("a", "b"), ("ab", "")), (("t", "1"), ("u", "1")), (("t", "1"), ("t", "1 "))]
)
def test_ids_of_different_tenants_are_never_mistaken(one: tuple[str, str], other: tuple[str, str]) -> None:
    seen = SeenIds(1_000, 10)
    assert not seen.seen(*one, 0)
    assert not seen.seen(*other, 0)
    assert seen.seen(*one, 0)


def test_a_repetition_does_not_prolong_the_window() -> None:
    seen = SeenIds(1_000, 10)
    assert [seen.seen("t", "1", at_ms) for at_ms in (0, 900, 1_000, 1_001, 1_900)] == [False, True, True, False, True]
