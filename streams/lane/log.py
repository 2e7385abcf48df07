"""The reading side of a lane besides its feed: committed offsets, ends, and ranges read again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord, TopicPartition

from schemas.settings import Settings
from streams import provisioning
from streams.lane import clock, connections, offset_fetch, private
from streams.lane.bounded import Joined, within
from streams.lane.ends import REQUEST_TIMEOUT_S, Ends
from streams.lane.health import Health
from streams.lane.offset_fetch import NotTold, OffsetFetch
from streams.provisioning import WrongTopics

log = logging.getLogger(__name__)

#: Control records end no poll: how long one lasts is how late their end is seen.
READ_POLL_MS = 20
#: For so long others wait for a partition that may have no leader.
READY_S = 3.0
#: A replay takes so many events at a time as its rate allows; the rest of what was fetched is thrown away.
ASIDE_FETCH_BYTES = 131_072
LIMITS_AGE_S = 60.0
TOPICS_AGE_S = 5.0
LISTEN_INTERVAL_S = 3.0


@dataclass(frozen=True, slots=True)
class Committed:
    """What a group has committed for a partition: the next offset (None: nothing yet) and the commit's metadata."""

    offset: int | None
    metadata: str = ""


class Truncated(Exception):
    """The log is shorter than what has been read of it: the topic was made anew, or has lost its tail."""


class MissingTopics(Exception):
    """Topics that are needed do not exist (any more)."""


