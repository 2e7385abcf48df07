"""What the router does in a lane: it takes events, waits for the changes before them, and judges them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from aiokafka.structs import ConsumerRecord, OffsetAndMetadata, TopicPartition

from schemas import topics
from schemas.settings import RouterSettings
from streams import metrics
from streams.core import judging, outputs, reading
from streams.core.dedupe import SeenIds
from streams.core.outputs import Output, Source
from streams.core.reading import Unreadable
from streams.erasure.view import DataKeys, Locked, NotReady
from streams.lane import clock
from streams.lane.log import Committed, Log, Truncated
from streams.lane.outputs import Batch
from streams.lane.sources import source_of
from streams.router.feed import EventFeed, Span
from streams.router.folding import FAULT, Folding
from streams.router.keeper import WARM_S, Keeper
from streams.router.opening import Opening
from streams.router.rebuild import Rebuild
from streams.router.replays import Replays

logger = logging.getLogger(__name__)

MAX_EVENTS = 2_000
#: How far behind Kafka's clock we may believe it to be for an event's millisecond to be waited for.
MAX_CLOCK_WAIT_MS = 20
MAX_BATCH_BYTES = 4 * 1_048_576
MAX_OUTPUTS = 10_000
MAX_OUTPUT_BYTES = 16 * 1_048_576
SWEEP_INTERVAL_S = 10.0
#: All else of the process waits meanwhile.
MAX_JUDGING_S = 0.2
MATCHED, UNMATCHED = metrics.EVENTS.labels("matched"), metrics.EVENTS.labels("unmatched")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The endpoints in a batch, in the order of their outputs, which are the batch's last."""

    written: dict[bytes, bytes | None]


