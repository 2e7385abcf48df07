"""Where a waiting delivery waits, and when it moves on.

A tier is a topic whose records all wait the same time, so that each of its partitions is a queue of which only the
head matters. A long wait is a walk down the tiers.
"""

from collections.abc import Mapping

#: A tier may be this much longer than the wait that is left: 4.9 s is one hop of 5 s rather than five of 1 s.
SLACK_MS = 250

#: A record whose wait ends this soon after its tier's time is held until then, instead of hopping once more.
HOLD_MS = 500


def choose_tier(now_ms: int, due_at_ms: int, tiers_ms: Mapping[str, int]) -> str | None:
    """The tier to wait in: the longest that fits the wait that is left; None when nothing is left to wait for.

    `tiers_ms`: names and lengths, shortest first.
    """
    left_ms = due_at_ms - now_ms
    if left_ms <= 0:
        return None
    chosen = None
    for name, length_ms in tiers_ms.items():
        if chosen is None or length_ms <= left_ms + SLACK_MS:
            chosen = name
    return chosen


def release_at_ms(appended_at_ms: int, tier_ms: int, due_at_ms: int, *, shortest: bool = False) -> int:
    """When a record leaves a tier, ms since 1970; it is due then, or has more to wait.

    `appended_at_ms` is its time in the log. Nobody stays longer than `tier_ms + HOLD_MS`, in the shortest tier not
    longer than `tier_ms`, so that those who wait behind are late by at most a second, whatever their own wait.
    """
    over_at_ms = appended_at_ms + tier_ms
    if due_at_ms <= over_at_ms:
        # The wait is shorter than the tier (it was the shortest, or within the slack): its own time counts.
        return max(due_at_ms, appended_at_ms)
    if due_at_ms - over_at_ms < HOLD_MS and not shortest:
        return due_at_ms
    return over_at_ms
