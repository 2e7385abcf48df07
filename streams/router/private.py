"""Every private name of Faust and aiokafka that the router leans on; a test says when one is gone.

faust-streaming, mode-streaming and aiokafka are pinned to exact versions because of these.
"""

from __future__ import annotations

import logging
from typing import Any

from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport

#: Module, class and attribute.
NAMES = (
    ("faust.transport.drivers.aiokafka", "AIOKafkaConsumerThread", "_create_worker_consumer"),
    ("faust.transport.drivers.aiokafka", "Consumer", "_new_consumer_thread"),
    ("faust.tables.base", "Collection", "_new_store"),
    ("faust.tables.manager", "TableManager", "_update_channels"),
)
#: Instance attributes, set in constructors.
ATTRIBUTES = (
    ("aiokafka", "AIOKafkaConsumer", "_isolation_level"),
    ("aiokafka", "AIOKafkaProducer", "_sender"),
    ("faust.tables.manager", "TableManager", "_tables_finalized"),
    ("faust.tables.manager", "TableManager", "_tables_registered"),
)


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
