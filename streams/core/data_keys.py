"""Data at rest: each event's data under a key of its own, which follows from a key of its tenant.

The nonce is derived from the data, as in `sealing`: the same data of the same event is sealed to the same bytes.
"""

from __future__ import annotations

import hmac
import re

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas import topics
from schemas.events import SEALED_HEADER
from streams.core import puncturing
from streams.core.outputs import Output
from streams.core.puncturing import Punctured
from streams.core.sealing import CannotOpen, Keyring

#: A tenant's key that so many events were erased from seals no more; another is made.
MAX_SEALING = 1_000
#: So many fit into its record with room to spare, and are still read in less than a second.
MAX_ERASED = 4_000
_NONCE_BYTES = 12
#: How much longer data is when it is sealed: the nonce, and the tag of AES-GCM.
OVERHEAD_BYTES = _NONCE_BYTES + 16
_KEY_ID = re.compile(rb"^[A-Za-z0-9_-]{1,32}$")


class Changed(CannotOpen):
    """The data is not what was sealed under this name; no key that is added later opens it."""


def is_key_id(raw: bytes) -> bool:
    """True for what may be the id of a data key."""
    return _KEY_ID.fullmatch(raw) is not None


def record(ring: Keyring, tenant: str, key_id: str, key: Punctured, partition: int) -> Output:
    """The record of `keys` that holds a tenant's key. `partition` is the tenant's, not that of the record's key."""
    ring_key, value = ring.seal_bytes(puncturing.encode(key), _bound(tenant, key_id))
    headers = [(SEALED_HEADER, ring_key.encode())]
    return Output(topics.KEYS, f"{tenant}/{key_id}".encode(), value, headers, partition)


def read(ring: Keyring, tenant: str, key_id: str, ring_key: str, value: bytes) -> Punctured:
    """The key in a record of `keys`. Raises `CannotOpen`."""
    raw = ring.open_bytes(ring_key, value, _bound(tenant, key_id))
    try:
        return puncturing.decode(raw)
    except ValueError as problem:
        raise CannotOpen(str(problem)) from problem


def seal(key: Punctured, tenant: str, key_id: str, event_id: str, data: bytes) -> bytes | None:
    """The data of an event, sealed; None where the event was erased from the key."""
    own = puncturing.derive(key, puncturing.leaf_of(event_id))
    if own is None:
        return None
    nonce = hmac.digest(hmac.digest(own, b"hookfold nonce", "sha256"), data, "sha256")[:_NONCE_BYTES]
    return nonce + AESGCM(own).encrypt(nonce, data, _bound_event(tenant, key_id, event_id))


def unseal(key: Punctured, tenant: str, key_id: str, event_id: str, sealed: bytes) -> bytes | None:
    """What was sealed; None where the event was erased from the key. Raises `Changed`."""
    own = puncturing.derive(key, puncturing.leaf_of(event_id))
    if own is None:
        return None
    nonce, text = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    try:
        return AESGCM(own).decrypt(nonce, text, _bound_event(tenant, key_id, event_id))
    except (InvalidTag, ValueError) as problem:
        raise Changed("the data was sealed for another event, or has been changed") from problem


def _bound(tenant: str, key_id: str) -> bytes:
    # No endpoint's id has a zero byte: a data key never opens as a secret, nor a secret as a data key.
    return f"data key\0{tenant}/{key_id}".encode()


def _bound_event(tenant: str, key_id: str, event_id: str) -> bytes:
    return f"{tenant}/{key_id}/{event_id}".encode()
