"""Whose turn it is: the ordered deliveries that one lane holds in memory, and what `ordering` says of the others."""

from __future__ import annotations

import logging

from aiokafka.structs import TopicPartition

from handlers.egress.queues import Item
from schemas import topics
from streams.core import admission, ordering
from streams.core.ordering import Line, Lines, Step
from streams.core.outputs import Output
from streams.lane.log import Log

logger = logging.getLogger(__name__)


class Turns:
    """The lines of one partition. `place`: its partition of `ordering`."""

    def __init__(self, log: Log, place: TopicPartition) -> None:
        self._log = log
        self._place = place
        self._position = 0
        self._lines = Lines()
        #: What is in memory, by line and place, and which of it waits for its turn.
        self._here: dict[bytes, dict[int, Item]] = {}
        self._waiting: dict[bytes, dict[int, Item]] = {}
        #: What those that wait hold in memory.
        self.bytes = 0

    def __len__(self) -> int:
        """How many wait in memory for the one before them."""
        return sum(map(len, self._waiting.values()))

    async def load(self, *, fresh: bool) -> None:
        """Read what the log says of the lines; only after the fence is it final. `fresh`: forget what is held."""
        end = (await self._log.stable_ends([self._place]))[self._place]
        if end < self._position:
            logger.warning("ordering.again partition=%d reason=the topic was made anew", self._place.partition)
            self._position, self._lines, fresh = 0, Lines(), True
        async for records in self._log.read(self._place, self._position, end):
            for record in records:
                self._lines.settled({record.key or b"": self._line(record.value)})
        self._position = end
        self._lines.opened(fresh=fresh)
        if fresh:
            self._here.clear()
            self._waiting.clear()
            self.bytes = 0

    def _line(self, value: bytes | None) -> Line | None:
        try:
            return Line.decode(value) if value is not None else None
        except (ValueError, KeyError, TypeError) as problem:  # its deliveries go on as if nothing were before them
            logger.warning("ordering.unreadable partition=%d reason=%r", self._place.partition, problem)
            return None

    def take(self, item: Item, at_ms: int) -> None:
        """A delivery comes into memory; the first time (`at_ms`: its record's own) it gets its place in the line."""
        delivery = item.delivery
        name = ordering.name_of(delivery)
        if delivery.order_place is None:
            after = self._lines.arrive(name, item.offset)
            placed = {"order_place": item.offset, "order_after": after, "order_since_ms": at_ms}
            item.delivery = delivery = delivery.model_copy(update=placed)
        assert delivery.order_place is not None
        self._here.setdefault(name, {})[delivery.order_place] = item

    def may_go(self, item: Item) -> bool:
        """Whether the one before it is over."""
        return self._lines.may_go(ordering.name_of(item.delivery), item.delivery.order_after)

    def wait(self, item: Item, attempt_ms: float) -> bool:
        """Let it wait here; False where the one before it is not in memory, or its turn would not come soon.

        `attempt_ms`: how long an attempt of the endpoint takes.
        """
        name, place = ordering.name_of(item.delivery), item.delivery.order_place
        assert place is not None
        waiting = self._waiting.get(name, {})
        here = self._here.get(name, {})
        if item.delivery.order_after not in here or len(waiting) * attempt_ms > admission.MAX_WAIT_MS:
            return False
        self._waiting.setdefault(name, {})[place] = item
        self.bytes += item.size
        return True

    def due_ms(self, item: Item, now_ms: int) -> int:
        """When to look again whether it may go."""
        return max(self._lines.due_ms(ordering.name_of(item.delivery)), now_ms + ordering.SOON_MS)

    def leave(self, item: Item, due_ms: int | None) -> tuple[Step, list[Item]]:
        """It leaves memory, for good or until `due_ms`. Returns who does so with it, or who may go now."""
        name, place = ordering.name_of(item.delivery), item.delivery.order_place
        assert place is not None
        here = self._here.get(name, {})
        here.pop(place, None)
        if not here:
            self._here.pop(name, None)
        step = self._lines.leave(name, place, due_ms)
        waiting = self._waiting.get(name, {})
        if due_ms is not None:
            moved = [waiting[number] for number in sorted(waiting) if number > place]
        else:
            moved = [waiting[number] for number in sorted(waiting) if self.may_go(waiting[number])]
        for one in moved:
            assert one.delivery.order_place is not None
            del waiting[one.delivery.order_place]
            self.bytes -= one.size
        if not waiting:
            self._waiting.pop(name, None)
        return step, moved

    def outputs(self, steps: list[Step]) -> tuple[list[Output], dict[bytes, Line | None]]:
        """What these steps write to `ordering`, and the same for `settled`."""
        written = self._lines.logged(steps)
        number = self._place.partition
        made = [
            Output(topics.ORDERING, name, line.encode() if line is not None else None, partition=number)
            for name, line in written.items()
        ]
        return made, written

    def settled(self, written: dict[bytes, Line | None], position: int) -> None:
        """They are in the log, the last of them before `position`."""
        self._lines.settled(written)
        self._position = max(self._position, position)
