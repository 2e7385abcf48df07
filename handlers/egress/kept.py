"""Connections that wait for the next request: of those to one place the last used goes first, and old ones go."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from handlers.egress.connection import KEEP_ALIVE_S, Receiving
from streams import metrics

#: Well below the 1,024 files that a process may often have open at most.
MAX_IDLE = 500
MAX_IDLE_PER_HOST = 100


class Line:
    """Those to one place, the longest kept first."""

    __slots__ = ("__weakref__", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Receiving] = deque()


class Kept:
    """Those of a process; one that its receiver has closed lingers until it is looked at."""

    def __init__(self, drop: Callable[[Receiving], None]) -> None:
        """`drop` closes a connection for good."""
        self._drop = drop
        #: The longest kept first.
        self._lines: dict[Receiving, Line] = {}
        self._timer: asyncio.TimerHandle | None = None

    def take(self, line: Line) -> Receiving | None:
        """One that a request can be written to at once; None where there is none."""
        while line.waiting:
            protocol = line.waiting.pop()
            del self._lines[protocol]
            if time.monotonic() - protocol.kept_s <= protocol.idle_s and protocol.takes_another():
                metrics.CONNECTIONS_REUSED.inc()
                return protocol
            metrics.CONNECTIONS_STALE.inc()
            self._drop(protocol)
        return None

    def keep(self, line: Line, protocol: Receiving) -> None:
        """It waits from here on, and one that has waited longest goes where they are too many."""
        protocol.kept_s = time.monotonic()
        line.waiting.append(protocol)
        self._lines[protocol] = line
        if len(line.waiting) > MAX_IDLE_PER_HOST:
            self._let_go(line.waiting[0])
        elif len(self._lines) > MAX_IDLE:
            self._let_go(next(iter(self._lines)))
        if self._timer is None:
            self._look_in(KEEP_ALIVE_S)

    def close(self) -> None:
        """Let go of all."""
        if self._timer is not None:
            self._timer.cancel()
        for protocol in list(self._lines):
            self._let_go(protocol)

    def _let_go(self, protocol: Receiving) -> None:
        """The longest kept of its line."""
        self._lines.pop(protocol).waiting.popleft()
        self._drop(protocol)

    def _look(self) -> None:
        self._timer = None
        now = time.monotonic()
        while self._lines:
            protocol = next(iter(self._lines))
            if (left_s := protocol.kept_s + KEEP_ALIVE_S - now) > 0:
                self._look_in(left_s)
                return
            self._let_go(protocol)

    def _look_in(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)
