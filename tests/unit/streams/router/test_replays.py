"""How far a replay has come finds room in its endpoint's record, or the replay waits; and nothing else is confused."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord, TopicPartition

from schemas.endpoints import CatchUp, EndpointRecord, EndpointVersion, State
from schemas.settings import RouterSettings
from streams.lane.log import Log
from streams.router import replays
from streams.router.folding import PROGRESS_BYTES, Folding
from streams.router.keeper import Keeper
from streams.router.opening import Opening
from streams.router.replays import Replays

EVENTS, SINCE_MS, COUNT = TopicPartition("hookfold.events", 0), 1_000, 30
SETTINGS = RouterSettings(partitions=1, allow_http=True, allow_networks="127.0.0.0/8")


class Events:
    """A log of events, one a millisecond, and nothing in any other topic; `bytes_each`: of their data."""

    def __init__(self, bytes_each: int = 10) -> None:
        headers = (("ce_type", b"a.b"), ("ce_source", b"/s"))
        self._records = [
            ConsumerRecord(
                EVENTS.topic, 0, number, SINCE_MS + number, 1, b"t", b"1" * bytes_each, None, 1, bytes_each,
                (("ce_id", str(number).encode()), *headers),
            )
            for number in range(COUNT)
        ]  # fmt: skip

    async def high_watermark(self, place: TopicPartition) -> int:
        return len(self._records)

    async def stable_ends(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(places, len(self._records))

    async def offset_at(self, place: TopicPartition, time_ms: int) -> int | None:
        return max(0, time_ms - SINCE_MS) if place == EVENTS else None

    async def read(self, place: TopicPartition, start: int, end: int, **_: Any) -> AsyncIterator[list[Any]]:
        yield self._records[start:end]


class NoKeys:
    """Nothing was ever sealed."""

    seals = following = False

    async def ready(self, tenants: Any) -> None:
        """There is nothing to be known."""


def endpoint(*older: EndpointVersion, description: str = "") -> EndpointRecord:
    """One whose replay of all that it was not active for has just begun."""
    given = {
        "url": "http://127.0.0.1:9/", "subscriptions": [{"event_types": ["**"]}], "secrets": [],
        "description": description,
    }  # fmt: skip
    version = {"valid_from_ms": 2_000, "offset": 5, "state": State.ACTIVE, "since_ms": 2_000, "settings": given}
    return EndpointRecord(
        tenant="t",
        endpoint_id="e",
        partition=0,
        current=EndpointVersion.model_validate(version, strict=False),
        history=older,
        catch_ups=(CatchUp(replay_id="0-5", kind="backfill", since_ms=SINCE_MS, until_ms=2_000),),
    )


class Router:
    """What a lane has for replays, without the lane."""

    def __init__(self, log: Any) -> None:
        typed: Log = log
        self.keeper = Keeper(TopicPartition("hookfold.endpoints", 0))
        self.folding = Folding(SETTINGS, self.keeper)
        keys: Any = NoKeys()
        opening = Opening(SETTINGS, keys)
        self.replays = Replays(SETTINGS, typed, self.keeper, self.folding, EVENTS, opening)

    async def chunk(self) -> list[str]:
        """The event ids of the next part."""
        ready = asyncio.Event()
        self.replays.work(ready.set)
        await asyncio.wait_for(ready.wait(), 10)
        return [dict(output.headers)["event-id"].decode() for output in self.replays.take(3_000)]


async def test_a_replay_whose_progress_does_not_fit_waits_until_its_endpoint_is_smaller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replays, "MAX_BYTES", 1)
    router = Router(Events())
    router.keeper.change(large := endpoint(description="x" * 1_000))
    router.folding.max_bytes = len(large.encode()) + 160
    assert await router.chunk() == []
    assert router.keeper.get("t", "e") == large
    assert not router.replays.pending
    router.keeper.change(endpoint().model_copy(update={"aside_offset": 6}))
    assert [await router.chunk() for _ in range(2)] == [["0"], ["1"]]


async def test_history_that_nobody_needs_gives_way_to_a_replays_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "MAX_BYTES", 1)
    router = Router(Events())
    before = {"valid_from_ms": 1, "offset": 1, "state": State.PAUSED}
    older = endpoint(description="x" * 1_000).current.model_copy(update=before)
    later = older.model_copy(update={"valid_from_ms": SINCE_MS - 1, "offset": 2})
    router.keeper.change(large := endpoint(older, later))
    router.folding.max_bytes = len(large.encode()) + 160
    assert await router.chunk() == ["0"]
    left = router.keeper.get("t", "e")
    assert left is not None
    assert (left.history, left.catch_ups[0].next_offset) == ((later,), 1)


def test_a_change_leaves_room_for_the_progress_of_each_replay() -> None:
    wide = CatchUp(replay_id="0-5", since_ms=1, next_offset=2**63 - 1, end_offset=2**63 - 1)
    narrow = wide.model_copy(update={"next_offset": None, "end_offset": None})
    both = [len(endpoint().model_copy(update={"catch_ups": (one,) * 3}).encode()) for one in (wide, narrow)]
    assert both[0] - both[1] <= 3 * PROGRESS_BYTES


async def test_a_part_has_as_many_bytes_as_it_may_whatever_a_fetch_brings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replays, "MAX_BYTES", 5_000)
    router = Router(Events(1_000))
    router.keeper.change(endpoint())
    found = []
    while router.replays.pending:
        part = await router.chunk()
        assert len(part) <= 5
        found += part
    assert found == [str(number) for number in range(COUNT)]
