"""The delayer as a process."""

from __future__ import annotations

import asyncio

from schemas import topics
from schemas.settings import DelayerSettings
from streams import provisioning
from streams.delayer.work import DelayerWork
from streams.lane.group import LaneGroup
from streams.lane.health import Health

SERVICE = "delayer"

#: A chunk: what one tier of one partition may hold in memory.
FETCH_BYTES = 262_144
POLL_RECORDS = 500


async def serve(settings: DelayerSettings, health: Health, stop: asyncio.Event) -> None:
    """Move waiting deliveries on until `stop` is set. Raises `WrongTopics` or `Stalled`."""
    await provisioning.wait_for_topics(settings, stop)
    if stop.is_set():
        return
    group = LaneGroup(
        settings,
        SERVICE,
        [topics.RETRIES + name for name in settings.tiers_ms],
        lambda _: DelayerWork(settings),
        health,
        fetch_bytes=FETCH_BYTES,
        poll_records=POLL_RECORDS,
    )
    await group.run(stop)
