"""What the official libraries and the documented vectors sign is the source's, and nothing else is."""

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import stripe
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook
from svix.webhooks import Webhook as Svix

from handlers.wire import inbound_signatures, signing
from handlers.wire.inbound_signatures import Incoming, Unverified
from schemas.sources import SCHEMES, SourceRegistered

NOW_S = 1_700_000_000
WHSEC = "whsec_" + base64.b64encode(b"k" * 32).decode()
SEED = b"s" * 32
WHPK = "whpk_" + base64.b64encode(Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw()).decode()
SECRETS = {"standard": WHSEC, "basic": "ada:a long password", "okta": "Bearer of what Okta was given"}
BODY = b'{"id":"evt_1","type":"a.b","data":{"n":1.10,"s":"\xc3\xa9"}}'
GITHUB_SIGNATURE = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
SLACK_SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"


def secret_of(scheme: str) -> str:
    return SECRETS.get(scheme, "a secret of some length")


def source(scheme: str, **more: Any) -> SourceRegistered:
    fields = {"type": "source.registered", "source_id": "s", "scheme": scheme, "secrets": (secret_of(scheme),), **more}
    return SourceRegistered.model_validate(fields)


def verify(
    scheme: str, headers: dict[str, str], body: bytes, *secrets: str, now_s: int = NOW_S, **more: Any
) -> Unverified | None:
    given = secrets or (secret_of(scheme),)
    return inbound_signatures.verify(source(scheme, **more), given, Incoming(headers, body), now_s)


def mac(secret: str, signed: bytes) -> bytes:
    return hmac.new(secret.encode(), signed, hashlib.sha256).digest()


def signed(scheme: str, body: bytes = BODY, at_s: int = NOW_S) -> dict[str, str]:
    """The headers that a third party sends with a body, those that are part of its proof."""
    secret = secret_of(scheme)
    match scheme:
        case "standard":
            signature = Webhook(secret).sign("msg_1", datetime.fromtimestamp(at_s, UTC), body.decode())
            return {"webhook-id": "msg_1", "webhook-timestamp": str(at_s), "webhook-signature": signature}
        case "github":
            return {"x-hub-signature-256": "sha256=" + mac(secret, body).hex()}
        case "stripe":
            computed = stripe.WebhookSignature._compute_signature(f"{at_s}.{body.decode()}", secret)
            return {"stripe-signature": f"t={at_s},v1={computed},v0={'0' * 64}"}
        case "slack":
            signature = "v0=" + mac(secret, b"v0:%d:" % at_s + body).hex()
            return {"x-slack-signature": signature, "x-slack-request-timestamp": str(at_s)}
        case "shopify":
            return {"x-shopify-hmac-sha256": base64.b64encode(mac(secret, body)).decode()}
        case "hmac":
            return {"x-signature": mac(secret, body).hex()}
        case "api_key":
            return {"x-api-key": secret}
        case "okta":
            return {"authorization": secret}
        case "bearer":
            return {"authorization": f"Bearer {secret}"}
        case _:
            return {"authorization": "Basic " + base64.b64encode(secret.encode()).decode()}


SIGNING = [scheme for scheme in SCHEMES if scheme not in ("okta", "api_key", "bearer", "basic")]
#: How much of a proof may be written in both cases: hex, and the word that it begins with.
CASELESS = {"hmac": 64, "bearer": len("bearer"), "basic": len("basic")}
TIMED = ("standard", "stripe", "slack")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_the_third_party_signs_is_verified(scheme: str) -> None:
    assert verify(scheme, signed(scheme), BODY) is None


def test_the_vectors_of_github_and_slack_are_verified() -> None:
    headers = {"x-hub-signature-256": GITHUB_SIGNATURE}
    assert verify("github", headers, b"Hello, World!", "It's a Secret to Everybody") is None
    headers = {"x-slack-signature": SLACK_SIGNATURE, "x-slack-request-timestamp": "1531420618"}
    assert verify("slack", headers, SLACK_BODY, "8f742231b10e8888abcd99yyyzzz85a5", now_s=1531420618) is None
    assert verify("slack", headers, SLACK_BODY, "8f742231b10e8888abcd99yyyzzz85a5") is not None


def test_the_vector_of_standard_webhooks_is_verified() -> None:
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    body, secret = b'{"test": 2432232314}', "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert verify("standard", headers, body, secret, now_s=1614265330) is None


