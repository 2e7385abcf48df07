"""What is asked of which broker in a transaction, and what follows from each answer."""

from collections import deque
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.protocol.api import Request
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from schemas.settings import Settings
from streams.core.outputs import Output
from streams.lane import protocol
from streams.lane.transactions import Transactions
from streams.lane.writer import Appended, Broken, Fenced

HERE, THERE = TopicPartition("hookfold.results", 0), TopicPartition("hookfold.results", 1)
INPUT = TopicPartition("hookfold.deliveries", 0)
OFFSETS = {INPUT: OffsetAndMetadata(7, "AQ==")}
PLACES = {HERE: [Output("results", b"k", b"1"), Output("results", b"k", b"2")], THERE: [Output("results", b"k", b"3")]}
TRANSACTIONS, GROUPS = 1, 3


class Cluster:
    """Brokers, of which 1 and 2 lead, 1 coordinates the transactions and 3 the group; `refusals`: codes by request."""

    def __init__(self, refusals: dict[type[Request[Any]], list[int]], leaders: dict[TopicPartition, int]) -> None:
        self.asked: list[tuple[int, Request[Any]]] = []
        self.lookups: list[CoordinationType] = []
        self.updates = 0
        self._refusals = {kind: deque(codes) for kind, codes in refusals.items()}
        self.cluster = SimpleNamespace(leader_for_partition=leaders.get, partitions_for_topic=lambda topic: {0, 1})
        self._conns = {
            (node, ConnectionGroup.DEFAULT): SimpleNamespace(
                send=lambda request, node=node: self._send(node, request), connected=lambda: True
            )
            for node in (1, 2, 3)
        }

    async def ready(self, node: int) -> bool:
        return True

    async def coordinator_lookup(self, kind: CoordinationType, key: str) -> int:
        self.lookups.append(kind)
        return TRANSACTIONS if kind is CoordinationType.TRANSACTION else GROUPS

    async def force_metadata_update(self) -> None:
        self.updates += 1

    def _send(self, node: int, request: Request[Any]) -> Coroutine[Any, Any, Any]:
        self.asked.append((node, request))
        return self._answer(request)

    async def _answer(self, request: Request[Any]) -> Any:
        codes = self._refusals.get(type(request))
        code = codes.popleft() if codes else 0
        if isinstance(request, protocol.Produce):
            made = request.build(protocol.ProduceRequest12).topic_data
            rows = [(name, [(at, code, 40 + at, 99, 0, [], None, {}) for at, *_ in of], {}) for name, of, _ in made]
            return protocol.ProduceResponse12(rows, 0, {})
        if isinstance(request, protocol.TxnOffsetCommit):
            return protocol.TxnOffsetCommitResponse5(0, [(INPUT.topic, [(0, code, {})], {})], {})
        return protocol.EndTxnResponse5(0, code, 5, 10, {})

    def order(self) -> list[tuple[int, str]]:
        return [(node, type(request).__name__) for node, request in self.asked]


def writer(
    refusals: dict[type[Request[Any]], list[int]] | None = None, leaders: dict[TopicPartition, int] | None = None
) -> tuple[Transactions, Cluster]:
    made = Transactions(Settings(), "hookfold.egress-0", "hookfold.egress", {})
    cluster = Cluster(refusals or {}, leaders or {HERE: 1, THERE: 2})
    made._client = cluster  # type: ignore[assignment]
    made._producer = (5, 9)
    return made, cluster


async def test_records_and_offsets_go_out_and_then_the_end_which_brings_the_next_epoch() -> None:
    made, cluster = writer()
    appended = await made.commit(PLACES, OFFSETS)
    assert appended == {HERE: [Appended(40, 2, 99)], THERE: [Appended(41, 1, 99)]}
    assert cluster.order() == [(1, "Produce"), (2, "Produce"), (3, "TxnOffsetCommit"), (1, "EndTxn")]
    assert made._producer == (5, 10)
    await made.commit({}, OFFSETS)
    assert cluster.asked[-2][1].build(protocol.TxnOffsetCommitRequest5).producer_epoch == 10


async def test_what_one_broker_does_takes_one_round() -> None:
    made, cluster = writer(leaders={HERE: GROUPS, THERE: GROUPS})
    await made.commit(PLACES, OFFSETS)
    assert cluster.order() == [(3, "Produce"), (3, "TxnOffsetCommit"), (1, "EndTxn")]


async def test_a_transaction_without_records_and_offsets_asks_nothing() -> None:
    made, cluster = writer()
    assert await made.commit({}, {}) == {}
    assert cluster.asked == []


@pytest.mark.parametrize("code", [3, 5, 6, 14, 15, 16, 19, 51])
async def test_what_is_refused_for_a_while_is_sent_again_as_it_was(code: int) -> None:
    made, cluster = writer({protocol.Produce: [code]}, {HERE: 1, THERE: 1})
    assert await made.commit(PLACES, OFFSETS) == {HERE: [Appended(40, 2, 99)], THERE: [Appended(41, 1, 99)]}
    first, again = (request for _, request in cluster.asked if isinstance(request, protocol.Produce))
    assert first.build(protocol.ProduceRequest12) == again.build(protocol.ProduceRequest12)
    assert [name for _, name in cluster.order()].count("TxnOffsetCommit") == 1


async def test_a_coordinator_that_has_moved_is_looked_for_again() -> None:
    made, cluster = writer({protocol.EndTxn: [16, 51], protocol.TxnOffsetCommit: [15]})
    await made.commit(PLACES, OFFSETS)
    group, transaction = CoordinationType.GROUP, CoordinationType.TRANSACTION
    assert cluster.lookups == [group, group, transaction, transaction]
    assert cluster.updates == 2


@pytest.mark.parametrize("request_type", [protocol.Produce, protocol.TxnOffsetCommit, protocol.EndTxn])
@pytest.mark.parametrize("code", [47, 49, 90])
async def test_who_is_fenced_says_so_and_ends_nothing(request_type: type[Request[Any]], code: int) -> None:
    made, cluster = writer({request_type: [code]})
    with pytest.raises(Fenced):
        await made.commit(PLACES, OFFSETS)
    assert cluster.order()[-1][1] == request_type.__name__


@pytest.mark.parametrize("request_type", [protocol.Produce, protocol.TxnOffsetCommit, protocol.EndTxn])
@pytest.mark.parametrize("code", [7, 10, 20, 22, 45, 48, 120])
async def test_nothing_is_repeated_that_may_have_been_done(request_type: type[Request[Any]], code: int) -> None:
    made, cluster = writer({request_type: [code]})
    with pytest.raises(Broken):
        await made.commit(PLACES, OFFSETS)
    assert cluster.order()[-1][1] == request_type.__name__


def test_a_broker_that_tells_no_features_has_none() -> None:
    assert protocol.features(protocol.ApiVersionsResponse3(0, [], 0, {})) == {}
    told = b"\x02" + b"\x14transaction.version" + b"\x00\x02\x00\x00" + b"\x00"
    assert protocol.features(protocol.ApiVersionsResponse3(0, [], 0, {2: told})) == {"transaction.version": 2}
