"""Transactions in three requests: records and offsets, and the end (KIP-890). What else a transaction needs, the
broker does by itself, and it ends each with a new epoch, so that nothing of one can be taken for part of the next."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import IncompatibleBrokerVersion, for_code
from aiokafka.protocol.api import Request
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import TopicPartition

from schemas.settings import Settings
from streams.core.outputs import Output
from streams.lane import connections, private, protocol
from streams.lane.writer import MAX_BATCH_BYTES, REQUEST_TIMEOUT_MS, Appended, Broken, Fenced, Offsets, Places

#: The level of `transaction.version` from which on brokers do all that.
LEVEL = 2
BACKOFF_S = 0.01

_MAGIC, _ZSTD = 2, 4
_LEADER_MOVED = frozenset({3, 5, 6})
_COORDINATOR_MOVED = frozenset({15, 16})
#: Nothing has been done, and soon it can be: the coordinator loads, too few replicas, the last transaction's end.
_LATER = frozenset({14, 19, 51})
_FENCED = frozenset({47, 90})

#: Takes the codes of the errors out of an answer.
_Codes = Callable[[Any], set[int]]


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
        answer = await self._ask(
            InitProducerIdRequest(self._id, connections.TRANSACTION_TIMEOUT_MS), CoordinationType.TRANSACTION, _own_code
        )
        self._producer = (answer.producer_id, answer.producer_epoch)

    async def commit(self, places: Places, offsets: Offsets) -> dict[TopicPartition, list[Appended]]:
        """See `Writer.commit`."""
        batches = {place: self._batches(place, outputs) for place, outputs in places.items()}
        appended: dict[TopicPartition, list[Appended]] = {place: [] for place in places}
        await self._know({place.topic for place in places})
        # A request takes one batch a partition, and the first round takes the offsets along.
        for number in range(max((len(made) for made in batches.values()), default=1)):
            now = {place: made[number] for place, made in batches.items() if len(made) > number}
            await self._round(now, appended, {} if number else offsets)
        end = await self._ask(protocol.EndTxn(self._id, self._producer), CoordinationType.TRANSACTION, _own_code)
        self._producer = (end.producer_id, end.producer_epoch)
        self._connections = private.connections_of(self._client)
        return appended

    def is_connected(self) -> bool:
        """See `Writer.is_connected`."""
        return private.are_open(self._connections)

    async def close(self) -> None:
        """See `Writer.close`."""
        await self._client.close()

    async def _round(
        self, batches: Mapping[TopicPartition, tuple[bytes, int]], appended: dict[TopicPartition, list[Appended]],
        offsets: Offsets,
    ) -> None:  # fmt: skip
        """Node by node, since the coordinator takes one addition to a transaction at a time; what goes to one node
        follows each other on the same connection."""
        steps: defaultdict[int, list[Any]] = defaultdict(list)
        for node, places in self._by_leader(batches).items():
            steps[node].append(self._produce({place: batches[place] for place in places}, appended))
        if offsets:
            steps[await self._coordinator(CoordinationType.GROUP)].append(self._commit_offsets(offsets))
        for calls in steps.values():
            await asyncio.gather(*calls)

    def _batches(self, place: TopicPartition, outputs: Any) -> list[tuple[bytes, int]]:
        """The records of one partition as batches, each with the number of its records."""
        room = min(self._limits.get(place.topic, MAX_BATCH_BYTES), MAX_BATCH_BYTES)
        made: list[tuple[bytes, int]] = []
        builder, count, before = self._builder(0, room), 0, 0
        output: Output
        for output in outputs:
            record: dict[str, Any] = {"key": output.key, "value": output.value, "headers": list(output.headers)}
            if builder.append(count, None, **record) is None:
                made.append((bytes(builder.build()), count))
                before += count
                builder, count = self._builder(before, room), 0
                builder.append(count, None, **record)
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

    async def _produce(
        self, batches: Mapping[TopicPartition, tuple[bytes, int]], appended: dict[TopicPartition, list[Appended]]
    ) -> None:
        """Write one batch a partition. Those that are refused for a reason that passes are sent again."""
        left = dict(batches)
        while left:
            again: set[int] = set()
            for node, places in self._by_leader(left).items():
                topics: defaultdict[str, list[tuple[int, bytes]]] = defaultdict(list)
                for place in places:
                    topics[place.topic].append((place.partition, left[place][0]))
                answer = await self._client.send(
                    node, protocol.Produce(self._id, REQUEST_TIMEOUT_MS, list(topics.items()))
                )
                for topic, rows in _rows(answer.responses):
                    for partition, code, first, at_ms, *_ in rows:
                        place = TopicPartition(topic, partition)
                        if code:
                            again.add(_check(code, f"{topic}-{partition}"))
                        else:
                            appended[place].append(Appended(first, left.pop(place)[1], at_ms))
            if again:
                await self._pause(again, None)

    async def _commit_offsets(self, offsets: Offsets) -> None:
        topics: defaultdict[str, list[Any]] = defaultdict(list)
        for place, commit in offsets.items():
            topics[place.topic].append((place.partition, commit))
        request = protocol.TxnOffsetCommit(self._id, self._producer, self._group, list(topics.items()))
        await self._ask(
            request, CoordinationType.GROUP,
            lambda answer: {code for _, rows in _rows(answer.topics) for _, code, *_ in rows},
        )  # fmt: skip

    async def _ask(self, request: Request[Any], coordinator: CoordinationType, codes: _Codes) -> Any:
        """A coordinator's answer without an error, once it can give one."""
        while True:
            answer = await self._client.send(await self._coordinator(coordinator), request)
            again = {_check(code, type(request).__name__) for code in codes(answer) if code}
            if not again:
                return answer
            await self._pause(again, coordinator)

    async def _coordinator(self, kind: CoordinationType) -> int:
        if (known := self._coordinators.get(kind)) is not None:
            return known
        key = self._id if kind is CoordinationType.TRANSACTION else self._group
        while True:
            try:
                node = await self._client.coordinator_lookup(kind, key)
            except tuple(for_code(code) for code in _COORDINATOR_MOVED | _LATER):
                await self._pause(set(), None)
                continue
            self._coordinators[kind] = node
            return int(node)

    async def _pause(self, codes: set[int], coordinator: CoordinationType | None) -> None:
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
                    await self._pause(set(_LEADER_MOVED), None)


def _own_code(answer: Any) -> set[int]:
    return {answer.error_code}


def _rows(topics: Any) -> list[tuple[str, Any]]:
    return [(name, rows) for name, rows, *_ in topics]


def _check(code: int, what: str) -> int:
    """The code, where asking again helps. Raises `Fenced` or `Broken`."""
    if code in _FENCED:
        raise Fenced(what)
    if code not in _LEADER_MOVED | _COORDINATOR_MOVED | _LATER:
        raise Broken(f"{what}: {for_code(code).__name__} ({code})")
    return code
