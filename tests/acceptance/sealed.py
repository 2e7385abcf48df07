"""What tests of sealed payloads look at: every record there is, and how each delivery ended."""

import base64
import os
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition
from plain import Client
from stack import Stack

RING = f"k1:{base64.b64encode(os.urandom(32)).decode()}"
WAITS = {"retry": {"schedule": ["15s"], "jitter": 0}}


async def everything(stack: Stack) -> dict[str, list[Any]]:
    """Every record of every topic, committed or not."""
    async with AIOKafkaConsumer(bootstrap_servers=stack.kafka, group_id=None) as consumer:
        names = {name for name in await consumer.topics() if name.startswith(stack.prefix)}
        places = [TopicPartition(name, number) for name in names for number in range(4)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        found: dict[str, list[Any]] = {name.removeprefix(stack.prefix): [] for name in names}
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for place, records in (await consumer.getmany(timeout_ms=200)).items():
                found[place.topic.removeprefix(stack.prefix)] += records
    return found


def holding(found: dict[str, list[Any]], marker: str) -> list[str]:
    """The topics in which the marker stands, once for each record."""

    def parts(record: Any) -> list[bytes]:
        return [record.key or b"", record.value or b"", *(value for _, value in record.headers)]

    return [
        name
        for name, records in found.items()
        for record in records
        if any(marker.encode() in p for p in parts(record))
    ]


def ends(client: Client, tenant: str) -> dict[tuple[str, str], tuple[str, str | None, int]]:
    """The last result of each event at each endpoint: verdict, kind of error, attempt."""
    return {
        (one["event_id"], one["endpoint_id"]): (one["verdict"], one.get("error_kind"), one["attempt"])
        for one in client.results(tenant)
    }
