"""One endpoint's deliveries in this process: which is next, and which go together in a batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from aiokafka.structs import TopicPartition

from handlers.egress.plans import Plan
from schemas.changes import Batch
from schemas.deliveries import Delivery
from schemas.endpoints import EndpointVersion
from streams.core import admission
from streams.core.admission import Load
from streams.core.breaking import Breaker, Ending, Report
from streams.core.bucket import Bucket
from streams.core.health import Health

#: Of so many turns of an endpoint, one goes to a retry even though first tries wait.
RETRY_SHARE = 5
#: Before an endpoint has answered once, an attempt counts as taking this long.
FIRST_GUESS_MS = 20.0
#: What an endpoint without deliveries failed at is known for so long.
MEMORY_S = 900.0
#: So many deliveries come back just when the breaker may close, to find out whether it does.
SCOUTS = 10
#: Of a batch that sets no bound of its own.
MAX_BATCH_BYTES = 4 * 1_048_576


class Owner(Protocol):
    """The lane's work that an item belongs to."""

    def may_start(self) -> bool:
        """False while the lane stops, or holds too much that is not committed."""

    def put_off(self, item: Item, for_ms: int, cause: str) -> None:
        """Write the delivery to a retry topic without an attempt."""


@dataclass(slots=True, eq=False)
class Item:
    """A delivery in memory, and where it came from. `queued_at` is monotonic time in seconds, `key` its endpoint's.

    `opened` is the delivery with its data in the clear, where that is sealed, while it is attempted.
    """

    delivery: Delivery
    place: TopicPartition
    offset: int
    owner: Owner
    queued_at: float = 0.0
    key: bytes = b""
    opened: Delivery | None = None
    #: Bytes that it holds, roughly.
    size: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.key = self.key or self.delivery.key
        self.size = len(self.delivery.data) + 1_000

    @property
    def shown(self) -> Delivery:
        """The delivery as its receiver gets it."""
        return self.opened or self.delivery