class Log:
    """Looks things up in the log over connections of its own, so that no look-up waits behind a long fetch."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._admin: AIOKafkaAdminClient | None = None
        self._uncommitted: AIOKafkaConsumer | None = None
        self._committed: AIOKafkaConsumer | None = None
        # The second is for what may take long: nobody who opens a lane waits behind it.
        self._ranges: list[AIOKafkaConsumer] = []
        self._range_locks = (asyncio.Lock(), asyncio.Lock())
        #: Partitions that had no answer: they are asked for once more before others have to wait for them.
        self._silent: set[TopicPartition] = set()
        self._ends: Ends | None = None
        self._stable_ends: Ends | None = None
        self._limits: Mapping[str, int] = {}
        self._limits_read = 0.0
        self._topics_checked = float("-inf")
        # All lanes of a process open at a time.
        self._topics = Joined(self._look_for_topics)
        self._records = Joined(self._ask_limits)

    async def start(self) -> None:
        """Connect. Raises aiokafka's errors where Kafka does not answer."""
        self._admin = connections.admin(self._settings)
        self._uncommitted = connections.reader(self._settings, "read_uncommitted")
        self._committed = connections.reader(self._settings)
        aside = connections.reader(self._settings, fetch_bytes=ASIDE_FETCH_BYTES)
        self._ranges = [connections.reader(self._settings), aside]
        self._ends, self._stable_ends = Ends(self._uncommitted), Ends(self._committed)
        clients: tuple[Any, ...] = (self._admin, self._uncommitted, self._committed, *self._ranges)
        for client in clients:
            await client.start()

    async def stop(self) -> None:
        """Disconnect."""
        for client in (self._uncommitted, self._committed, *self._ranges):
            await connections.disconnect(client)
        if self._admin is not None:
            with contextlib.suppress(Exception):
                await self._admin.close()

    async def committed(
        self, group: str, partitions: Iterable[TopicPartition], *, stable: bool = False
    ) -> dict[TopicPartition, Committed]:
        """The group's commits. Only after the fence are they final.

        Raises `NotTold` where Kafka does not say, which must not be taken for "nothing committed": that would begin
        everything anew. `stable`: raises `Unstable` where an offset is held by a transaction without an end.
        """
        assert self._admin is not None
        wanted = list(partitions)
        answer = await within(REQUEST_TIMEOUT_S, self._fetch_offsets(OffsetFetch(group, wanted, stable=stable), group))
        found = offset_fetch.read(answer)
        if missing := set(wanted) - set(found):
            raise NotTold(f"the coordinator of {group} does not say what is committed for {len(missing)} partitions")
        return {tp: Committed(found[tp][0] if found[tp][0] >= 0 else None, found[tp][1]) for tp in wanted}

    async def _fetch_offsets(self, request: OffsetFetch, group: str) -> Any:
        assert self._admin is not None
        return await self._admin._send_request(request, await self._admin.find_coordinator(group))

    async def limits(self) -> Mapping[str, int]:
        """The largest record (`max.message.bytes`) of each topic without prefix; asked at most once a minute."""
        if asyncio.get_running_loop().time() - self._limits_read > LIMITS_AGE_S or not self._limits:
            await self._records.answer()
        return self._limits

    async def _ask_limits(self) -> None:
        assert self._admin is not None
        now = asyncio.get_running_loop().time()
        self._limits = await within(REQUEST_TIMEOUT_S, provisioning.record_limits(self._admin, self._settings))
        self._limits_read = now

    async def listen(self, health: Health) -> None:
        """Ask Kafka for the topics now and then, for ever: an idle feed cannot tell silence from absence.

        Tells `health` that Kafka answers, and when a topic is missing. Raises `WrongTopics`.
        """
        while True:
            await asyncio.sleep(LISTEN_INTERVAL_S)
            try:
                await self.check_topics(0.0)
                health.kafka_answered()
                health.ready("topics")
            except MissingTopics as problem:
                health.kafka_answered()
                health.unready("topics", str(problem))
            except WrongTopics:
                raise
            except Exception as problem:  # it is the silence that is told
                log.debug("log.silent reason=%r", problem)

    async def check_topics(self, age_s: float = TOPICS_AGE_S) -> None:
        """Raise `MissingTopics`, or `WrongTopics` where one has come back with other partitions.

        What was found well less than `age_s` ago is not looked at again.
        """
        if asyncio.get_running_loop().time() - self._topics_checked > age_s:
            await self._topics.answer()

    async def _look_for_topics(self) -> None:
        assert self._admin is not None
        now = asyncio.get_running_loop().time()
        if missing := await within(REQUEST_TIMEOUT_S, provisioning.missing_topics(self._admin, self._settings)):
            raise MissingTopics(missing)
        self._topics_checked = now

    async def cluster(self) -> str:
        """The id of the Kafka cluster."""
        assert self._admin is not None
        return str((await within(REQUEST_TIMEOUT_S, self._admin.describe_cluster()))["cluster_id"])

    async def earliest(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The first offset that each partition still has."""
        assert self._committed is not None
        return dict(await within(REQUEST_TIMEOUT_S, self._committed.beginning_offsets(list(partitions))))

    async def bounds(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """The first offset that each partition still has, and its end, open transactions included."""
        places = list(partitions)
        firsts = await self.earliest(places)
        ends = await asyncio.gather(*(self.high_watermark(place) for place in places))
        return {place: (firsts[place], end) for place, end in zip(places, ends, strict=True)}

    async def stable_ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset up to which each partition can be read under `read_committed`."""
        assert self._stable_ends is not None
        places = list(partitions)
        ends = await asyncio.gather(*(self._stable_ends.of(place) for place in places))
        return dict(zip(places, ends, strict=True))

    async def offset_at(self, partition: TopicPartition, time_ms: int) -> int | None:
        """The first offset whose time is `time_ms` or later; None where there is none."""
        assert self._committed is not None
        asked = self._committed.offsets_for_times({partition: time_ms})
        found = (await within(REQUEST_TIMEOUT_S, asked)).get(partition)
        return None if found is None else int(found.offset)

    async def time_of(self, partition: TopicPartition, start: int, end: int) -> int | None:
        """When Kafka took the first record with `start <= offset < end`, ms since 1970.

        None where there is no record, or where its time is its producer's word.
        """
        async with contextlib.aclosing(self.read(partition, start, end, at_most=1)) as lists:
            async for records in lists:
                stamped = records[0].timestamp_type == clock.LOG_APPEND_TIME
                return int(records[0].timestamp) if stamped else None
        return None

    async def high_watermark(self, partition: TopicPartition) -> int:
        """The end of a partition, open transactions included, as of now or later."""
        assert self._ends is not None
        return await self._ends.of(partition)

    async def read(
        self, partition: TopicPartition, start: int, end: int, *, at_most: int = 2_000, aside: bool = False
    ) -> AsyncGenerator[list[ConsumerRecord[bytes, bytes]]]:
        """The committed records with `start <= offset < end`, in lists of at most `at_most`.

        `end` must lie within what is stable. `aside`: it may take long, and others do not wait for it. Raises
        TimeoutError when Kafka stays silent for 15 s.
        """
        reader = self._ranges[aside]
        if partition in self._silent:
            await self.earliest([partition])
            self._silent.discard(partition)
        async with self._range_locks[aside]:
            reader.assign([partition])
            try:
                first = await self._first(reader, partition)
                private.drop_fetched(reader)  # it may have begun at the beginning by itself
                reader.seek(partition, max(start, first))
                position = max(start, first)
                heard = asyncio.get_running_loop().time()
                while position < end:
                    got = await reader.getmany(partition, timeout_ms=READ_POLL_MS, max_records=at_most)
                    records = [record for record in got.get(partition, ()) if record.offset < end]
                    if records:
                        yield records
                    moved = await reader.position(partition)
                    now = asyncio.get_running_loop().time()
                    if moved > position:
                        position, heard = moved, now
                    elif now - heard > REQUEST_TIMEOUT_S:
                        raise TimeoutError(f"{partition} cannot be read from {position} to {end}")
            finally:
                private.drop_fetched(reader)
                reader.unsubscribe()

    async def _first(self, reader: AIOKafkaConsumer, partition: TopicPartition) -> int:
        """The first offset as the reader knows it, which then also knows where to read."""
        try:
            return int((await within(READY_S, reader.beginning_offsets([partition])))[partition])
        except (TimeoutError, KafkaError):
            self._silent.add(partition)
            raise
