"""What comes in becomes events: the provider's ids and types, and bytes that stay what they were."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.wire import inbound_events, inbound_handshakes
from handlers.wire.inbound_events import Arrived, Unfit
from handlers.wire.inbound_signatures import Incoming
from schemas.events import Event
from schemas.sources import SCHEMES, SourceRegistered
from streams.core import reading
from streams.core.reading import Unreadable

#: Numbers that no float holds.
ITEM = b'{"type": "a.b", "n":1.10,\n "big": 123456789012345678901234567890}'
CE = {"specversion": "1.0", "id": "own", "type": "c.e", "source": "/theirs"}


def source(scheme: str, **more: Any) -> SourceRegistered:
    fields = {"type": "source.registered", "source_id": "src", "scheme": scheme, "secrets": ("x",), **more}
    return SourceRegistered.model_validate(fields)


def arrived(scheme: str, body: bytes, headers: dict[str, str] | None = None, **more: Any) -> Sequence[Arrived]:
    found = inbound_events.read(source(scheme, **more), Incoming(headers or {}, body), "new")
    assert not isinstance(found, Unfit), found
    return found


def events(scheme: str, body: bytes, headers: dict[str, str] | None = None, **more: Any) -> list[Event]:
    """As the router reads them."""
    found = []
    for one in arrived(scheme, body, headers, **more):
        read = reading.read_event("t", one.value, one.headers, partition=0, offset=0, max_bytes=10**6)
        assert isinstance(read, Event), read
        assert read.event_id == one.event_id
        found.append(read)
    return found


def unfit(scheme: str, body: bytes, **more: Any) -> Unfit:
    found = inbound_events.read(source(scheme, **more), Incoming({}, body), "new")
    assert isinstance(found, Unfit)
    assert "\n" not in found.reason
    return found


@pytest.mark.parametrize(
    ("scheme", "headers", "body", "event_id", "event_type"),
    [
        ("standard", {"webhook-id": "msg_1"}, b'{"type":"a.b"}', "msg_1", "a.b"),
        ("standard", {"svix-id": "msg_1"}, b"no JSON", "msg_1", "src"),
        ("github", {"x-github-delivery": "guid", "x-github-event": "push"}, b"payload=1", "guid", "github.push"),
        ("github", {}, b"", "new", "src"),
        ("stripe", {}, b'{"id":"evt_1","type":"invoice.paid"}', "evt_1", "invoice.paid"),
        ("stripe", {}, b'{"id":1,"type":null}', "new", "src"),
        ("slack", {}, b'{"event_id":"Ev1","event":{"type":"message"},"type":"event_callback"}', "Ev1", "message"),
        ("slack", {}, b'{"type":"app_rate_limited"}', "new", "app_rate_limited"),
        ("slack", {}, b"token=1&command=%2Fgo", "new", "src"),
        ("shopify", {"x-shopify-webhook-id": "w", "x-shopify-topic": "orders/create"}, b"{}", "w", "orders.create"),
        ("hmac", {"webhook-id": "ignored"}, b'{"type":"a.b","id":"ignored"}', "new", "src"),
        ("api_key", {}, b"\xff", "new", "src"),
        ("bearer", {}, b"", "new", "src"),
        ("basic", {}, b"[]", "new", "src"),
    ],
)
def test_a_request_is_one_event_with_its_providers_id_and_type(
    scheme: str, headers: dict[str, str], body: bytes, event_id: str, event_type: str
) -> None:
    (event,) = events(scheme, body, {"content-type": "text/x; a=b", **headers})
    assert (event.event_id, event.event_type, event.data) == (event_id, event_type, body)
    assert event.data_content_type == "text/x; a=b"
    assert event.attributes == {"source": "/in/src"}


def test_the_type_is_what_the_source_says() -> None:
    body = b'{"a":{"b c":"x.y"},"type":"no"}'
    assert events("stripe", body, event_type="fixed.name")[0].event_type == "fixed.name"
    assert events("hmac", body, event_type="$.a.b c")[0].event_type == "x.y"
    for path in ("$.a", "$.a.b", "$.none", "$", "$.type.x"):
        assert unfit("hmac", body, event_type=path).kind == "invalid"
    for nothing in (b"", b"no", b"{", b"\xff", b'{"a": }'):
        assert unfit("hmac", nothing, event_type="$.a").kind == "unreadable"
        assert events("hmac", nothing, event_type="fixed")[0].data == nothing


def test_a_batch_becomes_an_event_an_item_whose_bytes_are_kept() -> None:
    body = b'{"id":"evt_1","list":[' + ITEM + b' , 7,"text",null]}'
    found = events("stripe", body, items={"path": "$.list", "as": "each"})
    assert [event.event_id for event in found] == [f"evt_1-{number}" for number in range(4)]
    assert [event.data for event in found] == [ITEM, b"7", b'"text"', b"null"]
    assert [event.event_type for event in found] == ["a.b", "src", "src", "src"]
    assert {event.data_content_type for event in found} == {"application/json"}
    # As a whole it is one.
    (whole,) = events("stripe", body, items={"path": "$.list", "as": "whole"})
    assert (whole.event_id, whole.data) == ("evt_1", body)


def test_a_batch_may_be_the_body_itself_or_empty_or_have_no_id() -> None:
    each = {"as": "each"}
    found = events("hmac", b" [" + ITEM + b"," + ITEM + b"]\n", items=each, event_type="$.type")
    assert [(event.event_id, event.event_type, event.data) for event in found] == [
        ("new-0", "a.b", ITEM),
        ("new-1", "a.b", ITEM),
    ]
    assert arrived("hmac", b"[]", items=each) == []


def test_what_is_no_batch_is_told() -> None:
    each = {"path": "$.list", "as": "each"}
    for body in (b"{}", b'{"list":{}}', b'{"list":null}', b"[]", b"7", b'{"list":"[]"}'):
        assert unfit("hmac", body, items=each).kind == "invalid"
    for body in (b"", b"no", b'{"list":[1,]}', b'{"list":[1', b"[" * 100_000):
        assert unfit("hmac", body, items=each).kind == "unreadable"
    many = json.dumps({"list": list(range(1001))}).encode()
    assert unfit("hmac", many, items=each).kind == "large"
    # One item without a type: none of them becomes an event.
    assert unfit("hmac", b'{"list":[{"type":"a"},{}]}', items=each, event_type="$.type").kind == "invalid"


def test_a_batch_of_okta_is_taken_apart_unless_the_source_says_otherwise() -> None:
    one = '{"uuid": "u-1","eventType":"user.session.start","n":1.10}'
    body = ('{"eventId":"b","data":{"events":[' + one + ',{"eventType":"x.y"}]}}').encode()
    found = events("okta", body)
    assert [(event.event_id, event.event_type) for event in found] == [("u-1", "user.session.start"), ("b-1", "x.y")]
    assert found[0].data == one.encode()
    (whole,) = events("okta", body, items={"as": "whole"}, event_type="okta.batch")
    assert (whole.event_id, whole.event_type, whole.data) == ("b", "okta.batch", body)


def test_a_cloud_event_keeps_what_it_says_of_itself() -> None:
    kind = {"content-type": "application/cloudevents+json; charset=utf-8"}
    body = json.dumps({**CE, "ext": 5}).encode()[:-1] + b',"data":' + ITEM + b"}"
    (event,) = events("hmac", body, kind)
    assert (event.event_id, event.event_type, event.data) == ("own", "c.e", ITEM)
    assert event.attributes == {"source": "/theirs", "ext": "5"}
    (event,) = events("hmac", body, kind, event_type="mine")
    assert (event.event_type, event.data, event.attributes["source"]) == ("mine", ITEM, "/theirs")
    (event,) = events("standard", body.replace(b'"id": "own", ', b""), {**kind, "webhook-id": "msg"})
    assert event.event_id == "msg"
    (one, two) = events("hmac", b"[" + body + b"," + body.replace(b'"own"', b"null") + b"]",
                        {"content-type": "application/cloudevents-batch+json"})  # fmt: skip
    assert (one.event_id, two.event_id, two.data) == ("own", "new-1", ITEM)


def test_a_cloud_event_in_headers_keeps_them_but_for_an_id_that_the_scheme_signs() -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "%C3%A9", "ce-type": "c.e", "ce-source": "/theirs", "ce-subject": "s"}
    (event,) = events("bearer", b"\xff\0", headers)
    assert (event.event_id, event.event_type, event.data) == ("é", "c.e", b"\xff\0")
    assert event.attributes == {"source": "/theirs", "subject": "s"}
    assert events("standard", b"", {**headers, "webhook-id": "msg"})[0].event_id == "msg"
    assert events("bearer", b"", headers, event_type="mine")[0].event_type == "mine"
    wrong = inbound_events.read(source("bearer"), Incoming({**headers, "ce-id": "%FF"}, b""), "new")
    assert isinstance(wrong, Unfit)


@settings(max_examples=200)
@given(
    st.sampled_from(SCHEMES),
    st.sampled_from([None, "$.type", "$.a.b", "name"]),
    st.sampled_from([None, {"as": "each"}, {"path": "$.a", "as": "each"}, {"as": "whole"}]),
    st.one_of(
        st.binary(max_size=40),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=4),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["a", "b", "type", "id", "event", "specversion", "data"]), inner)
            ),
            max_leaves=8,
        ).map(lambda value: json.dumps(value).encode()),
    ),
    st.dictionaries(
        st.sampled_from(["content-type", "ce-id", "ce-type", "webhook-id", "x-github-event", "x-shopify-topic"]),
        st.sampled_from(
            ["application/cloudevents+json", "application/cloudevents-batch+json", "", "a", "\udcff", "%E"]
        ),
    ),
)
def test_no_request_raises_and_one_event_is_the_body(
    scheme: str, event_type: str | None, items: dict[str, str] | None, body: bytes, headers: dict[str, str]
) -> None:
    found = inbound_events.read(source(scheme, event_type=event_type, items=items), Incoming(headers, body), "new")
    if isinstance(found, Unfit):
        assert "\n" not in found.reason
        return
    for one in found:
        read = reading.read_event("t", one.value, one.headers, partition=0, offset=0, max_bytes=10**6)
        assert isinstance(read, Event | Unreadable)
        if items == {"as": "whole"}:
            assert one.value == body


def test_a_challenge_of_slack_is_answered_and_nothing_else_is_one() -> None:
    def asked(body: bytes, scheme: str = "slack") -> str | None:
        return inbound_handshakes.slack_challenge(source(scheme), Incoming({}, body))

    body = b'{"token":"x","challenge":"3eZb","type":"url_verification"}'
    assert asked(body) == "3eZb"
    assert asked(body, "hmac") is None
    for other in (b"", b"url_verification", b'{"type":"url_verification"}', body.replace(b'"url_', b'"an_url_')):
        assert asked(other) is None
    assert asked(body.replace(b'"3eZb"', b"3")) is None


def test_okta_and_cloud_events_are_answered_as_they_ask() -> None:
    header = {"x-okta-verification-challenge": "Me_rShK8"}
    assert inbound_handshakes.okta_challenge(source("okta"), header) == "Me_rShK8"
    assert inbound_handshakes.okta_challenge(source("okta"), {}) is None
    assert inbound_handshakes.okta_challenge(source("slack"), header) is None
    asks = {"webhook-request-origin": "eventemitter.example.com", "webhook-request-rate": "120"}
    granted = {"webhook-allowed-origin": "eventemitter.example.com", "webhook-allowed-rate": "120"}
    assert inbound_handshakes.permission(asks, 60_000) == granted
    assert inbound_handshakes.permission(asks, 60) == {**granted, "webhook-allowed-rate": "60"}
    for rate in ("", "0", "x", "-1", "1" * 12):
        other = inbound_handshakes.permission({**asks, "webhook-request-rate": rate}, 60)
        assert other == {**granted, "webhook-allowed-rate": "60"}
    for origin in ("", "a b", "é", "a\x00"):
        assert inbound_handshakes.permission({"webhook-request-origin": origin}, 60) is None
    assert inbound_handshakes.permission({}, 60) is None