def test_svix_signs_under_its_own_names() -> None:
    signature = Svix(WHSEC).sign("msg_1", datetime.fromtimestamp(NOW_S, UTC), BODY.decode())
    headers = {"svix-id": "msg_1", "svix-timestamp": str(NOW_S), "svix-signature": signature}
    assert verify("standard", headers, BODY) is None
    assert verify("standard", {**headers, "svix-id": "msg_2"}, BODY) is not None


def test_a_key_of_our_own_kind_is_verified_by_its_public_half() -> None:
    whsk = "whsk_" + base64.b64encode(SEED).decode()
    signature = signing.sign([whsk], "d-1", NOW_S, BODY)
    headers = {"webhook-id": "d-1", "webhook-timestamp": str(NOW_S), "webhook-signature": f"v1,AAAA {signature}"}
    assert verify("standard", headers, BODY, WHSEC, WHPK) is None
    assert verify("standard", headers, BODY) is not None
    for place in range(len(BODY)):
        assert verify("standard", headers, changed(BODY, place, 1), WHPK) is not None
    for place in range(len("v1,AAAA v1a,"), len(headers["webhook-signature"])):
        other = changed(headers["webhook-signature"].encode(), place, 1).decode()
        assert verify("standard", {**headers, "webhook-signature": other}, BODY, WHPK) is not None


def changed(raw: bytes, place: int, mask: int) -> bytes:
    return raw[:place] + bytes([raw[place] ^ mask]) + raw[place + 1 :]


@pytest.mark.parametrize("scheme", SIGNING)
def test_no_change_of_a_byte_of_the_body_is_verified(scheme: str) -> None:
    headers = signed(scheme)
    for place in range(len(BODY)):
        for bit in range(8):
            assert verify(scheme, headers, changed(BODY, place, 1 << bit)) is not None
    for other in (b"", BODY[:-1], BODY + b"\n", b" " + BODY):
        assert verify(scheme, headers, other) is not None


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_change_of_a_byte_of_the_proof_is_verified(scheme: str) -> None:
    headers = signed(scheme)
    for name, value in headers.items():
        for place in range(len(value)):
            for mask in (1 << bit for bit in range(8)):
                other = changed(value.encode(), place, mask).decode("utf-8", "surrogateescape")
                if scheme == "stripe" and place > value.index(",v0"):
                    continue  # what it says of `v0`, a scheme for tests, proves nothing
                if place < CASELESS.get(scheme, 0) and other.lower() == value.lower():
                    continue
                assert verify(scheme, {**headers, name: other}, BODY) is not None, (name, place, other)
        rest = {other: text for other, text in headers.items() if other != name}
        assert verify(scheme, rest, BODY) is not None
        assert verify(scheme, {**headers, name: ""}, BODY) is not None


@pytest.mark.parametrize("scheme", SCHEMES)
def test_another_secret_verifies_nothing_and_any_of_several_does(scheme: str) -> None:
    other = "whsec_" + base64.b64encode(b"o" * 32).decode() if scheme == "standard" else "other:" + secret_of(scheme)
    headers = signed(scheme)
    assert verify(scheme, headers, BODY, other) is not None
    for several in ((other, secret_of(scheme)), (secret_of(scheme), other)):
        assert verify(scheme, headers, BODY, *several) is None
    assert inbound_signatures.verify(source(scheme), (), Incoming(headers, BODY), NOW_S) is not None


@pytest.mark.parametrize("scheme", TIMED)
def test_a_time_further_away_than_the_tolerance_is_refused(scheme: str) -> None:
    headers = signed(scheme)
    for distance_s, accepted in ((0, True), (300, True), (-300, True), (301, False), (-301, False), (10**9, False)):
        assert (verify(scheme, headers, BODY, now_s=NOW_S + distance_s) is None) is accepted


@pytest.mark.parametrize("scheme", TIMED)
@pytest.mark.parametrize(
    "time", ["", "now", "-1700000000", "+1700000000", " 1700000000", "1e9", "1" * 13, "\u0661\u0667"]
)
def test_a_time_that_is_none_is_refused_however_it_is_signed(scheme: str, time: str) -> None:
    secret, raw = secret_of(scheme), time.encode()
    headers = {
        "standard": lambda: {
            "webhook-id": "m", "webhook-timestamp": time,
            "webhook-signature": "v1," + base64.b64encode(
                hmac.digest(b"k" * 32, b"m." + raw + b"." + BODY, "sha256")
            ).decode(),
        },
        "stripe": lambda: {"stripe-signature": f"t={time},v1={mac(secret, raw + b'.' + BODY).hex()}"},
        "slack": lambda: {
            "x-slack-request-timestamp": time,
            "x-slack-signature": "v0=" + mac(secret, b"v0:" + raw + b":" + BODY).hex(),
        },
    }[scheme]()  # fmt: skip
    assert verify(scheme, headers, BODY) is not None


