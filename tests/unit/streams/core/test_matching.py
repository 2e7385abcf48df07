"""Which endpoints an event type leads to."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core import matching
from streams.core.matching import TenantIndex

SEGMENT = st.sampled_from(["a", "b", "c"])
PATTERN = st.one_of(
    st.sampled_from(["*", "**"]),
    st.tuples(st.lists(st.one_of(SEGMENT, st.just("*")), min_size=1, max_size=3), st.booleans()).map(
        lambda drawn: ".".join([*drawn[0], *(["**"] if drawn[1] else [])])
    ),
)
EVENT_TYPE = st.lists(SEGMENT, min_size=1, max_size=4).map(".".join)


@pytest.mark.parametrize(
    ("pattern", "event_type", "matched"),
    [
        ("invoice.paid", "invoice.paid", True),
        ("invoice.paid", "invoice.paid.late", False),
        ("invoice.*", "invoice.paid", True),
        ("invoice.*", "invoice", False),
        ("invoice.*", "invoice.paid.late", False),
        ("*.paid", "invoice.paid", True),
        ("invoice.**", "invoice.paid", True),
        ("invoice.**", "invoice.paid.late", True),
        ("invoice.**", "invoice", False),
        ("*", "invoice.paid.late", True),
        ("**", "x", True),
        ("*", "any text at all ü", True),
        ("*.*", "a.b", True),
        ("*.*", "a", False),
    ],
)
def test_a_pattern_covers_what_the_contract_says(pattern: str, event_type: str, matched: bool) -> None:
    assert matching.matches(pattern, event_type) is matched


@pytest.mark.parametrize(
    "pattern", ["", ".", "a.", ".a", "a..b", "**.a", "a.**.b", "a b", "a.b*", "é", "x" * 257, "a\n"]
)
def test_a_bad_pattern_is_refused_with_a_reason(pattern: str) -> None:
    assert matching.refuse_pattern(pattern)


@given(PATTERN)
def test_a_good_pattern_is_taken(pattern: str) -> None:
    assert matching.refuse_pattern(pattern) is None


@given(
    st.dictionaries(st.text("xyz", min_size=1, max_size=2), st.lists(PATTERN, max_size=4)),
    st.lists(EVENT_TYPE),
    st.randoms(),
)
def test_the_index_finds_what_a_look_at_every_pattern_finds(
    endpoints: dict[str, list[str]], event_types: list[str], chance: random.Random
) -> None:
    index = TenantIndex()
    order = list(endpoints)
    chance.shuffle(order)
    for name in order:
        index.put(name, ["a.old", "*", "b.**"])
    for name in order:
        index.put(name, endpoints[name])
    for event_type in event_types:
        wanted = sorted(
            n for n, patterns in endpoints.items() if any(matching.matches(p, event_type) for p in patterns)
        )
        assert index.find(event_type) == wanted


def test_an_endpoint_without_patterns_is_forgotten() -> None:
    index = TenantIndex()
    index.put("one", ["*", "**", "a.b"])
    index.put("one", ["**"])
    assert index.find("a.b") == ["one"]
    index.put("one", [])
    assert index.find("a.b") == []
