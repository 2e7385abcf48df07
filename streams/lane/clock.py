"""The process's knowledge of Kafka's time: what every waiting and every time in a record goes by."""

from __future__ import annotations

import asyncio
import logging
import time

from streams.core.clock import NOTABLE_MS, Clock

logger = logging.getLogger(__name__)

#: Counts while the machine sleeps, where there is such a clock.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
#: Kafka stamped the record itself; any other time is its producer's word.
LOG_APPEND_TIME = 1
LAST_MS = 1.0


def steady_ms() -> float:
    """A clock that nobody sets."""
    return time.clock_gettime(_STEADY) * 1000


_clock = Clock(steady_ms(), time.time() * 1000)


def now_ms() -> int:
    """Kafka's time, ms since 1970."""
    return _clock.at(steady_ms())


async def reach(kafka_ms: int, at_most_ms: float) -> None:
    """Return when it is so late at Kafka, or after so long.

    Loops' timers count in milliseconds, which is more than most of this takes: the last of them is waited for in turns
    of the loop.
    """
    until_ms = steady_ms() + at_most_ms
    while True:
        at_ms = steady_ms()
        left_ms = min(_clock.left_ms(kafka_ms, at_ms), until_ms - at_ms)
        if left_ms <= 0:
            return
        await asyncio.sleep((left_ms - LAST_MS) / 1_000 if left_ms > 2 * LAST_MS else 0)


def appended(kafka_ms: int, timestamp_type: int | None, began_ms: float) -> None:
    """Kafka has just answered that it stamped a record with `kafka_ms`; it was sent at `began_ms` or later."""
    if timestamp_type == LOG_APPEND_TIME and kafka_ms > 0:
        _note(_clock.appended(kafka_ms, began_ms, steady_ms()))


def seen(kafka_ms: int, timestamp_type: int | None) -> None:
    """A record that Kafka stamped with `kafka_ms` has been read."""
    if timestamp_type == LOG_APPEND_TIME:
        _note(_clock.seen(kafka_ms, steady_ms()))


def _note(correction_ms: float) -> None:
    if abs(correction_ms) > NOTABLE_MS:
        logger.warning("clock.corrected by_ms=%d reason=Kafka's clock counts, and it differs", correction_ms)
