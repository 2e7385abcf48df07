"""Replays under way in one partition: the log is looked through again, a chunk at a time, beside what is live.

How far one has come is part of its endpoint's record, and so of the transaction with what it delivers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgspec
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord, TopicPartition
from pydantic import ValidationError

from schemas import topics
from schemas.endpoints import CatchUp, EndpointRecord
from schemas.results import Result
from schemas.settings import RouterSettings
from streams.core import catching_up, outputs, partitioning
from streams.core.bucket import Bucket
from streams.core.catching_up import Past
from streams.core.outputs import Output
from streams.core.reading import Unreadable
from streams.erasure.view import NotReady
from streams.lane.log import Log
from streams.lane.sources import source_of
from streams.router.folding import FAULT, Folding
from streams.router.keeper import Keeper
from streams.router.opening import Opening

logger = logging.getLogger(__name__)

MAX_EVENTS = 2_000
MAX_BYTES = 4 * 1_048_576
#: At its rate, a replay makes so many seconds' worth at a time. And so soon an end that is not stable yet is looked at
#: again, and Kafka that did not answer asked again.
PART_S = 0.25


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next part of a replay, from `start` to before `next_offset`."""

    key: bytes
    replay_id: str
    start: int | None
    next_offset: int
    end_offset: int
    outputs: list[Output]


@dataclass(slots=True)
class _Job:
    """A replay in memory: its first event, what the results said when it began here, and what it has delivered."""

    replay_id: str
    first: int
    past: dict[str, Past]
    seen: set[str]
    bucket: Bucket = field(default_factory=Bucket)


