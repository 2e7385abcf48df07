"""Events, changes and deliveries are read as they came, in three encodings, and no bytes do any harm."""

import base64
import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import deliveries
from schemas.events import Event
from streams.core import event_fields, reading
from streams.core.reading import Unreadable

CLOUDEVENTS = ("content-type", b"application/cloudevents+json")
#: JSON texts that would not survive being parsed and written again.
DATA = [
    b"1.10",
    b"123456789012345678901234567890",
    b"-0.0",
    b"1E400",
    b'"\\u00e9\\/"',
    '"é"'.encode(),
    b"null",
    b"[ 1 ,\t2 ]",
    b'{"b":1,"a":2,"b":3}',
    b'{ "amount": 1.10,\n "id": 123456789012345678901234567890 }',
]
HEADER_NAMES = [
    "ce_id",
    "ce_type",
    "ce_time",
    "ce_source",
    "ce_x",
    "content-type",
    "traceparent",
    "hookfold-moved-from",
]
HEADER_NAMES += ["delivery-id", "attempt", "due-at-ms", "event-attributes", "tenant", "endpoint-version"]
HEADERS = st.lists(
    st.tuples(
        st.one_of(st.sampled_from(HEADER_NAMES), st.text(max_size=10)),
        st.one_of(st.binary(max_size=30), st.sampled_from([CLOUDEVENTS[1], b"1", b"{}", b"0-1", b"a"])),
    ),
    max_size=8,
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)
NAMES = ["type", "id", "time", "data", "data_base64", "specversion", "source", "datacontenttype", "endpoint_id", "url"]
NAMES += ["subscriptions", "secrets", "headers", "auth", "retry", "reason", "secret", "overlap_ms", "event_types"]
KINDS = ["endpoint.registered", "endpoint.changed", "endpoint.disabled", "secret.rotated", "subscription.added", "1.0"]
OBJECTS = st.dictionaries(st.sampled_from(NAMES), st.one_of(JSON, st.sampled_from(KINDS)), max_size=8)
VALUES = st.one_of(
    st.none(),
    st.binary(max_size=60),
    OBJECTS.map(lambda found: json.dumps(found).encode()),  # NaN and integers of any size, too
)


def read(value: bytes | None, *headers: tuple[str, bytes], partition: int = 3, offset: int = 11) -> Event | Unreadable:
    return reading.read_event("t", value, headers, partition=partition, offset=offset, max_bytes=1_000_000)


def event(value: bytes, *headers: tuple[str, bytes]) -> Event:
    found = read(value, *headers)
    assert isinstance(found, Event), found
    return found


@pytest.mark.parametrize("data", DATA)
def test_the_data_of_a_plain_event_keeps_its_bytes(data: bytes) -> None:
    found = event(b'{"type":"invoice.paid","id":"1","data":' + data + b"}")
    assert (found.data, found.event_type, found.event_id, found.given_id) == (data, "invoice.paid", "1", True)


@pytest.mark.parametrize("data", [data for data in DATA if data != b"null"])
def test_the_data_of_a_structured_event_keeps_its_bytes(data: bytes) -> None:
    value = b'{"data":' + data + b',"specversion":"1.0","type":"a","source":"/s","id":"1","ext":"x"}'
    found = event(value, CLOUDEVENTS)
    assert found.data == data
    assert found.attributes == {"source": "/s", "ext": "x"}


@settings(max_examples=20)
@given(st.binary(max_size=100))
def test_the_value_of_a_binary_event_and_base64_keep_their_bytes(data: bytes) -> None:
    binary = event(data, ("ce_id", b"1"), ("ce_type", b"a"), ("ce_source", b"/s"), ("content-type", b"image/png"))
    assert (binary.data, binary.data_content_type) == (data, "image/png")
    value = {
        "specversion": "1.0",
        "id": "1",
        "type": "a",
        "source": "/s",
        "data_base64": base64.b64encode(data).decode(),
    }
    assert event(orjson.dumps(value), CLOUDEVENTS).data == data


def test_the_three_encodings_of_one_event_say_the_same() -> None:
    told: dict[str, Any] = {"id": "é-1", "type": "a.b", "time": "2026-01-02T03:04:05.678+01:00"}
    plain = event(orjson.dumps({**told, "data": [1]}))
    structured = event(orjson.dumps({**told, "data": [1], "specversion": "1.0", "source": "/s"}), CLOUDEVENTS)
    headers = [(f"ce_{name}", str(value).encode()) for name, value in told.items()]
    binary = event(b"[1]", *headers, ("ce_source", b"/s"), ("content-type", b"application/json"))
    for found in (plain, structured, binary):
        assert (found.event_id, found.event_type, found.time, found.data) == (*told.values(), b"[1]")
        assert found.data_content_type == "application/json"


