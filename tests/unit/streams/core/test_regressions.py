"""Records and addresses that once did harm, each by its own name."""

from typing import Any

import orjson
import pytest

from handlers.wire import outcome
from schemas.events import Event
from streams.core import addresses, offsets, reading
from streams.core.offsets import OffsetWindow
from streams.core.reading import Unreadable


def read(value: bytes, *headers: tuple[str, bytes]) -> Event | Unreadable:
    return reading.read_event("t", value, headers, partition=0, offset=0, max_bytes=10_000)


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "secret.rotated", "secret": "whsec_x", "overlap_ms": 10**29},
        {"type": "endpoint.failing", "since_ms": 10**29},
        {"type": "endpoint.failing", "since_ms": -1},
        {"type": "endpoint.resumed", "deliver_since_ms": 10**29},
    ],
)
def test_a_number_that_cannot_be_written_again_is_not_read(fields: dict[str, Any]) -> None:
    import json  # orjson refuses such numbers, and that is the point

    assert isinstance(reading.read_change(json.dumps({"endpoint_id": "e", **fields}).encode()), Unreadable)


@pytest.mark.parametrize("rate", [b"1e999", b"Infinity", b"NaN", b"0"])
def test_a_rate_is_a_number(rate: bytes) -> None:
    change = b'{"type":"endpoint.changed","endpoint_id":"e","rate_per_s":' + rate + b"}"
    assert isinstance(reading.read_change(change), Unreadable)


def test_a_traceparent_that_breaks_the_line_is_not_carried() -> None:
    parent = b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01-x\r\0y"
    found = read(b'{"type":"a"}', ("traceparent", parent))
    assert isinstance(found, Event)
    assert found.traceparent is None


def test_what_is_known_as_done_stays_done_over_a_commit_before_it_is_read_again() -> None:
    first = OffsetWindow()
    assert [first.take(offset) for offset in range(3)] == [True] * 3
    first.complete(1)
    first.complete(2)
    second = OffsetWindow.resume(first.floor, first.metadata())
    assert second.take(0)
    third = OffsetWindow.resume(second.floor, second.metadata())
    assert [third.take(offset) for offset in range(4)] == [True, False, False, True]
    second.complete(0)
    fourth = OffsetWindow.resume(second.floor, second.metadata())
    assert [fourth.take(offset) for offset in (1, 2, 3)] == [False, False, True]
    assert offsets.decode_metadata(fourth.floor, fourth.metadata()) == frozenset()


@pytest.mark.parametrize("name", ["ce_data", "ce_data_base64"])
def test_an_attribute_cannot_pose_as_the_data(name: str) -> None:
    assert isinstance(read(b"1", ("ce_id", b"1"), ("ce_type", b"a"), (name, b"x")), Unreadable)


def test_a_content_type_is_told_once() -> None:
    found = read(b"1", ("ce_id", b"1"), ("ce_type", b"a"), ("ce_datacontenttype", b"text/plain"))
    assert isinstance(found, Event)
    assert (found.data_content_type, dict(found.attributes)) == ("text/plain", {})


@pytest.mark.parametrize(
    "time", ["2026-99-99T99:99:99Z", "2026-02-30T00:00:00Z", "\u0662\u0660\u0662\u0666-01-01T00:00:00Z"]
)
def test_a_time_that_never_was_is_refused(time: str) -> None:
    assert isinstance(read(orjson.dumps({"type": "a", "time": time})), Unreadable)


@pytest.mark.parametrize("time", ["2026-12-31T23:59:60Z", "2026-01-01T00:00:00.123456789+05:30"])
def test_a_time_of_rfc_3339_is_taken(time: str) -> None:
    assert isinstance(read(orjson.dumps({"type": "a", "time": time})), Event)


def test_an_extension_keeps_the_way_it_was_written() -> None:
    kind = ("content-type", b"application/cloudevents+json")
    head = b'{"specversion":"1.0","id":"1","type":"a","source":"s",'
    found = read(head + b'"price": 1.10 ,"yes":true,"no":null}', kind)
    assert isinstance(found, Event)
    assert found.attributes == {"source": "s", "price": "1.10", "yes": "true"}
    assert isinstance(read(head + b'"list":[1]}', kind), Unreadable)
    assert isinstance(read(b'{"specversion":"1.0","id":7,"type":"a","source":"s"}', kind), Unreadable)


def test_leading_zeros_do_not_shorten_the_receivers_wish() -> None:
    found = outcome.classify_response(503, {"retry-after": "0000000000005"}, b"", latency_ms=1, now_ms=0)
    assert found.retry_after_ms == 5_000


@pytest.mark.parametrize("address", ["::ffff:0:7f00:1", "1::1", "4000::1", "e000::1"])
def test_an_address_that_nobody_was_given_is_refused(address: str) -> None:
    assert addresses.refuse_address(address)


@pytest.mark.parametrize(
    "url",
    [
        "https://x[2606:4700::1111]/",
        "https://[2606:4700::1111]x/",
        "https://example.com../",
        "https://8.8.8.8../",
        "https://1.2.3.4.5.6/",
    ],
)
def test_a_url_with_a_broken_host_is_refused(url: str) -> None:
    assert addresses.refuse_url(url, allow_http=False)


def test_a_reason_is_one_line() -> None:
    found = reading.read_change(b'{"type":"endpoint.changed","endpoint_id":"e","headers":{"a\\nb":5}}')
    assert isinstance(found, Unreadable)
    assert "\n" not in found.reason
