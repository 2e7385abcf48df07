"""Whether a delivery may wait in memory for its endpoint, or is put off to a retry topic."""

from dataclasses import dataclass

#: What cannot start within this time is deferred, so that the partition moves on.
MAX_WAIT_MS = 5_000
MIN_DEFERRAL_MS = 5_000
MAX_DEFERRAL_MS = 300_000
#: A deferral doubles with so many failures in a row.
FAILURES_A_STEP = 10
#: How many attempts at a time an endpoint gets before it has answered once.
FIRST_WINDOW = 2.0


def next_window(window: float, limit: int, *, failed: bool) -> float:
    """How many attempts at a time an endpoint gets after one has ended: one more, or half as many.

    So an endpoint that hangs takes few of the process's places, and one that answers has all of its own soon (additive
    increase, multiplicative decrease).
    """
    return max(1.0, window / 2) if failed else min(float(limit), window + 1)


@dataclass(frozen=True, slots=True)
class Load:
    """An endpoint as it is now.

    `queued`: deliveries before this one; `service_ms`: how long an attempt takes, at least as long as the oldest one in
    flight already does; `limit`: attempts at a time; `rate_per_s`: its own limit, if any; `failures`: attempts that
    failed in a row.
    """

    queued: int
    service_ms: float
    limit: int
    rate_per_s: float | None = None
    failures: int = 0


def expected_wait_ms(load: Load) -> float:
    """How long a delivery that comes now would wait for its turn."""
    wait_ms = load.queued * load.service_ms / load.limit
    if load.rate_per_s is not None:
        wait_ms = max(wait_ms, (load.queued - load.rate_per_s) * 1_000 / load.rate_per_s)
    return max(0.0, wait_ms)


def may_wait(load: Load) -> bool:
    """True when it would start soon enough."""
    return expected_wait_ms(load) <= MAX_WAIT_MS


def deferral_ms(load: Load) -> int:
    """For how long to put it off: as long as it would wait, and longer with every failure in a row."""
    backoff_ms = MIN_DEFERRAL_MS * 2 ** min(load.failures // FAILURES_A_STEP, 10)
    return int(min(MAX_DEFERRAL_MS, max(MIN_DEFERRAL_MS, expected_wait_ms(load), backoff_ms)))
