"""The lanes of a router: Faust says which partitions are this process's, and hands out events as hints."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from aiokafka.structs import ConsumerRecord

from schemas.settings import RouterSettings
from streams.core.outputs import Source
from streams.core.pacing import Pacer, Patience
from streams.erasure.view import DataKeys
from streams.lane.follower import Follower
from streams.lane.health import Health
from streams.lane.lane import Lane
from streams.lane.log import Log
from streams.lane.sources import source_of
from streams.router.feed import Span
from streams.router.keeper import Keeper
from streams.router.work import RouterWork

logger = logging.getLogger(__name__)

SERVICE = "router"


class Lanes:
    """The lanes of this process; Faust's callbacks open and close them."""

    def __init__(self, settings: RouterSettings, health: Health, log: Log, follower: Follower, keys: DataKeys) -> None:
        self.open: dict[int, tuple[Lane, RouterWork]] = {}
        self.heard = 0.0
        #: True while Faust shares partitions out, in which time it hands out nothing.
        self.apart = True
        self._settings = settings
        self._health = health
        self._log = log
        self._follower = follower
        self._pacer = Pacer(Patience(settings.commit_interval_ms))
        self._keys = keys
        self._owning = asyncio.Lock()

    def keepers(self) -> dict[int, Keeper]:
        """What is known of endpoints, by partition."""
        return {number: work.keeper for number, (lane, work) in self.open.items() if lane.open}

    def hint(self, message: Any) -> None:
        """Hand an event of Faust's on to its lane. Nothing is lost where there is none: the lane reads for itself."""
        self.heard = asyncio.get_running_loop().time()
        if (found := self.open.get(message.partition)) is not None:
            event = Source(
                message.topic,
                message.partition,
                message.offset,
                round(message.timestamp * 1_000),
                message.key,
                message.value,
                _headers(message.headers),
            )
            found[1].hint(Span(event.offset, event.offset + 1, [event]))

    def hint_all(self, partition: int, start: int, end: int, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        """Hand all events from offset `start` to before `end` on to their lane; see `hint`."""
        self.heard = asyncio.get_running_loop().time()
        if (found := self.open.get(partition)) is not None:
            found[1].hint(Span(start, end, [source_of(record) for record in records]))

    def want(self, partition: int) -> bool:
        """False while the lane would have to drop an event, or has not begun."""
        found = self.open.get(partition)
        return found is not None and found[0].open and found[1].feed_of_events.has_room

    def changed(self, partition: int) -> None:
        """There are changes. Their lane follows them by itself, from what is committed; this wakes it."""
        if (found := self.open.get(partition)) is not None:
            found[1].notify()

    async def own(self, partitions: Iterable[int]) -> None:
        """Own just these partitions."""
        wanted = set(partitions)
        async with self._owning:
            await self.close(set(self.open) - wanted)
            for number in sorted(wanted - set(self.open)):
                work = RouterWork(self._settings, number, self._log, self._keys, lambda: self.heard, lambda: self.apart)
                inputs = [work.events, work.changes]
                shared = (self._log, self._health, self._follower, self._pacer)
                lane = Lane(self._settings, SERVICE, number, inputs, work, *shared)
                self.open[number] = (lane, work)
        logger.info("group.assigned group=%s partitions=%s", self._settings.group(SERVICE), sorted(wanted))

    async def close(self, partitions: Iterable[int]) -> None:
        """Let these partitions go."""
        closing = [self.open.pop(number)[0] for number in list(partitions) if number in self.open]
        await asyncio.gather(*(lane.close(self._settings.drain_ms / 1000) for lane in closing))

    def unsettled(self) -> None:
        """Faust begins to share partitions out. Lanes go on: the fence ends those that turn out to be another's."""
        self.apart = True
        self._health.unready("rebalance", "partitions are being shared out")

    def settled(self) -> None:
        """Faust hands out events again."""
        self.apart = False
        self._health.ready("rebalance")

    def tick(self, now_s: float) -> float:
        """Now and then: let quiet lanes look for what they have not been fed. The longest stillness, in seconds."""
        for lane, work in self.open.values():
            if lane.open:
                work.notify()
        return max((lane.stalled_s(now_s) for lane, _ in self.open.values()), default=0.0)


def _headers(given: Any) -> list[tuple[str, bytes]]:
    return list(given.items()) if isinstance(given, dict) else list(given or ())
