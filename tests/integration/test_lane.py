"""The lane against a real Kafka: fences, transactions, and the truth of committed offsets."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

import pytest
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from schemas import topics
from schemas.settings import Settings
from streams import provisioning
from streams.core.outputs import Output
from streams.lane import connections, offset_fetch, transactions
from streams.lane.log import Committed, Log
from streams.lane.offset_fetch import NotTold, Response7, Unstable
from streams.lane.outputs import Batch
from streams.lane.producing import Producing
from streams.lane.transactions import Transactions
from streams.lane.transactor import Disconnected, Transactor
from streams.lane.writer import Broken, Fenced


@pytest.fixture(params=[Transactions, Producing], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type:
    """How transactions are written: as this Kafka can take them, or as older ones do."""
    if request.param is Producing:
        monkeypatch.setattr(transactions, "LEVEL", 99)
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
async def settings(kafka: str, prefix: str) -> Settings:
    made = Settings(kafka=kafka, prefix=prefix, partitions=2)
    await provisioning.provision(made)
    return made


@pytest.fixture
async def log(settings: Settings) -> AsyncIterator[Log]:
    reader = Log(settings)
    await reader.start()
    yield reader
    await reader.stop()


def place(settings: Settings, name: str = topics.RESULTS) -> TopicPartition:
    return TopicPartition(settings.topic(name), 0)


def outputs(*values: bytes) -> list[Output]:
    return [Output(topics.RESULTS, b"k", value, [("h", b"1")], partition=0) for value in values]


async def values(log: Log, partition: TopicPartition, count: int) -> list[bytes | None]:
    """The committed values, once there are `count`: a commit is answered before its markers are written everywhere."""
    found: list[bytes | None] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            end = (await log.stable_ends([partition]))[partition]
            found = [record.value async for records in log.read(partition, 0, end) for record in records]
    return found


async def committed(log: Log, settings: Settings, offset: int) -> Committed:
    """What the group `x` has committed for `events`, once it is `offset`."""
    where = place(settings, topics.EVENTS)
    async with asyncio.timeout(10):
        while (found := (await log.committed(settings.group("x"), [where]))[where]).offset != offset:
            await asyncio.sleep(0.05)
    return found


async def test_outputs_and_offsets_are_committed_together(settings: Settings, log: Log) -> None:
    lane = Transactor(settings, settings.group("x-0"), settings.group("x"))
    await lane.open()
    batch = Batch(outputs(b"1", b"2"), {place(settings, topics.EVENTS): OffsetAndMetadata(7, "AQ==")})
    await lane.commit(batch)
    await lane.close()
    assert batch.written == [0, 1]
    assert await values(log, place(settings), 2) == [b"1", b"2"]
    assert await committed(log, settings, 7) == Committed(7, "AQ==")


async def test_who_was_fenced_writes_nothing_any_more(settings: Settings, log: Log) -> None:
    old = Transactor(settings, settings.group("x-0"), settings.group("x"))
    new = Transactor(settings, settings.group("x-0"), settings.group("x"))
    await old.open()
    await old.commit(Batch(outputs(b"old"), {}))
    await new.open()
    with pytest.raises((Fenced, Broken)):
        await old.commit(Batch(outputs(b"zombie"), {place(settings, topics.EVENTS): OffsetAndMetadata(99, "")}))
    await new.commit(Batch(outputs(b"new"), {}))
    await old.close()
    await new.close()
    assert await values(log, place(settings), 2) == [b"old", b"new"]
    where = place(settings, topics.EVENTS)
    assert (await log.committed(settings.group("x"), [where]))[where].offset is None


async def test_a_transaction_with_one_record_that_is_too_large_writes_nothing(settings: Settings, log: Log) -> None:
    lane = Transactor(settings, settings.group("x-0"), settings.group("x"))
    await lane.open()
    # Random bytes: what compresses well would pass.
    large = [*outputs(b"good"), *outputs(os.urandom(3 * topics.MIB))]
    assert [output.fits for output in large] == [True, False]
    with pytest.raises(Broken):
        await lane.commit(Batch(large, {place(settings, topics.EVENTS): OffsetAndMetadata(1, "")}))
    await lane.open()
    await lane.commit(Batch(outputs(b"after"), {}))
    await lane.close()
    assert await values(log, place(settings), 1) == [b"after"]


async def test_more_than_one_batch_holds_is_written_in_order_over_several_partitions(
    settings: Settings, log: Log
) -> None:
    lane = Transactor(settings, settings.group("x-0"), settings.group("x"))
    await lane.open()
    # Random bytes: two fit a batch, and it takes several of them.
    made = [Output(topics.RESULTS, b"k", os.urandom(300_000), partition=at % 2) for at in range(14)]
    for before in (0, 1):
        batch = Batch(made, {place(settings, topics.EVENTS): OffsetAndMetadata(before + 1, "")})
        await lane.commit(batch)
        starts = [7 * before + before] * 2  # the first transaction's end takes an offset
        assert batch.written == [starts[at % 2] + at // 2 for at in range(14)]
    await lane.close()
    for partition in (0, 1):
        where = TopicPartition(settings.topic(topics.RESULTS), partition)
        assert await values(log, where, 14) == [output.value for output in made if output.partition == partition] * 2
    await committed(log, settings, 2)


async def test_the_high_watermark_counts_an_open_transaction_and_the_stable_end_does_not(
    settings: Settings, log: Log
) -> None:
    producer = connections.transactional_producer(settings, settings.group("x-0"))
    await producer.start()
    await producer.begin_transaction()
    await (await producer.send(settings.topic(topics.RESULTS), b"open", partition=0))
    assert await log.high_watermark(place(settings)) == 1
    assert (await log.stable_ends([place(settings)]))[place(settings)] == 0
    await producer.commit_transaction()
    assert await values(log, place(settings), 1) == [b"open"]
    await producer.stop()


async def test_offsets_of_a_transaction_without_an_end_are_seen_and_the_end_can_be_written(
    settings: Settings, log: Log
) -> None:
    lane = Transactor(settings, settings.group("egress-0"), settings.group("egress"))
    where = place(settings, topics.DELIVERIES)
    await lane.open()
    await lane.commit(Batch(outputs(b"1"), {where: OffsetAndMetadata(5, "")}))
    await lane.close()
    hanging = Producing(settings, settings.group("egress-0"), settings.group("egress"))
    await hanging.open()
    producer = hanging._producer
    await producer.begin_transaction()
    await (await producer.send(settings.topic(topics.RESULTS), b"2", partition=0))
    await producer.send_offsets_to_transaction({where: OffsetAndMetadata(6, "AQ==")}, settings.group("egress"))
    with pytest.raises(Unstable):
        await log.committed(settings.group("egress"), [where], stable=True)
    assert (await log.committed(settings.group("egress"), [where]))[where].offset == 5
    # As after a broker's stop: this transaction is nobody's any more, and the next of the same id ends it.
    producer.begin_transaction = _begun  # type: ignore[method-assign]
    await lane.complete(hanging, 0)
    await hanging.close()
    assert await values(log, place(settings), 2) == [b"1", b"2"]
    async with asyncio.timeout(10):
        while True:
            try:
                found = await log.committed(settings.group("egress"), [where], stable=True)
                break
            except Unstable:
                await asyncio.sleep(0.05)
    assert found[where] == Committed(6, "AQ==")


async def _begun() -> None:
    """It has begun already."""


async def test_a_coordinator_that_says_nothing_is_not_taken_for_one_that_knows_of_no_commit(
    settings: Settings, log: Log
) -> None:
    loading = Response7(0, [], 14, {})
    with pytest.raises(NotTold, match="LoadInProgress"):
        offset_fetch.read(loading)
    where = place(settings, topics.EVENTS)
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(NotTold):
                assert await log.committed(settings.group("nobody"), [where]) == {where: Committed(None)}
                break
            await asyncio.sleep(0.1)


async def test_after_a_lost_connection_nothing_is_written_before_the_lane_has_opened_again(
    settings: Settings, log: Log, way: type
) -> None:
    lane = Transactor(settings, settings.group("x-0"), settings.group("x"))
    await lane.open()
    for number in range(3):
        await lane.commit(Batch(outputs(b"%d" % number), {}))
    assert isinstance(lane._writer, way)
    assert lane._writer._connections
    for connection in lane._writer._connections:
        connection.close()
    with pytest.raises(Disconnected):
        await lane.commit(Batch(outputs(b"3"), {}))
    await lane.open()
    await lane.commit(Batch(outputs(b"4"), {}))
    await lane.close()
    assert await values(log, place(settings), 4) == [b"0", b"1", b"2", b"4"]
