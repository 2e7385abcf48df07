"""The router's pages beside Faust's own: alive, ready, counts, lag, and the endpoints it owns."""

from __future__ import annotations

import asyncio
from typing import Any

import faust
from faust.web import Request, Response, View
from prometheus_client import generate_latest

from schemas.settings import RouterSettings
from streams.lane.health import Health
from streams.router.lanes import Lanes

ENDS_TIMEOUT_S = 3.0


def add(app: faust.App, settings: RouterSettings, health: Health, lanes: Lanes) -> None:
    """Add the pages to the app."""

    @app.page("/healthz")
    async def alive(self: View, request: Request) -> Response:
        return self.json({"status": "alive"})

    @app.page("/readyz")
    async def ready(self: View, request: Request) -> Response:
        reasons = health.reasons()
        if reasons:
            return self.json({"status": "not ready", "reasons": reasons}, status=503)
        return self.json({"status": "ready"})

    @app.page("/metrics")
    async def metrics(self: View, request: Request) -> Response:
        return self.text(generate_latest().decode(), content_type="text/plain")

    @app.page("/stats/")
    async def stats(self: View, request: Request) -> Response:
        return self.json({f"Sensor{number}": sensor.asdict() for number, sensor in enumerate(app.sensors)})

    @app.page("/lag/")
    async def lag(self: View, request: Request) -> Response:
        return self.json({"partitions": await _lags(lanes)})

    @app.page("/endpoints/{tenant}/{endpoint_id}/")
    async def endpoint(self: View, request: Request, tenant: str, endpoint_id: str) -> Response:
        try:
            table: Any = app.tables["endpoints"]
            return self.json(table[f"{tenant}/{endpoint_id}"])
        except KeyError:
            return self.json({"error": "not an endpoint of this process's partitions"}, status=404)


async def _lags(lanes: Lanes) -> list[dict[str, Any]]:
    """For each owned partition how far its events and changes are, and how far they reach."""
    try:
        async with asyncio.timeout(ENDS_TIMEOUT_S):
            return [await work.lag(lane.open) for lane, work in list(lanes.open.values())]
    except TimeoutError:
        return [{"error": "Kafka does not say where the topics end"}]
