"""Finding an event in the log by its id, and walking through a tenant's events."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from aiokafka.structs import ConsumerRecord, TopicPartition

from schemas import topics
from schemas.events import Event
from schemas.settings import JudgingSettings
from streams.core import partitioning, reading
from streams.core.outputs import Source
from streams.core.reading import Unreadable
from streams.core.sealing import CannotOpen
from streams.erasure.view import DataKeys, Locked, NotReady
from streams.lane.log import Log
from streams.lane.sources import source_of

#: Offsets looked through at once, going back from the end; the first step, and the largest.
FIRST_STEP = 4_000
LARGEST_STEP = 64_000
_OWN_ID = re.compile(r"^(\d{1,10})-(\d{1,18})$", re.ASCII)


@dataclass(frozen=True, slots=True)
class Found:
    """An event, and its record."""

    event: Event
    source: Source


class TooLong(Exception):
    """The search has not come to its end in time."""


class PastEvents:
    """Events of the log. `settings` say how a record is read, and how far back an id is known."""

    def __init__(self, settings: JudgingSettings, log: Log, keys: DataKeys) -> None:
        self._settings = settings
        self._log = log
        self._keys = keys

    def place_of(self, tenant: str) -> TopicPartition:
        """Where the tenant's events are."""
        number = partitioning.partition_of(tenant.encode(), self._settings.partitions)
        return TopicPartition(self._settings.topic(topics.EVENTS), number)

    async def find(self, tenant: str, event_id: str, near_ms: int | None, timeout_s: float) -> Found | None:
        """The event as it was judged: the first record of its id within the window of repetitions.

        `near_ms`: its time in the log, where that is known. Raises `TooLong`, and `CannotOpen` where its data is sealed
        and the ring does not open it.
        """
        try:
            async with asyncio.timeout(timeout_s):
                found = await self._at(tenant, event_id, near_ms) if near_ms is not None else None
                found = found or await self._newest_chain(tenant, event_id)
                return await self._opened(found) if found is not None else None
        except TimeoutError as problem:
            raise TooLong(f"the event was not found within {timeout_s:g} s") from problem

    async def between(self, tenant: str, since_ms: int, until_ms: int) -> AsyncIterator[Found]:
        """The tenant's events of a time, each id once, oldest first. Raises `CannotOpen`."""
        place = self.place_of(tenant)
        start = await self._log.offset_at(place, since_ms)
        if start is None:
            return
        end = (await self._log.stable_ends([place]))[place]
        seen: set[str] = set()
        async for records in self._log.read(place, start, end, aside=True):
            for record in records:
                if record.timestamp >= until_ms:
                    return
                if (found := self._of(tenant, record)) is not None and found.event.event_id not in seen:
                    seen.add(found.event.event_id)
                    yield await self._opened(found)

    async def _opened(self, found: Found) -> Found:
        """With its data, or as erased."""
        keys, event, at_ms = self._keys, found.event, found.source.at_ms
        if keys.seals and not keys.following:
            await keys.reach(event.tenant)
        try:
            try:
                opened = keys.opened(event, at_ms, sure=False)
            except NotReady:
                await keys.reach(event.tenant)
                opened = keys.opened(event, at_ms)
        except Locked as problem:
            raise CannotOpen(str(problem)) from problem
        if isinstance(opened, Unreadable):
            raise CannotOpen(opened.reason)
        return replace(found, event=opened)

    def _of(self, tenant: str, record: ConsumerRecord[bytes, bytes]) -> Found | None:
        if record.key != tenant.encode():
            return None
        source = source_of(record)
        event = reading.read_record(source, self._settings.max_event_bytes)
        return None if isinstance(event, Unreadable) else Found(event, source)

    async def _at(self, tenant: str, event_id: str, at_ms: int) -> Found | None:
        place = self.place_of(tenant)
        start = await self._log.offset_at(place, at_ms)
        if start is None:
            return None
        end = (await self._log.stable_ends([place]))[place]
        async for records in self._log.read(place, start, end, at_most=50, aside=True):
            if (found := self._in(tenant, event_id, records)) is not None:
                return found
            if records[-1].timestamp > at_ms:
                return None
        return None

    async def _newest_chain(self, tenant: str, event_id: str) -> Found | None:
        """Back from the end; then further, as long as an earlier record of the id lies within the window."""
        place = self.place_of(tenant)
        first, end = (await self._log.bounds([place]))[place]
        end = min(end, (await self._log.stable_ends([place]))[place])
        if (own := _OWN_ID.fullmatch(event_id)) and int(own[1]) == place.partition and first <= int(own[2]) < end:
            async for records in self._log.read(place, int(own[2]), int(own[2]) + 1, aside=True):
                if (found := self._in(tenant, event_id, records)) is not None:
                    return found
        found, floor, step = None, first, FIRST_STEP
        while end > floor:
            start = max(floor, end - step)
            earlier = None
            async for records in self._log.read(place, start, end, aside=True):
                earlier = earlier or self._in(tenant, event_id, records)
            if earlier is not None:
                found = earlier
                if not found.event.given_id:
                    return found
                window_ms = await self._log.offset_at(place, found.source.at_ms - self._settings.dedupe_window_ms)
                floor = max(first, window_ms or first, found.source.offset - self._settings.dedupe_events)
                end, step = found.source.offset, FIRST_STEP
            else:
                end, step = start, min(2 * step, LARGEST_STEP)
        return found

    def _in(self, tenant: str, event_id: str, records: Sequence[ConsumerRecord[bytes, bytes]]) -> Found | None:
        """The first of the records that is the event."""
        key, named = tenant.encode(), event_id.encode()
        for record in records:
            if record.key != key or record.value is None:
                continue
            # Whoever does not have the text in it, and no escapes that could hide it, need not be parsed.
            spelled = named in record.value or b"\\" in record.value
            if not spelled and not any(named == value for _, value in record.headers):
                continue
            if (found := self._of(tenant, record)) is not None and found.event.event_id == event_id:
                return found
        return None
