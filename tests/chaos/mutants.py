"""The product with one guard taken out, for the checker to see: `python -m tests.chaos.mutants NAME SERVICE`."""

import asyncio
import secrets
import sys
from collections.abc import Sequence
from typing import Any

from compose import cli
from handlers.egress.turns import Turns
from handlers.egress.work import EgressWork
from handlers.wire import batching
from streams.lane.group import LaneGroup
from streams.lane.transactor import Transactor
from streams.router.work import RouterWork

#: How late the router learns of changes; with the barrier it would wait for them, and be right.
LATE_S = 0.3


def commits_too_early() -> None:
    """The egress calls a delivery done when it has been read."""
    read = EgressWork._read

    def careless(self: EgressWork, place: Any, record: Any) -> None:
        read(self, place, record)
        self._windows[place].complete(record.offset)

    EgressWork._read = careless  # type: ignore[method-assign]


def no_fence() -> None:
    """Each process writes under an id of its own, so that nobody is ever fenced, and does not notice its own sleep."""
    make = Transactor.__init__

    def unfenced(self: Transactor, settings: Any, transactional_id: str, group: str) -> None:
        make(self, settings, f"{transactional_id}-{secrets.token_hex(4)}", group)

    Transactor.__init__ = unfenced  # type: ignore[method-assign]
    LaneGroup._is_awake = lambda self: True  # type: ignore[method-assign]


def no_barrier() -> None:
    """The router judges by whatever changes it happens to know, and learns of them a moment late."""
    feed, passed = RouterWork.feed, RouterWork.passed

    async def hasty(self: RouterWork, time_ms: int) -> bool:
        return not self._stopping

    def late_feed(self: RouterWork, *told: Any) -> None:
        asyncio.get_running_loop().call_later(LATE_S, feed, self, *told)

    def late_passed(self: RouterWork, *told: Any) -> None:
        asyncio.get_running_loop().call_later(LATE_S, passed, self, *told)

    RouterWork._reach = hasty  # type: ignore[method-assign]
    RouterWork.feed = late_feed  # type: ignore[method-assign]
    RouterWork.passed = late_passed  # type: ignore[method-assign]


def empty_book() -> None:
    """The egress forgets, when it opens a partition, what `ordering` says of the lines."""
    load = Turns.load

    async def forgetful(self: Turns, *, fresh: bool) -> None:
        (end,) = (await self._log.stable_ends([self._place])).values()
        self._position = end
        await load(self, fresh=fresh)

    Turns.load = forgetful  # type: ignore[method-assign]


def impatient() -> None:
    """What fails lets those behind it go, as if it were over."""
    finish = EgressWork._finish_ordered

    def hasty(self: EgressWork, item: Any, made: Any, due_ms: int | None, posted: bool) -> None:
        finish(self, item, made, None, posted)

    EgressWork._finish_ordered = hasty  # type: ignore[method-assign]


def every_item_accepted() -> None:
    """A 2xx accepts every item of a batch, whatever its body says."""

    def deaf(deliveries: Sequence[Any], outcome: Any, body: bytes) -> list[Any]:
        return [outcome] * len(deliveries)

    batching.outcomes = deaf


MUTANTS = {
    "commits-too-early": commits_too_early,
    "no-fence": no_fence,
    "no-barrier": no_barrier,
    "empty-book": empty_book,
    "impatient": impatient,
    "every-item-accepted": every_item_accepted,
}

if __name__ == "__main__":
    MUTANTS[sys.argv[1]]()
    cli.main(args=sys.argv[2:], standalone_mode=True)
