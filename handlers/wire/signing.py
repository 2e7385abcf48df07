"""Signatures of Standard Webhooks 1.0 over id, timestamp and body: HMAC-SHA256 (`v1`) and ed25519 (`v1a`)."""

import base64
import hmac
from collections.abc import Iterable
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from streams.core import keys


@lru_cache(maxsize=65_536)
def _mac_key(secret: str) -> bytes:
    return keys.mac_key(secret)


@lru_cache(maxsize=4_096)
def _private_key(secret: str) -> Ed25519PrivateKey:
    return keys.private_key(secret)


def sign(secrets: Iterable[str], webhook_id: str, timestamp_s: int, body: bytes) -> str:
    """The value of `webhook-signature`: one for each secret in its order, separated by spaces.

    Raises ValueError for what is no secret; such are refused at registration.
    """
    signed = f"{webhook_id}.{timestamp_s}.".encode() + body
    return " ".join(_signature(secret, signed) for secret in secrets)


def _signature(secret: str, signed: bytes) -> str:
    if secret.startswith(keys.PRIVATE):
        return "v1a," + base64.b64encode(_private_key(secret).sign(signed)).decode()
    return "v1," + base64.b64encode(hmac.digest(_mac_key(secret), signed, "sha256")).decode()