def test_a_generic_mac_is_read_as_the_source_says() -> None:
    secret = secret_of("hmac")
    digest = mac(secret, BODY)
    for text in (digest.hex(), digest.hex().upper(), "sha256=" + digest.hex()):
        assert verify("hmac", {"x-sig": text}, BODY, header="X-Sig") is None
        assert verify("hmac", {"x-sig": text}, BODY, header="X-Sig", encoding="base64") is not None
    text = base64.b64encode(digest).decode()
    for written in (text, "sha256=" + text):
        assert verify("hmac", {"x-sig": written}, BODY, header="x-sig", encoding="base64", algorithm="sha256") is None
    assert verify("hmac", {"x-signature": digest.hex()}, BODY, header="x-sig") is not None


@pytest.mark.parametrize(
    "header",
    [
        "", ",", "t=1700000000", "v1=00", "t=1700000000,t=1700000000,v1=00", "t==1,v1", "t=1700000000,v1=,v1=",
    ],
)  # fmt: skip
def test_a_signature_of_stripe_that_is_none_is_refused(header: str) -> None:
    assert verify("stripe", {"stripe-signature": header}, BODY) is not None


def test_more_signatures_than_a_rotation_needs_are_not_looked_at() -> None:
    headers = signed("standard")
    wrong: Sequence[str] = ["v1," + base64.b64encode(bytes([n]) * 32).decode() for n in range(16)]
    for count, accepted in ((15, True), (16, False)):
        text = " ".join([*wrong[:count], headers["webhook-signature"]])
        assert (verify("standard", {**headers, "webhook-signature": text}, BODY) is None) is accepted


@settings(max_examples=150)
@given(
    st.sampled_from(SCHEMES),
    st.dictionaries(
        st.sampled_from(
            ["webhook-id", "webhook-timestamp", "webhook-signature", "x-hub-signature-256", "stripe-signature",
             "x-slack-signature", "x-slack-request-timestamp", "x-shopify-hmac-sha256", "authorization", "x-signature",
             "x-api-key"]
        ),
        st.one_of(
            st.binary(max_size=60).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
            st.sampled_from(["v1,", "v1a,AAAA", "Bearer ", "Basic", "t=1,v1=00", str(NOW_S), "v0=", "sha256="]),
        ),
    ),
    st.binary(max_size=60),
)  # fmt: skip
def test_nothing_is_verified_by_chance_and_nothing_raises(scheme: str, headers: dict[str, str], body: bytes) -> None:
    secrets = (WHSEC, WHPK) if scheme == "standard" else (secret_of(scheme),)
    refused = verify(scheme, headers, body, *secrets)
    assert refused is not None
    assert "\n" not in refused.reason
    assert not any(secret in refused.reason for secret in secrets)


def test_the_body_is_taken_as_its_bytes_whatever_they_are() -> None:
    for body in (b"", b"\xff\xfe", b"\0" * 9, json.dumps({"a": "é"}).encode("utf-16")):
        for scheme in ("github", "slack", "shopify", "hmac"):
            assert verify(scheme, signed(scheme, body), body) is None


def test_one_signature_is_written_in_one_way() -> None:
    headers = signed("stripe")
    twice = headers["stripe-signature"] + f",t={NOW_S - 1}"
    assert verify("stripe", {"stripe-signature": twice}, BODY) is not None
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    signature = signing.sign(["whsk_" + base64.b64encode(SEED).decode()], "d-1", NOW_S, BODY)
    # The last digit has bits that stand for nothing.
    other = signature[:-3] + alphabet[alphabet.index(signature[-3]) + 1] + "=="
    assert base64.b64decode(other[4:]) == base64.b64decode(signature[4:])
    for text, accepted in ((signature, True), (other, False)):
        headers = {"webhook-id": "d-1", "webhook-timestamp": str(NOW_S), "webhook-signature": text}
        assert (verify("standard", headers, BODY, WHPK) is None) is accepted
