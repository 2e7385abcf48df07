"""Batches: which deliveries go together, under which id, and what their receiver says of each."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace

import orjson

from handlers.wire.outcome import Outcome
from handlers.wire.request import Envelope
from schemas.deliveries import Delivery
from schemas.results import ErrorKind

_BATCH_IDS = uuid.UUID("0d0c6a0e-3f0f-5a55-8a71-6f1c9b1c5c42")
MAX_ERROR = 200
TOO_LARGE = 413
ITEM = "the receiver failed this item"


def envelope(deliveries: Sequence[Delivery]) -> Envelope:
    """What a batch says of itself: an id that is the same while its items and their attempts are."""
    named = "\0".join(f"{one.delivery_id}:{one.attempt}:{one.replay_id or ''}" for one in deliveries)
    replays = {one.replay_id for one in deliveries}
    return Envelope(
        str(uuid.uuid5(_BATCH_IDS, named)),
        max(one.attempt for one in deliveries),
        replays.pop() if len(replays) == 1 else None,
    )


def outcomes(deliveries: Sequence[Delivery], outcome: Outcome, body: bytes) -> list[Outcome]:
    """The outcome of each item. A 2xx accepts all but those that its body names in `failed`."""
    # What a receiver says of sealed data may say it again, and that is not to stand in the log, whatever it is said of.
    sealed = any(one.sealed_with is not None for one in deliveries)
    if sealed:
        outcome = replace(outcome, response_excerpt=None)
    if not outcome.accepted:
        return [outcome] * len(deliveries)
    failed = _failed(body)
    return [
        replace(outcome, error_kind=ErrorKind.STATUS, error=ITEM if sealed else failed[one.delivery_id])
        if one.delivery_id in failed
        else outcome
        for one in deliveries
    ]


def _failed(body: bytes) -> dict[str, str]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    listed = answer.get("failed") if isinstance(answer, dict) else None
    if not isinstance(listed, list):
        return {}
    found = {}
    for one in listed:
        if isinstance(one, dict) and isinstance(one.get("id"), str):
            said = one.get("error")
            line = (
                " ".join("".join(c if c.isprintable() else " " for c in said).split()) if isinstance(said, str) else ""
            )
            found[one["id"]] = f"{ITEM}: {line[:MAX_ERROR]}" if line else ITEM
    return found
