"""Filters on data: what matches, what does not, and what is refused with its place."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import Event
from streams.core import content, filtering
from streams.core.filtering import Filterable

ORDER = (
    b'{"id": "o-1", "total": 1.10, "big": 123456789012345678901234567890, "paid": true, "none": null,'
    b' "customer": {"country": "DE", "name": "Ada"}, "tags": ["new", "gift"],'
    b' "lines": [{"sku": "a", "n": 2}, {"sku": "b", "n": 5}]}'
)


def matches(wanted: object, data: bytes = ORDER) -> bool:
    return content.evaluate(content.compile_filter(wanted), content.parse(data), content.Budget())


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"id": "o-1"},
        {"total": 1.1},
        {"total": {"$eq": 1.10, "$gt": 1, "$lt": 2}},
        {"big": {"$gt": 2**63}},
        {"paid": True},
        {"none": None},
        {"customer": {"country": "DE", "name": {"$startsWith": "A"}}},
        {"customer": {"name": {"$endsWith": ["x", "da"]}}},
        {"tags": "gift"},
        {"tags": ["gift", "new"]},
        {"tags": {"$in": ["gift", "x"]}},
        {"tags": {"$nin": ["old"]}},
        {"tags": {"$eq": ["new", "gift"]}},
        {"lines": {"sku": "b"}},
        {"lines": {"n": {"$gte": 5}}},
        {"missing": {"$exist": False}},
        {"none": {"$exist": True}},
        {"missing": {"$ne": 1}},
        {"missing": {"$nin": [1]}},
        {"id": {"$ne": "o-2"}},
        {"id": {"$not": {"$startsWith": "x"}}},
        {"id": {"$not": "o-2"}},
        {"$or": [{"id": "x"}, {"paid": True}]},
        {"$and": [{"id": "o-1"}, {"total": {"$lte": 1.1}}]},
        {"$not": {"id": "x"}},
        {"id": {"$or": ["x", "o-1"]}},
    ],
)
def test_it_matches(wanted: object) -> None:
    assert matches(wanted)


@pytest.mark.parametrize(
    "wanted",
    [
        {"id": "o-2"},
        {"total": "1.10"},
        {"paid": 1},
        {"paid": {"$gte": 0}},
        {"none": {"$exist": False}},
        {"missing": None},
        {"missing": {"$exist": True}},
        {"missing": {"deeper": {"$exist": True}}},
        {"id": {"deeper": "x"}},
        {"big": {"$lt": 2**63}},
        {"total": {"$gt": 1.1}},
        {"total": {"$gt": "1"}},
        {"tags": ["gift", "old"]},
        {"tags": {"$ne": "gift"}},
        {"tags": {"$nin": ["gift"]}},
        {"lines": {"n": {"$gt": 5}}},
        {"customer": {"country": {"$in": []}}},
        {"$not": {}},
        {"$or": [{"id": "x"}, {"paid": False}]},
    ],
)
def test_it_does_not_match(wanted: object) -> None:
    assert not matches(wanted)


@pytest.mark.parametrize("data", [b"[]", b"7", b'"text"', b"null", b"[{}]"])
def test_data_that_is_no_object_has_no_fields(data: bytes) -> None:
    assert not matches({"id": 7}, data)
    assert matches({}, data)


def test_an_array_of_objects_matches_where_one_does() -> None:
    assert matches({"id": 7}, b'[{"id": 1}, {"id": 7}]')


@pytest.mark.parametrize("data", [b"", b"no", b"{", b"NaN", b"[" * 100_000, b"\xff", b"1" * 5_000])
def test_data_that_is_not_json_matches_nothing(data: bytes) -> None:
    with pytest.raises(content.NotJson):
        content.parse(data)


@pytest.mark.parametrize(
    ("wanted", "place"),
    [
        ([], "data: is not an object"),
        ({"a": {"$foo": 1}}, "data.a.$foo: there is no operator $foo"),
        ({"a": {"$in": 1}}, "data.a.$in: takes an array"),
        ({"a": {"$gt": True}}, "data.a.$gt: takes a number or a text"),
        ({"a": {"$gt": None}}, "data.a.$gt: takes a number or a text"),
        ({"a": {"$exist": 1}}, "data.a.$exist: takes true or false"),
        ({"a": {"$startsWith": [1]}}, "data.a.$startsWith: takes a text"),
        ({"$or": []}, "data.$or: takes an array that is not empty"),
        ({"$and": [{"b": {"$nin": "x"}}]}, "data.$and[0].b.$nin: takes an array"),
        ({"a": 2**70}, "data: has an integer of more than 64 bits"),
        ({"a": float("nan")}, "data: NaN is not JSON"),
        ({"a": list(range(2_000))}, "data: has more than 250 parts"),
        (json.loads('{"a":' * 40 + "1" + "}" * 40), "is nested deeper than 32"),
    ],
)
def test_a_bad_filter_is_refused_with_its_place(wanted: object, place: str) -> None:
    refused = filtering.refuse({"data": wanted})
    assert refused is not None
    assert place in refused


@pytest.mark.parametrize("given", [7, {}, {"dat": {}}, {"data": {}, "more": 1}, []])
def test_what_is_neither_is_refused(given: object) -> None:
    assert filtering.refuse(given) == 'filter: is a CESQL expression or {"data": {…}}'


@pytest.mark.parametrize("number", [b"1e99999999999999999999", b"-1e-99999999999999999999", b"1e400", b"1" * 3_000])
def test_a_number_beyond_measure_harms_nobody(number: bytes) -> None:
    data = b'{"a": %b, "b": 1}' % number
    assert matches({"b": 1}, data)
    assert not matches({"a": 7}, data)
    assert matches({"a": {"$exist": True}}, data)


def test_what_an_evaluation_costs_is_bounded() -> None:
    data = {"a": list(range(2_000))}
    wanted = {"a": {"$in": [-n for n in range(1, 200)]}}
    with pytest.raises(content.TooCostly):
        content.evaluate(content.compile_filter(wanted), data, content.Budget())
    budget = content.Budget()
    budget.left = 5
    assert content.evaluate(content.compile_filter({"b": 1}), {"b": 1}, budget)
    with pytest.raises(content.TooCostly):
        content.evaluate(content.compile_filter({"a": -1}), data, budget)
    assert budget.left <= 0
    event = Event(tenant="t", event_id="1", event_type="a", data=json.dumps(data).encode())
    assert (
        Filterable(event).why_not({"data": wanted})
        == "the filter failed: it would take too many comparisons on this data"
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4).filter(lambda k: "$" not in k), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(JSON)
def test_everything_equals_itself_and_negation_negates(value: object) -> None:
    data = json.dumps({"field": value}).encode()
    assert matches({"field": {"$eq": value}}, data)
    assert not matches({"field": {"$ne": value}}, data)
    for wanted in ({"field": value}, {"field": {"$in": [value]}}):
        assert matches({"$not": wanted}, data) is not matches(wanted, data)
