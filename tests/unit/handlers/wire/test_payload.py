"""The body in each format: the data's bytes are found in it unchanged."""

import base64
from typing import Any, get_args

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.wire import payload
from handlers.wire.payload import Body, Format
from schemas.deliveries import Delivery

TIME = "2026-01-02T03:04:05.678Z"
JSON_DATA = [
    b"1.10",
    b"123456789012345678901234567890",
    b"-0.0",
    b'"\\u00e9\\/"',
    b"null",
    b"[ 1 ,\t2 ]",
    b' {"b":1,"a":2,"b":3} ',
    '{"é":"𝄞"}'.encode(),
    b"[" * 200 + b"]" * 200,
]
OTHER_DATA = [b"\x00\xff", b"hello", b'{"a":', b"{'a':1}", b"NaN", b"1 2", b"\xef\xbb\xbf{}", b'"\xff"', b"[1,]", b" "]


def delivery(data: bytes, content_type: str | None = "application/json", **fields: Any) -> Delivery:
    told = {"event_id": "ev-1", "event_type": "invoice.paid", "attributes": {"source": "/s", "subject": "é%"}, **fields}
    return Delivery(
        delivery_id="d-1",
        tenant="acme",
        endpoint_id="e",
        endpoint_version="0-1",
        event_time_ms=1,
        data=data,
        data_content_type=content_type,
        **told,
    )


def render(form: Format, data: bytes, content_type: str | None = "application/json", **fields: Any) -> Body:
    return payload.render(form, delivery(data, content_type, **fields), TIME)


@pytest.mark.parametrize("data", JSON_DATA)
def test_json_stands_in_the_body_byte_for_byte(data: bytes) -> None:
    standard = render("standard", data)
    assert standard.content_type == "application/json"
    assert standard.body == b'{"type":"invoice.paid","timestamp":"%b","data":%b}' % (TIME.encode(), data)
    structured = render("cloudevents", data)
    assert structured.content_type == "application/cloudevents+json"
    assert structured.body.endswith(b',"data":' + data + b"}")
    assert orjson.loads(structured.body)["data"] == orjson.loads(data)


@pytest.mark.parametrize("data", OTHER_DATA)
def test_data_that_is_not_json_goes_as_base64(data: bytes) -> None:
    for form in ("standard", "cloudevents"):
        found = orjson.loads(render(form, data, "application/json").body)
        assert base64.b64decode(found["data_base64"]) == data
        assert "data" not in found


def test_data_of_another_type_is_base64_in_a_structured_cloudevent() -> None:
    found = orjson.loads(render("cloudevents", b"123", "text/plain").body)
    assert (found["data_base64"], found["datacontenttype"]) == (base64.b64encode(b"123").decode(), "text/plain")


@pytest.mark.parametrize("content_type", [None, "application/json", "Application/JSON; charset=utf-8", "text/x+json"])
def test_every_way_to_say_json_is_json(content_type: str | None) -> None:
    assert orjson.loads(render("cloudevents", b'{"a":1}', content_type).body)["data"] == {"a": 1}


def test_empty_data_is_null_in_standard_and_absent_in_cloudevents() -> None:
    assert orjson.loads(render("standard", b"").body) == {"type": "invoice.paid", "timestamp": TIME, "data": None}
    found = orjson.loads(render("cloudevents", b"").body)
    assert not {"data", "data_base64"} & set(found)
    assert render("cloudevents-binary", b"").body == render("data", b"").body == b""


@settings(max_examples=60)
@given(st.binary(max_size=60), st.one_of(st.none(), st.just("image/png")))
def test_any_data_comes_back_whole_in_every_format(data: bytes, content_type: str | None) -> None:
    for form in ("cloudevents-binary", "data"):
        made = render(form, data, content_type)
        assert (made.body, made.content_type) == (data, content_type or "application/octet-stream")
    found = orjson.loads(render("standard", data, content_type).body)
    if data and "data_base64" in found:
        assert base64.b64decode(found["data_base64"]) == data
    else:
        assert found["data"] == (orjson.loads(data) if data else None)


def test_a_structured_cloudevent_says_all_attributes() -> None:
    assert orjson.loads(render("cloudevents", b"1").body) == {
        "specversion": "1.0",
        "id": "ev-1",
        "source": "/s",
        "type": "invoice.paid",
        "time": TIME,
        "subject": "é%",
        "datacontenttype": "application/json",
        "data": 1,
    }


def test_a_binary_cloudevent_says_all_attributes_as_headers_in_ascii() -> None:
    made = render("cloudevents-binary", b"1", event_id='a"b c')
    assert dict(made.headers) == {
        "ce-specversion": "1.0",
        "ce-id": "a%22b c",
        "ce-source": "/s",
        "ce-type": "invoice.paid",
        "ce-time": TIME,
        "ce-subject": "%C3%A9%25",
    }


def test_a_plain_event_has_its_tenant_as_source() -> None:
    assert orjson.loads(render("cloudevents", b"1", attributes={}).body)["source"] == "/acme"


@settings(max_examples=60)
@given(st.text(min_size=1, max_size=20), st.sampled_from(get_args(Format)))
def test_no_type_or_id_breaks_the_body_or_a_header(text: str, form: Format) -> None:
    made = render(form, b"1.10", event_id=text, event_type=text)
    if form in ("standard", "cloudevents"):
        assert orjson.loads(made.body)["type"] == text
    assert b"1.10" in made.body
    for name, value in made.headers:
        assert f"{name}{value}".isascii()
        assert f"{name}{value}".isprintable()
