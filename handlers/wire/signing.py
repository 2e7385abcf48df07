"""Signatures of Standard Webhooks 1.0 over id, timestamp and body: HMAC-SHA256 (`v1`) and ed25519 (`v1a`)."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache

from streams.core import keys

_BLOCK_BYTES = 64
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))


def sign(secrets: Iterable[str], webhook_id: str, timestamp_s: int, body: bytes) -> str:
    """The value of `webhook-signature`: one for each secret in its order, separated by spaces.

    Raises ValueError for what is no secret; such are refused at registration.
    """
    head = f"{webhook_id}.{timestamp_s}.".encode()
    return " ".join([_signer(secret)(head, body) for secret in secrets])


@lru_cache(maxsize=8_192)
def _signer(secret: str) -> Callable[[bytes, bytes], str]:
    return _ed25519(secret) if secret.startswith(keys.PRIVATE) else _hmac(secret)


def _ed25519(secret: str) -> Callable[[bytes, bytes], str]:
    key = keys.private_key(secret)
    return lambda head, body: "v1a," + base64.b64encode(key.sign(head + body)).decode()


def _hmac(secret: str) -> Callable[[bytes, bytes], str]:
    """RFC 2104, with the two hashes of the key made once."""
    key = keys.mac_key(secret)
    block = (hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key).ljust(_BLOCK_BYTES, b"\0")
    inner, outer = hashlib.sha256(block.translate(_INNER)), hashlib.sha256(block.translate(_OUTER))

    def signed(head: bytes, body: bytes) -> str:
        within, whole = inner.copy(), outer.copy()
        within.update(head)
        within.update(body)
        whole.update(within.digest())
        return "v1," + binascii.b2a_base64(whole.digest(), newline=False).decode()

    return signed
