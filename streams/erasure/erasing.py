"""Erasing: a tenant's keys are dropped, or an event is given up by each of them.

One transactional id for each partition of `keys` makes this a matter of one at a time: its newest holder reads what
there is once all earlier ones are fenced, and writes what follows from that in one transaction, or nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidProducerEpoch, KafkaError, ProducerFenced
from aiokafka.structs import TopicPartition

from schemas import topics
from schemas.settings import ReachSettings
from streams.core import data_keys, partitioning, puncturing
from streams.core.outputs import Output
from streams.core.sealing import CannotOpen, Keyring
from streams.erasure.held import HeldKeys
from streams.erasure.view import KEY_ID_BYTES
from streams.lane import connections
from streams.lane.bounded import within
from streams.lane.log import Log
from streams.lane.sources import source_of

logger = logging.getLogger(__name__)

OPEN_S = 30.0
COMMIT_S = 15.0
POLL_S = 0.1
#: Who erases at the same time fences who does; the longer that goes on, the further apart they try again.
TRIES = 8
#: Of the tries, those that may fail without anybody else being known to erase.
FAILURES = 2
PAUSE_S = 0.5
MAX_PAUSE_S = 8.0
ROLL_S = (topics.FORGET_SEGMENT_MS + 100) / 1_000


class NotErased(Exception):
    """It was not erased, and why, in one line. `passing`: another try may succeed, and does no harm."""

    def __init__(self, reason: str, *, passing: bool = False) -> None:
        super().__init__(reason)
        self.passing = passing


@dataclass(frozen=True, slots=True)
class Erased:
    """What was done, by which time of the log (ms since 1970). `keys`: how many of the tenant's it took."""

    tenant: str
    keys: int
    at_ms: int


_Decide = Callable[[HeldKeys], list[Output]]


async def erase_tenant(settings: ReachSettings, log: Log, tenant: str) -> Erased:
    """Drop all keys of a tenant. Raises `NotErased`."""
    partition = _partition_of(settings, tenant)
    mark = Output(topics.KEYS, tenant.encode(), orjson.dumps({"type": "tenant.erased"}), (), partition)

    def decide(held: HeldKeys) -> list[Output]:
        names = [f"{tenant}/{key_id}".encode() for key_id in held.ids(tenant)]
        return [*(Output(topics.KEYS, name, None, (), partition) for name in names), mark]

    keys, at_ms = await _rewrite(settings, log, partition, decide)
    logger.info("tenant.erased tenant=%s keys=%d", tenant, keys - 1)
    return Erased(tenant, keys - 1, at_ms)


async def erase_events(settings: ReachSettings, log: Log, tenant: str, event_ids: Sequence[str]) -> Erased:
    """Have each key of a tenant give up these events. Raises `NotErased`."""
    ring, partition = Keyring(settings.keys), _partition_of(settings, tenant)
    leaves = [puncturing.leaf_of(event_id) for event_id in event_ids]

    def decide(held: HeldKeys) -> list[Output]:
        made: list[Output] = []
        known = [(key_id, held.key(tenant, key_id)) for key_id in held.ids(tenant)]
        # Where nothing is sealed yet, a key remembers what is not to be sealed.
        known = known or [(secrets.token_urlsafe(KEY_ID_BYTES), puncturing.whole(os.urandom(puncturing.NODE_BYTES)))]
        for key_id, key in known:
            assert key is not None
            left = puncturing.puncture(key, leaves)
            if len(left.given_up) > data_keys.MAX_ERASED:
                raise NotErased(
                    f"{len(key.given_up)} events have been erased from the key {key_id}, which can give up "
                    f"{data_keys.MAX_ERASED}; the tenant as a whole can still be erased"
                )
            if left is not key:
                made.append(data_keys.record(ring, tenant, key_id, left, partition))
        return made

    keys, at_ms = await _rewrite(settings, log, partition, decide)
    logger.info("events.erased tenant=%s events=%d keys=%d", tenant, len(event_ids), keys)
    return Erased(tenant, keys, at_ms)


