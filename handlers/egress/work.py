"""What the egress does in a lane: reads deliveries, has them attempted, and hands over what became of them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence

from aiokafka.structs import ConsumerRecord, OffsetAndMetadata, TopicPartition

from handlers.egress import done
from handlers.egress.dispatching import Dispatcher
from handlers.egress.done import Done, Taken
from handlers.egress.queues import Item
from handlers.egress.turns import Turns
from handlers.egress.view import EndpointView
from handlers.wire import settling
from schemas import deliveries, topics
from schemas.endpoints import EndpointVersion
from schemas.settings import EgressSettings
from streams import metrics
from streams.core import judging, offsets, outputs, partitioning
from streams.core.offsets import OffsetWindow
from streams.core.outputs import Output
from streams.lane import clock
from streams.lane.log import Committed
from streams.lane.outputs import Batch
from streams.lane.sources import source_of

#: What is done but not committed is posted again after a crash: this bounds it.
MAX_UNCOMMITTED = 500
#: No more of what comes due is read while so much is to be written.
MAX_DONE = 4_000
#: Of the data that a process may hold, a lane's waits for its turn with at most one part in so many.
MAX_TURNS_SHARE = 8
#: A delivery that is due so soon is kept rather than sent round once more.
MAX_EARLY_MS = 1_000


class EgressWork:
    """One partition of `deliveries` and `deliveries.due`."""

    def __init__(self, settings: EgressSettings, dispatcher: Dispatcher, view: EndpointView, turns: Turns) -> None:
        self.notify: Callable[[], None] = lambda: None
        self.hurry: Callable[[], None] = lambda: None
        self.is_sure: Callable[[], bool] = lambda: False
        self._settings = settings
        self._dispatcher = dispatcher
        self._view = view
        self._turns = turns
        self._due = settings.topic(topics.DELIVERIES_DUE)
        self._windows: dict[TopicPartition, OffsetWindow] = {}
        self._committed: dict[TopicPartition, int | None] = {}
        self._held: dict[tuple[TopicPartition, int], Item] = {}
        self._done: list[Done] = []
        self._posted = 0
        self._in_flight = 0
        self._crowded_by: bytes | None = None
        self._unknown: dict[bytes, list[Item]] = {}
        self._learning: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._moved = 0

    async def opened(self, committed: Mapping[TopicPartition, Committed], *, fresh: bool) -> dict[TopicPartition, int]:
        """See `Work.opened`. What is held and not known to Kafka is kept: no attempt is made twice for nothing."""
        await self._turns.load(fresh=fresh)
        if fresh:
            self._dispatcher.forget(self)
            self._held.clear()
            self._done.clear()
        for place, known in committed.items():
            before = self._windows.get(place)
            window = OffsetWindow.resume(known.offset, known.metadata)
            if not fresh and before is not None:
                kept = [offset for where, offset in self._held if where == place]
                kept += [one.offset for one in self._done if one.place == place]
                lost = {offset for offset in sorted(kept) if not window.take(offset)}
                window.skip_to(before.position)
                self._done = [one for one in self._done if one.place != place or one.offset not in lost]
                for offset in lost:
                    self._held.pop((place, offset), None)
            self._windows[place] = window
            self._committed[place] = known.offset
        self._posted = sum(one.posted for one in self._done)
        return {place: self._windows[place].position for place in committed}

    def feed(self, partition: TopicPartition, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        """See `Work.feed`."""
        window = self._windows[partition]
        for record in records:
            if window.take(record.offset):
                self._read(partition, record)
        self._moved += 1
        self.notify()
        self._dispatcher.pump()

    def passed(self, partition: TopicPartition, position: int) -> None:
        """See `Work.passed`."""
        window = self._windows[partition]
        window.skip_to(position)
        if window.floor > (self._committed[partition] or 0):
            self.notify()

    def wants(self, partition: TopicPartition) -> bool:
        """See `Work.wants`."""
        if self._crowded_by is not None and not self._dispatcher.crowded(self._crowded_by):
            self._crowded_by = None
        span = self._windows[partition].span
        if span > offsets.WINDOW // 2:
            self._dispatcher.hurry(self)
        full = self._dispatcher.full or self._turns.bytes >= self._settings.queue_bytes // MAX_TURNS_SHARE
        # A herd that comes due is put off again faster than that can be written; what is new does not wait for it.
        full = full or (partition.topic == self._due and len(self._done) >= MAX_DONE)
        return self._crowded_by is None and not full and span < offsets.WINDOW - 1_000

    async def collect(self) -> Batch | None:
        """See `Work.collect`."""
        taken = done.first(self._done)
        for one in taken:
            self._windows[one.place].complete(one.offset)
        moved = {place for place, window in self._windows.items() if window.floor > (self._committed[place] or 0)}
        if not taken and not moved:
            return None
        commits = {
            place: OffsetAndMetadata(self._windows[place].floor, self._windows[place].metadata())
            for place in moved | {one.place for one in taken}
        }
        made = [output for one in taken for output in one.outputs]
        steps = [one.step for one in taken if one.step is not None]
        lines, written = self._turns.outputs(steps) if steps else ([], {})
        return Batch([*made, *lines], commits, token=Taken(len(taken), written, len(lines)))

    def settled(self, batch: Batch) -> None:
        """See `Work.settled`."""
        taken = batch.token
        assert isinstance(taken, Taken)
        self._posted -= sum(one.posted for one in self._done[: taken.count])
        del self._done[: taken.count]
        if taken.line_count:
            self._turns.settled(taken.lines, max(batch.written[-taken.line_count :]) + 1)
        for place, commit in batch.offsets.items():
            self._committed[place] = commit.offset
        self._moved += 1
        if self._done:
            self.notify()
        self._dispatcher.pump()

    async def drain(self, timeout_s: float) -> None:
        """See `Work.drain`."""
        self._stopping = True
        self._dispatcher.forget(self)
        until = time.monotonic() + timeout_s
        while self._in_flight and time.monotonic() < until:
            await asyncio.sleep(0.02)

    def waiting(self) -> bool:
        """See `Work.waiting`; an attempt under way has a deadline of its own."""
        resting = self._dispatcher.resting(self) + len(self._turns)
        return bool(self._done) or len(self._held) > self._in_flight + resting

    def progress(self) -> int:
        """See `Work.progress`."""
        return self._moved

    def may_start(self) -> bool:
        """See `Owner.may_start`."""
        return not self._stopping and self.is_sure() and self._posted < MAX_UNCOMMITTED

    def put_off(self, item: Item, for_ms: int, cause: str) -> None:
        """See `Owner.put_off`."""
        metrics.DEFERRED.labels(cause).inc()
        due_ms = clock.now_ms() + for_ms
        self.finish(item, [self._wait(item, due_ms)], due_ms)

    def _wait(self, item: Item, due_ms: int) -> Output:
        return settling.wait(item.delivery, due_ms, clock.now_ms(), self._settings.tiers_ms)

    def begin(self, count: int) -> None:
        """An attempt of items of this lane begins."""
        self._in_flight += count

    def end(self, count: int) -> None:
        """It is over."""
        self._in_flight -= count
        self._moved += 1

    def finish(self, item: Item, made: Sequence[Output], due_ms: int | None = None, *, posted: bool = False) -> None:
        """The item is dealt with; `due_ms`: it waits in the log until then; `posted`: an attempt was made.

        One that the lane no longer holds belongs to somebody else by now.
        """
        place = item.place, item.offset
        if self._held.get(place) is not item:
            return
        del self._held[place]
        self._posted += posted
        if self._posted >= MAX_UNCOMMITTED // 2:  # the other half is for what ends while this is written
            self.hurry()
        if item.delivery.order_place is None:
            self._done.append(Done(item.place, item.offset, made, posted=posted))
        else:
            self._finish_ordered(item, made, due_ms, posted)
        self.notify()

    def _finish_ordered(self, item: Item, made: Sequence[Output], due_ms: int | None, posted: bool) -> None:
        """Those behind it wait in the log as it does, or the next one goes."""
        step, moved = self._turns.leave(item, due_ms)
        self._done.append(Done(item.place, item.offset, made, step, posted=posted))
        for one in moved:
            if due_ms is None:
                self.offer(one)
            elif self._held.pop((one.place, one.offset), None) is one:
                metrics.DEFERRED.labels("order").inc()
                step, _ = self._turns.leave(one, due_ms)
                self._done.append(Done(one.place, one.offset, [self._wait(one, due_ms)], step, joined=True))

    def _read(self, place: TopicPartition, record: ConsumerRecord[bytes, bytes]) -> None:
        key = record.key
        if key is None or partitioning.partition_of(key, self._settings.partitions) != place.partition:
            name = place.topic.removeprefix(self._settings.prefix)
            moved = judging.misplaced(source_of(record), name, self._settings.partitions)
            if moved is not None:
                self._done.append(Done(place, record.offset, [moved]))
                return
        delivery = deliveries.decode(record.value, record.headers)
        if isinstance(delivery, str) or delivery.key != key:
            reason = delivery if isinstance(delivery, str) else "the key is not the delivery's tenant/endpoint_id"
            self._done.append(Done(place, record.offset, [outputs.rejected(source_of(record), reason)]))
            return
        item = Item(delivery, place, record.offset, self, key=key)
        self._held[(place, record.offset)] = item
        if delivery.order_key is not None:
            self._turns.take(item, record.timestamp)
        early_ms = delivery.due_at_ms - clock.now_ms() if delivery.due_at_ms is not None else 0
        if early_ms > MAX_EARLY_MS:
            due_ms = delivery.due_at_ms or 0
            self.finish(item, [self._wait(item, due_ms)], due_ms)
        elif early_ms > 0:
            asyncio.get_running_loop().call_later(early_ms / 1000, self.offer, item)
        else:
            self.offer(item)

    def _version_of(self, key: bytes) -> EndpointVersion | None:
        try:
            known = self._view.peek(key)
        except ValueError:  # written by a newer version; the attempt will say so, and put it off
            return None
        return known.current if known is not None else None

    def offer(self, item: Item) -> None:
        """Into its endpoint's queue, in its turn, once that is known here: what it says decides how it is queued."""
        key = item.key
        if item.delivery.order_place is not None and not self._turns.may_go(item):
            self._wait_for_turn(item)
            return
        if self._unknown and (waiting := self._unknown.get(key)) is not None:
            waiting.append(item)
        elif self._view.knows(key):
            self._enqueue(item)
        else:
            self._unknown[key] = [item]
            task = asyncio.get_running_loop().create_task(self._learn(key, item.delivery.endpoint_version))
            self._learning.add(task)
            task.add_done_callback(self._learning.discard)

    def _wait_for_turn(self, item: Item) -> None:
        """In memory where its turn comes soon, else in the log."""
        if self._held.get((item.place, item.offset)) is not item or self._stopping:
            return
        if not self._turns.wait(item, self._dispatcher.attempt_ms(item.key)):
            now_ms = clock.now_ms()
            self.put_off(item, self._turns.due_ms(item, now_ms) - now_ms, "order")

    async def _learn(self, key: bytes, version: str) -> None:
        with contextlib.suppress(Exception):  # the attempt meets it again, and says what follows
            await self._view.current(key, version)
        for item in self._unknown.pop(key):
            self._enqueue(item)

    def _enqueue(self, item: Item) -> None:
        """Into the queue, unless the lane has lost it or stops."""
        if self._held.get((item.place, item.offset)) is not item or self._stopping:
            return
        key = item.key
        self._dispatcher.offer(key, item, self._version_of(key))
        if self._dispatcher.crowded(key):
            self._crowded_by = key
