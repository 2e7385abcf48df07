"""Which version of an endpoint an event is judged by, and which versions are kept for it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.endpoints import EndpointRecord, EndpointVersion, State
from streams.core import versions
from streams.core.versions import MAX_HISTORY

TIMES = st.lists(st.integers(0, 30), min_size=1, max_size=12).map(sorted)

#: A time by which no event waits any more.
FAR = 10**15


def record(times: list[int]) -> EndpointRecord:
    made = [
        EndpointVersion(valid_from_ms=at_ms, offset=offset, state=State.ACTIVE, since_ms=at_ms)
        for offset, at_ms in enumerate(times)
    ]
    return EndpointRecord(tenant="t", endpoint_id="e", partition=0, current=made[-1], history=tuple(made[:-1]))


@settings(max_examples=40)
@given(TIMES, st.integers(-1, 32))
def test_an_event_is_judged_by_the_last_change_of_its_millisecond_or_before(
    times: list[int], event_time_ms: int
) -> None:
    found = versions.as_of(record(times), event_time_ms)
    before = [offset for offset, at_ms in enumerate(times) if at_ms <= event_time_ms]
    assert (found.offset if found else None) == (before[-1] if before else None)


@settings(max_examples=40)
@given(TIMES, st.integers(-1, 32))
def test_pruning_changes_no_answer_from_its_floor_on(times: list[int], floor_ms: int) -> None:
    whole = record(times)
    pruned = versions.prune(whole, floor_ms, FAR)
    assert pruned.current == whole.current
    for event_time_ms in range(floor_ms, 34):
        assert versions.as_of(pruned, event_time_ms) == versions.as_of(whole, event_time_ms)


@settings(max_examples=30)
@given(TIMES, st.integers(-1, 32), st.integers(-1, 32))
def test_pruning_twice_is_pruning_once_at_the_later_floor(times: list[int], one_ms: int, other_ms: int) -> None:
    whole = record(times)
    assert versions.prune(versions.prune(whole, one_ms, FAR), other_ms, FAR) == versions.prune(
        whole, max(one_ms, other_ms), FAR
    )


def test_what_no_event_needs_any_more_goes() -> None:
    assert versions.prune(record([1, 2, 3, 4]), 100, FAR).history == ()


def test_the_number_of_older_versions_is_bounded_and_the_latest_stay() -> None:
    pruned = versions.prune(record(list(range(MAX_HISTORY + 50))), 0, FAR)
    assert [version.offset for version in pruned.history] == list(range(49, MAX_HISTORY + 49))
    assert pruned.current.offset == MAX_HISTORY + 49


def test_what_waiting_events_need_stays_however_much_it_is() -> None:
    times = list(range(MAX_HISTORY + 50))
    assert len(versions.prune(record(times), 0, 20).history) == len(times) - 1 - 20
    assert versions.prune(record(times), 0, 0).history == record(times).history
