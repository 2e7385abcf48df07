"""Every private name of aiokafka that lanes lean on; a test says when one is gone.

aiokafka is pinned to an exact version because of these.
"""

from __future__ import annotations

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

#: Module, class and attribute.
NAMES = (
    ("aiokafka.consumer.group_coordinator", "GroupCoordinator", "request_rejoin"),
    ("aiokafka.producer.sender", "Sender", "close"),
)
#: Instance attributes, set in constructors.
ATTRIBUTES = (
    ("aiokafka", "AIOKafkaConsumer", "_coordinator"),
    ("aiokafka.consumer.group_coordinator", "GroupCoordinator", "_group_instance_id"),
    ("aiokafka", "AIOKafkaProducer", "_sender"),
)


def rejoin(consumer: AIOKafkaConsumer) -> None:
    """Ask for another round of assignment."""
    if (coordinator := consumer._coordinator) is not None:
        coordinator.request_rejoin()


def leave_when_stopped(consumer: AIOKafkaConsumer) -> None:
    """Let `stop` take leave of the group at once, also for a static member, which would be waited for."""
    if (coordinator := consumer._coordinator) is not None:
        coordinator._group_instance_id = None


async def abandon(producer: AIOKafkaProducer) -> None:
    """Close the sockets and the task of a producer that cannot say goodbye."""
    await producer._sender.close()