@pytest.mark.parametrize("value", [b'{"type":"a"}', b'{"type":"a","id":null,"data":1}'])
def test_an_event_without_an_id_is_named_by_partition_and_offset(value: bytes) -> None:
    found = event(value)
    assert (found.event_id, found.given_id) == ("3-11", False)


@pytest.mark.parametrize("mark", [b"1-2 ", b"x", b"-1", b"1-", b"1-\xff", b"1-2\n", b""])
def test_a_mark_of_origin_that_is_none_names_nothing(mark: bytes) -> None:
    assert event(b'{"type":"a"}', ("hookfold-moved-from", mark)).event_id == "3-11"


@pytest.mark.parametrize(
    ("name", "text", "read_as"),
    [
        ("id", "x" * 256, True),
        ("id", "é" * 128, True),
        ("id", "é" * 129, False),
        ("id", "a b/c?", True),
        ("id", "a\tb", False),
        ("id", "a\x7f", False),
        ("id", "", False),
        ("type", "x" * 257, False),
        ("type", "a\nb", False),
        ("time", "2026-01-02T03:04:05Z", True),
        ("time", "2026-01-02", False),
        ("time", "2026-01-02T03:04:05", False),
        ("time", "2026-01-02T03:04:05Z\n", False),
    ],
)
def test_ids_types_and_times_are_bounded(name: str, text: str, read_as: bool) -> None:
    found = read(orjson.dumps({"type": "a", name: text}))
    assert isinstance(found, Event) == read_as
    if isinstance(found, Unreadable):
        assert text not in found.reason or not text


@pytest.mark.parametrize(
    ("key", "tenant"), [(b"acme", "acme"), (b"A-z_0", "A-z_0"), (b"x" * 128, "x" * 128), (b"0", "0")]
)
def test_a_tenant_is_its_key(key: bytes, tenant: str) -> None:
    assert reading.read_tenant(key) == tenant


@pytest.mark.parametrize("key", [None, b"", b"x" * 129, b"a.b", b"a/b", b"a\n", "é".encode(), b"\xc3", b"a\0"])
def test_no_other_key_is_a_tenant(key: bytes | None) -> None:
    assert isinstance(reading.read_tenant(key), Unreadable)


@settings(max_examples=80)
@given(st.one_of(st.none(), st.binary(max_size=140)), VALUES, HEADERS)
def test_no_bytes_raise(key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]) -> None:
    assert isinstance(reading.read_tenant(key), str | Unreadable)
    reading.read_change(value)
    found = read(value, *headers)
    if isinstance(found, Event):
        assert found.event_id
        assert found.event_type
    else:
        assert "\n" not in found.reason
    assert isinstance(deliveries.decode(value, headers), deliveries.Delivery | str)


@settings(max_examples=30)
@given(VALUES, HEADERS)
def test_what_was_read_can_be_owed_and_is_read_again_alike(
    value: bytes | None, headers: list[tuple[str, bytes]]
) -> None:
    found = read(value, ("ce_id", b"1"), ("ce_type", b"a"), *headers)
    if isinstance(found, Unreadable):
        return
    delivery = deliveries.Delivery(
        delivery_id="d",
        event_id=found.event_id,
        event_type=found.event_type,
        tenant="t",
        endpoint_id="e",
        endpoint_version="0-0",
        event_time_ms=0,
        event_time=found.time,
        data_content_type=found.data_content_type,
        traceparent=found.traceparent,
        attributes=found.attributes,
        data=found.data,
    )
    assert deliveries.decode(delivery.data, delivery.headers()) == delivery


@settings(max_examples=20)
@given(*[st.sampled_from(["a", "b", "a-b", "ab"])] * 6)
def test_two_deliveries_share_an_id_only_when_they_are_one(a: str, b: str, c: str, d: str, e: str, f: str) -> None:
    assert (reading.delivery_id(a, b, c) == reading.delivery_id(d, e, f)) == ((a, b, c) == (d, e, f))


@given(
    st.text(max_size=6)
    | st.text("\x00\x1f \x7e\x7f\x80\x9f\xa0é\ud800", max_size=4)
    | st.integers(1, 300).map("x".__mul__)
)
def test_a_text_is_refused_for_its_control_characters_its_length_or_what_is_no_utf8(text: str) -> None:
    size = len(text.encode("utf-8", "surrogatepass"))
    bad = any(
        character < " " or "\x7f" <= character <= "\x9f" or "\ud800" <= character <= "\udfff" for character in text
    )
    assert (event_fields.refuse_text(text) is not None) == (bad or size > 256)
