"""What a process knows of its own condition; `/readyz` says it, the watchdog acts on it."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Kafka that has not answered for so long makes a process unready.
KAFKA_SILENCE_S = 15.0


class Health:
    """Named conditions that keep a process from being ready, each with its reason."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reasons: dict[str, str] = {"start": "starting"}
        self._kafka_answered = clock()
        self._apart_since: float | None = None

    def unready(self, condition: str, reason: str) -> None:
        """Note why the process cannot do all of its work."""
        self._reasons[condition] = reason

    def ready(self, condition: str) -> None:
        """The condition is over."""
        self._reasons.pop(condition, None)

    def kafka_answered(self) -> None:
        """Kafka is there."""
        self._kafka_answered = self._clock()

    @property
    def kafka_silent_s(self) -> float:
        """Seconds since Kafka last answered."""
        return self._clock() - self._kafka_answered

    def apart_s(self) -> float:
        """Seconds for which the process has not been part of its group although Kafka answers. Ask now and then.

        Joining takes a moment; a client whose coordination has died in silence stays apart for ever.
        """
        if self.kafka_silent_s > KAFKA_SILENCE_S or not self._reasons.keys() & {"start", "rebalance"}:
            self._apart_since = None
            return 0.0
        if self._apart_since is None:
            self._apart_since = self._clock()
        return self._clock() - self._apart_since

    def reasons(self) -> dict[str, str]:
        """Why the process is not ready, by condition; empty when it is."""
        reasons = dict(self._reasons)
        if self.kafka_silent_s > KAFKA_SILENCE_S:
            reasons["kafka"] = f"Kafka has not answered for {self.kafka_silent_s:.0f} s"
        return reasons
