"""The headers of one attempt."""

import base64
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

from handlers.wire import payload, request
from handlers.wire.payload import Body
from schemas.changes import BasicAuth, BearerAuth, HeaderAuth, MtlsAuth, OAuth2Auth
from schemas.deliveries import Delivery
from schemas.endpoints import EndpointSettings, ExpiringSecret

NEW, OLD = ("whsec_" + base64.b64encode(bytes([byte]) * 24).decode() for byte in b"no")
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
BODY = Body("application/json", b'{"a":1}')
USER_AGENT = "Hookfold/1.2.3"


def settings_with(**fields: Any) -> EndpointSettings:
    return EndpointSettings(**{"url": "https://a.example/", "subscriptions": (), "secrets": (NEW,), **fields})


def made(
    now_ms: int = 1_700_000_000_999, body: Body = BODY, told: dict[str, Any] | None = None, **fields: Any
) -> list[tuple[str, str]]:
    delivery = Delivery(
        delivery_id="d-1",
        event_id="1",
        event_type="a",
        tenant="t",
        endpoint_id="e",
        endpoint_version="0-0",
        event_time_ms=1,
        **(told or {}),
    )
    return request.headers(
        request.Envelope.of(delivery), settings_with(**fields), body, now_ms=now_ms, user_agent=USER_AGENT
    )


def test_a_plain_attempt_has_the_headers_of_the_contract_and_no_other() -> None:
    found = dict(made(told={"attempt": 3}))
    assert found.pop("webhook-signature").startswith("v1,")
    assert found == {
        "content-type": "application/json",
        "user-agent": USER_AGENT,
        "webhook-id": "d-1",
        "webhook-timestamp": "1700000000",
        "webhook-attempt": "3",
    }


def test_the_trace_and_the_replay_are_told_where_there_is_one() -> None:
    found = dict(made(told={"traceparent": TRACE, "replay_id": "r-1"}))
    assert (found["traceparent"], found["webhook-replay"]) == (TRACE, "r-1")


@settings(max_examples=30)
@given(st.binary(max_size=30).map(base64.b64encode))
def test_the_receiver_verifies_what_it_gets(data: bytes) -> None:
    body = Body("application/json", b'"' + data + b'"')
    found = dict(made(int(time.time() * 1000), body))
    assert Webhook(NEW).verify(body.body, found) == data.decode()


def test_an_unsigned_endpoint_gets_no_signature() -> None:
    assert "webhook-signature" not in dict(made(secrets=()))


def test_both_secrets_sign_until_the_overlap_ends() -> None:
    overlap = settings_with(expiring_secrets=(ExpiringSecret(secret=OLD, until_ms=5_000),))
    assert request.secrets_at(overlap, 4_999) == [NEW, OLD]
    assert request.secrets_at(overlap, 5_000) == [NEW]
    found = dict(made(4_999, expiring_secrets=overlap.expiring_secrets))
    assert len(found["webhook-signature"].split(" ")) == 2


def test_each_attempt_has_a_timestamp_of_its_own_and_the_same_id() -> None:
    first, second = dict(made(1_000)), dict(made(61_000))
    assert (first["webhook-timestamp"], second["webhook-timestamp"]) == ("1", "61")
    assert first["webhook-id"] == second["webhook-id"]
    assert first["webhook-signature"] != second["webhook-signature"]


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        (HeaderAuth(kind="header", name="x-api-key", value="v"), ("x-api-key", "v")),
        (BearerAuth(kind="bearer", token="tok"), ("authorization", "Bearer tok")),
        (
            BasicAuth(kind="basic", username="Aladdin", password="open sesame"),
            ("authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ),
        (BasicAuth(kind="basic", username="test", password="123£"), ("authorization", "Basic dGVzdDoxMjPCow==")),
    ],
)
def test_auth_goes_in_as_its_kind_says(auth: object, header: tuple[str, str]) -> None:
    assert header in made(auth=auth)


def test_auth_that_is_no_header_of_its_own_adds_none() -> None:
    for auth in (
        MtlsAuth(kind="mtls", certificate="c", private_key="k"),
        OAuth2Auth(kind="oauth2", token_url="https://a.example/", client_id="i", client_secret="s"),
    ):
        assert made(auth=auth) == made()


def test_the_endpoints_own_headers_and_those_of_the_format_are_sent() -> None:
    body = payload.Body("text/plain", b"x", (("ce-id", "1"),))
    found = made(body=body, headers={"x-a": "1", "x-b": "2"})
    assert {("ce-id", "1"), ("x-a", "1"), ("x-b", "2"), ("content-type", "text/plain")} <= set(found)
    assert len({name for name, _ in found}) == len(found)
