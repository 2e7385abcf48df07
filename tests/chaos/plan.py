"""What is decided before a run: which faults come when, and how the receiver answers."""

import random
from dataclasses import dataclass
from typing import Literal

Kind = Literal["term", "kill", "zombie"]
SERVICES = ("router", "egress", "delayer")

#: How often deliveries fail before they succeed, by a share of their ids; the schedule allows more.
FAILURES = (0, 0, 0, 1, 2)
SCHEDULE = ("1s", "2s", "3s")


@dataclass(frozen=True)
class Fault:
    """At `at_s` into the run. A zombie sleeps for `sleep_s`, longer than its session half of the time."""

    at_s: float
    kind: Kind
    service: str
    index: int
    sleep_s: float = 0.0


def faults(seed: int, length_s: float, instances: int) -> list[Fault]:
    """One every four to eight seconds, the same for the same seed."""
    draw = random.Random(seed)
    made: list[Fault] = []
    at_s = 4.0
    while at_s < length_s - 2:
        kind: Kind = draw.choice(("term", "kill", "zombie"))
        sleep_s = draw.choice((2.0, 9.0)) if kind == "zombie" else 0.0
        made.append(Fault(at_s, kind, draw.choice(SERVICES), draw.randrange(instances), sleep_s))
        at_s += draw.uniform(4, 8) + sleep_s
    return made


def failures_of(webhook_id: str) -> int:
    """How many attempts of a delivery fail before one succeeds: a function of its id, so that a repeated POST gets the
    same answer."""
    return FAILURES[int(webhook_id[:8], 16) % len(FAILURES)]


def answer(webhook_id: str, attempt: int) -> int:
    """The receiver's status."""
    return 503 if attempt <= failures_of(webhook_id) else 204
