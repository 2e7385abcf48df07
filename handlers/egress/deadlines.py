"""Deadlines of requests: one timer for all that have equally long, since almost all of them are over before it."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Protocol

logger = logging.getLogger(__name__)


class Bounded(Protocol):
    """Something that has a deadline."""

    def late(self) -> None:
        """It is over."""


class Deadlines:
    """Those that are not over yet, by how long they have, each line in the order of its ends."""

    def __init__(self) -> None:
        self._lines: dict[int, dict[Bounded, float]] = {}

    def add(self, one: Bounded, timeout_ms: int) -> None:
        """It has so long from now on."""
        line = self._lines.get(timeout_ms)
        if line is None:
            line = self._lines[timeout_ms] = {}
            self._look_in(timeout_ms / 1_000, timeout_ms)
        line[one] = time.monotonic() + timeout_ms / 1_000

    def remove(self, one: Bounded, timeout_ms: int) -> None:
        """It has ended; once more does nothing."""
        line = self._lines.get(timeout_ms)
        if line is not None:
            line.pop(one, None)

    def _look(self, timeout_ms: int) -> None:
        line = self._lines[timeout_ms]
        while line:
            one, due = next(iter(line.items()))
            if (left_s := due - time.monotonic()) > 0:
                self._look_in(left_s, timeout_ms)
                return
            del line[one]
            try:
                one.late()
            except Exception:  # the others have their deadlines nevertheless
                logger.exception("deadline.faulted")
        del self._lines[timeout_ms]

    def _look_in(self, seconds: float, timeout_ms: int) -> None:
        asyncio.get_running_loop().call_later(seconds, self._look, timeout_ms)
