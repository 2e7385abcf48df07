"""Signatures of Standard Webhooks 1.0, symmetric (`v1`): HMAC-SHA256 over id, timestamp and body."""

import base64
import hmac
from collections.abc import Iterable
from functools import lru_cache


@lru_cache(maxsize=65_536)
def key_of(secret: str) -> bytes:
    """The key in a `whsec_…` secret, which was checked when it was registered. Raises ValueError on anything else."""
    if not secret.startswith("whsec_"):
        raise ValueError("a secret begins with whsec_")
    text = secret.removeprefix("whsec_")
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def sign(secrets: Iterable[str], webhook_id: str, timestamp_s: int, body: bytes) -> str:
    """The value of `webhook-signature`: `v1,…` for each secret in its order, separated by spaces."""
    signed = f"{webhook_id}.{timestamp_s}.".encode() + body
    return " ".join(
        "v1," + base64.b64encode(hmac.digest(key_of(secret), signed, "sha256")).decode() for secret in secrets
    )
