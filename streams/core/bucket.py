"""A token bucket that holds one second's worth, and at least one."""


class Bucket:
    """Full at first. The rate is told each time, since it may change; times are monotonic seconds."""

    def __init__(self) -> None:
        self._tokens = 0.0
        self._filled_at: float | None = None

    def wait_s(self, rate_per_s: float, now: float) -> float:
        """How long until there is a token; 0.0 where there is one."""
        room = max(1.0, rate_per_s)
        if self._filled_at is None:
            self._tokens, self._filled_at = room, now
        self._tokens = min(room, self._tokens + (now - self._filled_at) * rate_per_s)
        self._filled_at = now
        return 0.0 if self._tokens >= 1.0 else (1.0 - self._tokens) / rate_per_s

    def spend(self) -> None:
        """Take one."""
        self._tokens -= 1.0
