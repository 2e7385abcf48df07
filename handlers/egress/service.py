"""The egress as a process: the view, the client, the dispatcher and the lanes, put together."""

from __future__ import annotations

import asyncio

from aiokafka.structs import TopicPartition

from handlers.egress.attempt import Attempts
from handlers.egress.client import Client
from handlers.egress.dispatching import Dispatcher
from handlers.egress.turns import Turns
from handlers.egress.view import EndpointView
from handlers.egress.work import EgressWork
from schemas import topics
from schemas.settings import EgressSettings
from streams import metrics, provisioning
from streams.erasure.view import DataKeys
from streams.lane.group import LaneGroup
from streams.lane.health import Health
from streams.lane.log import Log

SERVICE = "egress"
#: Nobody waits for a result as for a delivery: results of a moment share a transaction.
LINGER_MS = 100


async def serve(settings: EgressSettings, health: Health, stop: asyncio.Event) -> None:
    """Deliver until `stop` is set. Raises `WrongTopics` or `Stalled`."""
    await provisioning.wait_for_topics(settings, stop)
    if stop.is_set():
        return
    log = Log(settings)
    view = EndpointView(settings, log)
    keys = DataKeys(settings, log)
    metrics.ENDPOINTS.set_function(lambda: len(view))
    await log.start()
    try:
        health.unready("view", "the endpoints are being read")
        await view.start()
        health.ready("view")
        async with Client(settings) as client:
            attempts = Attempts(settings, client, view, keys)
            dispatcher = Dispatcher(settings, attempts.begin, attempts.begun)
            sweeping = asyncio.get_running_loop().create_task(dispatcher.sweep())
            group = LaneGroup(
                settings,
                SERVICE,
                (topics.DELIVERIES, topics.DELIVERIES_DUE),
                lambda number: EgressWork(
                    settings, dispatcher, view, Turns(log, TopicPartition(settings.topic(topics.ORDERING), number))
                ),
                health,
                linger_ms=LINGER_MS,
            )
            try:
                await group.run(stop)
            finally:
                sweeping.cancel()
    finally:
        await keys.stop()
        await view.stop()
        await log.stop()
