"""A token bucket that holds one second's worth, and at least one."""


class Bucket:
    """Full at first. The rate is told each time, since it may change; times are monotonic seconds."""

    def __init__(self) -> None:
        self._tokens = 0.0
        self._filled_at: float | None = None

    def wait_s(self, rate_per_s: float, now: float, wanted: float = 1.0) -> float:
        """How long until there are so many tokens, at most those that it holds; 0.0 where there are."""
        room = max(1.0, rate_per_s)
        if self._filled_at is None:
            self._tokens, self._filled_at = room, now
        self._tokens = min(room, self._tokens + (now - self._filled_at) * rate_per_s)
        self._filled_at = now
        missing = min(wanted, room) - self._tokens
        return max(0.0, missing) / rate_per_s

    @property
    def tokens(self) -> float:
        """Those that are there, as of the last question."""
        return self._tokens

    def spend(self, count: int = 1) -> None:
        """Take some."""
        self._tokens -= count