async def forget(settings: ReachSettings, tenant: str) -> None:
    """Have Kafka take what was replaced or dropped from its disks soon: only what lies in a finished segment is.

    Waits a second for that. Where it fails, the next record of the partition does the same.
    """
    await asyncio.sleep(ROLL_S)
    producer = AIOKafkaProducer(**connections.security(settings), acks="all", enable_idempotence=False)
    try:
        await within(OPEN_S, producer.start())
        nothing, number = f"{tenant}/-".encode(), _partition_of(settings, tenant)
        sent = producer.send_and_wait(settings.topic(topics.KEYS), None, key=nothing, partition=number)
        await within(COMMIT_S, sent)
    except (KafkaError, TimeoutError, OSError) as problem:
        logger.warning("keys.unforgotten tenant=%s reason=%r", tenant, problem)
    finally:
        await connections.disconnect(producer)


async def _rewrite(settings: ReachSettings, log: Log, partition: int, decide: _Decide) -> tuple[int, int]:
    """How many records were written, and the time of the last in the log; 0 where there was nothing to be written."""
    for number in range(TRIES):
        producer = connections.transactional_producer(settings, settings.group(f"erase-{partition}"))
        try:
            await within(OPEN_S, producer.start())
            written, at_ms = set[bytes | None](), 0
            # Makers of keys are not fenced: one that came meanwhile may have sealed what is to be erased.
            while made := await _unwritten(settings, log, partition, decide, written):
                at_ms = max(at_ms, await within(COMMIT_S, _commit(producer, settings, made)))
                written.update(one.key for one in made)
            return len(written), at_ms
        except (ProducerFenced, InvalidProducerEpoch):
            await asyncio.sleep(random.uniform(0, min(MAX_PAUSE_S, PAUSE_S * 2**number)))
        except CannotOpen as problem:
            raise NotErased(str(problem)) from problem
        except (KafkaError, TimeoutError, OSError) as problem:
            # One that is fenced in the middle of a record is told of it in many ways; to decide again does no harm.
            if isinstance(problem, KafkaError) and number < FAILURES:
                await asyncio.sleep(PAUSE_S)
                continue
            reason = f"Kafka does not answer; whether it was erased is not known: {problem!r}"
            raise NotErased(reason, passing=True) from problem
        finally:
            await connections.disconnect(producer)
    raise NotErased("others are erasing at the same time; try again", passing=True)


async def _unwritten(
    settings: ReachSettings, log: Log, partition: int, decide: _Decide, written: set[bytes | None]
) -> list[Output]:
    """What is still to be written after that."""
    made = await asyncio.to_thread(decide, await _read(settings, log, partition))
    return [one for one in made if one.key not in written]


async def _read(settings: ReachSettings, log: Log, partition: int) -> HeldKeys:
    """What is in the partition. Only after the fence is it final, and only where no transaction hides a part of it."""
    place = TopicPartition(settings.topic(topics.KEYS), partition)
    held = HeldKeys(Keyring(settings.keys))
    (start, end), stable = (await log.bounds([place]))[place], 0
    async with asyncio.timeout(COMMIT_S):
        while stable < end:
            stable = (await log.stable_ends([place]))[place]
            await asyncio.sleep(0 if stable >= end else POLL_S)
    async for records in log.read(place, start, end, aside=True):
        for record in records:
            held.put(source_of(record))
    return held


async def _commit(producer: AIOKafkaProducer, settings: ReachSettings, made: Sequence[Output]) -> int:
    topic = settings.topic(topics.KEYS)
    await producer.begin_transaction()
    sending = [
        await producer.send(topic, one.value, key=one.key, partition=one.partition, headers=list(one.headers))
        for one in made
    ]
    sent = await asyncio.gather(*sending)
    await producer.commit_transaction()
    return max(int(one.timestamp) for one in sent)


def _partition_of(settings: ReachSettings, tenant: str) -> int:
    return partitioning.partition_of(tenant.encode(), settings.partitions)
