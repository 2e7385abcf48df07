"""Signatures and requests, checked by the official library."""

import base64
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from handlers.wire import request, signing
from handlers.wire.payload import Body
from schemas.changes import BasicAuth, BearerAuth, HeaderAuth
from schemas.deliveries import Delivery
from schemas.endpoints import EndpointSettings, ExpiringSecret

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
OTHER = "whsec_" + base64.b64encode(b"o" * 32).decode()
DELIVERY = Delivery(
    delivery_id="d-1",
    event_id="1",
    event_type="a.b",
    tenant="t",
    endpoint_id="e",
    endpoint_version="0-1",
    event_time_ms=1,
    attempt=3,
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
)


def settings(**fields: object) -> EndpointSettings:
    given: dict[str, object] = {"url": "https://example.com/", "subscriptions": (), "secrets": (SECRET,), **fields}
    return EndpointSettings(**given)  # type: ignore[arg-type]


def signed(signature: str, timestamp_s: int) -> dict[str, str]:
    return {"webhook-id": "msg_1", "webhook-timestamp": str(timestamp_s), "webhook-signature": signature}


def test_the_vector_of_the_specification_is_met() -> None:
    # From the Standard Webhooks repository's libraries.
    signature = signing.sign(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(st.text().map(str.encode), st.integers(0, 7), st.data())
def test_the_official_library_verifies_and_no_single_bit_change_does(
    body: bytes, bit: int, data: st.DataObject
) -> None:
    now_s = int(time.time())
    signature = signing.sign([OTHER, SECRET], "msg_1", now_s, body)
    expected = Webhook(SECRET).sign("msg_1", datetime.fromtimestamp(now_s, UTC), body.decode())
    assert expected in signature.split(" ")
    if body:
        place = data.draw(st.integers(0, len(body) - 1))
        changed = bytearray(body)
        changed[place] ^= 1 << bit
        assert signing.sign([SECRET], "msg_1", now_s, bytes(changed)) not in signature


def test_a_changed_body_does_not_verify() -> None:
    now_s = int(time.time())
    signature = signing.sign([SECRET], "msg_1", now_s, b'{"a":1}')
    assert Webhook(SECRET).verify(b'{"a":1}', signed(signature, now_s)) == {"a": 1}
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(b'{"a":2}', signed(signature, now_s))


def test_an_attempt_says_which_it_is_and_is_signed_with_every_secret_that_counts() -> None:
    now_ms = int(time.time()) * 1_000
    given = settings(
        expiring_secrets=(
            ExpiringSecret(secret=OTHER, until_ms=now_ms + 1),
            ExpiringSecret(secret=SECRET, until_ms=now_ms),
        ),
        headers={"x-own": "1"},
    )
    made = dict(
        request.headers(DELIVERY, given, Body("application/json", b"{}"), now_ms=now_ms, user_agent="Hookfold/9")
    )
    assert made["webhook-id"] == "d-1"
    assert made["webhook-attempt"] == "3"
    assert made["webhook-timestamp"] == str(now_ms // 1_000)
    assert made["user-agent"] == "Hookfold/9"
    assert made["traceparent"] == DELIVERY.traceparent
    assert made["x-own"] == "1"
    assert len(made["webhook-signature"].split(" ")) == 2
    Webhook(OTHER).verify(b"{}", made)
    Webhook(SECRET).verify(b"{}", made)


def test_an_endpoint_without_secrets_is_unsigned() -> None:
    made = request.headers(DELIVERY, settings(secrets=()), Body("a/b", b""), now_ms=1, user_agent="u")
    assert "webhook-signature" not in dict(made)


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        (HeaderAuth(kind="header", name="x-key", value="v"), ("x-key", "v")),
        (BearerAuth(kind="bearer", token="tok"), ("authorization", "Bearer tok")),
        (BasicAuth(kind="basic", username="u", password="ü"), ("authorization", "Basic dTrDvA==")),
    ],
)
def test_auth_goes_in_as_its_kind_says(auth: object, header: tuple[str, str]) -> None:
    made = request.headers(DELIVERY, settings(auth=auth), Body("a/b", b""), now_ms=1, user_agent="u")
    assert header in made
    assert "tok" not in repr(settings(auth=auth))
