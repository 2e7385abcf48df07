"""One partition's lane: it fences, reads what is committed, and then commits the work's batches in its turn."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from aiokafka.structs import ConsumerRecord, TopicPartition

from schemas.settings import Settings
from streams import metrics
from streams.core.pacing import Pacer
from streams.lane import clock
from streams.lane.follower import Follower
from streams.lane.health import Health
from streams.lane.log import Committed, Log, MissingTopics, Truncated
from streams.lane.offset_fetch import Unstable
from streams.lane.outputs import Batch
from streams.lane.transactor import Disconnected, Transactor
from streams.lane.work import Work
from streams.lane.writer import Fenced

logger = logging.getLogger(__name__)

#: After a fence the group needs a moment to notice who left; two holders would otherwise fence each other in turns.
FENCE_PAUSE_S = 4.0
REOPEN_PAUSE_S = 1.0
MAX_REOPEN_PAUSE_S = 5.0
LAST_COMMIT_S = 3.0
#: How long a transaction may take to end after the fence before it counts as one that never will.
UNSTABLE_S = 3.0
#: A lane that stands still for so long makes its process unready; for how long it may, is a setting.
STILL_S = 10.0


class Lane:
    """Owns partition `number` of a service's inputs from assignment to revocation.

    While it is open it follows what its work asks for.
    """

    def __init__(
        self,
        settings: Settings,
        service: str,
        number: int,
        inputs: Sequence[TopicPartition],
        work: Work,
        log: Log,
        health: Health,
        follower: Follower,
        pacer: Pacer,
        is_awake: Callable[[], bool] = lambda: True,
    ) -> None:
        self.number = number
        self.inputs = tuple(inputs)
        self.work = work
        self.open = False
        self._settings = settings
        self._group = settings.group(service)
        self._transactor = Transactor(settings, f"{self._group}-{number}", self._group)
        self._log = log
        self._health = health
        self._follower = follower
        self._pacer = pacer
        self._condition = f"lane-{number}"
        self._wake = asyncio.Event()
        #: No more is fed; and, when what was under way has ended, no more is to come.
        self._stopping = False
        self._stopped = asyncio.Event()
        #: Also set when it is to stop.
        self._at_once = asyncio.Event()
        self._drained = False
        self._fresh = True
        self._progress = (-1, 0.0)
        self._doubted = False
        self._lost = False
        self._collecting = False
        work.notify = self._wake.set
        work.hurry = self._at_once.set
        work.is_sure = lambda: self.open and is_awake()
        health.unready(self._condition, f"partition {number} is being opened")
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"{self._group}-{number}")

    def fed(self, place: TopicPartition, records: Sequence[ConsumerRecord[bytes, bytes]], position: int) -> None:
        """See `Subscriber.fed`."""
        if self.open and not self._stopping:
            if records:
                self._health.kafka_answered()
                clock.seen(records[-1].timestamp, records[-1].timestamp_type)
                self.work.feed(place, records)
            self.work.passed(place, position)

    def wants(self, place: TopicPartition) -> bool:
        """See `Subscriber.wants`."""
        return self.open and not self._stopping and self.work.wants(place)

    def out_of_range(self, place: TopicPartition) -> None:
        """See `Subscriber.out_of_range`: opening again finds out where to go on."""
        self._lost = True
        self._interrupt()

    def doubt(self) -> None:
        """The process was asleep for so long that the partition is somebody else's: act as if fenced already."""
        if self.open:
            self.open, self._doubted = False, True
            self._interrupt()

    async def close(self, drain_s: float) -> None:
        """Take nothing more, give work under way its time, commit what is done, let go."""
        self._stopping = True
        self._stopped.set()
        self._at_once.set()
        if self.open:
            await self.work.drain(drain_s)
            self._drained = True
            self._wake.set()
            await asyncio.wait([self._task], timeout=LAST_COMMIT_S)
        self._task.cancel()
        await asyncio.wait([self._task])
        self._health.ready(self._condition)
        self._health.ready(f"still-{self.number}")

    def stalled_s(self, now_s: float) -> float:
        """For how long an open lane has had work waiting and moved nothing; 0.0 where it moves or waits for Kafka."""
        moved = self.work.progress()
        if not self.open or not self.work.waiting() or moved != self._progress[0]:
            self._progress = (moved, now_s)
        still_s = now_s - self._progress[1]
        if still_s > STILL_S:
            self._health.unready(f"still-{self.number}", f"partition {self.number} has work and moves nothing")
        else:
            self._health.ready(f"still-{self.number}")
        return still_s

    async def _run(self) -> None:
        broken_pause_s = REOPEN_PAUSE_S
        while True:
            pause_s = 0.0
            try:
                await self._open()
                broken_pause_s = REOPEN_PAUSE_S
                with metrics.LANES.track_inprogress():
                    await self._commit()
            except Fenced:
                logger.warning("lane.fenced group=%s partition=%d", self._group, self.number)
                self._fresh, pause_s = True, FENCE_PAUSE_S
            except Truncated as problem:
                logger.error("lane.truncated group=%s partition=%d reason=%s", self._group, self.number, problem)
                self._fresh, pause_s = True, REOPEN_PAUSE_S
            except Disconnected:
                logger.info("lane.disconnected group=%s partition=%d", self._group, self.number)
            except MissingTopics as problem:
                logger.warning("lane.waiting group=%s partition=%d reason=%s", self._group, self.number, problem)
                pause_s = MAX_REOPEN_PAUSE_S
            except Exception as problem:
                logger.warning("lane.broken group=%s partition=%d reason=%r", self._group, self.number, problem)
                pause_s = broken_pause_s
                broken_pause_s = min(2 * broken_pause_s, MAX_REOPEN_PAUSE_S)
            finally:
                self.open = False
                self._follower.leave(self)
                await self._transactor.close()
            if self._stopping:
                return
            self._health.unready(self._condition, f"partition {self.number} is being opened again")
            await _wait(self._stopped, pause_s)
            if self._stopping:
                return

    async def _open(self) -> None:
        await self._log.check_topics()
        await self._transactor.open(await self._log.limits())
        committed = await self._committed()
        self._health.kafka_answered()
        bounds = await self._log.bounds(self.inputs)
        places = {place: self._start_of(place, known, *bounds[place]) for place, known in committed.items()}
        offsets = await self.work.opened(places, fresh=self._fresh)
        self._fresh = self._doubted = self._lost = False
        self.open = True
        self._follower.follow(offsets, self)
        # What is held from before is to be committed, also where nothing new comes.
        self._wake.set()
        self._health.ready(self._condition)
        logger.info("lane.opened group=%s partition=%d", self._group, self.number)

    async def _committed(self) -> dict[TopicPartition, Committed]:
        """What is committed, after the fence.

        Then no transaction of this lane's should be without an end. A broker that was stopped in the middle of one may
        call it complete without having written so anywhere: that is done now, for its records and its offsets alike.
        """
        until = asyncio.get_running_loop().time() + UNSTABLE_S
        while True:
            try:
                return await self._log.committed(self._group, self.inputs, stable=True)
            except Unstable as problem:
                if asyncio.get_running_loop().time() < until:
                    await asyncio.sleep(0.1)
                    continue
                logger.warning("lane.hanging group=%s partition=%d held=%s", self._group, self.number, problem)
                await self._transactor.complete_hanging(self.number)
                return await self._log.committed(self._group, self.inputs, stable=True)

    def _start_of(self, place: TopicPartition, known: Committed, first: int, end: int) -> Committed:
        """What is committed, or where to begin instead when the log does not have that offset (any more)."""
        if known.offset is None:
            return Committed(first)
        if known.offset > end:
            reason = f"its end is {end}: the topic was made anew or lost its tail, and is read from its beginning"
        elif known.offset < first:
            reason = f"retention has removed {first - known.offset} records before it that nobody had read"
        else:
            return known
        logger.error("lane.moved partition=%s-%d committed=%s start=%d reason=%s", *place, known.offset, first, reason)
        return Committed(first)

    async def _commit(self) -> None:
        loop = asyncio.get_running_loop()
        ended_s = earliest_s = float("-inf")
        while True:
            waits = False
            if not self._drained:
                await self._wake.wait()
                now_s = loop.time()
                # Somebody who only looks round takes nobody's turn.
                if waits := self.work.waiting():
                    earliest_s = max(earliest_s, self._pacer.turn(now_s, ended_s))
                with metrics.TURN_S.time():
                    await _wait(self._at_once, earliest_s - now_s)
            self._wake.clear()
            self._check()
            batch = await self._collect()
            if batch is not None:
                began_s = loop.time()
                if not waits:  # it has found something: the next one waits for this one's turn
                    earliest_s = self._pacer.turn(began_s, ended_s)
                await self._write(batch)
                self._health.kafka_answered()
                ended_s = loop.time()
                self._pacer.ended(ended_s, len(batch.outputs), ended_s - began_s)
                if not self._stopping:
                    self._at_once.clear()
                self.work.settled(batch)
            elif self._drained:
                return
            elif waits:
                self._pacer.unused(loop.time())

    def _check(self) -> None:
        if self._doubted:
            raise Fenced(f"partition {self.number}: asleep for longer than the session")
        if self._lost:
            raise Truncated("the next offset of an input is not in the log")

    def _interrupt(self) -> None:
        """Have the lane see at once that it is to be opened again: its work may wait for what is not fed any more."""
        self._wake.set()
        if self._collecting:
            self._collecting = False
            self._task.cancel()

    async def _collect(self) -> Batch | None:
        self._collecting = True
        try:
            return await self.work.collect()
        except asyncio.CancelledError:
            # One of `close` is left to end the task.
            if self._collecting or self._task.uncancel():
                raise
            self._check()
            raise
        finally:
            self._collecting = False

    async def _write(self, batch: Batch) -> None:
        end = "failed"
        try:
            with metrics.TRANSACTION_S.time():
                await self._transactor.commit(batch)
            end = "committed"
        except Fenced:
            end = "fenced"
            raise
        finally:
            metrics.TRANSACTIONS.labels(end).inc()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Return when it is set, or after so many seconds."""
    if seconds > 0:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()
