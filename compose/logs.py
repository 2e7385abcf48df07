"""One line a log entry, on standard error."""

from __future__ import annotations

import logging
import sys

QUIET = ("aiokafka", "kafka", "asyncio", "faust", "mode", "aiohttp")


def set_up(level: str) -> None:
    """Our own lines from `level` on; those of libraries from warnings on: they are many and seldom for an operator."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s.%(msecs)03d %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
