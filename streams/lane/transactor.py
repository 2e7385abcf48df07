"""The writing side of a lane: one transactional id, which only its newest holder may use."""

from __future__ import annotations

import contextlib
import functools
from collections import defaultdict
from collections.abc import Mapping

from aiokafka.structs import OffsetAndMetadata, TopicPartition

from schemas import topics
from schemas.settings import Settings
from schemas.topics import topic_map
from streams.core.outputs import Output, fitted
from streams.lane import clock
from streams.lane.bounded import within
from streams.lane.outputs import Batch
from streams.lane.producing import Producing
from streams.lane.transactions import Transactions
from streams.lane.writer import Broken, Fenced, Writer

#: One transaction may take this long before it counts as failed: shorter than Kafka's own limit for it.
COMMIT_TIMEOUT_S = 15.0
OPEN_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 6.0


class Disconnected(Exception):
    """A connection has closed since the last transaction: whether that has an end in the log must be asked first."""


class Transactor:
    """Writes batches in transactions. After any error it must be opened again."""

    def __init__(self, settings: Settings, transactional_id: str, group: str) -> None:
        self._settings = settings
        self._transactional_id = transactional_id
        self._group = group
        self._writer: Writer | None = None
        self._limits: Mapping[str, int] = {}
        self._place = functools.cache(lambda topic, number: TopicPartition(settings.topic(topic), number))

    async def open(self, limits: Mapping[str, int] | None = None) -> None:
        """Fence every earlier holder; when this returns, their last transaction is over. Raises `Broken`.

        `limits`: the largest record of each topic without prefix; what is larger is written to `rejected` instead.
        """
        self._limits = limits or {}
        await self.close()
        try:
            await within(OPEN_TIMEOUT_S, self._open())
        except Exception as problem:
            raise Broken(f"cannot open {self._transactional_id}: {problem!r}") from problem

    async def commit(self, batch: Batch) -> None:
        """Write the outputs and the offsets, all or nothing, and note the outputs' offsets in `batch.written`.

        Raises `Fenced`, `Disconnected` before anything is written, or `Broken` where the end is not known.
        """
        assert self._writer is not None, "open first"
        if not self._writer.is_connected():
            raise Disconnected(self._transactional_id)
        try:
            written = await within(COMMIT_TIMEOUT_S, self._write(self._writer, batch))
        except Fenced:
            raise
        except Exception as problem:
            raise Broken(f"a transaction of {self._transactional_id} failed: {problem!r}") from problem
        batch.written[:] = written

    async def complete_hanging(self, number: int) -> None:
        """Write the end of an earlier transaction of this id that was committed, but whose end is nowhere in the log.

        It has written records and offsets, and this id is the only one that can end them. `number`: the lane's
        partition. Raises `Broken`.
        """
        await self.close()
        self._writer = writer = Producing(self._settings, self._transactional_id, self._group)
        try:
            await within(OPEN_TIMEOUT_S, writer.open())
            await within(COMMIT_TIMEOUT_S, self.complete(writer, number))
        except Exception as problem:
            raise Broken(f"a hanging transaction of {self._transactional_id} cannot be ended: {problem!r}") from problem
        await self.open(self._limits)

    async def complete(self, writer: Producing, number: int) -> None:
        """Have `writer` end a transaction wherever this service writes."""
        service = self._group.removeprefix(self._settings.prefix)
        places = {
            TopicPartition(self._settings.topic(topic.name), partition)
            for topic in topic_map(self._settings.tiers_ms)
            if service in topic.writers
            for partition in range(self._settings.partitions)
        }
        # Nobody reads `rejected` in a group: a commit for it says nothing, and takes the group into the transaction.
        nothing = {TopicPartition(self._settings.topic(topics.REJECTED), number): OffsetAndMetadata(0, "")}
        await writer.complete(places, nothing)

    async def close(self) -> None:
        """Let go of the writer; an open transaction is left to the next opening, which ends it."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with contextlib.suppress(Exception):
                await within(CLOSE_TIMEOUT_S, writer.close())

    async def _open(self) -> None:
        made = Transactions(self._settings, self._transactional_id, self._group, self._limits)
        self._writer = made
        if not await made.connect():
            await made.close()
            self._writer = Producing(self._settings, self._transactional_id, self._group)
        await self._writer.open()

    async def _write(self, writer: Writer, batch: Batch) -> list[int]:
        indexes: defaultdict[TopicPartition, list[int]] = defaultdict(list)
        places: defaultdict[TopicPartition, list[Output]] = defaultdict(list)
        for index, given in enumerate(batch.outputs):
            output = fitted(given, self._limits)
            place = self._place(output.topic, output.place(self._settings.partitions))
            indexes[place].append(index)
            places[place].append(output)
        began_ms = clock.steady_ms()
        appended = await writer.commit(places, batch.offsets)
        written = [-1] * len(batch.outputs)
        for place, batches in appended.items():
            offsets = [one.first + distance for one in batches for distance in range(one.count)]
            for index, offset in zip(indexes[place], offsets, strict=True):
                written[index] = offset
            for one in batches:
                clock.appended(one.at_ms, clock.LOG_APPEND_TIME if one.at_ms > 0 else None, began_ms)
        return written
