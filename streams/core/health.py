"""An endpoint's health, and what is to be said of it: failing, recovered, and given up in the end."""

from enum import StrEnum

#: `endpoint.failing` is said of one endpoint at most this often.
MIN_INTERVAL_MS = 60_000


class Said(StrEnum):
    """What the egress says of an endpoint; the values are types of changes."""

    FAILING = "endpoint.failing"
    RECOVERED = "endpoint.recovered"
    DISABLED = "endpoint.disabled"


class Health:
    """What this process knows besides the endpoint's record: what it has said itself, and is not there yet."""

    def __init__(self) -> None:
        self._streak_since_ms: int | None = None
        self._said: Said | None = None
        self._failing_said_ms: int | None = None

    def note(
        self, began_ms: int, now_ms: int, known_since_ms: int | None, give_up_ms: int, *, accepted: bool
    ) -> tuple[Said, int] | None:
        """What is to be said after an attempt, and since when; None: nothing.

        `began_ms`: when it began; `known_since_ms`: since when the record says that the endpoint fails; `give_up_ms`:
        after so long without one that was accepted it is disabled, 0 is never.
        """
        failing = self._said is Said.FAILING if self._said is not None else known_since_ms is not None
        if accepted:
            self._streak_since_ms = None
            if not failing:
                return None
            self._said = Said.RECOVERED
            return Said.RECOVERED, began_ms
        if self._streak_since_ms is None:
            self._streak_since_ms = known_since_ms if failing and known_since_ms is not None else began_ms
        since_ms = self._streak_since_ms
        if give_up_ms and now_ms - since_ms >= give_up_ms:
            return Said.DISABLED, since_ms
        if failing or (self._failing_said_ms is not None and now_ms - self._failing_said_ms < MIN_INTERVAL_MS):
            return None
        self._said, self._failing_said_ms = Said.FAILING, now_ms
        return Said.FAILING, since_ms
