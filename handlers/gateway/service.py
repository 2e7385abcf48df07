"""The gateway as a process. Its port answers from the start; what needs Kafka waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
from pathlib import Path

from aiohttp import web
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from handlers import pages
from handlers.gateway import app
from handlers.gateway.context import SEND_TIMEOUT_S, Context
from handlers.gateway.follower import Follower
from handlers.gateway.views import Views
from schemas.settings import GatewaySettings
from streams import provisioning
from streams.erasure.view import DataKeys
from streams.lane import connections
from streams.lane.health import Health
from streams.lane.log import Log
from streams.lane.offset_fetch import NotTold

logger = logging.getLogger(__name__)

AGAIN_S = 1.0
#: Of a request line or header: a longer one is refused before it is a request, without a problem's type.
MAX_LINE = 65_536
#: aiohttp would log what it cannot read, which may be somebody's token.
_QUIET = logging.getLogger("hookfold.unread")
_QUIET.disabled = True


class Gateway:
    """The port and what stands behind it."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._runner: web.AppRunner | None = None
        self._lock: int | None = None
        self._views: Views | None = None
        self._context: Context | None = None

    async def start(self, health: Health) -> None:
        """Open the views and the port. Raises OSError where either belongs to another process."""
        settings = self._settings
        path = (
            settings.data_dir / f"gateway-{settings.prefix.strip('.') or 'hookfold'}{_dashed(settings.instance)}.sqlite"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(path.with_suffix(".lock"))
        self._views = Views(path, settings.prefix)
        health.unready("view", "waiting for Kafka")
        self._context = Context(settings, self._views, health)
        application = app.make(self._context)
        pages.add(application, lambda: health)
        self._runner = web.AppRunner(
            application, access_log=None, logger=_QUIET, max_line_size=MAX_LINE, max_field_size=MAX_LINE
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, settings.bind, settings.gateway_port).start()

    async def stop(self) -> None:
        """Close the port, when the calls under way have been answered."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        if self._views is not None:
            self._views.close()
        if self._lock is not None:
            os.close(self._lock)

    async def serve(self, health: Health, stop: asyncio.Event) -> None:
        """Follow the log and take writes until `stop` is set. Raises `WrongTopics`."""
        await provisioning.wait_for_topics(self._settings, stop)
        while not stop.is_set():
            try:
                await self._follow(health, stop)
            except (TimeoutError, KafkaError, NotTold, OSError) as problem:
                logger.warning("gateway.waits reason=%r", problem)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), AGAIN_S)

    async def _follow(self, health: Health, stop: asyncio.Event) -> None:
        assert self._context is not None
        assert self._views is not None
        context, log = self._context, Log(self._settings)
        producer = AIOKafkaProducer(
            **connections.security(self._settings),
            # An idempotent producer never gives up; a caller has to be told. Events have ids, and changes are settled.
            enable_idempotence=False,
            acks="all",
            request_timeout_ms=int(SEND_TIMEOUT_S * 1000) - 1_000,
            max_request_size=connections.MAX_REQUEST_BYTES,
            retry_backoff_ms=50,
            linger_ms=0,
        )
        follower = Follower(self._settings, self._views, log, health)
        keys = DataKeys(self._settings, log, seals=self._settings.seal_payloads)
        tasks: list[asyncio.Task[None]] = []
        loop = asyncio.get_running_loop()
        try:
            await log.start()
            await producer.start()
            health.kafka_answered()
            context.connect(producer, follower, log, keys)
            tasks = [loop.create_task(follower.run()), loop.create_task(log.listen(health))]
            health.ready("start")
            stopping = loop.create_task(stop.wait())
            done, _ = await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            context.disconnect()
            await connections.disconnect(producer)
            await keys.stop()
            await log.stop()
            follower.close()


def _dashed(instance: str | None) -> str:
    return f"-{instance}" if instance else ""


def _locked(path: Path) -> int:
    """The file, locked for this process. Raises OSError where another has it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise OSError(f"{path} belongs to another gateway; give each its own HOOKFOLD_INSTANCE") from None
    return handle
