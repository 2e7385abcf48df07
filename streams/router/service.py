"""The router as a process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import faust

from schemas.settings import RouterSettings
from streams import metrics, provisioning
from streams.erasure.view import DataKeys
from streams.lane.bounded import within
from streams.lane.follower import Follower
from streams.lane.group import Stalled
from streams.lane.health import Health
from streams.lane.log import Log
from streams.router import private
from streams.router.app import make_app
from streams.router.feed import APART_S
from streams.router.lanes import Lanes

STOP_TIMEOUT_S = 5.0


class Crashed(Exception):
    """Faust has given up."""


async def serve(
    settings: RouterSettings, health: Health, stop: asyncio.Event, give_way: Callable[[], Awaitable[None]]
) -> None:
    """Join until `stop` is set. `give_way` frees the port for Faust's web server.

    Raises `WrongTopics`, `Stalled` or `Crashed`.
    """
    await provisioning.wait_for_topics(settings, stop)
    if stop.is_set():
        return
    log, follower = Log(settings), Follower(settings)
    await log.start()
    await follower.start()
    keys = DataKeys(settings, log, seals=settings.seal_payloads)
    lanes = Lanes(settings, health, log, follower, keys)
    metrics.LANES.set_function(lambda: len(lanes.keepers()))
    metrics.ENDPOINTS.set_function(lambda: sum(map(len, lanes.keepers().values())))
    health.unready("rebalance", "waiting for partitions")
    app = make_app(settings, health, lanes)
    await give_way()
    loop = asyncio.get_running_loop()
    # Faust's start returns only when it has joined, which may never be.
    starting = loop.create_task(app.start())
    listening = loop.create_task(log.listen(health))
    stopping = loop.create_task(stop.wait())
    try:
        while not stop.is_set():
            if starting.done():
                starting.result()
                health.ready("start")
            if (apart_s := health.apart_s()) * 1000 > settings.stall_exit_ms:
                raise Stalled(f"no part in the group for {apart_s:.0f} s although Kafka answers")
            follower.check()
            still_s = lanes.tick(asyncio.get_running_loop().time())
            if still_s * 1000 > settings.stall_exit_ms:
                raise Stalled(f"a lane has had work and moved nothing for {still_s:.0f} s")
            if listening.done():
                listening.result()
            if app.should_stop:
                raise Crashed(f"Faust has stopped: {app.crash_reason!r}")
            await asyncio.wait(
                [stopping, *([] if starting.done() else [starting])],
                timeout=APART_S if lanes.apart else 1.0,
                return_when=asyncio.FIRST_COMPLETED,
            )
    finally:
        for task in (listening, stopping):
            task.cancel()
        await lanes.close(list(lanes.open))
        private.leave_when_stopped(app)
        await _stop(app, starting)
        await keys.stop()
        await follower.stop()
        await log.stop()


async def _stop(app: faust.App, starting: asyncio.Task[None]) -> None:
    """Faust's own stop may wait for a broker that is away; what matters has been committed before."""
    if not starting.done():
        starting.cancel()
        await asyncio.wait([starting], timeout=1.0)
    with contextlib.suppress(TimeoutError):
        await within(STOP_TIMEOUT_S, app.stop())
