"""A process from its start to its exit status: signals, the ready line, and one clear line for every end."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from streams.lane.health import Health

logger = logging.getLogger(__name__)

#: Exit status of a process that another start may help; a supervisor starts it again.
EXIT_FAILED = 70
EXIT_WRONG = 2
#: What the end may take beside the drain time.
LEAVE_TIMEOUT_S = 4.0
#: A batch is thousands of objects without a cycle among them. At Python's own 700, looking for cycles takes a third of
#: the time in which events are judged.
COLLECT_AFTER = (20_000, 20, 20)


#: What a process does until the event is set, and the health that it keeps.
Serve = Callable[[Health, asyncio.Event], Coroutine[Any, Any, None]]


class Pages(Protocol):
    """What answers while the process lives."""

    async def start(self, health: Health) -> None:
        """Show this health. Raises OSError where the port is taken."""

    async def stop(self) -> None:
        """Close the port."""


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run a process on the fastest event loop there is; its exit status."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


async def main(
    name: str,
    serve: Serve,
    pages: Pages,
    wrong: type[Exception] | tuple[type[Exception], ...],
    drain_s: float,
) -> int:
    """Run `serve` until SIGTERM or SIGINT; the exit status. `wrong`: what only an operator can put right.

    Soon after `drain_s` from the signal the process ends, whatever still waits.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    health = Health()
    try:
        await pages.start(health)
    except OSError as problem:
        logger.error("%s.stopped reason=%s", name, problem)
        return EXIT_WRONG
    gc.freeze()  # what is there now stays
    gc.set_threshold(*COLLECT_AFTER)
    announcing = loop.create_task(_announce(name, health))
    serving = loop.create_task(serve(health, stop))
    try:
        await asyncio.wait([serving, loop.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
        done, _ = await asyncio.wait([serving], timeout=drain_s + LEAVE_TIMEOUT_S)
        if not done:
            # What was done is committed or will be done again; a broker that is away must not keep us.
            logger.warning("%s.stopped reason=it could not take leave of Kafka in time", name)
            logging.shutdown()
            os._exit(0)
        await serving
    except wrong as problem:
        logger.error("%s.stopped reason=%s", name, problem)
        return EXIT_WRONG
    except Exception as problem:
        logger.error("%s.stopped reason=%r", name, problem, exc_info=logger.isEnabledFor(logging.DEBUG))
        return EXIT_FAILED
    finally:
        announcing.cancel()
        await pages.stop()
    logger.info("%s.stopped", name)
    return 0


async def _announce(name: str, health: Health) -> None:
    said: bool | None = None
    while True:
        reasons = health.reasons()
        if (not reasons) is not said:
            said = not reasons
            if said:
                logger.info("%s.ready", name)
            else:
                logger.info("%s.waiting reasons=%s", name, "; ".join(reasons.values()))
        await asyncio.sleep(0.1)
