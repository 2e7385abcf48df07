"""What a lane of the egress takes on while much is still to be written."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord, TopicPartition

from handlers.egress import work as works
from handlers.egress.queues import Item
from handlers.egress.turns import Turns
from handlers.egress.work import EgressWork
from schemas.deliveries import Delivery
from schemas.settings import EgressSettings
from streams.core.outputs import Output
from streams.lane.log import Committed

NEW, DUE = (TopicPartition(f"hookfold.{name}", 0) for name in ("deliveries", "deliveries.due"))


class Log:
    """A topic `ordering` without records."""

    async def stable_ends(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, 0)

    async def read(self, place: TopicPartition, start: int, end: int) -> AsyncIterator[list[Any]]:
        for nothing in ():
            yield nothing


@pytest.fixture
async def held() -> tuple[EgressWork, list[Item]]:
    """A lane that is sure of itself, and 6,000 deliveries that it holds."""
    items: list[Item] = []
    dispatcher: Any = SimpleNamespace(
        full=False,
        forget=lambda owner: None,
        crowded=lambda key: False,
        pump=lambda: None,
        offer=lambda key, item, version: items.append(item),
    )
    view: Any = SimpleNamespace(knows=lambda key: True, peek=lambda key: None)
    turns = Turns(Log(), TopicPartition("hookfold.ordering", 0))  # type: ignore[arg-type]
    work = EgressWork(EgressSettings(partitions=1), dispatcher, view, turns)
    work.is_sure = lambda: True
    await work.opened({NEW: Committed(0), DUE: Committed(0)}, fresh=True)
    made = Delivery(
        delivery_id="d", event_id="e", event_type="a", tenant="t", endpoint_id="e", endpoint_version="0-0",
        event_time_ms=0,
    )  # fmt: skip
    key, headers = made.key, tuple(made.headers())
    work.feed(NEW, [ConsumerRecord(NEW.topic, 0, n, 0, 1, key, b"", None, 0, 0, headers) for n in range(6_000)])
    return work, items


async def test_what_is_put_off_holds_up_no_attempt_and_what_was_posted_does(
    held: tuple[EgressWork, list[Item]],
) -> None:
    work, items = held
    for _ in range(3_000):
        work.put_off(items.pop(), 60_000, "breaker")
    assert work.may_start()
    for _ in range(works.MAX_UNCOMMITTED):
        assert work.may_start()
        work.finish(items.pop(), [Output("results", b"t/e", b"{}")], posted=True)
    assert not work.may_start()
    while (batch := await work.collect()) is not None:
        work.settled(batch)
    assert work.may_start()


async def test_what_was_posted_is_committed_at_once_before_it_holds_anything_up(
    held: tuple[EgressWork, list[Item]],
) -> None:
    work, items = held
    hurried: list[int] = []
    work.hurry = lambda: hurried.append(len(items))
    for _ in range(3_000):
        work.put_off(items.pop(), 60_000, "breaker")
    for _ in range(works.MAX_UNCOMMITTED // 2 - 1):
        work.finish(items.pop(), [Output("results", b"t/e", b"{}")], posted=True)
    assert not hurried
    work.finish(items.pop(), [Output("results", b"t/e", b"{}")], posted=True)
    assert hurried
    assert work.may_start()


async def test_a_herd_that_comes_due_is_not_read_faster_than_it_is_written(held: tuple[EgressWork, list[Item]]) -> None:
    work, items = held
    for _ in range(works.MAX_DONE):
        assert work.wants(DUE)
        work.put_off(items.pop(), 60_000, "breaker")
    assert (work.wants(DUE), work.wants(NEW)) == (False, True)
    batch = await work.collect()
    assert batch is not None
    work.settled(batch)
    assert work.wants(DUE)


async def test_the_end_of_an_attempt_from_before_a_fence_takes_nothing_from_what_is_held_since(
    held: tuple[EgressWork, list[Item]],
) -> None:
    work, items = held
    before = items[0]
    key, headers = before.key, tuple(before.delivery.headers())
    await work.opened({NEW: Committed(0), DUE: Committed(0)}, fresh=True)
    items.clear()
    work.feed(NEW, [ConsumerRecord(NEW.topic, 0, before.offset, 0, 1, key, b"", None, 0, 0, headers)])
    made = [Output("results", b"t/e", b"{}")]
    work.finish(before, made, posted=True)
    assert await work.collect() is None
    work.finish(items[0], made, posted=True)
    batch = await work.collect()
    assert batch is not None
    assert (batch.outputs, batch.offsets[NEW].offset) == (made, before.offset + 1)
