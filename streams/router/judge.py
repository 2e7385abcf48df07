"""Judges the events of one partition in their order, each once; one with a large fan-out in parts."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka.structs import OffsetAndMetadata, TopicPartition

from schemas import topics
from schemas.settings import RouterSettings
from streams import metrics
from streams.core import judging, outputs, parts, reading
from streams.core.dedupe import SeenIds
from streams.core.outputs import Output, Source
from streams.core.parts import Part
from streams.core.reading import Unreadable
from streams.erasure.view import NotReady
from streams.lane import clock
from streams.lane.log import Committed, Log
from streams.lane.sources import source_of
from streams.router.folding import FAULT
from streams.router.keeper import Keeper
from streams.router.opening import Opening
from streams.router.pending import Pending

logger = logging.getLogger(__name__)

MAX_OUTPUTS = 10_000
#: What is judged at a time, and what one event leads to at a time: two such parts are a transaction at the most. Each
#: transaction that fails halves it, for it may have been too large for this Kafka; those that succeed let it grow.
MAX_OUTPUT_BYTES = 8 * 1_048_576
MIN_OUTPUT_BYTES = 64 * 1_024
#: All else of the process waits meanwhile.
MAX_JUDGING_S = 0.2
MATCHED, UNMATCHED = metrics.EVENTS.labels("matched"), metrics.EVENTS.labels("unmatched")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What events led to; `left`: those not judged, or not for all endpoints; `waits`: what the first of them lacks."""

    outputs: list[Output]
    left: Sequence[Source] = ()
    waits: NotReady | None = None


class Judge:
    """Of one lane. It tells `pending` how far it is."""

    def __init__(self, settings: RouterSettings, log: Log, keeper: Keeper, opening: Opening, pending: Pending) -> None:
        self._settings = settings
        self._log = log
        self._keeper = keeper
        self._opening = opening
        self._pending = pending
        self._seen = SeenIds(settings.dedupe_window_ms, settings.dedupe_events)
        self._room = MAX_OUTPUT_BYTES
        #: Of the event that is judged next, where it is begun.
        self._part: Part | None = None

    async def begin(self, place: TopicPartition, committed: Committed) -> None:
        """Go on where the commit says; the window of event ids is rebuilt from the log."""
        offset = committed.offset or 0
        self._part = parts.read(offset, committed.metadata)
        self._seen = SeenIds(self._settings.dedupe_window_ms, self._settings.dedupe_events)
        if not self._settings.dedupe_window_ms or not self._settings.dedupe_events:
            return
        # Events that wait are judged by the window before them, not before now.
        since_ms = (self._pending.first_ms or clock.now_ms()) - self._settings.dedupe_window_ms
        found = await self._log.offset_at(place, since_ms)
        start = offset if found is None else min(found, offset)
        start = max(start, offset - self._settings.dedupe_events)
        async for records in self._log.read(place, start, offset):
            for record in records:
                event = reading.read_record(source_of(record), self._settings.max_event_bytes)
                if not isinstance(event, Unreadable) and event.given_id:
                    self._seen.seen(event.tenant, event.event_id, record.timestamp, record.offset)

    def judge(self, events: Sequence[Source]) -> Judgement:
        """The outputs of as many events as one transaction should have."""
        made: list[Output] = []
        size, until = 0, time.monotonic() + MAX_JUDGING_S
        for place, event in enumerate(events):
            if len(made) >= MAX_OUTPUTS or size >= self._room or (place and time.monotonic() > until):
                return Judgement(made, events[place:])
            to = None
            try:
                judged, to = self._judge(event)
            except NotReady as problem:
                return Judgement(made, events[place:], problem)
            except Exception:  # one record must not stop its partition for ever
                logger.exception("event.faulted origin=%s", event.origin)
                judged = [outputs.rejected(event, FAULT)]
            made += judged
            size += sum(output.size for output in judged)
            self._pending.judged(event.at_ms)
            if to is not None:
                self._part = Part(event.offset, event.at_ms, to)
                return Judgement(made, events[place:])
        return Judgement(made)

    def commit(self, offset: int) -> OffsetAndMetadata:
        """All events before `offset` are judged, and that one as far as it is."""
        part = self._part
        return OffsetAndMetadata(offset, str(part) if part is not None and part.offset == offset else "")

    def ended(self, *, well: bool) -> None:
        """The last transaction is over."""
        room = self._room + self._room // 8 if well else self._room // 2
        self._room = min(MAX_OUTPUT_BYTES, max(MIN_OUTPUT_BYTES, room))

    def _judge(self, source: Source) -> tuple[Sequence[Output], str | None]:
        """The outputs, and the endpoint up to which there was room for them; None where it is judged for all."""
        moved = judging.misplaced(source, topics.EVENTS, self._settings.partitions)
        if moved is not None:
            metrics.EVENTS.labels("moved" if moved.topic == topics.EVENTS else "rejected").inc()
            return [moved], None
        event = self._opening.read(source)
        if isinstance(event, Unreadable):
            metrics.EVENTS.labels("rejected").inc()
            return [outputs.rejected(source, event.reason)], None
        part = self._part if self._part is not None and self._part.is_of(source) else None
        repeated = event.given_id and self._seen.seen(event.tenant, event.event_id, source.at_ms, source.offset)
        if repeated and part is None:
            metrics.EVENTS.labels("repeated").inc()
            return [], None
        candidates = self._keeper.candidates(event.tenant, event.event_type)
        left = None if part is None else candidates.after(part.to)
        judged = judging.judge(event, source, candidates, left, self._room)
        if part is None:
            (MATCHED if judged.outputs else UNMATCHED).inc()
        return judged.outputs, judged.to
