"""The pages of a process without pages of its own: alive, ready, and its counts."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from streams.lane.health import Health


class Pages:
    """Serves `/healthz`, `/readyz` and `/metrics` from `start` to `stop`."""

    def __init__(self, host: str, port: int) -> None:
        self._health = Health()
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None

    async def start(self, health: Health) -> None:
        """Show this health. Raises OSError where the port is taken."""
        self._health = health
        app = web.Application()
        add(app, lambda: self._health)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()

    async def stop(self) -> None:
        """Close the port."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()


def add(app: web.Application, health: Callable[[], Health]) -> None:
    """Add the pages to an application."""

    async def alive(_: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def ready(_: web.Request) -> web.Response:
        reasons = health().reasons()
        return web.json_response(
            {"status": "not ready", "reasons": reasons} if reasons else {"status": "ready"},
            status=503 if reasons else 200,
        )

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})

    app.add_routes([web.get("/healthz", alive), web.get("/readyz", ready), web.get("/metrics", metrics)])
