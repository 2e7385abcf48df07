"""Data keys in a real Kafka: made before they seal, looked up before they are missed, gone once they are dropped."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import InvalidProducerEpoch, ProducerFenced
from aiokafka.structs import TopicPartition
from pydantic import SecretStr

from schemas import topics
from schemas.events import Event, Sealed
from schemas.settings import ReachSettings
from streams import provisioning
from streams.core import data_keys
from streams.core.reading import Unreadable
from streams.core.sealing import KeyMissing, Keyring
from streams.erasure import erasing
from streams.erasure.held import HeldKeys
from streams.erasure.view import DataKeys, Locked, NotReady
from streams.lane import connections
from streams.lane.log import Log
from streams.lane.sources import source_of

RING = f"k:{base64.b64encode(bytes(range(32))).decode()}"
LONG_AGO_MS, LATER_MS = 1, 2**60
Make = Callable[..., Awaitable[DataKeys]]


@pytest.fixture
async def settings(kafka: str, prefix: str) -> ReachSettings:
    made = ReachSettings(kafka=kafka, prefix=prefix, partitions=1, seal_keys=RING)
    await provisioning.provision(made)
    return made


@pytest.fixture
async def log(settings: ReachSettings) -> AsyncIterator[Log]:
    reader = Log(settings)
    await reader.start()
    yield reader
    await reader.stop()


@pytest.fixture
async def make(settings: ReachSettings, log: Log) -> AsyncIterator[Make]:
    """The keys as one process more has them; ready for tenants."""
    made: list[DataKeys] = []

    async def one(*tenants: str) -> DataKeys:
        keys = DataKeys(settings, log, seals=True)
        made.append(keys)
        if tenants:
            await keys.ready(tenants)
        return keys

    yield one
    for keys in made:
        await keys.stop()


def seal(keys: DataKeys, name: str, tenant: str = "t") -> Sealed:
    sealed = keys.sealed(Event(tenant, name, "a.b", b"data of " + name.encode())).sealed
    assert sealed is not None
    return sealed


async def records(settings: ReachSettings) -> list[tuple[bytes, bytes | None]]:
    """Everything that Kafka still has in `keys`."""
    place = TopicPartition(settings.topic(topics.KEYS), 0)
    async with AIOKafkaConsumer(bootstrap_servers=settings.kafka, isolation_level="read_committed") as consumer:
        consumer.assign([place])
        await consumer.seek_to_beginning(place)
        end = (await consumer.end_offsets([place]))[place]
        found: list[tuple[bytes, bytes | None]] = []
        while await consumer.position(place) < end:
            for got in (await consumer.getmany(timeout_ms=200)).values():
                found += [(record.key, record.value) for record in got]
    return found


async def test_nothing_is_asked_of_kafka_before_something_is_sealed(settings: ReachSettings, make: Make) -> None:
    keys = await make()
    event = Event("t", "e", "a.b", b"1")
    assert keys.opened(event, LONG_AGO_MS) is event
    assert not keys.following
    with pytest.raises(NotReady):
        keys.sealed(event)
    with pytest.raises(NotReady):
        keys.opened(replace(event, sealed=Sealed("k", b"")), LONG_AGO_MS, sure=False)
    assert await records(settings) == []


async def test_two_that_make_keys_at_the_same_time_open_what_the_other_sealed(make: Make) -> None:
    first, second = await make(), await make()
    await asyncio.gather(first.ready(["t", "u"]), second.ready(["t", "u"]))
    for here, there in ((first, second), (second, first)):
        for tenant in ("t", "u"):
            assert await there.data_of(tenant, "e", seal(here, "e", tenant)) == b"data of e"
    await asyncio.gather(first.ready(["t"]), second.ready(["t"]))
    assert seal(first, "f") == seal(second, "f")


async def test_a_key_that_is_not_known_is_looked_up_before_it_is_missed(make: Make) -> None:
    late = await make("u")
    sealed = seal(await make("t"), "e")
    assert await late.data_of("t", "e", sealed) == b"data of e"
    assert await late.data_of("t", "e", Sealed("never", b"")) is None


async def test_a_key_that_the_ring_does_not_open_is_not_taken_for_a_dropped_one(
    settings: ReachSettings, log: Log, make: Make
) -> None:
    sealed = seal(await make("t"), "e")
    ring = SecretStr(RING.replace("k:", "x:"))
    other = DataKeys(ReachSettings(kafka=settings.kafka, prefix=settings.prefix, partitions=1, seal_keys=ring), log)
    await other.reach("t")
    with pytest.raises(KeyMissing, match="the key k, which is not in HOOKFOLD_SEAL_KEYS"):
        await other.data_of("t", "e", sealed)
    with pytest.raises(Locked, match="the key k"):
        other.opened(Event("t", "e", "a.b", b"", sealed=sealed), LATER_MS)
    await other.stop()
    changed = replace(sealed, data=sealed.data[:-1] + bytes([sealed.data[-1] ^ 1]))
    found = (await make("t")).opened(Event("t", "e", "a.b", b"", sealed=changed), LATER_MS)
    assert found == Unreadable("the data was sealed for another event, or has been changed")


async def test_an_erased_event_opens_nowhere_and_every_other_does(
    settings: ReachSettings, log: Log, make: Make
) -> None:
    keys = await make("t", "u")
    sealed = {name: seal(keys, name) for name in ("a", "b")}
    done = await erasing.erase_events(settings, log, "t", ["a"])
    assert (done.tenant, done.keys) == ("t", 1)
    for one in (keys, await make()):
        await one.ready(["t"])
        assert await one.data_of("t", "a", sealed["a"]) is None
        assert await one.data_of("t", "b", sealed["b"]) == b"data of b"
        assert one.sealed(Event("t", "a", "a.b", b"again")).erased
        erased = one.opened(Event("t", "a", "a.b", b"in the clear"), LATER_MS)
        assert isinstance(erased, Event)
        assert (erased.erased, erased.data) == (True, b"")
        assert seal(one, "a", "u").data
    assert (await erasing.erase_events(settings, log, "t", ["a"])).keys == 0


async def test_erasures_at_the_same_time_do_not_undo_each_other(settings: ReachSettings, log: Log, make: Make) -> None:
    keys = await make("t")
    names = [f"e-{number}" for number in range(4)]
    sealed = {name: seal(keys, name) for name in [*names, "other"]}
    await asyncio.gather(*(erasing.erase_events(settings, log, "t", [name]) for name in names))
    await keys.reach("t")
    assert [await keys.data_of("t", name, sealed[name]) for name in names] == [None] * len(names)
    assert await keys.data_of("t", "other", sealed["other"]) == b"data of other"


async def test_a_key_that_is_made_while_others_are_rewritten_gives_the_event_up_too(
    settings: ReachSettings, log: Log, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, late = await make("t"), await make("t")
    sealed = [seal(keys, "e")]
    commit = erasing._commit

    async def meanwhile(*told: Any) -> int:
        if len(sealed) == 1:
            await late._make(["t"])  # it had not heard of the other key
            sealed.append(seal(late, "e"))
        return await commit(*told)

    monkeypatch.setattr(erasing, "_commit", meanwhile)
    assert (await erasing.erase_events(settings, log, "t", ["e"])).keys == 2
    assert sealed[0].key_id != sealed[1].key_id
    for one in sealed:
        await late.reach("t")
        assert await late.data_of("t", "e", one) is None


async def test_one_that_woke_up_late_cannot_put_back_what_was_erased(
    settings: ReachSettings, log: Log, make: Make
) -> None:
    keys = await make("t")
    sealed = seal(keys, "e")
    ((name, before),) = await records(settings)
    zombie = connections.transactional_producer(settings, settings.group("erase-0"))
    await zombie.start()
    await zombie.begin_transaction()
    await zombie.send(settings.topic(topics.KEYS), before, key=name, partition=0)
    await zombie.flush()
    await erasing.erase_tenant(settings, log, "t")
    with pytest.raises((ProducerFenced, InvalidProducerEpoch)):
        await zombie.commit_transaction()
    await connections.disconnect(zombie)
    await keys.reach("t")
    assert await keys.data_of("t", "e", sealed) is None


async def test_an_erased_tenant_begins_anew_and_others_are_let_be(
    settings: ReachSettings, log: Log, make: Make
) -> None:
    keys = await make("t", "u")
    before, others = seal(keys, "e"), seal(keys, "e", "u")
    done = await erasing.erase_tenant(settings, log, "t")
    await keys.ready(["t"])
    assert await keys.data_of("t", "e", before) is None
    assert await keys.data_of("u", "e", others) == b"data of e"
    clear = Event("t", "clear", "a.b", b"data")
    assert [getattr(keys.opened(clear, at_ms), "erased", None) for at_ms in (done.at_ms, done.at_ms + 1)] == [
        True, False
    ]  # fmt: skip
    after = seal(keys, "e")
    assert after.key_id != before.key_id
    assert await keys.data_of("t", "e", after) == b"data of e"


async def test_what_the_log_has_and_the_ring_open_nothing_that_was_erased(
    settings: ReachSettings, log: Log, make: Make
) -> None:
    """By the records alone, whatever our own view makes of them."""
    keys = await make("t", "u")
    sealed = {(tenant, name): seal(keys, name, tenant) for tenant in ("t", "u") for name in ("a", "b")}
    await erasing.erase_events(settings, log, "u", ["a"])
    await erasing.erase_tenant(settings, log, "t")
    held = HeldKeys(Keyring(settings.keys))
    place = TopicPartition(settings.topic(topics.KEYS), 0)
    async for several in log.read(place, 0, (await log.stable_ends([place]))[place]):
        for record in several:
            held.put(source_of(record))
    opened = {}
    for (tenant, name), one in sealed.items():
        key = held.key(tenant, one.key_id)
        opened[tenant, name] = key and data_keys.unseal(key, tenant, one.key_id, name, one.data)
    assert opened == {("t", "a"): None, ("t", "b"): None, ("u", "a"): None, ("u", "b"): b"data of b"}


async def test_more_events_than_a_key_can_give_up_are_refused_and_nothing_is_written(
    settings: ReachSettings, log: Log, make: Make
) -> None:
    keys = await make("t")
    await erasing.erase_events(settings, log, "t", [f"e-{number}" for number in range(data_keys.MAX_SEALING)])
    rest = data_keys.MAX_ERASED - data_keys.MAX_SEALING
    await erasing.erase_events(settings, log, "t", [f"f-{number}" for number in range(rest)])
    before = dict(await records(settings))  # by key: Kafka may drop the older ones meanwhile
    with pytest.raises(erasing.NotErased, match="the tenant as a whole can still be erased"):
        await erasing.erase_events(settings, log, "t", ["one more"])
    assert dict(await records(settings)) == before
    await keys.ready(["t"])
    assert keys.opened(Event("t", "e-7", "a.b", b"1"), LATER_MS) != Event("t", "e-7", "a.b", b"1")
    assert seal(keys, "g").data


async def test_keys_of_a_topic_that_was_made_anew_are_forgotten(settings: ReachSettings, make: Make) -> None:
    keys = await make("t")
    sealed = seal(keys, "e")
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    await admin.delete_topics([settings.topic(topics.KEYS)])
    while settings.topic(topics.KEYS) in await admin.list_topics():
        await asyncio.sleep(0.05)
    await admin.close()
    await provisioning.provision(settings)

    async def is_erased() -> bool:
        try:
            await keys.ready(["t"])
            return await keys.data_of("t", "e", sealed) is None
        except Exception:  # the brokers' word of the topic takes a moment to go round
            return False

    async with asyncio.timeout(60):
        while not await is_erased():
            await asyncio.sleep(0.1)
    assert await keys.data_of("t", "f", seal(keys, "f")) == b"data of f"


async def test_kafka_takes_a_dropped_key_from_its_disks(settings: ReachSettings, log: Log, make: Make) -> None:
    keys = await make("t", "u")
    seal(keys, "e")
    before = dict(await records(settings))
    await erasing.erase_events(settings, log, "u", ["e"])
    await erasing.erase_tenant(settings, log, "t")
    await erasing.forget(settings, "t")
    async with asyncio.timeout(120):  # its cleaner looks every 15 s
        while any(value is not None and value in before.values() for _, value in await records(settings)):
            await asyncio.sleep(0.5)
    left = {name for name, value in await records(settings) if value is not None}
    assert left == {b"t", *(name for name in before if name.startswith(b"u/"))}
