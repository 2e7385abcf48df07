"""The bodies: the data's bytes are found in them as they came."""

import base64

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.wire import payload
from schemas.deliveries import Delivery

JSON_BYTES = st.one_of(
    st.sampled_from(
        [b"1.10", b"123456789012345678901234567890", b'{"a":1,"a":2}', b" [ 1 , 2 ] ", b'"\\u00e9"', b"null"]
    ),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.text()),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ).map(orjson.dumps),
)
TIME = "2026-01-02T03:04:05.000Z"


def delivery(data: bytes, content_type: str | None = "application/json", **attributes: str) -> Delivery:
    return Delivery(
        delivery_id="d",
        event_id="ev 1",
        event_type="a.b",
        tenant="t",
        endpoint_id="e",
        endpoint_version="0-1",
        event_time_ms=1,
        data_content_type=content_type,
        attributes=attributes,
        data=data,
    )


@given(JSON_BYTES)
def test_json_stands_in_the_standard_body_untouched(data: bytes) -> None:
    body = payload.render("standard", delivery(data), TIME)
    assert body.content_type == "application/json"
    assert body.body.endswith(b'"data":' + data + b"}")
    assert list(orjson.loads(body.body)) == ["type", "timestamp", "data"]


@given(st.binary(min_size=1))
def test_other_data_comes_back_whole(data: bytes) -> None:
    for form in ("standard", "cloudevents"):
        found = orjson.loads(payload.render(form, delivery(data, "application/octet-stream"), TIME).body)  # type: ignore[arg-type]
        if form == "cloudevents" or not payload.is_json(data):
            assert base64.b64decode(found["data_base64"]) == data
            assert "data" not in found


def test_empty_data_is_null() -> None:
    assert orjson.loads(payload.render("standard", delivery(b""), TIME).body)["data"] is None
    assert "data" not in orjson.loads(payload.render("cloudevents", delivery(b""), TIME).body)


@given(JSON_BYTES)
def test_a_structured_cloudevent_has_its_attributes_and_the_bytes(data: bytes) -> None:
    body = payload.render("cloudevents", delivery(data, source="/s", subject="ü"), TIME)
    assert body.content_type == "application/cloudevents+json"
    assert data in body.body
    found = orjson.loads(body.body)
    assert (found["specversion"], found["id"], found["source"], found["type"]) == ("1.0", "ev 1", "/s", "a.b")
    assert (found["subject"], found["time"], found["datacontenttype"]) == ("ü", TIME, "application/json")


def test_a_plain_event_gets_its_tenant_as_source() -> None:
    assert orjson.loads(payload.render("cloudevents", delivery(b"1"), TIME).body)["source"] == "/t"


def test_a_binary_cloudevent_has_its_attributes_as_headers() -> None:
    body = payload.render("cloudevents-binary", delivery(b"\x00", "image/png", subject="a ü%"), TIME)
    headers = dict(body.headers)
    assert (body.content_type, body.body) == ("image/png", b"\x00")
    assert (headers["ce-id"], headers["ce-type"], headers["ce-specversion"]) == ("ev 1", "a.b", "1.0")
    assert headers["ce-subject"] == "a %C3%BC%25"


@pytest.mark.parametrize(("content_type", "sent"), [("text/csv", "text/csv"), (None, "application/octet-stream")])
def test_bare_data_goes_with_its_own_type(content_type: str | None, sent: str) -> None:
    body = payload.render("data", delivery(b"a,b", content_type), TIME)
    assert (body.content_type, body.body, body.headers) == (sent, b"a,b", ())
