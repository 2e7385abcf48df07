"""Every private name of Faust that the router leans on, and those of aiokafka behind it; a test says when one is gone.

faust-streaming, mode-streaming and aiokafka are pinned to exact versions because of these.
"""

from __future__ import annotations

import logging
from typing import Any

import faust
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport

from streams.lane import private as lane_private

#: Module, class and attribute.
NAMES = (
    ("faust.transport.drivers.aiokafka", "AIOKafkaConsumerThread", "_create_worker_consumer"),
    ("faust.transport.drivers.aiokafka", "Consumer", "_new_consumer_thread"),
    ("faust.transport.drivers.aiokafka", "AIOKafkaConsumerThread", "_consumer"),
    ("faust.tables.base", "Collection", "_new_store"),
    ("faust.tables.manager", "TableManager", "_update_channels"),
)
#: Instance attributes, set in constructors.
ATTRIBUTES = (
    ("aiokafka", "AIOKafkaConsumer", "_isolation_level"),
    ("faust.tables.manager", "TableManager", "_tables_finalized"),
    ("faust.tables.manager", "TableManager", "_tables_registered"),
)


def leave_when_stopped(app: faust.App) -> None:
    """Let Faust's consumer take leave of the group at once when it stops, also as a static member."""
    thread = getattr(app.consumer, "_thread", None)
    if thread is not None and thread._consumer is not None:
        lane_private.leave_when_stopped(thread._consumer)


class ReadCommittedThread(AIOKafkaConsumerThread):
    """Faust reads uncommitted records unless it is told "exactly once", which loses table updates."""

    logger = logging.getLogger("faust.consumer")

    def _create_worker_consumer(self, transport: Transport) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        return consumer


class ReadCommittedConsumer(Consumer):
    """Runs that thread."""

    logger = logging.getLogger("faust.consumer")

    def _new_consumer_thread(self) -> ReadCommittedThread:
        return ReadCommittedThread(self, loop=self.loop, beacon=self.beacon)


class ReadCommittedTransport(Transport):
    """Makes that consumer."""

    Consumer = ReadCommittedConsumer
