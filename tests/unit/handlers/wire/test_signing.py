"""The official library verifies what is signed, and nothing else."""

import base64
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from handlers.wire import signing
from streams.core import keys

#: HMAC fills keys up to 64 bytes with zeros; longer ones it hashes.
KEYS = st.binary(min_size=16, max_size=64)
BODIES = st.text(max_size=40).map(str.encode)


def secret_of(key: bytes) -> str:
    return "whsec_" + base64.b64encode(key).decode()


def verifies(secret: str, body: bytes, signature: str, timestamp_s: int, webhook_id: str = "d-1") -> bool:
    headers = {"webhook-id": webhook_id, "webhook-timestamp": str(timestamp_s), "webhook-signature": signature}
    try:
        Webhook(secret).verify(body, headers, json_parse=False)
    except (WebhookVerificationError, UnicodeDecodeError):
        return False
    return True


@settings(max_examples=60)
@given(KEYS, BODIES)
def test_the_official_library_verifies_every_body(key: bytes, body: bytes) -> None:
    now_s = int(time.time())
    assert verifies(secret_of(key), body, signing.sign([secret_of(key)], "d-1", now_s, body), now_s)


def test_no_single_bit_change_of_the_body_verifies() -> None:
    now_s, secret = int(time.time()), secret_of(b"k" * 24)
    body = '{"type":"a.b","data":{"n":1.10,"é":"x"}}'.encode()
    signature = signing.sign([secret], "d-1", now_s, body)
    assert verifies(secret, body, signature, now_s)
    for place in range(len(body) * 8):
        changed = bytearray(body)
        changed[place // 8] ^= 1 << place % 8
        assert not verifies(secret, bytes(changed), signature, now_s)


@settings(max_examples=40)
@given(KEYS, KEYS, BODIES)
def test_nothing_else_may_be_different_either(key: bytes, other: bytes, body: bytes) -> None:
    now_s, secret = int(time.time()), secret_of(key)
    signature = signing.sign([secret], "d-1", now_s, body)
    assert verifies(secret_of(other), body, signature, now_s) == (key.rstrip(b"\0") == other.rstrip(b"\0"))
    assert not verifies(secret, body, signature, now_s + 1)
    assert not verifies(secret, body, signature, now_s, "d-2")
    assert not verifies(secret, body + b" ", signature, now_s)


@settings(max_examples=30)
@given(st.lists(KEYS, min_size=1, max_size=5), BODIES)
def test_each_secret_signs_in_its_place_and_each_one_alone_verifies(keys: list[bytes], body: bytes) -> None:
    now_s, secrets = int(time.time()), [secret_of(key) for key in keys]
    signature = signing.sign(secrets, "d-1", now_s, body)
    assert signature.split(" ") == [signing.sign([secret], "d-1", now_s, body) for secret in secrets]
    assert all(part.startswith("v1,") for part in signature.split(" "))
    assert all(verifies(secret, body, signature, now_s) for secret in secrets)


def test_a_fixed_vector_stays_what_it_is() -> None:
    signed = signing.sign(
        ["whsec_plJ3nmyCDGBKInavdOK15jsl"], "msg_loFOjxBNrRLzqYUf", 1731705121, b'{"event_type":"ping"}'
    )
    assert signed == "v1,iLrWodj6H2QrNRSvdASdRo1DzSXYKqa36og0kGXkcTs="


def test_a_key_without_padding_is_the_same_key() -> None:
    padded = secret_of(b"k" * 25)
    assert padded.endswith("==")
    assert keys.mac_key(padded.rstrip("=")) == keys.mac_key(padded) == b"k" * 25


@pytest.mark.parametrize("secret", ["", "k", "whsk_AAAA", "WHSEC_AAAA", "whsec_*", "whsec_é"])
def test_what_is_no_secret_signs_nothing(secret: str) -> None:
    with pytest.raises(ValueError):
        signing.sign([secret], "d-1", 0, b"")
