"""An event sent twice is one event, as far back as the window reaches in time and number."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.dedupe import SeenIds

LOG = st.lists(
    st.tuples(st.sampled_from(["t", "u"]), st.sampled_from(["1", "2", "3", "4", "5"]), st.integers(0, 400)), max_size=40
)
Record = tuple[str, str, int, int]


def records(log: list[tuple[str, str, int]]) -> list[Record]:
    """Tenant, id, time and offset of each; the log's gaps summed up to times."""
    at_ms, made = 0, []
    for offset, (tenant, event_id, gap_ms) in enumerate(log):
        at_ms += gap_ms
        made.append((tenant, event_id, at_ms, offset))
    return made


def is_repeated(place: int, log: list[Record], window_ms: int, max_events: int) -> bool:
    """What the answer should be, by looking at everything before."""
    tenant, event_id, at_ms, offset = log[place]
    return any(
        (earlier[0], earlier[1]) == (tenant, event_id)
        and earlier[2] >= at_ms - window_ms
        and earlier[3] >= offset - max_events
        for earlier in log[:place]
    )


@settings(max_examples=60)
@given(LOG, st.integers(0, 2_000), st.integers(0, 12))
def test_an_id_is_known_exactly_while_a_record_of_it_lies_in_the_window(
    given_log: list[tuple[str, str, int]], window_ms: int, max_events: int
) -> None:
    log = records(given_log)
    seen = SeenIds(window_ms, max_events)
    for place, record in enumerate(log):
        assert seen.seen(*record) == is_repeated(place, log, window_ms, max_events)
        assert len(seen) <= max_events + 1


@settings(max_examples=60)
@given(LOG, st.integers(0, 39))
def test_reading_the_window_again_rebuilds_every_answer(given_log: list[tuple[str, str, int]], stop: int) -> None:
    window_ms, max_events = 600, 8
    log = records(given_log)
    whole = SeenIds(window_ms, max_events)
    answers = [whole.seen(*record) for record in log]
    if stop >= len(log):
        return
    rebuilt = SeenIds(window_ms, max_events)
    for record in log[:stop]:
        if record[2] >= log[stop][2] - window_ms and record[3] >= log[stop][3] - max_events:
            rebuilt.seen(*record)
    assert [rebuilt.seen(*record) for record in log[stop:]] == answers[stop:]


@pytest.mark.parametrize(
    ("one", "other"), [(("a", "b"), ("ab", "")), (("t", "1"), ("u", "1")), (("t", "1"), ("t", "1 "))]
)
def test_ids_of_different_tenants_are_never_mistaken(one: tuple[str, str], other: tuple[str, str]) -> None:
    seen = SeenIds(1_000, 10)
    assert not seen.seen(*one, 0, 0)
    assert not seen.seen(*other, 0, 1)


def test_every_repetition_prolongs_the_window() -> None:
    seen = SeenIds(1_000, 10)
    answers = [seen.seen("t", "1", at_ms, offset) for offset, at_ms in enumerate((0, 900, 1_800, 2_801))]
    assert answers == [False, True, True, False]
