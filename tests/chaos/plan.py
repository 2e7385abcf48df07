"""What is decided before a run: which faults come when, and how the receiver answers."""

import hashlib
import random
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["term", "kill", "zombie", "scale", "kafka-stop", "kafka-kill", "slow-disk", "flood", "away"]
SERVICES = ("router", "egress", "delayer")

#: How often deliveries fail before they succeed, by a share of their ids; the schedule allows three failures.
FAILURES = (0, 0, 0, 0, 1, 1, 2, 99)
SCHEDULE = ("1s", "2s", "3s")
ATTEMPTS = len(SCHEDULE) + 1
#: Of the failures, one in so many says that the receiver is busy (503), and not that the request failed (500). Five in
#: a row open a breaker, which nobody here knows of: so they are few, and do not hang on the delivery.
BUSY_SHARE = 10
#: Of the requests with a batch one in so many fails as a whole; of the items of the others one in so many.
WHOLE_SHARE = 8
ITEM_SHARE = 4

#: Tenants of a receiver that is always there, and of one that is away now and then.
TENANTS = tuple(f"t{number}" for number in range(24))
AWAY_TENANTS = tuple(f"a{number}" for number in range(4))
#: Lines of each tenant whose endpoints have an order: so many that most are short, and some are not.
LINES = 16
BATCH = {"max_items": 5, "max_wait_ms": 500}

#: Kinds by how often they come.
OFTEN: tuple[Kind, ...] = ("term", "kill", "zombie")
SELDOM: tuple[Kind, ...] = ("scale", "kafka-stop", "kafka-kill", "slow-disk", "flood")
LONGEST_OUTAGE_S = 95.0
#: An absence of the second receiver, and the time from one to the next.
ABSENCE_S = (20.0, 40.0)
PRESENCE_S = (45.0, 75.0)


@dataclass(frozen=True)
class Fault:
    """At `at_s` into the run.

    `for_s`: how long a zombie sleeps (longer than its session half of the time), a third process stays, Kafka is away,
    its disk is slow, or the second receiver is away, which the faults that follow do not wait for.
    """

    at_s: float
    kind: Kind
    service: str = ""
    index: int = 0
    for_s: float = 0.0


def faults(seed: int, length_s: float, instances: int) -> list[Fault]:
    """One every few seconds, the same for the same seed; a run of ten minutes or more has one long outage."""
    draw = random.Random(seed)
    made: list[Fault] = []
    at_s = 4.0
    long_outage_due = length_s >= 600
    while at_s < length_s - 2:
        kind = draw.choice(OFTEN) if draw.random() < 0.75 else draw.choice(SELDOM)
        if long_outage_due and at_s > length_s * 0.4:
            kind, long_outage_due, for_s = "kafka-stop", False, LONGEST_OUTAGE_S
        else:
            for_s = _length_s(draw, kind)
        service, index = draw.choice(SERVICES), draw.randrange(instances)
        if kind.startswith("kafka") or kind in ("slow-disk", "flood"):
            service, index = "", 0
        made.append(Fault(at_s, kind, service, index, for_s))
        at_s += draw.uniform(4, 8) + for_s + (8 if kind.startswith("kafka") else 0)
    return sorted([*made, *_absences(draw, length_s)], key=lambda fault: fault.at_s)


def _absences(draw: random.Random, length_s: float) -> list[Fault]:
    made, at_s = list[Fault](), 12.0
    while at_s + (for_s := draw.uniform(*ABSENCE_S)) < length_s - 5:
        made.append(Fault(at_s, "away", for_s=round(for_s, 1)))
        at_s += for_s + draw.uniform(*PRESENCE_S)
    return made


def _length_s(draw: random.Random, kind: Kind) -> float:
    match kind:
        case "zombie":
            return draw.choice((2.0, 9.0))
        case "scale":
            return 6.0
        case "kafka-stop":
            return draw.choice((5.0, 5.0, 40.0))
        case "slow-disk":
            return 6.0
        case "flood":
            return 3.0
        case _:
            return 0.0


@dataclass(frozen=True)
class Shape:
    """How a tenant's endpoints take their deliveries: in lines, in batches, in both, or in neither."""

    has_lines: bool
    has_batches: bool

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of their registration."""
        return {
            **({"ordered_by": "data.line"} if self.has_lines else {}),
            **({"batch": BATCH} if self.has_batches else {}),
        }


def shape_of(tenant: str) -> Shape:
    """Of six tenants two have lines, one batches, one both; where the receiver is away at times, half have lines."""
    number = int(tenant[1:]) if tenant[1:].isdigit() else 0
    if tenant in AWAY_TENANTS:
        return Shape(number % 2 == 1, has_batches=False)
    return Shape(number % 6 in (1, 3, 5), number % 6 in (4, 5))


def failures_of(webhook_id: str) -> int:
    """How many attempts of a delivery fail before one succeeds: a function of its id, so that a repeated POST gets the
    same answer. In batches only those that never succeed are told by it."""
    return FAILURES[int(webhook_id[:8], 16) % len(FAILURES)]


def answer(webhook_id: str, attempt: int) -> int:
    """The receiver's status for a delivery that comes by itself."""
    return failure(f"{webhook_id} {attempt}") if attempt <= failures_of(webhook_id) else 204


def failure(name: str) -> int:
    """The status of a request that fails."""
    return 503 if _draw(name, BUSY_SHARE) else 500


def fails_whole(batch_id: str) -> bool:
    """Whether a batch fails as a whole."""
    return _draw(batch_id + " whole", WHOLE_SHARE)


def fails_item(batch_id: str, delivery_id: str) -> bool:
    """Whether an item fails in a batch that does not."""
    return failures_of(delivery_id) >= ATTEMPTS or _draw(f"{batch_id} {delivery_id}", ITEM_SHARE)


def _draw(name: str, share: int) -> bool:
    return hashlib.sha256(name.encode()).digest()[0] % share == 0


def ending(webhook_id: str, unreached: set[int]) -> tuple[int, str]:
    """How many attempts a delivery that comes by itself takes, and its final verdict where nobody unregisters its
    endpoint. `unreached`: attempts that found nobody."""
    for attempt in range(1, ATTEMPTS + 1):
        if attempt not in unreached and attempt > failures_of(webhook_id):
            return attempt, "delivered"
    return ATTEMPTS, "dead"
