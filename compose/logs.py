"""One line a log entry, on standard error."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable

QUIET = ("aiokafka", "kafka", "asyncio", "faust", "mode", "aiohttp")
REPEAT_S = 10.0


class Repeats(logging.Filter):
    """Lets a library's message through once in `REPEAT_S`, and says then how often it came in between.

    While Kafka is away aiokafka has some 250 lines a second to say about it, always the same four.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter.filter`."""
        if record.name.partition(".")[0] not in QUIET or record.levelno >= logging.CRITICAL:
            return True
        message, now = (record.name, str(record.msg)), self._clock()
        said_at, left_out = self._said.get(message, (float("-inf"), 0))
        if now - said_at < REPEAT_S:
            self._said[message] = (said_at, left_out + 1)
            return False
        self._said[message] = (now, 0)
        if left_out:
            record.msg, record.args = f"{record.getMessage()} (and {left_out} more like it)", None
        return True


def set_up(level: str, name: str | None = None) -> None:
    """Our own lines from `level` on; those of libraries from warnings on: they are many and seldom for an operator.

    `name`: of this process among its like, in each of its lines, for several may write to one place.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Repeats())
    who = "" if name is None else name.replace("%", "%%") + " "
    handler.setFormatter(
        logging.Formatter(f"%(asctime)s.%(msecs)03d %(levelname)-7s {who}%(message)s", "%Y-%m-%dT%H:%M:%S")
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
