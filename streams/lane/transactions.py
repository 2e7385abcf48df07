"""Transactions in three requests: records and offsets, and the end (KIP-890). What else a transaction needs, the
broker does by itself, and it ends each with a new epoch, so that nothing of one can be taken for part of the next."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import IncompatibleBrokerVersion, NodeNotReadyError, for_code
from aiokafka.protocol.api import Request
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from schemas.settings import Settings
from streams.core.outputs import Output
from streams.lane import connections, private, protocol
from streams.lane.bounded import within
from streams.lane.writer import (
    GOODBYE_TIMEOUT_S,
    MAX_BATCH_BYTES,
    REQUEST_TIMEOUT_MS,
    Appended,
    Broken,
    Fenced,
    Offsets,
    Places,
)

#: The level of `transaction.version` from which on brokers do all that.
LEVEL = 2
BACKOFF_S = 0.01

_MAGIC, _ZSTD = 2, 4
_LEADER_MOVED = frozenset({3, 5, 6})
_COORDINATOR_MOVED = frozenset({15, 16})
#: Nothing has been done, and soon it can be: the coordinator loads, too few replicas, the last transaction's end.
_LATER = frozenset({14, 19, 51})
_PASSING = _LEADER_MOVED | _COORDINATOR_MOVED | _LATER
#: The last: of an id that has used up its epochs and has another since.
_FENCED = frozenset({47, 90, 49})

#: One batch a partition, with the number of its records.
Batches = Mapping[TopicPartition, tuple[bytes, int]]


class Transactions:
    """The newest holder of one transactional id. After any error it must be opened again."""

    def __init__(self, settings: Settings, transactional_id: str, group: str, limits: Mapping[str, int]) -> None:
        """`limits`: the largest record, and batch, of each topic without prefix."""
        self._id = transactional_id
        self._group = group
        self._limits = {settings.topic(name): limit for name, limit in limits.items()}
        self._client = AIOKafkaClient(
            **connections.security(settings), request_timeout_ms=REQUEST_TIMEOUT_MS, retry_backoff_ms=10
        )
        self._producer = (-1, -1)
        self._coordinators: dict[CoordinationType, int] = {}
        self._connections: tuple[Any, ...] = ()

    async def connect(self) -> bool:
        """Find the brokers; True where they understand what this one says."""
        await self._client.bootstrap()
        try:
            answer = await self._client.send(self._client.get_random_node(), protocol.ApiVersions())
        except (NotImplementedError, IncompatibleBrokerVersion):
            return False
        return protocol.features(answer).get("transaction.version", 0) >= LEVEL

    async def open(self) -> None:
        """See `Writer.open`."""
        answer = await self._ask(InitProducerIdRequest(self._id, connections.TRANSACTION_TIMEOUT_MS))
        self._producer = (answer.producer_id, answer.producer_epoch)

    async def commit(self, places: Places, offsets: Offsets) -> dict[TopicPartition, list[Appended]]:
        """See `Writer.commit`."""
        if not places and not offsets:
            return {}
        batches = {place: self._batches(place, outputs) for place, outputs in places.items()}
        appended: dict[TopicPartition, list[Appended]] = {place: [] for place in places}
        await self._know({place.topic for place in places})
        # A request takes one batch a partition, and the first round takes the offsets along.
        for number in range(max((len(made) for made in batches.values()), default=1)):
            now = {place: made[number] for place, made in batches.items() if len(made) > number}
            for place, one in (await self._round(now, {} if number else offsets)).items():
                appended[place].append(one)
        end = await self._ask(protocol.EndTxn(self._id, self._producer))
        self._producer = (end.producer_id, end.producer_epoch)
        self._connections = private.connections_of(self._client)
        return appended

    def is_connected(self) -> bool:
        """See `Writer.is_connected`."""
        return private.are_open(self._connections)

    async def close(self) -> None:
        """See `Writer.close`."""
        await within(GOODBYE_TIMEOUT_S, self._client.close())

    async def _round(self, batches: Batches, offsets: Offsets) -> dict[TopicPartition, Appended]:
        """Write one batch a partition, and offsets. What is refused for a reason that passes is sent again.

        Node by node, since the coordinator takes one addition to a transaction at a time; what goes to one node goes
        at once, for a connection's requests are done in their order.
        """
        appended: dict[TopicPartition, Appended] = {}
        left = dict(batches)
        while left or offsets:
            requests: defaultdict[int, list[Request[Any]]] = defaultdict(list)
            for node, places in self._by_leader(left).items():
                requests[node].append(self._produce({place: left[place] for place in places}))
            if offsets:
                requests[await self._coordinator(CoordinationType.GROUP)].append(self._commit_offsets(offsets))
            refused: set[int] = set()
            for node, to_node in requests.items():
                for request, answer in zip(to_node, await self._exchange(node, to_node), strict=True):
                    if isinstance(request, protocol.Produce):
                        refused |= _take(answer, left, appended)
                    elif codes := _codes(answer):
                        refused |= codes
                    else:
                        offsets = {}
            if refused:
                await self._pause(refused, CoordinationType.GROUP)
        return appended

    async def _exchange(self, node: int, requests: list[Request[Any]]) -> list[Any]:
        """Send all of them, then take their answers: no task and no turn of the loop in between."""
        if not await self._client.ready(node):
            raise NodeNotReadyError(node)
        connection = private.connection_to(self._client, node)
        waiting = [connection.send(request) for request in requests]
        try:
            return [await answer for answer in waiting]
        finally:
            for answer in waiting:
                answer.close()

    def _batches(self, place: TopicPartition, outputs: Any) -> list[tuple[bytes, int]]:
        """The records of one partition as batches, each with the number of its records."""
        room = min(self._limits.get(place.topic, MAX_BATCH_BYTES), MAX_BATCH_BYTES)
        made: list[tuple[bytes, int]] = []
        builder, count, before = self._builder(0, room), 0, 0
        output: Output
        for output in outputs:
            record = output.key, output.value, list(output.headers)
            if builder.append(count, None, *record) is None:
                made.append((bytes(builder.build()), count))
                before += count
                builder, count = self._builder(before, room), 0
                builder.append(count, None, *record)
            count += 1
        return [*made, (bytes(builder.build()), count)]

    def _builder(self, sequence: int, room: int) -> Any:
        return DefaultRecordBatchBuilder(_MAGIC, _ZSTD, 1, *self._producer, sequence, room)

    def _by_leader(self, batches: Mapping[TopicPartition, Any]) -> dict[int, list[TopicPartition]]:
        nodes: defaultdict[int, list[TopicPartition]] = defaultdict(list)
        for place in batches:
            leader = self._client.cluster.leader_for_partition(place)
            # One without a leader is asked of any: the answer says so, and it is looked for again.
            nodes[self._client.get_random_node() if leader in (None, -1) else leader].append(place)
        return nodes

    def _produce(self, batches: Batches) -> protocol.Produce:
        topics: defaultdict[str, list[tuple[int, bytes]]] = defaultdict(list)
        for place, (batch, _) in batches.items():
            topics[place.topic].append((place.partition, batch))
        return protocol.Produce(self._id, REQUEST_TIMEOUT_MS, list(topics.items()))

    def _commit_offsets(self, offsets: Offsets) -> protocol.TxnOffsetCommit:
        topics: defaultdict[str, list[tuple[int, OffsetAndMetadata]]] = defaultdict(list)
        for place, commit in offsets.items():
            topics[place.topic].append((place.partition, commit))
        return protocol.TxnOffsetCommit(self._id, self._producer, self._group, list(topics.items()))

    async def _ask(self, request: Request[Any]) -> Any:
        """The transaction coordinator's answer without an error, once it can give one."""
        while True:
            node = await self._coordinator(CoordinationType.TRANSACTION)
            (answer,) = await self._exchange(node, [request])
            if not (code := _check(answer.error_code, type(request).__name__)):
                return answer
            await self._pause({code}, CoordinationType.TRANSACTION)

    async def _coordinator(self, kind: CoordinationType) -> int:
        if (known := self._coordinators.get(kind)) is not None:
            return known
        key = self._id if kind is CoordinationType.TRANSACTION else self._group
        while True:
            try:
                node = await self._client.coordinator_lookup(kind, key)
            except tuple(for_code(code) for code in _COORDINATOR_MOVED | _LATER):
                await self._pause(set())
                continue
            self._coordinators[kind] = node
            return int(node)

    async def _pause(self, codes: set[int], coordinator: CoordinationType | None = None) -> None:
        if coordinator is not None and codes & _COORDINATOR_MOVED:
            self._coordinators.pop(coordinator, None)
        if codes & (_LEADER_MOVED | _COORDINATOR_MOVED):
            await self._client.force_metadata_update()
        await asyncio.sleep(BACKOFF_S)

    async def _know(self, topics: set[str]) -> None:
        """Have the leaders of these topics' partitions looked up."""
        for topic in topics:
            while not self._client.cluster.partitions_for_topic(topic):
                await self._client.add_topic(topic)
                if not self._client.cluster.partitions_for_topic(topic):
                    await self._pause(set(_LEADER_MOVED))


def _take(
    answer: Any, left: dict[TopicPartition, tuple[bytes, int]], appended: dict[TopicPartition, Appended]
) -> set[int]:
    """Move what an answer says to be written from `left` to `appended`; the codes of what is to be sent again."""
    refused = set()
    for topic, rows, *_ in answer.responses:
        for partition, code, first, at_ms, *_ in rows:
            place = TopicPartition(topic, partition)
            if code:
                refused.add(_check(code, topic))
            else:
                appended[place] = Appended(first, left.pop(place)[1], at_ms)
    return refused


def _codes(answer: Any) -> set[int]:
    """The codes of offsets that are to be sent again."""
    return {_check(code, topic) for topic, rows, *_ in answer.topics for _, code, *_ in rows if code}


def _check(code: int, what: str) -> int:
    """The code, 0 or one where asking again helps. Raises `Fenced` or `Broken`."""
    if code in _FENCED:
        raise Fenced(what)
    if code and code not in _PASSING:
        raise Broken(f"{what}: {for_code(code).__name__} ({code})")
    return code
