"""A template makes the headers that an attempt has, whatever the endpoint and the delivery."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.wire import request
from handlers.wire.payload import Body
from handlers.wire.template import Template
from schemas.changes import BasicAuth, BearerAuth, HeaderAuth
from schemas.deliveries import Delivery
from schemas.endpoints import EndpointSettings, ExpiringSecret

TEXT = st.text("aZ09 .:/é-", min_size=1, max_size=12)
SECRETS = st.binary(min_size=24, max_size=64).map(lambda key: "whsec_" + base64.b64encode(key).decode())
SETTINGS = st.builds(
    EndpointSettings,
    url=st.just("https://a.example/"),
    subscriptions=st.just(()),
    secrets=st.lists(SECRETS, max_size=2).map(tuple),
    expiring_secrets=st.lists(
        st.builds(ExpiringSecret, secret=SECRETS, until_ms=st.integers(0, 2_000)), max_size=2
    ).map(tuple),
    headers=st.one_of(st.none(), st.dictionaries(TEXT, TEXT, max_size=2)),
    auth=st.one_of(
        st.none(),
        st.builds(HeaderAuth, kind=st.just("header"), name=TEXT, value=TEXT),
        st.builds(BearerAuth, kind=st.just("bearer"), token=TEXT),
        st.builds(BasicAuth, kind=st.just("basic"), username=TEXT, password=TEXT),
    ),
)
DELIVERIES = st.builds(
    Delivery,
    delivery_id=TEXT,
    event_id=TEXT,
    event_type=TEXT,
    tenant=st.just("t"),
    endpoint_id=st.just("e"),
    endpoint_version=st.just("0-0"),
    event_time_ms=st.integers(0, 9),
    attempt=st.integers(1, 99),
    traceparent=st.one_of(st.none(), TEXT),
    replay_id=st.one_of(st.none(), TEXT),
)
BODIES = st.builds(Body, TEXT, st.binary(max_size=20), st.lists(st.tuples(TEXT, TEXT), max_size=2).map(tuple))


@settings(max_examples=100)
@given(SETTINGS, DELIVERIES, BODIES, st.integers(0, 2_000))
def test_it_says_what_the_headers_are(own: EndpointSettings, owed: Delivery, body: Body, now_ms: int) -> None:
    envelope = request.Envelope.of(owed)
    headers = request.headers(envelope, own, body, now_ms=now_ms, user_agent="Hookfold/1")
    expected = "".join(f"{name}: {value}\r\n" for name, value in headers)
    assert Template(own, "Hookfold/1").fill(owed, body, now_ms) == expected


@pytest.mark.parametrize("field", ["delivery_id", "traceparent", "replay_id"])
@pytest.mark.parametrize("text", ["a\r\nx: y", "a\n", "a\r", "a\0"])
def test_what_would_be_more_than_a_line_is_refused(field: str, text: str) -> None:
    own = EndpointSettings(url="https://a.example/", subscriptions=(), secrets=())
    told = {"delivery_id": "d", "event_id": "e", "event_type": "a", "tenant": "t", "endpoint_id": "e", field: text}
    owed = Delivery(endpoint_version="0-0", event_time_ms=0, **told)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="line break"):
        Template(own, "Hookfold/1").fill(owed, Body("application/json", b""), 0)
    with pytest.raises(ValueError, match="line break"):
        Template(own, "Hookfold/1").fill(owed.model_copy(update={field: "d"}), Body(text, b""), 0)
