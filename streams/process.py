"""A process from its start to its exit status: signals, the ready line, and one clear line for every end."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from typing import Protocol

from streams.lane.health import Health

logger = logging.getLogger(__name__)

#: Exit status of a process that another start may help; a supervisor starts it again.
EXIT_FAILED = 70
EXIT_WRONG = 2


class Pages(Protocol):
    """What answers while the process lives."""

    async def start(self) -> None:
        """Raises OSError where the port is taken."""

    async def stop(self) -> None:
        """Close the port."""


def run(
    name: str,
    serve: Callable[[Health, asyncio.Event], Awaitable[None]],
    make_pages: Callable[[Health], Pages],
    wrong: type[Exception],
) -> int:
    """Run `serve` until SIGTERM or SIGINT; the exit status. `wrong`: what only an operator can put right."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(_run(name, serve, make_pages, wrong))
    return uvloop.run(_run(name, serve, make_pages, wrong))


async def _run(
    name: str,
    serve: Callable[[Health, asyncio.Event], Awaitable[None]],
    make_pages: Callable[[Health], Pages],
    wrong: type[Exception],
) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    health = Health()
    pages = make_pages(health)
    try:
        await pages.start()
    except OSError as problem:
        logger.error("%s.stopped reason=%s", name, problem)
        return EXIT_WRONG
    announcing = loop.create_task(_announce(name, health))
    try:
        await serve(health, stop)
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
