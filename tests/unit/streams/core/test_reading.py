"""What a record says, in each encoding; and that no record can do any harm."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import deliveries
from schemas.events import MOVED_HEADER, Event
from streams.core import reading
from streams.core.reading import Unreadable

DATA = b'{ "price": 1.10, "big": 123456789012345678901234567890, "a": 1, "a": 2 }'
HEADERS = st.lists(
    st.tuples(st.one_of(st.sampled_from(["ce_id", "ce_type", "content-type", "attempt"]), st.text()), st.binary())
)


def read(value: bytes | None, *headers: tuple[str, bytes], max_bytes: int = 10_000) -> Event | Unreadable:
    return reading.read_event("t", value, headers, partition=2, offset=7, max_bytes=max_bytes)


def event(value: bytes | None, *headers: tuple[str, bytes]) -> Event:
    found = read(value, *headers)
    assert isinstance(found, Event), found
    return found


def test_a_plain_event_keeps_the_bytes_of_its_data() -> None:
    found = event(b'{"type":"a.b","data":' + DATA + b',"id":"x","time":"2026-01-02T03:04:05Z"}')
    assert (found.event_id, found.event_type, found.data, found.time) == ("x", "a.b", DATA, "2026-01-02T03:04:05Z")


def test_a_binary_cloudevent_has_its_value_as_data() -> None:
    found = event(
        b"\x00\xff",
        ("ce_specversion", b"1.0"),
        ("ce_id", b"1"),
        ("ce_type", b"a.b"),
        ("ce_source", b"/s"),
        ("ce_subject", b"sub"),
        ("content-type", b"application/octet-stream"),
    )
    assert found.data == b"\x00\xff"
    assert found.data_content_type == "application/octet-stream"
    assert found.attributes == {"source": "/s", "subject": "sub"}


@pytest.mark.parametrize(
    ("part", "data"),
    [
        (b'"data":' + DATA, DATA),
        (b'"data_base64":"' + base64.b64encode(b"\x00\x01") + b'"', b"\x00\x01"),
        (b'"x":1', b""),
    ],
)
def test_a_structured_cloudevent_keeps_the_bytes_of_its_data(part: bytes, data: bytes) -> None:
    value = b'{"specversion":"1.0","id":"1","source":"/s","type":"a.b",' + part + b"}"
    assert event(value, ("content-type", b"application/cloudevents+json; charset=UTF-8")).data == data


def test_an_event_without_id_is_named_by_the_place_of_its_first_record() -> None:
    assert event(b'{"type":"a","data":1}').event_id == "2-7"
    moved = event(b'{"type":"a","data":1}', (MOVED_HEADER, b"0-99"))
    assert (moved.event_id, moved.given_id) == ("0-99", False)


def test_only_a_well_formed_traceparent_is_carried() -> None:
    good = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert event(b'{"type":"a"}', ("traceparent", good)).traceparent == good.decode()
    assert event(b'{"type":"a"}', ("traceparent", b"nonsense\xff")).traceparent is None


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[]",
        b"null",
        b'{"data":1}',
        b'{"type":5}',
        b'{"type":""}',
        b'{"type":"a","id":7}',
        b'{"type":"a","id":""}',
        b'{"type":"a","time":"yesterday"}',
        b'{"type":"a\\u0007"}',
        b'{"type":"\\ud800"}',
        b'{"type":"a"} trailing',
        b'\xef\xbb\xbf{"type":"a"}',
        b'{"type":NaN}',
        b'{"type":"a","data":' + b"[" * 100_000,
        None,
    ],
)
def test_an_event_that_cannot_be_read_has_a_reason_of_one_line(value: bytes | None) -> None:
    found = reading.read_event("t", value, (), partition=0, offset=0, max_bytes=1_000_000)
    assert isinstance(found, Unreadable)
    assert found.reason
    assert "\n" not in found.reason


def test_a_large_event_is_told_its_size_and_the_limit() -> None:
    found = read(b"x" * 11, max_bytes=10)
    assert found == Unreadable("the event has 11 bytes, 10 are allowed")


@pytest.mark.parametrize("key", [None, b"", b"a b", b"a/b", b"\xff", b"x" * 129, b"a\n"])
def test_a_key_that_is_no_tenant_is_refused(key: bytes | None) -> None:
    assert isinstance(reading.read_tenant(key), Unreadable)


@pytest.mark.parametrize(
    "value",
    [b"{}", b"[]", b"", b'{"type":"endpoint.exploded"}', b'{"type":"endpoint.paused"}', None],
)
def test_a_change_that_cannot_be_read_has_a_reason(value: bytes | None) -> None:
    assert isinstance(reading.read_change(value), Unreadable)


def test_a_change_may_have_fields_of_the_future() -> None:
    found: Any = reading.read_change(b'{"type":"endpoint.paused","endpoint_id":"e","colour":"red"}')
    assert found.endpoint_id == "e"


@given(st.one_of(st.none(), st.binary()), st.one_of(st.none(), st.binary()), HEADERS)
def test_arbitrary_bytes_do_no_harm(key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]) -> None:
    assert isinstance(reading.read_tenant(key), str | Unreadable)
    reading.read_change(value)
    assert isinstance(read(value, *headers), Event | Unreadable)
    assert isinstance(deliveries.decode(value, headers), deliveries.Delivery | str)


def test_a_delivery_has_one_id_however_often_it_is_computed_and_no_other_has_it() -> None:
    assert reading.delivery_id("t", "1", "e") == reading.delivery_id("t", "1", "e")
    assert reading.delivery_id("t", "1", "ee") != reading.delivery_id("t", "e1", "e")
