"""Keys of Standard Webhooks as text: `whsec_` is a shared secret, `whsk_` an ed25519 key, `whpk_` its public half."""

import base64
import binascii

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SHARED = "whsec_"
PRIVATE = "whsk_"
PUBLIC = "whpk_"
SEED_BYTES = 32


def mac_key(secret: str) -> bytes:
    """The key in a `whsec_…` secret. Raises ValueError, which does not repeat it."""
    if not secret.startswith(SHARED):
        raise ValueError("a secret begins with whsec_ or whsk_")
    key = _decoded(secret.removeprefix(SHARED), SHARED)
    if not 16 <= len(key) <= 128:
        raise ValueError("a secret has 16 to 128 bytes")
    return key


def private_key(secret: str) -> Ed25519PrivateKey:
    """The key in a `whsk_…` text: a seed, or seed and public key. Raises ValueError, which does not repeat it."""
    raw = _decoded(secret.removeprefix(PRIVATE), PRIVATE)
    if len(raw) not in (SEED_BYTES, 2 * SEED_BYTES):
        raise ValueError("a whsk_ key is a seed of 32 bytes, or a seed and its public key")
    key = Ed25519PrivateKey.from_private_bytes(raw[:SEED_BYTES])
    if raw[SEED_BYTES:] and key.public_key().public_bytes_raw() != raw[SEED_BYTES:]:
        raise ValueError("the public key in a whsk_ key is not the seed's")
    return key


def public_key(secret: str) -> str | None:
    """What a receiver verifies `v1a` signatures with, `whpk_…`; None where the secret is a shared one."""
    if not secret.startswith(PRIVATE):
        return None
    return PUBLIC + base64.b64encode(private_key(secret).public_key().public_bytes_raw()).decode()


def refuse(secret: str) -> str | None:
    """Why nothing can be signed with it, in one line that does not repeat it; None where it can."""
    try:
        if secret.startswith(PRIVATE):
            private_key(secret)
        else:
            mac_key(secret)
    except ValueError as problem:
        return str(problem)
    return None


def _decoded(text: str, prefix: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"a secret is {prefix} and base64") from None
