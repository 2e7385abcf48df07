"""Which endpoints an event type leads to: the index of patterns says what a look at each of them says."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core import matching
from streams.core.matching import TenantIndex

SEGMENT = st.sampled_from(["a", "b", "c", "hookfold"])
PATTERN = st.one_of(
    st.sampled_from(["*", "**"]),
    st.builds(
        lambda front, end: ".".join([*front, *end]),
        st.lists(st.one_of(SEGMENT, st.just("*")), min_size=1, max_size=3),
        st.sampled_from([[], ["**"]]),
    ),
)
EVENT_TYPE = st.builds(
    lambda own, segments: own + ".".join(segments),
    st.sampled_from(["", "", "hookfold."]),
    st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, max_size=5),
)
PUTS = st.lists(st.tuples(st.sampled_from(["e1", "e2", "e3"]), st.lists(PATTERN, max_size=4)), max_size=12)


def index_of(puts: list[tuple[str, list[str]]]) -> TenantIndex[str]:
    index, known = TenantIndex[str](), dict[str, frozenset[str]]()
    for endpoint_id, patterns in puts:
        wanted = frozenset(patterns)
        index.put(endpoint_id, wanted, known.get(endpoint_id, frozenset()))
        known[endpoint_id] = wanted
    return index


def brute_force(last: dict[str, list[str]], event_type: str) -> list[str]:
    return sorted(e for e, patterns in last.items() if any(matching.matches(p, event_type) for p in patterns))


@settings(max_examples=50)
@given(PUTS, st.lists(EVENT_TYPE, min_size=1, max_size=8))
def test_the_index_finds_what_every_pattern_by_itself_finds_after_any_replacement(
    puts: list[tuple[str, list[str]]], event_types: list[str]
) -> None:
    index = index_of(puts)
    for event_type in event_types:
        assert index.find(event_type) == brute_force(dict(puts), event_type)


@settings(max_examples=30)
@given(st.dictionaries(st.sampled_from(["e1", "e2", "e3"]), st.lists(PATTERN, max_size=4)), EVENT_TYPE, st.data())
def test_the_order_of_endpoints_and_patterns_makes_no_difference(
    last: dict[str, list[str]], event_type: str, data: st.DataObject
) -> None:
    shuffled = [(e, data.draw(st.permutations(p))) for e, p in data.draw(st.permutations(list(last.items())))]
    assert index_of(shuffled).find(event_type) == index_of(list(last.items())).find(event_type)


@settings(max_examples=30)
@given(PUTS, EVENT_TYPE)
def test_an_endpoint_that_was_removed_is_never_found(puts: list[tuple[str, list[str]]], event_type: str) -> None:
    index, empty = index_of(puts), TenantIndex[str]()
    index.find(event_type)
    for endpoint_id, patterns in dict(puts).items():
        index.put(endpoint_id, frozenset(), frozenset(patterns))
    assert index.find(event_type) == []
    assert index.size == empty.size


@settings(max_examples=30)
@given(PATTERN, st.text(max_size=20))
def test_any_text_is_matched_alike_by_index_and_pattern(pattern: str, event_type: str) -> None:
    index = index_of([("e", [pattern])])
    assert (index.find(event_type) == ["e"]) == matching.matches(pattern, event_type)


@settings(max_examples=30)
@given(EVENT_TYPE, EVENT_TYPE)
def test_a_name_without_stars_matches_itself_only(one: str, other: str) -> None:
    assert matching.matches(one, other) == (one == other)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*", ["a", "a.b", "a.b.c"], []),
        ("**", ["a", "a.b", "a.b.c"], []),
        ("invoice.*", ["invoice.paid"], ["invoice", "invoice.paid.twice", "invoices.paid", "x.invoice.paid"]),
        ("invoice.**", ["invoice.paid", "invoice.paid.twice"], ["invoice", "invoices.paid"]),
        ("*.paid", ["invoice.paid"], ["paid", "a.invoice.paid", "invoice.paid.x"]),
        ("a.*.c", ["a.b.c"], ["a.c", "a.b.b.c"]),
        ("*.**", ["a.b", "a.b.c"], ["a"]),
        ("a.b", ["a.b"], ["A.b", "a.b.", ".a.b", "a", "a.b.c"]),
    ],
)
def test_a_star_is_one_segment_and_two_are_one_or_more(pattern: str, yes: list[str], no: list[str]) -> None:
    index = index_of([("e", [pattern])])
    assert [event_type for event_type in yes + no if index.find(event_type)] == yes


@pytest.mark.parametrize(
    "pattern", ["a", "a.b", "A_b-9.c", "*", "**", "*.*", "a.*", "a.**", "*.**", "*.b.*", "x" * 256]
)
def test_a_good_pattern_is_taken_whole(pattern: str) -> None:
    assert matching.refuse_pattern(pattern) is None


@pytest.mark.parametrize(
    "pattern",
    ["", ".", "a.", ".a", "a..b", "**.a", "a.**.b", "a*", "*a.b", "a.***", "a b", "a.b\n", "é", "a/b", "x" * 257],
)
def test_a_bad_pattern_is_refused_in_one_line(pattern: str) -> None:
    reason = matching.refuse_pattern(pattern)
    assert reason is not None
    assert "\n" not in reason
