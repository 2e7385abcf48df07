"""What is put off, for how long, and what a partition waits for."""

import asyncio
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition

from handlers.egress import dispatching
from handlers.egress.attempt import Over
from handlers.egress.dispatching import Dispatcher
from handlers.egress.queues import SCOUTS, EndpointQueue, Item
from schemas.deliveries import Delivery
from schemas.settings import EgressSettings
from streams.core.breaking import OPEN_AFTER, Ending, Report

KEY = b"t/e"
PLACE = TopicPartition("deliveries", 0)


class Owner:
    """A lane that notes what is put off, and for how long (ms)."""

    def __init__(self) -> None:
        self.waits: list[tuple[str, int]] = []

    def may_start(self) -> bool:
        return True

    def put_off(self, item: Item, for_ms: int, cause: str) -> None:
        self.waits.append((cause, for_ms))


class Clock:
    """Monotonic time that a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr(dispatching, "time", SimpleNamespace(monotonic=lambda: self.now))


def item(owner: Owner, number: int = 0, replay_id: str | None = None) -> Item:
    delivery = Delivery(
        delivery_id=str(number), event_id="e", event_type="a", tenant="t", endpoint_id="e", endpoint_version="0-0",
        event_time_ms=0, replay_id=replay_id,
    )  # fmt: skip
    return Item(delivery, PLACE, number, owner)


def fails(items: list[Item], queue: EndpointQueue, over: Over) -> None:
    asyncio.get_running_loop().call_soon(over, Report(Ending.UNAVAILABLE))


async def test_a_partition_waits_for_a_quick_receiver_and_not_for_one_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, owner = Clock(monkeypatch), Owner()

    def hangs(items: list[Item], queue: EndpointQueue, over: Over) -> None:
        pass

    dispatcher = Dispatcher(EgressSettings(endpoint_queue=100, endpoint_in_flight=10), hangs)
    for number in range(200):
        dispatcher.offer(KEY, item(owner, number), None)
    assert dispatcher.crowded(KEY)
    clock.now += 2.0
    assert not dispatcher.crowded(KEY)
    dispatcher.offer(KEY, item(owner), None)
    assert [cause for cause, _ in owner.waits] == ["queue"]


async def test_while_a_breaker_is_open_a_few_come_back_at_its_end_and_the_others_when_it_is_cheap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, owner = Clock(monkeypatch), Owner()
    dispatcher = Dispatcher(EgressSettings(endpoint_in_flight=1), fails)
    for number in range(OPEN_AFTER):
        dispatcher.offer(KEY, item(owner, number), None)
    await asyncio.sleep(0.01)
    assert owner.waits == []
    clock.now += 1.3
    for number in range(50):
        dispatcher.offer(KEY, item(owner, number), None)
    assert owner.waits == [("breaker", 3_701)] * SCOUTS + [("breaker", 5_000)] * (50 - SCOUTS)


async def test_what_waits_for_an_endpoint_that_stays_away_is_put_off_for_longer_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, owner = Clock(monkeypatch), Owner()
    dispatcher = Dispatcher(EgressSettings(endpoint_in_flight=1), fails)
    last = []
    for number in range(2_000):
        clock.now += 1.0
        dispatcher.offer(KEY, item(owner, number), None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if number in (60, 300, 1_999):
            for _ in range(SCOUTS):
                dispatcher.offer(KEY, item(owner), None)
            last.append(owner.waits[-1][1])
    assert last == [30_000, 120_000, 600_000]


async def test_a_replay_that_fails_says_nothing_of_how_long_its_endpoint_has_been_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, owner = Clock(monkeypatch), Owner()
    queue = EndpointQueue(1)
    for one, away_ms in ((item(owner, 1, "r"), 0.0), (item(owner, 2), 60_000.0)):
        queue.put(one)
        assert queue.start(clock.now) == [one]
        queue.end(one, clock.now, Report(Ending.UNAVAILABLE))
        assert queue.load(clock.now + 60.0).away_ms == away_ms


async def test_a_lane_that_may_not_start_is_asked_again_when_it_says_so_and_holds_up_nobody() -> None:
    started: list[int] = []

    def starts(items: list[Item], queue: EndpointQueue, over: Over) -> None:
        started.extend(one.offset for one in items)
        asyncio.get_running_loop().call_soon(over, Report(Ending.ACCEPTED))

    class Stopped(Owner):
        asked = 0
        may = False

        def may_start(self) -> bool:
            self.asked += 1
            return self.may

    stopped, other = Stopped(), Owner()
    dispatcher = Dispatcher(EgressSettings(), starts)
    dispatcher.offer(b"t/stopped", item(stopped, 1), None)
    for number in range(2, 30):
        dispatcher.offer(b"t/other", item(other, number), None)
        await asyncio.sleep(0)
    assert (started, stopped.asked) == (list(range(2, 30)), 1)
    stopped.may = True
    dispatcher.pump()
    assert started[-1] == 1
    await asyncio.sleep(0)


async def test_no_more_is_read_than_can_be_started_soon_and_what_cannot_start_anyway_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, owner, under_way = Clock(monkeypatch), Owner(), list[Over]()

    def begins(items: list[Item], queue: EndpointQueue, over: Over) -> None:
        under_way.append(over)

    dispatcher = Dispatcher(EgressSettings(in_flight=4, endpoint_in_flight=2, endpoint_queue=100_000), begins)
    for number in range(dispatching.MAX_READY):
        dispatcher.offer(b"t/one", item(owner, number), None)
    clock.now += 1.0
    assert not dispatcher.full  # the process has places, and this endpoint has all of its own
    for number in range(dispatching.MAX_READY + 10):
        dispatcher.offer(b"t/%d" % (number % 5), item(owner, number), None)
    clock.now += 1.0
    assert dispatcher.full
    for over in under_way:
        over(Report(Ending.ACCEPTED))
    dispatcher.forget(owner)
    clock.now += 1.0
    assert not dispatcher.full


async def test_what_has_begun_together_is_told_once() -> None:
    told: list[int] = []
    begun: list[int] = []

    def begins(items: list[Item], queue: EndpointQueue, over: Over) -> None:
        begun.extend(one.offset for one in items)
        asyncio.get_running_loop().call_soon(over, Report(Ending.ACCEPTED))

    dispatcher = Dispatcher(EgressSettings(endpoint_in_flight=10), begins, lambda: told.append(len(begun)))
    for number in range(5):
        dispatcher.offer(b"t/%d" % number, item(Owner(), number), None)
    for number in range(5, 10):
        dispatcher.offer(b"t/%d" % (number % 5), item(Owner(), number), None)
    before = len(told)
    assert told[-1] == len(begun)
    for number in range(10, 40):
        dispatcher.offer(b"t/%d" % (number % 5), item(Owner(), number), None)
    while len(begun) < 40:
        await asyncio.sleep(0)
    assert told[-1] == 40
    assert len(told) > before
