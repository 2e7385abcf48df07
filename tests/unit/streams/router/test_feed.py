"""The feed hands out a partition's records in order, each once, whatever it has been told of them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord, TopicPartition
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.core.outputs import Source
from streams.lane.sources import source_of
from streams.router import feed as feeds
from streams.router.feed import EventFeed, Span

PLACE = TopicPartition("hookfold.events", 0)


def record(offset: int, value: bytes = b"v") -> ConsumerRecord[bytes, bytes]:
    return ConsumerRecord(PLACE.topic, 0, offset, 1, 1, b"t", value, None, 1, len(value), ())


def source(offset: int, value: bytes = b"v") -> Source:
    return source_of(record(offset, value))


class Log:
    """A partition with records at some offsets; what is between them were control records."""

    def __init__(self, offsets: list[int], end: int) -> None:
        self.offsets = offsets
        self.end = end
        self.reads = 0

    async def stable_ends(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, self.end)

    async def read(
        self, place: TopicPartition, start: int, end: int, *, at_most: int = 2_000
    ) -> AsyncIterator[list[Any]]:
        self.reads += 1
        found = [record(offset) for offset in self.offsets if start <= offset < end]
        for first in range(0, len(found), at_most):
            yield found[first : first + at_most]

    def span(self, start: int, end: int) -> Span:
        return Span(start, end, [source(offset) for offset in self.offsets if start <= offset < end])


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks for what it was not told of without waiting for quiet."""
    monkeypatch.setattr(feeds, "APART_S", 0.0)


async def drained(feed: EventFeed, log: Log, at_most: int = 2_000) -> list[int]:
    """The offsets of all that it hands out until it is at the end."""
    taken: list[int] = []
    while feed.next < log.end:
        taken += [one.offset for one in await feed.take(at_most, 1_000_000)]
    return taken


def feed_of(log: Log, start: int = 0) -> EventFeed:
    made = EventFeed(log, PLACE, lambda: 0.0, lambda: True)  # type: ignore[arg-type]
    made.reset(start)
    return made


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    offsets=st.sets(st.integers(0, 60)),
    spans=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)), max_size=12),
    at_most=st.integers(1, 20),
    given_back=st.integers(0, 3),
)
def test_whatever_is_hinted_at_every_record_is_handed_out_once_and_in_order(
    offsets: set[int], spans: list[tuple[int, int]], at_most: int, given_back: int
) -> None:
    log = Log(sorted(offsets), 61)

    async def test() -> None:
        feed = feed_of(log)
        taken: list[int] = []
        hints = [log.span(start, min(61, start + length)) for start, length in spans]
        while feed.next < log.end:
            if hints:
                feed.hint(hints.pop(0))
            got = await feed.take(at_most, 1_000_000)
            kept = len(got) - min(given_back, len(got) - 1) if got else 0
            feed.give_back(got[kept:])
            taken += [one.offset for one in got[:kept]]
        assert taken == log.offsets

    asyncio.run(test())


async def test_a_gap_within_a_span_is_no_reason_to_read_again() -> None:
    log = Log([0, 1, 5, 9], 12)
    feed = feed_of(log)
    feed.hint(log.span(0, 6))
    feed.hint(log.span(6, 12))
    assert await drained(feed, log) == [0, 1, 5, 9]
    assert log.reads == 0


async def test_what_lies_between_two_spans_is_read_from_the_log() -> None:
    log = Log([0, 1, 2, 3, 4], 5)
    feed = feed_of(log)
    feed.hint(log.span(0, 2))
    feed.hint(log.span(3, 5))
    assert await drained(feed, log) == [0, 1, 2, 3, 4]
    assert log.reads == 1


async def test_a_span_without_records_moves_the_feed_on() -> None:
    feed = feed_of(log := Log([], 7))
    feed.hint(Span(0, 7, []))
    assert feed.waiting
    assert await feed.take(10, 10) == []
    assert feed.next == 7
    assert not feed.waiting
    assert log.reads == 0


async def test_a_full_feed_says_so_and_drops_what_comes_all_the_same() -> None:
    count = feeds.MAX_HINTS + 10
    feed = feed_of(log := Log(list(range(count)), count))
    feed.hint(log.span(0, feeds.FULL_HINTS - 1))
    assert feed.has_room
    feed.hint(log.span(feeds.FULL_HINTS - 1, feeds.MAX_HINTS))
    assert not feed.has_room
    feed.hint(log.span(feeds.MAX_HINTS, count))
    assert await drained(feed, log) == log.offsets
    assert log.reads == 1
    assert feed.has_room


async def test_large_records_fill_it_too() -> None:
    feed = feed_of(Log([], 0))
    feed.hint(Span(0, 1, [source(0, b"x" * feeds.FULL_BYTES)]))
    assert not feed.has_room
    assert [one.offset for one in await feed.take(10, 1)] == [0]
    assert feed.has_room


async def test_a_span_before_what_is_next_is_no_news() -> None:
    feed = feed_of(log := Log([0, 1, 2], 3), start=3)
    feed.hint(log.span(0, 3))
    assert not feed.waiting


async def test_what_is_read_again_holds_no_more_bytes_than_it_may() -> None:
    log = Log(list(range(100)), 100)
    feed = EventFeed(log, PLACE, lambda: 0.0, lambda: True)
    taken = []
    while len(taken) < 100:
        some = await feed.take(10, 3)  # a byte each
        assert 0 < len(some) <= 10
        taken += [one.offset for one in some]
    assert taken == list(range(100))
    assert log.reads >= 10
