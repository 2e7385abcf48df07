"""The ring: the keys that secrets and data keys are sealed with, as a setting has them."""

import base64
import binascii
import re

#: A key of AES-256.
KEY_BYTES = 32
_KEY_ID = re.compile(r"^[A-Za-z0-9_-]{1,32}$")


def parse_keys(text: str) -> dict[str, bytes]:
    """The keys in `id:base64,id:base64`, 32 bytes each. Raises ValueError, which tells nothing of a key."""
    keys: dict[str, bytes] = {}
    for number, part in enumerate(filter(None, (part.strip() for part in text.split(","))), 1):
        key_id, _, encoded = part.partition(":")
        if not encoded or not _KEY_ID.fullmatch(key_id):
            raise ValueError(f"key {number} is not <id>:<base64 of 32 bytes>")
        try:
            key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError(f"key {number} is not base64") from None
        if len(key) != KEY_BYTES:
            raise ValueError(f"key {number} has {len(key)} bytes, not {KEY_BYTES}")
        if key_id in keys:
            raise ValueError(f"two keys are called {key_id}")
        keys[key_id] = key
    return keys
