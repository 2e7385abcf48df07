"""What the topics hold at the end of a run, as any user reads them."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.chaos.observed import Observed, Sent


async def read_all(kafka: str, topic: str) -> list[Any]:
    """Every committed record of a topic, each partition in its order."""
    async with AIOKafkaConsumer(
        bootstrap_servers=kafka, isolation_level="read_committed", auto_offset_reset="earliest", group_id=None
    ) as consumer:
        await consumer._client.force_metadata_update()
        await consumer.topics()
        places = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        await consumer.seek_to_beginning(*places)
        found: list[Any] = []
        while any([await consumer.position(place) < ends[place] for place in places]):
            for records in (await consumer.getmany(timeout_ms=500, max_records=5_000)).values():
                found += records
        return found


async def fill(kafka: str, prefix: str, observed: Observed) -> None:
    """Put events, changes and results of a run into `observed`."""
    for record in await read_all(kafka, prefix + "events"):
        event = json.loads(record.value)
        if not event["type"].startswith("hookfold."):  # what tenants are told of their endpoints; nobody subscribes
            line = event["data"]["line"]
            observed.events.append(Sent(record.key.decode(), event["id"], record.timestamp, line=line))
    for record in await read_all(kafka, prefix + "subscriptions"):
        change = json.loads(record.value)
        if change["endpoint_id"] == "toggled" and change["type"] in ("endpoint.registered", "endpoint.unregistered"):
            number = int(parse_qs(urlsplit(change.get("url", "")).query).get("number", ["0"])[0])
            observed.toggles.append(Sent(record.key.decode(), "on" if number else "off", record.timestamp, number))
    observed.results = [json.loads(record.value) for record in await read_all(kafka, prefix + "results")]
    observed.rejected = len(await read_all(kafka, prefix + "rejected"))
