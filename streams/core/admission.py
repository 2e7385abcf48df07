"""Whether a delivery may wait in memory for its endpoint, or is put off to a retry topic."""

from collections.abc import Iterable
from typing import NamedTuple

#: What cannot start within this time is deferred, so that the partition moves on.
MAX_WAIT_MS = 8_000
MIN_DEFERRAL_MS = 5_000
#: What is deferred is back so much sooner than its turn, or an endpoint with a rate would stand idle until it is.
EARLY_MS = 3_000
#: A queue at its bound that is empty so soon is worth waiting for: a partition waits less than what is deferred costs.
QUICK_MS = 500
MAX_DEFERRAL_MS = 300_000
#: What is owed to an endpoint that is away is looked at again after this share of the time that it has been away. If it
#: were every few seconds, what waits would soon cost more than what can be delivered.
AWAY_SHARE = 0.5
#: A deferral may be so much shorter or longer than it ought to be.
FACTOR = 3.0
#: How many attempts at a time an endpoint gets before it has answered once.
FIRST_WINDOW = 2.0


def next_window(window: float, limit: int, *, failed: bool) -> float:
    """How many attempts at a time an endpoint gets after one has ended: one more, or half as many.

    So an endpoint that hangs takes few of the process's places, and one that answers has all of its own soon (additive
    increase, multiplicative decrease).
    """
    return max(1.0, window / 2) if failed else min(float(limit), window + 1)


class Load(NamedTuple):
    """An endpoint as it is now.

    `queued`: deliveries before this one; `service_ms`: how long an attempt takes, at least as long as the oldest one in
    flight already does; `limit`: attempts at a time; `rate_per_s`: its own limit, if any; `away_ms`: since when it has
    taken nothing that it was sent, 0 where the last attempt found it.
    """

    queued: int
    service_ms: float
    limit: int
    rate_per_s: float | None = None
    away_ms: float = 0.0


def expected_wait_ms(load: Load) -> float:
    """How long a delivery that comes now would wait for its turn."""
    wait_ms = load.queued * load.service_ms / load.limit
    if load.rate_per_s is not None:
        wait_ms = max(wait_ms, (load.queued - load.rate_per_s) * 1_000 / load.rate_per_s)
    return max(0.0, wait_ms)


def may_wait(load: Load) -> bool:
    """True when it would start soon enough."""
    return expected_wait_ms(load) <= MAX_WAIT_MS


def is_quick(load: Load) -> bool:
    """True when all that waits will have started in a moment."""
    return expected_wait_ms(load) <= QUICK_MS


def deferral_ms(load: Load) -> int:
    """For how long to put it off: a little less than it would wait, longer the longer its endpoint has been away."""
    wait_ms = max(MIN_DEFERRAL_MS, expected_wait_ms(load) - EARLY_MS, load.away_ms * AWAY_SHARE)
    return int(min(MAX_DEFERRAL_MS, wait_ms))


def on_tiers(deferral_ms: int, tiers_ms: Iterable[int]) -> int:
    """The tier that is nearest, where one is about as long: a deferral of exactly one tier is one move.

    Two tiers of 30 s would often be one of them and five of 5 s: the way to the log takes of the second one's time.
    """
    factor, chosen = min((max(ms / deferral_ms, deferral_ms / ms), ms) for ms in tiers_ms)
    return chosen if factor < FACTOR else deferral_ms