class Replays:
    """Makes one chunk at a time. `opening`: an event's record as the router reads it."""

    def __init__(
        self,
        settings: RouterSettings,
        log: Log,
        keeper: Keeper,
        folding: Folding,
        events: TopicPartition,
        opening: Opening,
    ) -> None:
        self._settings = settings
        self._log = log
        self._keeper = keeper
        self._folding = folding
        self._events = events
        self._opening = opening
        self._jobs: dict[bytes, _Job] = {}
        #: Endpoints whose records have no room for a replay's progress, with the version that this was said of.
        self._held: dict[bytes, str] = {}
        self._ready: Chunk | None = None
        self._task: asyncio.Task[None] | None = None
        self._last: bytes | None = None

    @property
    def pending(self) -> bool:
        """True while there is something to be looked through."""
        return next(self._candidates(), None) is not None

    def reset(self) -> None:
        """Begin again from what the keeper says."""
        if self._task is not None:
            self._task.cancel()
        self._ready = self._task = None
        self._jobs.clear()
        self._held.clear()

    def work(self, notify: Callable[[], None]) -> None:
        """Begin with the next chunk, unless one is ready or under way; `notify` when it is."""
        if self._ready is None and (self._task is None or self._task.done()) and self.pending:
            self._task = asyncio.get_running_loop().create_task(self._make(notify))

    def take(self, pending_since_ms: int) -> list[Output]:
        """What the chunk that is ready owes; how far it has come goes into the keeper.

        `pending_since_ms`: see `Folding.apply`.
        """
        chunk, self._ready = self._ready, None
        if chunk is None:
            return []
        tenant, _, endpoint_id = chunk.key.decode().partition("/")
        record = self._keeper.get(tenant, endpoint_id)
        here = next((one for one in record.catch_ups if one.replay_id == chunk.replay_id), None) if record else None
        if record is None or here is None or here.next_offset != chunk.start:
            self._jobs.pop(chunk.key, None)
            return []
        advanced = catching_up.advance(record, chunk.replay_id, chunk.next_offset, chunk.end_offset)
        if not self._folding.progress(advanced, pending_since_ms):
            logger.error("replay.held endpoint=%s reason=its record is too large for its topic", chunk.key.decode())
            self._held[chunk.key] = record.version
            self._jobs.pop(chunk.key, None)
            return []
        if chunk.next_offset >= chunk.end_offset:
            logger.info("replay.done endpoint=%s replay_id=%s", chunk.key.decode(), chunk.replay_id)
            self._jobs.pop(chunk.key, None)
        return chunk.outputs

    def _next(self) -> tuple[bytes, EndpointRecord, CatchUp] | None:
        """The next endpoint's turn: one that cannot go on holds up nobody else."""
        return next((one for one in self._candidates() if self._wait_s(one[0], one[2]) == 0), None)

    def _candidates(self) -> Iterator[tuple[bytes, EndpointRecord, CatchUp]]:
        keys = self._keeper.catching
        turn = keys.index(self._last) + 1 if self._last in keys else 0
        for key in (*keys[turn:], *keys[:turn]):
            tenant, _, endpoint_id = key.decode().partition("/")
            record = self._keeper.get(tenant, endpoint_id)
            # One at a time of each endpoint: a later one may depend on what became of an earlier.
            catch_up = next((one for one in record.catch_ups if one.until_ms is not None), None) if record else None
            if record is not None and catch_up is not None and self._held.get(key) != record.version:
                yield key, record, catch_up

    def _wait_s(self, key: bytes, catch_up: CatchUp) -> float:
        """How long until the replay's rate lets it go on; it goes on by so much at a time that a transaction pays."""
        job = self._jobs.get(key)
        if job is None or job.replay_id != catch_up.replay_id:
            return 0.0
        rate = self._rate_of(catch_up)
        return job.bucket.wait_s(rate, asyncio.get_running_loop().time(), max(1.0, rate * PART_S))

    def _rate_of(self, catch_up: CatchUp) -> float:
        return catch_up.rate_per_s or self._settings.replay_rate_per_s

    async def _make(self, notify: Callable[[], None]) -> None:
        try:
            if (found := self._next()) is not None:
                self._last = found[0]
                self._ready = await self._chunk(*found)
        except (TimeoutError, KafkaError, NotReady) as problem:
            logger.warning("replay.waits reason=%r", problem)
        except Exception:
            logger.exception("replay.faulted")
        if self._ready is None:
            await asyncio.sleep(PART_S)
        notify()

    async def _chunk(self, key: bytes, record: EndpointRecord, catch_up: CatchUp) -> Chunk | None:
        highest = await self._log.high_watermark(self._events)
        await self._opening.know(record.tenant)
        # An end that lies beyond all there is belongs to a topic that was made anew: there is nothing left to find.
        end = min(catch_up.end_offset if catch_up.end_offset is not None else highest, highest)
        job = self._jobs.get(key)
        if job is None or job.replay_id != catch_up.replay_id:
            found = await self._log.offset_at(self._events, catch_up.since_ms)
            first = end if found is None else found
            job = self._jobs[key] = _Job(catch_up.replay_id, first, await self._past(key, catch_up), set())
            if catch_up.next_offset is not None:
                await self._look_through(record, catch_up, job, first, min(catch_up.next_offset, end))
        start = min(catch_up.next_offset if catch_up.next_offset is not None else job.first, end)
        stable = (await self._log.stable_ends([self._events]))[self._events]
        if start < end and stable <= start:
            return None
        job.bucket.wait_s(self._rate_of(catch_up), asyncio.get_running_loop().time())
        room = max(1, int(job.bucket.tokens))
        made, position = await self._look_through(record, catch_up, job, start, min(end, stable), room)
        job.bucket.spend(len(made))
        return Chunk(key, catch_up.replay_id, catch_up.next_offset, position, end, made)

    async def _look_through(
        self, record: EndpointRecord, catch_up: CatchUp, job: _Job, start: int, end: int, room: int | None = None
    ) -> tuple[list[Output], int]:
        """What the events of a range owe that were not seen before, at most `room`, and how far it was looked.

        Without `room` they are only noted as seen.
        """
        made: list[Output] = []
        count = size = 0
        async for records in self._log.read(self._events, start, end, at_most=500, aside=True):
            for one in records:
                if (output := self._try(one, record, catch_up, job)) is not None and room is not None:
                    made.append(output)
                    size += output.size
                    if len(made) == room or size >= MAX_BYTES:
                        return made, one.offset + 1
            count += len(records)
            if room is not None and count >= MAX_EVENTS:
                return made, records[-1].offset + 1
        return made, max(start, end)

    def _try(
        self, one: ConsumerRecord[bytes, bytes], record: EndpointRecord, catch_up: CatchUp, job: _Job
    ) -> Output | None:
        try:
            return self._owed(one, record, catch_up, job)
        except NotReady:
            raise
        except Exception:  # one record must not stop a replay for ever
            source = source_of(one)
            logger.exception("replay.faulted origin=%s", source.origin)
            return outputs.rejected(source, FAULT)

    def _owed(
        self, one: ConsumerRecord[bytes, bytes], record: EndpointRecord, catch_up: CatchUp, job: _Job
    ) -> Output | None:
        source = source_of(one)
        if source.key != record.tenant.encode():
            return None
        event = self._opening.read_known(source)
        if isinstance(event, Unreadable) or event.event_id in job.seen:
            return None
        output = catching_up.owed(event, source, record, catch_up, job.past)
        if output is None:
            return None
        job.seen.add(event.event_id)
        if output.fits:
            return output
        return outputs.rejected(source, f"its replay to {record.endpoint_id} is larger than the topic takes")

    async def _past(self, key: bytes, catch_up: CatchUp) -> dict[str, Past]:
        """What the results say of the endpoint's deliveries since the replay's first event."""
        partition = partitioning.partition_of(key, self._settings.partitions)
        place = TopicPartition(self._settings.topic(topics.RESULTS), partition)
        start = await self._log.offset_at(place, catch_up.since_ms)
        known: dict[str, Past] = {}
        if start is None:
            return known
        end = (await self._log.stable_ends([place]))[place]
        async for records in self._log.read(place, start, end, aside=True):
            catching_up.gather(known, _results(key, records))
        return known


def _results(key: bytes, records: list[ConsumerRecord[bytes, bytes]]) -> list[Result]:
    found = []
    for record in records:
        if record.key == key and record.value is not None:
            try:
                found.append(Result.model_validate(msgspec.json.decode(record.value), strict=False))
            except (ValidationError, msgspec.DecodeError):
                logger.warning("replay.unreadable origin=%s/%d/%d", record.topic, record.partition, record.offset)
    return found
