"""Cursors of lists: where the next page begins. They are opaque, and name nothing beyond the list they are of."""

import base64
import binascii
from typing import Any

import orjson

from handlers.gateway.problems import Kind, Refusal


def make(*place: Any) -> str:
    """A cursor."""
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode().rstrip("=")


def read(cursor: str, types: tuple[type, ...]) -> tuple[Any, ...]:
    """What was put into it. Raises `Refusal` for what is no cursor of such a list."""
    try:
        place = orjson.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, orjson.JSONDecodeError):
        place = None
    fits = isinstance(place, list) and len(place) == len(types)
    if not fits or not all(type(part) is kind for part, kind in zip(place, types, strict=True)):
        raise Refusal(Kind.INVALID, "cursor: is not one that a list has given")
    if any(isinstance(part, int) and not -(2**63) <= part < 2**63 for part in place):
        raise Refusal(Kind.INVALID, "cursor: is not one that a list has given")
    return tuple(place)
