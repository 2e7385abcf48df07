"""Every private name of aiokafka that lanes lean on; a test says when one is gone.

aiokafka is pinned to an exact version because of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.structs import TopicPartition

#: Kafka's code for a topic that is not there.
UNKNOWN_TOPIC = 3

#: Module, class and attribute.
NAMES = (
    ("aiokafka.consumer.group_coordinator", "GroupCoordinator", "request_rejoin"),
    ("aiokafka.producer.sender", "Sender", "close"),
    ("aiokafka.producer.transaction_manager", "TransactionManager", "maybe_add_partition_to_txn"),
    ("aiokafka.admin", "AIOKafkaAdminClient", "_send_request"),
    ("aiokafka.conn", "AIOKafkaConnection", "connected"),
    ("aiokafka.conn", "AIOKafkaConnection", "send"),
    ("aiokafka.producer.message_accumulator", "BatchBuilder", "append"),
)
#: Instance attributes, set in constructors.
ATTRIBUTES = (
    ("aiokafka", "AIOKafkaConsumer", "_coordinator"),
    ("aiokafka", "AIOKafkaConsumer", "_subscription"),
    ("aiokafka", "AIOKafkaConsumer", "_fetcher"),
    ("aiokafka.consumer.fetcher", "Fetcher", "_fetch_max_wait_ms"),
    ("aiokafka.consumer.fetcher", "Fetcher", "_records"),
    ("aiokafka.consumer.fetcher", "FetchResult", "_partition_records"),
    ("aiokafka.consumer.fetcher", "PartitionRecords", "_records_iterator"),
    ("aiokafka.consumer.fetcher", "Fetcher", "_fetcher_timeout"),
    ("aiokafka.consumer.subscription_state", "TopicPartitionState", "_position"),
    ("aiokafka.consumer.group_coordinator", "GroupCoordinator", "_group_instance_id"),
    ("aiokafka", "AIOKafkaProducer", "_sender"),
    ("aiokafka", "AIOKafkaProducer", "_txn_manager"),
    ("aiokafka.client", "AIOKafkaClient", "_conns"),
)


async def partition_counts(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, int]:
    """How many partitions each of these topics has, those left out that do not exist. None is made by asking.

    The admin client itself would ask for every topic of the cluster, again and again.
    """
    answer: Any = await admin._send_request(MetadataRequest(list(names), allow_auto_topic_creation=False))
    return {name: len(partitions) for code, name, _, partitions in answer.topics if code != UNKNOWN_TOPIC}


def rejoin(consumer: AIOKafkaConsumer) -> None:
    """Ask for another round of assignment."""
    if (coordinator := consumer._coordinator) is not None:
        coordinator.request_rejoin()


def leave_when_stopped(consumer: AIOKafkaConsumer) -> None:
    """Let `stop` take leave of the group at once, also for a static member, which would be waited for."""
    if (coordinator := consumer._coordinator) is not None:
        coordinator._group_instance_id = None


def state_of(consumer: AIOKafkaConsumer, place: TopicPartition) -> Any:
    """What the consumer knows of an assigned partition, until the next assignment."""
    return consumer._subscription.subscription.assignment.state_value(place)


def position_of(state: Any) -> int | None:
    """The next offset that the consumer will hand out. To ask the consumer for each takes longer than all else."""
    position: int | None = state._position
    return position


def fetch_for(consumer: AIOKafkaConsumer, wait_ms: int) -> None:
    """Let the next fetch wait so long where there is nothing, and the consumer's own look-round as well."""
    if (fetcher := consumer._fetcher) is not None:
        fetcher._fetch_max_wait_ms = wait_ms
        fetcher._fetcher_timeout = wait_ms / 1_000


def drop_fetched(consumer: AIOKafkaConsumer) -> None:
    """Free what was fetched and not handed out.

    What unpacks a fetch refers to itself, and would keep its megabyte until Python looks for cycles: as these are few
    objects, that is long after.
    """
    if (fetcher := consumer._fetcher) is not None:
        for fetched in fetcher._records.values():
            records = getattr(fetched, "_partition_records", None)
            if records is not None and records._records_iterator is not None:
                records._records_iterator.close()
        fetcher._records.clear()


def add_to_transaction(producer: AIOKafkaProducer, place: TopicPartition) -> None:
    """Have the end of the producer's transaction written to a partition to which it writes no record."""
    producer._txn_manager.maybe_add_partition_to_txn(place)


def record_batch(max_bytes: int) -> BatchBuilder:
    """A batch for `send_batch` with room for so many bytes: a producer's own has what it lets others share."""
    return BatchBuilder(max_bytes, 0)


def connections_of(client: AIOKafkaClient) -> tuple[Any, ...]:
    """The client's connections to brokers as they are now, without the one it began with."""
    return tuple(made for (node, _), made in client._conns.items() if node != "bootstrap")


def connection_to(client: AIOKafkaClient, node: int) -> Any:
    """The connection that `client.ready(node)` has made: its `send` writes at once, and is awaited for the answer."""
    return client._conns[node, ConnectionGroup.DEFAULT]


def are_open(connections: tuple[Any, ...]) -> bool:
    """False when one of them has been closed."""
    return all(connection.connected() for connection in connections)


async def abandon(producer: AIOKafkaProducer) -> None:
    """Close the sockets and the task of a producer that cannot say goodbye."""
    await producer._sender.close()
