"""Kafka's clock, as far as a process can know it: from its own steady clock and the times that Kafka tells."""

#: A correction by more than this is worth a line in the log.
NOTABLE_MS = 5_000


class Clock:
    """Kafka's time is `steady_ms + offset`; what is learned moves the offset no further than it has to.

    Hosts' clocks differ and jump. A retry's time is set by one process and awaited by another, so that both go by the
    clock that stamps the records. Within what is known it is behind rather than ahead: never early.
    """

    def __init__(self, steady_ms: float, wall_ms: float) -> None:
        """Until something is learned, this host's wall clock counts."""
        self._offset_ms = wall_ms - steady_ms
        self._learned = False

    def at(self, steady_ms: float) -> int:
        """Kafka's time, ms since 1970."""
        return int(steady_ms + self._offset_ms)

    def left_ms(self, kafka_ms: int, steady_ms: float) -> float:
        """How long until it is so late at Kafka, with its fraction; less than 0 where it has been."""
        return kafka_ms - steady_ms - self._offset_ms

    def appended(self, kafka_ms: int, after_ms: float, before_ms: float) -> float:
        """Kafka stamped a record with `kafka_ms` between two moments of the steady clock. The correction in ms."""
        return self._bound(kafka_ms - before_ms, kafka_ms - after_ms)

    def seen(self, kafka_ms: int, steady_ms: float) -> float:
        """A record of `kafka_ms` has been read: it is at least that late. The correction in ms."""
        return self._bound(kafka_ms - steady_ms, None)

    def _bound(self, least_ms: float, most_ms: float | None) -> float:
        before = self._offset_ms
        if not self._learned and most_ms is not None:
            # The wall clock was a guess.
            self._learned, self._offset_ms = True, least_ms
        elif self._offset_ms < least_ms:
            self._offset_ms = least_ms
        elif most_ms is not None and self._offset_ms > most_ms:
            self._offset_ms = most_ms
        return self._offset_ms - before
