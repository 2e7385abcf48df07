"""Which deliveries go together, and when."""

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition

from handlers.egress.attempt import Over
from handlers.egress.dispatching import Dispatcher
from handlers.egress.queues import EndpointQueue, Item
from schemas.changes import Batch
from schemas.deliveries import VERIFICATION, Delivery
from schemas.endpoints import EndpointSettings, EndpointVersion, State
from schemas.settings import EgressSettings

PLACE = TopicPartition("deliveries", 0)


class Owner:
    """A lane that may always start."""

    def may_start(self) -> bool:
        return True

    def put_off(self, item: Item, for_ms: int, cause: str) -> None:
        raise AssertionError(cause)


LANE, OTHER = Owner(), Owner()


def item(number: int, size: int = 10, at: float = 0.0, owner: Owner = LANE, **more: Any) -> Item:
    delivery = Delivery(
        delivery_id=str(number), event_id="e", event_type=more.pop("event_type", "a"), tenant="t", endpoint_id="e",
        endpoint_version="0-0", event_time_ms=0, data=b"x" * size, **more,
    )  # fmt: skip
    return Item(delivery, PLACE, number, owner, at)


def queue_of(*items: Item, **batch: Any) -> EndpointQueue:
    queue = EndpointQueue(10)
    queue.batch = Batch(**{"max_items": 3, "max_wait_ms": 1_000, **batch})
    for one in items:
        queue.put(one)
    return queue


def numbers(items: list[Item]) -> list[int]:
    return [one.offset for one in items]


def test_without_batches_one_goes_at_a_time_and_at_once() -> None:
    queue = EndpointQueue(10)
    queue.put(item(1))
    queue.put(item(2))
    assert queue.closes_in_s(0.0) == 0.0
    assert numbers(queue.start(0.0)) == [1]


def test_a_batch_is_closed_by_its_items() -> None:
    queue = queue_of(item(1), item(2))
    assert queue.closes_in_s(0.25) == pytest.approx(0.75)
    queue.put(item(3))
    assert queue.closes_in_s(0.25) == 0.0
    queue.put(item(4))
    assert numbers(queue.start(0.25)) == [1, 2, 3]
    assert numbers(queue.start(0.25)) == [4]


def test_by_its_age_of_which_the_oldest_counts() -> None:
    queue = queue_of(item(1, at=5.0, attempt=2), item(2, at=5.5))
    assert queue.closes_in_s(5.75) == pytest.approx(0.25)
    assert queue.closes_in_s(6.0) == 0.0
    assert numbers(queue.start(6.0)) == [2, 1]


def test_by_its_bytes_and_an_item_that_is_larger_goes_alone() -> None:
    queue = queue_of(item(1, 60), item(2, 60), item(3, 500), item(4, 10), max_bytes=100, max_items=9)
    assert queue.closes_in_s(0.0) == 0.0
    assert [numbers(queue.start(0.0)) for _ in range(3)] == [[1], [2], [3]]
    assert queue.closes_in_s(0.0) == 1.0
    assert numbers(queue.start(0.0)) == [4]


def test_a_handshake_and_another_lanes_deliveries_go_by_themselves() -> None:
    queue = queue_of(item(1), item(2, event_type=VERIFICATION), item(3))
    assert [numbers(queue.start(9.0)) for _ in range(3)] == [[1], [2], [3]]
    queue = queue_of(item(1, event_type=VERIFICATION))
    assert queue.closes_in_s(0.0) == 0.0
    queue = queue_of(item(1), item(2, owner=OTHER))
    assert [numbers(queue.start(9.0)) for _ in range(2)] == [[1], [2]]


def test_who_is_in_a_hurry_does_not_wait() -> None:
    queue = queue_of(item(1), item(2))
    queue.hurry = True
    assert queue.closes_in_s(0.0) == 0.0
    queue.start(0.0)
    queue.put(item(3))
    assert queue.closes_in_s(0.0) == 1.0


def test_what_is_taken_out_does_not_count() -> None:
    queue = queue_of(item(1, 60), item(2, 60), max_bytes=100, max_items=9)
    queue.take_if(lambda one: one.offset == 1)
    assert queue.closes_in_s(0.0) == 1.0


async def test_a_lane_in_a_hurry_gets_its_open_batches_sent() -> None:
    sent: list[list[int]] = []

    def attempt(items: list[Item], queue: EndpointQueue, over: Over) -> None:
        sent.append(numbers(items))
        asyncio.get_running_loop().call_soon(over, None)

    settings = EndpointSettings.model_validate(
        {
            "url": "https://a.example/",
            "subscriptions": (),
            "secrets": (),
            "batch": Batch(max_items=9, max_wait_ms=60_000),
        }
    )
    version = EndpointVersion(valid_from_ms=0, offset=0, state=State.ACTIVE, since_ms=0, settings=settings)
    dispatcher = Dispatcher(EgressSettings(), attempt)
    for number in (1, 2):
        dispatcher.offer(b"t/e", item(number), version)
    await asyncio.sleep(0.01)
    assert (sent, dispatcher.resting(LANE), dispatcher.resting(OTHER)) == ([], 2, 0)
    dispatcher.hurry(OTHER)
    await asyncio.sleep(0.01)
    assert sent == []
    dispatcher.hurry(LANE)
    await asyncio.sleep(0.01)
    assert (sent, dispatcher.resting(LANE)) == ([[1, 2]], 0)
