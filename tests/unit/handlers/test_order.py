"""Order under every mishap that a lane knows: an egress whose log, clock and receivers are drawn at random."""

import random
from collections import defaultdict
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord, TopicPartition

from handlers.egress import done
from handlers.egress.queues import Item
from handlers.egress.turns import Turns
from handlers.egress.work import EgressWork
from schemas.deliveries import Delivery
from schemas.settings import EgressSettings
from streams.core.outputs import Output
from streams.lane.log import Committed
from streams.lane.outputs import Batch

NEW, DUE, LINES = (TopicPartition(f"hookfold.{name}", 0) for name in ("deliveries", "deliveries.due", "ordering"))
SETTINGS = EgressSettings(partitions=1)


class Log:
    """The topics of one partition, in memory; every other offset is a control record's."""

    def __init__(self) -> None:
        self.records: dict[TopicPartition, list[Any]] = defaultdict(list)

    def end(self, place: TopicPartition) -> int:
        return 2 * len(self.records[place])

    def append(self, place: TopicPartition, key: bytes | None, value: bytes | None, headers: Any = ()) -> int:
        offset = self.end(place)
        record = ConsumerRecord(place.topic, 0, offset, 1_000, 1, key, value, None, 0, 0, tuple(headers))
        self.records[place].append(record)
        return offset

    async def stable_ends(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {place: self.end(place) for place in places}

    async def read(self, place: TopicPartition, start: int, end: int) -> AsyncIterator[list[Any]]:
        yield [record for record in self.records[place] if start <= record.offset < end]


class Receivers:
    """A dispatcher that holds what it is offered until somebody says how the attempt ended."""

    full = False

    def __init__(self) -> None:
        self.held: list[Item] = []
        self.offered: list[tuple[bytes, int]] = []
        self.slow = 1.0

    def offer(self, key: bytes, item: Item, version: object) -> None:
        assert item.delivery.order_place is not None
        self.held.append(item)
        self.offered.append(((item.delivery.order_key or "").encode(), item.delivery.order_place))

    def forget(self, owner: object) -> None:
        self.held.clear()

    def attempt_ms(self, key: bytes) -> float:
        return self.slow

    def crowded(self, key: bytes) -> bool:
        return False

    def resting(self, owner: object) -> int:
        return 0

    def pump(self) -> None:
        pass


class World:
    """An egress and its log; `over` is what has ended for good, by line, in the order it did."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.lines = self.draw.choice((1, 3))
        self.log = Log()
        self.committed = {NEW: Committed(0), DUE: Committed(0)}
        self.fed = {NEW: 0, DUE: 0}
        self.waiting: list[Output] = []
        self.over: dict[str, list[int]] = defaultdict(list)
        self.sent = 0

    async def start(self) -> None:
        """A process opens the lane, with nothing in memory."""
        self.receivers = Receivers()
        self.receivers.slow = self.draw.choice((1.0, 2_000.0))
        view: Any = SimpleNamespace(knows=lambda key: True, peek=lambda key: None)
        self.work = EgressWork(SETTINGS, self.receivers, view, Turns(self.log, LINES))  # type: ignore[arg-type]
        self.ended: dict[str, set[int]] = defaultdict(set)
        await self.open(fresh=True)

    async def open(self, *, fresh: bool) -> None:
        self.fed = await self.work.opened(self.committed, fresh=fresh)

    def produce(self) -> None:
        key = str(self.draw.randrange(self.lines))
        made = Delivery(
            delivery_id=str(self.sent),
            event_id="e",
            event_type="a.b",
            tenant="t",
            endpoint_id="ep",
            endpoint_version="0-0",
            event_time_ms=0,
            order_key=key,
        )
        self.sent += 1
        self.log.append(NEW, made.key, b"", made.headers())

    def feed(self) -> None:
        place = self.draw.choice((NEW, DUE))
        count = self.draw.randrange(1, 4)
        records = [record for record in self.log.records[place] if record.offset >= self.fed[place]][:count]
        self.work.feed(place, records)
        self.fed[place] = records[-1].offset + 1 if records else self.fed[place]
        self.work.passed(place, self.fed[place])

    def end_one(self) -> None:
        if not self.receivers.held:
            return
        item = self.receivers.held.pop(self.draw.randrange(len(self.receivers.held)))
        delivery = item.delivery
        assert delivery.order_key is not None
        assert delivery.order_place is not None
        if self.draw.random() < 0.4:
            self.work.put_off(item, 60_000, "queue")
            return
        self.ended[delivery.order_key].add(delivery.order_place)
        self.work.finish(item, [])

    def check(self) -> None:
        """Nobody is attempted before all earlier ones of the line are over: in this process, or in the log."""
        for name, place in self.receivers.offered:
            key = name.decode()
            earlier = {record.offset for record in self.log.records[NEW] if dict(record.headers)["order-key"] == name}
            missing = {one for one in earlier if one < place} - self.ended[key] - set(self.over[key])
            assert not missing, f"{place} of line {key} goes before {sorted(missing)}"
        self.receivers.offered.clear()

    async def commit(self, how: str) -> None:
        """`how`: it is written and told, written and not told, or neither."""
        batch = await self.work.collect()
        if batch is None:
            return
        if how != "lost":
            self.write(batch)
        if how == "told":
            self.work.settled(batch)
        else:
            await self.open(fresh=False)

    def write(self, batch: Batch) -> None:
        for place, commit in batch.offsets.items():
            self.committed[place] = Committed(commit.offset, commit.metadata)
        for output in batch.outputs:
            if output.topic == "ordering":
                batch.written.append(self.log.append(LINES, output.key, output.value))
            else:
                batch.written.append(-1)
                self.waiting.append(output)
        token: Any = batch.token
        for step in [one.step for one in self.work._done[: token.count]]:
            if step is not None and step.due_ms is None:
                self.over[step.line.rsplit(b"/")[-1].decode()].append(step.place)

    def come_due(self) -> None:
        if self.waiting:
            output = self.waiting.pop(self.draw.choice((0, 0, 0, min(2, len(self.waiting) - 1))))
            headers = [(name, raw) for name, raw in output.headers if name != "due-at-ms"]
            self.log.append(DUE, output.key, output.value, headers)


@pytest.mark.parametrize("seed", range(60))
async def test_nobody_goes_before_those_of_its_line(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(seed)
    monkeypatch.setattr(done, "MAX_BATCH_OUTPUTS", 2)
    await world.start()
    for _ in range(400):
        what = world.draw.random()
        if what < 0.12:
            for _ in range(world.draw.choice((0, 0, 1, 3))):
                world.produce()
        elif what < 0.45:
            world.feed()
        elif what < 0.7:
            world.end_one()
        elif what < 0.88:
            await world.commit(world.draw.choice(("told", "told", "told", "untold", "lost")))
        elif what < 0.95:
            world.come_due()
        else:
            await world.start()
        world.check()
    wanted = [record.offset for record in world.log.records[NEW]]
    rounds = 0
    while len(ends := [place for places in world.over.values() for place in places]) < len(wanted) and rounds < 10_000:
        rounds += 1
        world.feed()
        world.come_due()
        world.end_one()
        await world.commit("told")
        world.check()
    assert sorted(ends) == wanted
    assert all(value is None for value in {one.key: one.value for one in world.log.records[LINES]}.values())
