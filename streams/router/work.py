"""What the router does in a lane: it takes events, waits for the changes before them, and judges them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from aiokafka.structs import ConsumerRecord, TopicPartition

from schemas import topics
from schemas.settings import RouterSettings
from streams import metrics
from streams.core.outputs import Output
from streams.erasure.view import DataKeys, Locked
from streams.lane import clock
from streams.lane.log import Committed, Log, Truncated
from streams.lane.outputs import Batch
from streams.lane.sources import source_of
from streams.router.feed import EventFeed, Span
from streams.router.folding import Folding
from streams.router.judge import Judge
from streams.router.keeper import WARM_S, Keeper
from streams.router.opening import Opening
from streams.router.pending import Pending
from streams.router.rebuild import Rebuild
from streams.router.replays import Replays

logger = logging.getLogger(__name__)

MAX_EVENTS = 2_000
#: How far behind Kafka's clock we may believe it to be for an event's millisecond to be waited for.
MAX_CLOCK_WAIT_MS = 20
MAX_BATCH_BYTES = 4 * 1_048_576
SWEEP_INTERVAL_S = 10.0


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
        self._replays = Replays(settings, log, self.keeper, self._folding, self.events, self._opening)
        self._pending = Pending(log, self.events, self.changes)
        self._judge = Judge(settings, log, self.keeper, self._opening, self._pending)
        self._swept = 0.0
        #: Who is gone since before then is swept out of the topic.
        self._sweeping_ms: int | None = None
        self._applied_moved = asyncio.Event()
        #: Events have been taken, and are not in a batch yet.
        self._judging = False
        #: A batch is handed out, and its end is not known.
        self._writing = False
        self._stopping = False
        self._moved = 0

    async def opened(self, committed: Mapping[TopicPartition, Committed], *, fresh: bool) -> dict[TopicPartition, int]:
        """See `Work.opened`. Whatever went before, everything is taken from the log: what was not committed is void."""
        self.committed_events = committed[self.events].offset or 0
        self.committed_changes = self.applied = committed[self.changes].offset or 0
        if self._writing:
            self._judge.ended(well=False)
        self._writing = False
        self._folding.take()
        self._swept = 0.0
        self._folding.max_bytes = (await self._log.limits()).get(topics.ENDPOINTS, self._folding.max_bytes)
        await self._pending.find(self.committed_events, self.applied)
        await self._rebuild.load(committed[self.changes].metadata, self.applied, self._pending.since_ms)
        await self._judge.begin(self.events, committed[self.events])
        self.feed_of_events.reset(self.committed_events)
        self._replays.reset()
        if self._replays.pending:
            self.notify()
        return {self.changes: self.applied}

    def feed(self, partition: TopicPartition, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        """See `Work.feed`: changes. Events come through `hint`."""
        for record in records:
            if record.offset >= self.applied:
                self._folding.apply(source_of(record), self._pending.since_ms)
                self._pending.changed(record)

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
        try:
            batch = await self._collect()
        finally:
            self._judging = False
        self._writing = batch is not None
        return batch

    async def _collect(self) -> Batch | None:
        if self._stopping:
            return None
        if self._rebuild.active:
            endpoints, commit = self._rebuild.part(self.committed_changes)
            return Batch(self._records(endpoints), {self.changes: commit}, token=Snapshot({**endpoints}))
        await self._look_after()
        events = await self.feed_of_events.take(MAX_EVENTS, MAX_BATCH_BYTES)
        self._judging = bool(events)
        if events and not await self._reach(max(event.at_ms for event in events)):
            if self._stopping:
                return None
            self.feed_of_events.give_back(events)  # the changes before them are more than one transaction should have
            events = []
        await self._opening.prepare(events)
        judged = self._judge.judge(events)
        self.feed_of_events.give_back(list(judged.left))
        if judged.waits is not None:
            self._moved += isinstance(judged.waits, Locked)  # it waits for another ring, which no restart brings
            self.notify()
        made = judged.outputs
        next_event, applied = self.feed_of_events.next, self.applied
        made += self._folding.made
        made += self._replays.take(self._pending.since_ms)
        self._replays.work(self.notify)
        written: dict[bytes, bytes | None] = {**self.keeper.snapshot()}
        if self._sweeping_ms is not None:
            written |= dict.fromkeys(self.keeper.gone_before(self._sweeping_ms), None)
        if not made and not written and next_event == self.committed_events and applied == self.committed_changes:
            if self.keeper.warm(time.monotonic()):
                asyncio.get_running_loop().call_later(WARM_S, self.notify)
            return None
        self._folding.take()
        self._sweeping_ms = None
        made += self._records(written)
        commits = {
            self.events: self._judge.commit(next_event),
            self.changes: self._rebuild.commit(applied, len(written)),
        }
        return Batch(made, commits, token=Snapshot(written))

    def settled(self, batch: Batch) -> None:
        """See `Work.settled`."""
        assert isinstance(batch.token, Snapshot)
        self._judge.ended(well=True)
        self._writing = False
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
        held = self._judging or self.feed_of_events.waiting
        return held or self.keeper.dirty or self.applied > self.committed_changes

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
        return self.keeper.full or self._folding.full or self._folding.crowded

    async def _reach(self, time_ms: int) -> bool:
        """Wait until every change up to `time_ms` is applied; False when the lane is to stop, or to commit, first.

        The millisecond has to be over before Kafka is asked, or one more change could fall into it. Clocks that differ
        by more than the longest wait leave just this undecided: see docs/adr/0007.
        """
        with metrics.BARRIER_S.time():
            await clock.reach(time_ms + 1, MAX_CLOCK_WAIT_MS)
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

    async def _look_after(self) -> None:
        """Now and then: is `endpoints` still whole? And who has been gone for long is to be swept out of it.

        Then, and where history takes much room, it is seen how much of it is still needed.
        """
        now = time.monotonic()
        due = now - self._swept >= SWEEP_INTERVAL_S
        if not due and not self._folding.crowded:
            return
        self._folding.crowded = False
        now_ms = clock.now_ms()
        none_waits = await self._pending.look(self.feed_of_events.next)
        if due:
            await self._rebuild.check()
            needed_ms = now_ms if none_waits else min(now_ms, self._pending.since_ms)
            self._swept, self._sweeping_ms = now, needed_ms - self._settings.history_ms
