"""Whether a failed delivery is tried again, and when."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: A receiver may ask for this much patience; more counts as this much.
MAX_RETRY_AFTER_MS = 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class Retry:
    """The next attempt may start at `due_at_ms`."""

    due_at_ms: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No attempt is left."""

    attempts: int


def plan_retry(
    *,
    attempt: int,
    schedule_ms: Sequence[int],
    jitter: float,
    draw: float,
    now_ms: int,
    retry_after_ms: int | None = None,
) -> Retry | GiveUp:
    """What follows when attempt number `attempt` (from 1) has failed at `now_ms`.

    `schedule_ms[n-1]` is the wait after attempt n. `jitter` (0 to 1) is the share of a wait that `draw` (0 to 1) adds
    at the most; it never shortens one. `retry_after_ms`, the receiver's own wish, is a floor under the sum.
    """
    if attempt > len(schedule_ms):
        return GiveUp(attempt)
    wait_ms = schedule_ms[attempt - 1]
    wait_ms += int(wait_ms * _share(jitter) * _share(draw))
    if retry_after_ms is not None:
        wait_ms = max(wait_ms, min(retry_after_ms, MAX_RETRY_AFTER_MS))
    return Retry(now_ms + wait_ms)


def _share(value: float) -> float:
    return 0.0 if math.isnan(value) else min(1.0, max(0.0, value))
