"""A breaker: whether a receiver that does not take what it is sent gets anything just now."""

from dataclasses import dataclass
from enum import Enum, auto

#: Opens after so many attempts in a row that nobody answered.
OPEN_AFTER = 5
FIRST_OPEN_S = 5.0
MAX_OPEN_S = 300.0


class Ending(Enum):
    """How an attempt ended: the receiver took it; answered that it failed, or that it is busy; or did not answer."""

    ACCEPTED = auto()
    FAILED = auto()
    BUSY = auto()
    UNAVAILABLE = auto()

    @property
    def slows_down(self) -> bool:
        """True where the receiver gets less at a time from now on."""
        return self in (Ending.BUSY, Ending.UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class Report:
    """The end of an attempt. `pause_ms`: for how long the receiver asks to be left alone."""

    ending: Ending
    pause_ms: int | None = None


class Breaker:
    """Closed at first. Open, nothing starts until a time; from then on one attempt, which decides.

    Times are monotonic seconds.
    """

    def __init__(self) -> None:
        self.failures = 0
        self._openings = 0
        self._until: float | None = None

    @property
    def is_closed(self) -> bool:
        """True while nothing is known against the receiver."""
        return self._until is None

    def wait_s(self, now: float) -> float:
        """How long until an attempt may start; 0.0 where it may now."""
        return 0.0 if self._until is None else max(0.0, self._until - now)

    def end(self, report: Report, now: float, *, counts: bool = True) -> None:
        """An attempt has ended; one that began before the breaker opened may still close it, but not prolong it.

        `counts` False: it opens no breaker that is closed.
        """
        if self._until is None and not counts:
            return
        if report.ending is not Ending.UNAVAILABLE:
            self.failures = self._openings = 0
            self._until = now + min(MAX_OPEN_S, report.pause_ms / 1_000) if report.pause_ms else None
            return
        self.failures += 1
        if self._until is not None and now < self._until:
            return
        if self._until is not None or self.failures >= OPEN_AFTER:
            self._until = now + min(MAX_OPEN_S, FIRST_OPEN_S * 2 ** min(self._openings, 10))
            self._openings += 1
