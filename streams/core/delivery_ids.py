"""The id of a delivery: the same whenever it is worked out (UUID version 5, RFC 9562, section 5.5)."""

import hashlib
import uuid

_NAMESPACE = uuid.UUID("5f0c7c5e-6a0b-5b52-9f6c-3d1f0d2b7e11").bytes
#: The hexadecimal digit that stands for the two bits of the variant and the two lower ones of what was hashed.
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def front(tenant: str, endpoint_id: str) -> bytes:
    """What all deliveries to an endpoint have in common."""
    return _NAMESPACE + f"{tenant}\0{endpoint_id}\0".encode()


def of(common: bytes, event_id: bytes) -> str:
    """The id of one of these, of the event that is so called in UTF-8."""
    digest = hashlib.sha1(common + event_id, usedforsecurity=False).hexdigest()
    variant = _VARIANT[digest[16]]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"
