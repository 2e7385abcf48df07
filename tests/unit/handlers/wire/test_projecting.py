"""A projection keeps what it keeps byte for byte, and nothing else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.wire import payload
from handlers.wire.projecting import project
from schemas.deliveries import Delivery
from streams.core import fields

DATA = (
    b'{ "id": "o-1", "total": 1.10, "big": 123456789012345678901234567890, "a.b": 7, "none": null,'
    b' "customer": { "name": "Ada", "card": "4242", "address": {"city": "Bonn", "zip": "53111" } },'
    b' "lines": [ {"sku": "a", "price": 2.50}, {"sku": "b"}, 3, [{"sku": "c"}] ] }'
)


CUSTOMER = b'{ "name": "Ada", "card": "4242", "address": {"city": "Bonn", "zip": "53111" } }'
PART = b'{"name":"Ada","address":{"city": "Bonn", "zip": "53111" }}'


@pytest.mark.parametrize(
    ("paths", "kept"),
    [
        (["data.id"], b'{"id":"o-1"}'),
        (["data.total", "data.big"], b'{"total":1.10,"big":123456789012345678901234567890}'),
        (["data.big", "data.total"], b'{"total":1.10,"big":123456789012345678901234567890}'),
        (["data.customer.name"], b'{"customer":{"name":"Ada"}}'),
        (["data.customer.address", "data.customer.name"], b'{"customer":' + PART + b"}"),
        (["data.customer", "data.customer.name"], b'{"customer":' + CUSTOMER + b"}"),
        (["data.customer.name", "data.customer"], b'{"customer":' + CUSTOMER + b"}"),
        (["data.lines.sku"], b'{"lines":[{"sku":"a"},{"sku":"b"},[{"sku":"c"}]]}'),
        (["data.lines.price"], b'{"lines":[{"price":2.50},{},[{}]]}'),
        (["data.a\\.b"], b'{"a.b":7}'),
        (["data.none", "data.missing"], b'{"none":null}'),
        (["data.id.deeper"], b"{}"),
        (["data"], DATA),
        (["data.id", "data"], DATA),
    ],
)  # fmt: skip
def test_fields(paths: list[str], kept: bytes) -> None:
    assert project(DATA, paths) == kept


def test_an_array_is_taken_element_by_element() -> None:
    assert project(b'[{"id": 1, "x": 2}, {"id": 3}]', ["data.id"]) == b'[{"id":1},{"id":3}]'


@pytest.mark.parametrize("data", [b"7", b'"text"', b"null", b"{", b"no json", b"\xff", b'{"id": }', b"[" * 50_000])
def test_of_what_has_no_fields_nothing_is_left(data: bytes) -> None:
    assert project(data, ["data.id"]) == b"null"


def test_what_is_nested_without_end_is_left_out() -> None:
    assert project(b"[" * 10 + b'{"id":1}' + b"]" * 10, ["data.id"]) == b"[" * 10 + b'{"id":1}' + b"]" * 10
    assert b"id" not in project(b"[" * 20 + b'{"id":1}' + b"]" * 20, ["data.id"])
    assert fields.refuse(("data" + ".a" * 16,)) is not None


def test_data_that_is_not_json_is_not_let_through_whole() -> None:
    assert project(b"secret text", ["data"]) == b"null"


@given(st.dictionaries(st.sampled_from("abc"), st.integers() | st.text(max_size=3), max_size=3))
def test_what_is_kept_is_what_was_asked_for(data: dict[str, object]) -> None:
    kept = json.loads(project(json.dumps(data).encode(), ["data.a", "data.b"]))
    assert kept == {name: value for name, value in data.items() if name in "ab"}


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ("standard", b'{"type":"a","timestamp":"T","data":{"n":1.10}}'),
        ("cloudevents", b'{"specversion":"1.0","id":"1","source":"/t","type":"a","time":"T","data":{"n":1.10}}'),
        ("cloudevents-binary", b'{"n":1.10}'),
        ("data", b'{"n":1.10}'),
    ],
)
def test_every_format_has_the_projection(form: payload.Format, body: bytes) -> None:
    delivery = Delivery(
        delivery_id="d", event_id="1", event_type="a", tenant="t", endpoint_id="e", endpoint_version="0-1",
        event_time_ms=0, data=b'{"n": 1.10, "secret": 1}',
    )  # fmt: skip
    assert payload.render(form, delivery, "T", ["data.n"]).body == body