class RouterWork:
    """One partition of `events` and `subscriptions`, and the endpoints that they are about."""

    def __init__(
        self,
        settings: RouterSettings,
        partition: int,
        log: Log,
        keys: DataKeys,
        heard: Callable[[], float],
        is_apart: Callable[[], bool] = lambda: False,
    ) -> None:
        """`heard`: when the process last got any hint; `is_apart`: true while it cannot get any."""
        self.notify: Callable[[], None] = lambda: None
        self.hurry: Callable[[], None] = lambda: None
        self.is_sure: Callable[[], bool] = lambda: False
        self.partition = partition
        self.events = TopicPartition(settings.topic(topics.EVENTS), partition)
        self.changes = TopicPartition(settings.topic(topics.SUBSCRIPTIONS), partition)
        self.keeper = Keeper(TopicPartition(settings.topic(topics.ENDPOINTS), partition), settings.partitions)
        self.feed_of_events = EventFeed(log, self.events, heard, is_apart)
        self.committed_events = 0
        self.committed_changes = 0
        self.applied = 0
        self._settings = settings
        self._folding = Folding(settings, self.keeper)
        self._rebuild = Rebuild(log, self.keeper, self._folding, self.changes)
        self._log = log
        self._opening = Opening(settings, keys)
        self._replays = Replays(settings, log, self.keeper, self.events, self._opening)
        self._seen = SeenIds(settings.dedupe_window_ms, settings.dedupe_events)
        self._pending_since_ms = 0
        self._swept = 0.0
        self._sweeping = False
        self._applied_moved = asyncio.Event()
        self._stopping = False
        self._moved = 0

    async def opened(self, committed: Mapping[TopicPartition, Committed], *, fresh: bool) -> dict[TopicPartition, int]:
        """See `Work.opened`. Whatever went before, everything is taken from the log: what was not committed is void."""
        self.committed_events = committed[self.events].offset or 0
        self.committed_changes = self.applied = committed[self.changes].offset or 0
        self._folding.take()
        self._swept = 0.0
        self._folding.max_bytes = (await self._log.limits()).get(topics.ENDPOINTS, self._folding.max_bytes)
        await self._find_pending()
        await self._rebuild.load(committed[self.changes].metadata, self.applied, self._pending_since_ms)
        await self._remember_ids()
        self.feed_of_events.reset(self.committed_events)
        self._replays.reset()
        if self._replays.pending:
            self.notify()
        return {self.changes: self.applied}

    def feed(self, partition: TopicPartition, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        """See `Work.feed`: changes. Events come through `hint`."""
        for record in records:
            if record.offset >= self.applied:
                self._folding.apply(source_of(record), self._pending_since_ms)

    def passed(self, partition: TopicPartition, position: int) -> None:
        """See `Work.passed`."""
        self.applied = max(self.applied, position)
        self._moved += 1
        self._applied_moved.set()
        self.notify()

    def wants(self, partition: TopicPartition) -> bool:
        """See `Work.wants`; hints over the bound are dropped and read again."""
        return not self._full and not self._rebuild.active

    def hint(self, span: Span) -> None:
        """Events that Faust has handed out."""
        self.feed_of_events.hint(span)
        self.notify()

    async def collect(self) -> Batch | None:
        """See `Work.collect`. Nothing is answered from a state older than the changes there are by now."""
        if self._stopping:
            return None
        if self._rebuild.active:
            endpoints, commit = self._rebuild.part(self.committed_changes)
            return Batch(self._records(endpoints), {self.changes: commit}, token=Snapshot({**endpoints}))
        await self._look_after()
        events = await self.feed_of_events.take(MAX_EVENTS, MAX_BATCH_BYTES)
        if events and not await self._reach(max(event.at_ms for event in events)):
            if self._stopping:
                return None
            self.feed_of_events.give_back(events)  # the changes before them are more than one transaction should have
            events = []
        await self._opening.prepare(events)
        made: list[Output] = []
        size, until = 0, time.monotonic() + MAX_JUDGING_S
        for place, event in enumerate(events):
            if len(made) >= MAX_OUTPUTS or size >= MAX_OUTPUT_BYTES or (place and time.monotonic() > until):
                self.feed_of_events.give_back(events[place:])
                break
            try:
                judged = self._judge(event)
            except NotReady as problem:
                self.feed_of_events.give_back(events[place:])
                self._moved += isinstance(problem, Locked)  # it waits for another ring, which no restart brings
                self.notify()
                break
            except Exception:  # one record must not stop its partition for ever
                logger.exception("event.faulted origin=%s", event.origin)
                judged = [outputs.rejected(event, FAULT)]
            made += judged
            size += sum(output.size for output in judged)
            self._pending_since_ms = event.at_ms
        next_event, applied = self.feed_of_events.next, self.applied
        made += self._folding.made
        made += self._replays.take()
        self._replays.work(self.notify)
        written: dict[bytes, bytes | None] = {**self.keeper.snapshot()}
        if self._sweeping:
            horizon_ms = clock.now_ms() - self._settings.history_ms
            written |= dict.fromkeys(self.keeper.gone_before(horizon_ms), None)
        if not made and not written and next_event == self.committed_events and applied == self.committed_changes:
            if self.keeper.warm(time.monotonic()):
                asyncio.get_running_loop().call_later(WARM_S, self.notify)
            return None
        self._folding.take()
        self._sweeping = False
        made += self._records(written)
        commits = {
            self.events: OffsetAndMetadata(next_event, ""),
            self.changes: self._rebuild.commit(applied, len(written)),
        }
        return Batch(made, commits, token=Snapshot(written))

    def settled(self, batch: Batch) -> None:
        """See `Work.settled`."""
        assert isinstance(batch.token, Snapshot)
        places = batch.written[len(batch.written) - len(batch.token.written) :]
        if places and places[0] < self.keeper.position:
            raise Truncated(f"endpoints-{self.partition} was written at {places[0]} although it was known further")
        self.keeper.committed(batch.token.written, max(places, default=-1) + 1)
        self._rebuild.settled()
        if self.events in batch.offsets:
            self.committed_events = batch.offsets[self.events].offset
        self.committed_changes = batch.offsets[self.changes].offset
        self._moved += 1
        if self.waiting() or self._replays.pending or self.keeper.cold:
            self.notify()

    async def drain(self, timeout_s: float) -> None:
        """See `Work.drain`: what is not judged stays in Kafka."""
        self._stopping = True
        self._replays.reset()
        self._applied_moved.set()

    def waiting(self) -> bool:
        """See `Work.waiting`."""
        return self.feed_of_events.waiting or self.keeper.dirty or self.applied > self.committed_changes

    def progress(self) -> int:
        """See `Work.progress`."""
        return self._moved

    async def lag(self, is_open: bool) -> dict[str, object]:
        """For the page: offsets of both inputs, committed and at the end."""
        ends = await self._log.stable_ends([self.events, self.changes])
        return {
            "partition": self.partition,
            "open": is_open,
            "events": self.committed_events,
            "events_end": ends[self.events],
            "events_lag": max(0, ends[self.events] - self.committed_events),
            "changes": self.applied,
            "changes_end": ends[self.changes],
            "endpoints": len(self.keeper),
        }

    @property
    def _full(self) -> bool:
        """True while changes have led to as much as one transaction should have."""
        return self.keeper.full or len(self._folding.made) >= MAX_OUTPUTS

    async def _reach(self, time_ms: int) -> bool:
        """Wait until every change up to `time_ms` is applied; False when the lane is to stop, or to commit, first.

        The millisecond has to be over before Kafka is asked, or one more change could fall into it. Clocks that differ
        by more than the longest wait leave just this undecided: see docs/adr/0007.
        """
        with metrics.BARRIER_S.time():
            left_ms = time_ms + 1 - clock.now_ms()
            if left_ms > 0:
                await asyncio.sleep(min(left_ms, MAX_CLOCK_WAIT_MS) / 1000)
            applied = self.applied
            end = await self._log.high_watermark(self.changes)
            if end < applied:
                raise Truncated(f"subscriptions-{self.partition} ends at {end}, and was read up to {applied}")
            while self.applied < end and not self._stopping and not self._full:
                self._applied_moved.clear()
                await self._applied_moved.wait()
        return self.applied >= end and not self._stopping

    def _records(self, written: Mapping[bytes, bytes | None]) -> list[Output]:
        return [Output(topics.ENDPOINTS, key, value, partition=self.partition) for key, value in written.items()]

    def _judge(self, source: Source) -> Sequence[Output]:
        moved = judging.misplaced(source, topics.EVENTS, self._settings.partitions)
        if moved is not None:
            metrics.EVENTS.labels("moved" if moved.topic == topics.EVENTS else "rejected").inc()
            return [moved]
        event = self._opening.read(source)
        if isinstance(event, Unreadable):
            metrics.EVENTS.labels("rejected").inc()
            return [outputs.rejected(source, event.reason)]
        if event.given_id and self._seen.seen(event.tenant, event.event_id, source.at_ms, source.offset):
            metrics.EVENTS.labels("repeated").inc()
            return []
        judged = judging.judge(event, source, self.keeper.candidates(event.tenant, event.event_type))
        (MATCHED if judged.outputs else UNMATCHED).inc()
        return judged.outputs

    async def _look_after(self) -> None:
        """Now and then: is `endpoints` still whole? And who has been gone for long is to be swept out of it."""
        now = time.monotonic()
        if now - self._swept >= SWEEP_INTERVAL_S:
            self._swept, self._sweeping = now, True
            await self._rebuild.check()

    async def _remember_ids(self) -> None:
        """Rebuild the window of event ids from the log."""
        self._seen = SeenIds(self._settings.dedupe_window_ms, self._settings.dedupe_events)
        if not self._settings.dedupe_window_ms or not self._settings.dedupe_events:
            return
        # Events that wait are judged by the window before them, not before now.
        since_ms = (self._pending_since_ms or clock.now_ms()) - self._settings.dedupe_window_ms
        start = await self._log.offset_at(self.events, since_ms)
        start = self.committed_events if start is None else min(start, self.committed_events)
        start = max(start, self.committed_events - self._settings.dedupe_events)
        end = self.committed_events
        async for records in self._log.read(self.events, start, end):
            for record in records:
                event = reading.read_record(source_of(record), self._settings.max_event_bytes)
                if not isinstance(event, Unreadable) and event.given_id:
                    self._seen.seen(event.tenant, event.event_id, record.timestamp, record.offset)

    async def _find_pending(self) -> None:
        """The time of the first event that is not judged yet; 0 where there is none."""
        start, end = self.committed_events, (await self._log.stable_ends([self.events]))[self.events]
        self._pending_since_ms = (await self._log.time_of(self.events, start, end) if end > start else None) or 0
