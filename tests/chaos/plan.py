"""What is decided before a run: which faults come when, and how the receiver answers."""

import random
from dataclasses import dataclass
from typing import Literal

Kind = Literal["term", "kill", "zombie", "scale", "kafka-stop", "kafka-kill", "slow-disk", "flood"]
SERVICES = ("router", "egress", "delayer")

#: How often deliveries fail before they succeed, by a share of their ids; the schedule allows three failures.
FAILURES = (0, 0, 0, 0, 1, 1, 2, 99)
SCHEDULE = ("1s", "2s", "3s")

#: Kinds by how often they come.
OFTEN: tuple[Kind, ...] = ("term", "kill", "zombie")
SELDOM: tuple[Kind, ...] = ("scale", "kafka-stop", "kafka-kill", "slow-disk", "flood")
LONGEST_OUTAGE_S = 95.0


@dataclass(frozen=True)
class Fault:
    """At `at_s` into the run.

    `for_s`: how long a zombie sleeps (longer than its session half of the time), a third process stays, Kafka is away,
    or its disk is slow.
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


def failures_of(webhook_id: str) -> int:
    """How many attempts of a delivery fail before one succeeds: a function of its id, so that a repeated POST gets the
    same answer."""
    return FAILURES[int(webhook_id[:8], 16) % len(FAILURES)]


def answer(webhook_id: str, attempt: int) -> int:
    """The receiver's status."""
    return 503 if attempt <= failures_of(webhook_id) else 204


def attempts_of(webhook_id: str) -> int:
    """How many attempts it takes to an end."""
    return min(failures_of(webhook_id), len(SCHEDULE)) + 1


def verdict_of(webhook_id: str) -> str:
    """How it ends, where nobody unregisters its endpoint."""
    return "dead" if failures_of(webhook_id) > len(SCHEDULE) else "delivered"