class EndpointQueue:
    """One endpoint's deliveries in this process. `hurry`: a batch that is not full is closed nevertheless."""

    def __init__(self, limit: int) -> None:
        self.first: deque[Item] = deque()
        self.again: deque[Item] = deque()
        self.limit = limit
        self.rate_per_s: float | None = None
        self.batch: Batch | None = None
        self.hurry = False
        self.timer: asyncio.TimerHandle | None = None
        self.breaker = Breaker()
        self.health = Health()
        #: What attempts need to know of the endpoint; whoever makes them keeps it here.
        self.plan: Plan | None = None
        self._known: EndpointVersion | None = None
        self._of: int | None = None
        self._bytes = 0
        self._window = admission.FIRST_WINDOW
        self._allowed = min(limit, int(self._window))
        self.ready = False
        self._turns = 0
        self._service_ms = FIRST_GUESS_MS
        self._ended_at = 0.0
        self._away_since: float | None = None
        self._scouts = 0
        self._started: dict[Item, float] = {}
        self._bucket = Bucket()

    def __len__(self) -> int:
        return len(self.first) + len(self.again)

    @property
    def in_flight(self) -> int:
        """Attempts under way."""
        return len(self._started)

    @property
    def has_turn(self) -> bool:
        """True where something waits that may start by what is known of the receiver.

        It gets one at a time where its breaker waits for that to decide.
        """
        return bool(self.first or self.again) and len(self._started) < self._allowed

    def _allow(self) -> None:
        most = self.limit if self._window >= self.limit else int(self._window)
        self._allowed = most if self.breaker.is_closed else 1

    def know(self, version: EndpointVersion | None, limit: int, most: int) -> None:
        """The endpoint as it is: at most `limit` attempts at a time where it does not say, and never more than `most`.

        One that has been changed gets a new chance.
        """
        if version is not None and version is self._known:
            return
        self._known = version
        settings = version.settings if version is not None else None
        own = settings.max_in_flight if settings is not None else None
        self.limit = min(own or limit, most)
        self.know_limits(version)
        if version is not None and version.offset != self._of:
            if self._of is not None:
                self.breaker, self.health, self._away_since = Breaker(), Health(), None
            self._of = version.offset
        self._allow()

    def know_limits(self, version: EndpointVersion | None) -> None:
        """Its rate and its batches, as they are at an attempt."""
        self.rate_per_s = version.rate_per_s if version is not None else None
        self.batch = version.settings.batch if version is not None and version.settings is not None else None

    def load(self, now: float) -> Load:
        """What admission is decided on."""
        # They are in the order in which they began.
        oldest_ms = (now - next(iter(self._started.values()))) * 1_000 if self._started else 0.0
        queued = len(self) // (self.batch.max_items if self.batch is not None else 1)
        limit = self.limit if self.breaker.is_closed else 1
        away_ms = (now - self._away_since) * 1_000 if self._away_since is not None else 0.0
        return Load(queued, max(self._service_ms, oldest_ms), limit, self.rate_per_s, away_ms)

    def deferral_ms(self, now: float, tiers_ms: Sequence[int]) -> int:
        """For how long one more delivery is put off.

        While the breaker is open a few scouts are, to its end; of the others it does not matter just when they come,
        only how often.
        """
        rest_ms = int(self.breaker.wait_s(now) * 1_000) + 1
        if rest_ms > 1 and self._scouts < SCOUTS:
            self._scouts += 1
            return rest_ms
        return admission.on_tiers(max(admission.deferral_ms(self.load(now)), rest_ms), tiers_ms)

    def put(self, item: Item) -> None:
        """To the end of the line."""
        self._bytes += len(item.delivery.data)
        (self.first if item.delivery.attempt == 1 else self.again).append(item)

    def start(self, now: float) -> list[Item]:
        """Take the next, or the next batch: first tries before retries, but every fifth turn is a retry's."""
        self._turns += 1
        retry = bool(self.again) and (not self.first or self._turns % RETRY_SHARE == 0)
        taken = [self._take(self.again if retry else self.first)]
        if self.batch is not None and not taken[0].delivery.is_verification:
            self._fill(taken, self.batch)
        self.hurry = self.hurry and bool(len(self))
        self._started[taken[0]] = now
        if self.rate_per_s is not None:
            self._bucket.spend()
        return taken

    def _fill(self, taken: list[Item], batch: Batch) -> None:
        room = (batch.max_bytes or MAX_BATCH_BYTES) - len(taken[0].delivery.data)
        for line in (self.first, self.again):
            while line and len(taken) < batch.max_items:
                item = line[0]
                size = len(item.delivery.data)
                if item.delivery.is_verification or item.owner is not taken[0].owner or size > room:
                    break
                room -= size
                taken.append(self._take(line))

    def _take(self, line: deque[Item]) -> Item:
        item = line.popleft()
        self._bytes -= len(item.delivery.data)
        return item

    def closes_in_s(self, now: float) -> float:
        """How long a batch stays open yet; 0.0 where it may go, or there are none."""
        if self.batch is None or self.hurry:
            return 0.0
        full = len(self) >= self.batch.max_items or self._bytes >= (self.batch.max_bytes or MAX_BATCH_BYTES)
        heads = [line[0] for line in (self.first, self.again) if line]
        if full or not heads or any(head.delivery.is_verification for head in heads):
            return 0.0
        return max(0.0, min(head.queued_at for head in heads) + self.batch.max_wait_ms / 1_000 - now)

    def end(self, item: Item, now: float, report: Report | None) -> None:
        """The attempt is over; None: none was made."""
        started = self._started.pop(item)
        self._ended_at = now
        if report is not None:
            self._service_ms += ((now - started) * 1_000 - self._service_ms) * 0.2
            # A replay of what is old says nothing against who takes what is new.
            counts = item.delivery.replay_id is None
            self.breaker.end(report, now, counts=counts)
            self._scouts = 0
            if report.ending is not Ending.UNAVAILABLE:
                self._away_since = None
            elif self._away_since is None and counts:
                self._away_since = started
            failed = report.ending is not Ending.ACCEPTED and report.ending.slows_down
            if failed or self._window != self.limit:
                self._window = admission.next_window(self._window, self.limit, failed=failed)
            self._allow()

    def may_be_forgotten(self, now: float) -> bool:
        """True where nothing is known that the next delivery should know, or it is old."""
        return (self.breaker.is_closed and not self.breaker.failures) or now - self._ended_at > MEMORY_S

    def rest_s(self, now: float) -> float:
        """How long until the next attempt may start, by its own rate and its batches; 0.0 where it may now."""
        if self.rate_per_s is None and self.batch is None:
            return 0.0
        return max(self.token_in_s(now), self.closes_in_s(now))

    def token_in_s(self, now: float) -> float:
        """How long until the endpoint's own rate lets another attempt start; 0.0 where it may now."""
        if self.rate_per_s is None:
            return 0.0
        return self._bucket.wait_s(self.rate_per_s, now)

    def take_if(self, unwanted: Callable[[Item], bool]) -> list[Item]:
        """Remove and return those that are."""
        taken = [item for line in (self.first, self.again) for item in line if unwanted(item)]
        if taken:
            self._bytes -= sum(len(item.delivery.data) for item in taken)
            self.first = deque(item for item in self.first if not unwanted(item))
            self.again = deque(item for item in self.again if not unwanted(item))
        return taken
