"""Retries that somebody has asked for: the same attempt must not be made twice."""

from __future__ import annotations

import time
import uuid
from typing import Any

from handlers.gateway.problems import Kind, Refusal
from schemas.results import Verdict

#: After so long, a retry whose result was never seen is no longer waited for.
FORGOTTEN_S = 900.0


class Retries:
    """Those that this gateway has begun and that have no end yet."""

    def __init__(self) -> None:
        self._begun: dict[tuple[str, str], tuple[str, float]] = {}

    def begin(self, tenant: str, delivery_id: str, results: list[dict[str, Any]]) -> str:
        """The id of a new one. Raises `Refusal` where the last one is not among the results with an end."""
        now = time.monotonic()
        for key, (_, at_s) in list(self._begun.items()):
            if now - at_s < FORGOTTEN_S:
                break
            del self._begun[key]
        known = self._begun.pop((tenant, delivery_id), None)
        ended = {one.get("replay_id") for one in results if one["verdict"] != Verdict.RETRYING}
        if known is not None and known[0] not in ended:
            self._begun[tenant, delivery_id] = known
            raise Refusal(Kind.CONFLICT, f"the retry {known[0]} is under way")
        replay_id = f"retry-{uuid.uuid4()}"
        self._begun[tenant, delivery_id] = (replay_id, now)
        return replay_id

    def forget(self, tenant: str, delivery_id: str) -> None:
        """It was not begun."""
        self._begun.pop((tenant, delivery_id), None)
