"""What a run's checker knows: everything that went in and came out, as plain values."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Sent:
    """An event or a change as it is in the log: `at_ms` is the broker's time.

    `name`: an event's id; of a change `on` or `off`. `number`: which registration of the endpoint it is. `line`: the
    value that an event is ordered by, where its endpoints have an order.
    """

    tenant: str
    name: str
    at_ms: int
    number: int = 0
    line: str = ""


@dataclass(frozen=True)
class Posted:
    """A delivery as the receiver got it, by itself or as an item of a batch.

    `attempt`: the request's, in a batch that of its furthest item. `number`: of the registration whose URL it came to;
    0: the first endpoint's. Seconds of one clock, the receiver's: when the request came, and when it was answered.
    `request` tells requests apart.
    """

    delivery_id: str
    attempt: int
    number: int = 0
    batch_id: str = ""
    accepted: bool = True
    arrived_s: float = 0.0
    answered_s: float = 0.0
    request: int = 0


@dataclass
class Observed:
    """Everything that went in and came out. `toggles`: changes of each tenant's second endpoint, in the log's order.

    `events` and `results` are in the log's order within a partition; `acknowledged`: what Kafka took, by event id.
    """

    events: list[Sent] = field(default_factory=list)
    toggles: list[Sent] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    posts: list[Posted] = field(default_factory=list)
    acknowledged: set[str] = field(default_factory=set)
    kafka_away_ms: list[tuple[int, int]] = field(default_factory=list)
    receiver_away_ms: list[tuple[int, int]] = field(default_factory=list)
    resumed_s: list[float] = field(default_factory=list)
    bad_signatures: int = 0
    rejected: int = 0


Key = tuple[str, str, str]


def key_of(result: dict[str, Any]) -> Key:
    """Tenant, event and endpoint."""
    return result["tenant"], result["event_id"], result["endpoint_id"]
