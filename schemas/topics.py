"""THE MAP: one row a topic; `hookfold topics`, docs/topics.md and every reader and writer go by it."""

from dataclasses import dataclass
from typing import Literal

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MIB = 1_048_576

EVENTS = "events"
SUBSCRIPTIONS = "subscriptions"
ENDPOINTS = "endpoints"
DELIVERIES = "deliveries"
DELIVERIES_DUE = "deliveries.due"
RESULTS = "results"
DEAD_LETTERS = "dead-letters"
REJECTED = "rejected"
ORDERING = "ordering"
KEYS = "keys"
RETRIES = "retries."

#: How long an outage of the delayer may last on top of the longest delay before waiting retries could expire.
PROMISED_OUTAGE_MS = 7 * DAY_MS
#: Only what lies in a finished segment can be forgotten: a record that comes so much later begins another one.
FORGET_SEGMENT_MS = 1_000


@dataclass(frozen=True)
class Topic:
    """One topic as Hookfold wants it.

    `retention_ms` is -1 for ever; `max_record_bytes` is Kafka's `max.message.bytes`; `timestamps` decides whose clock
    a record's time is: the broker's wherever a time of the log decides something. `forgets`: what is replaced or
    dropped in a compacted topic is to be gone from the disk as soon as Kafka can do that.
    """

    name: str
    key: str
    value: str
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    cleanup: Literal["delete", "compact"]
    retention_ms: int
    max_record_bytes: int
    timestamps: Literal["LogAppendTime", "CreateTime"] = "LogAppendTime"
    forgets: bool = False

    def config(self) -> dict[str, str]:
        """Kafka's topic settings, as strings."""
        settings = {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(self.max_record_bytes),
            "message.timestamp.type": self.timestamps,
        }
        if self.cleanup == "compact":
            settings |= {"min.cleanable.dirty.ratio": "0.2", "delete.retention.ms": str(DAY_MS)}
        if self.forgets:
            settings |= {
                "segment.ms": str(FORGET_SEGMENT_MS),
                "min.cleanable.dirty.ratio": "0.0",
                "max.compaction.lag.ms": str(FORGET_SEGMENT_MS),
                "file.delete.delay.ms": str(FORGET_SEGMENT_MS),
            }
        return settings


def topic_map(tiers_ms: dict[str, int]) -> tuple[Topic, ...]:
    """Every topic, without prefix. `tiers_ms`: the delay tiers by name (`5s`), each with its length in ms."""
    longest_ms = max(tiers_ms.values())
    delivery = "a delivery: the data's bytes; the rest in headers"
    fixed = (
        Topic(
            EVENTS,
            "tenant",
            "a provider event",
            ("providers", "gateway", "router"),
            ("router", "gateway"),
            "delete",
            7 * DAY_MS,
            8 * MIB,
        ),
        Topic(
            SUBSCRIPTIONS,
            "tenant",
            "a subscription change",
            ("operators", "gateway", "egress"),
            ("router", "gateway"),
            "delete",
            -1,
            MIB,
        ),
        Topic(
            ENDPOINTS,
            "tenant/endpoint_id",
            "an endpoint's state",
            ("router",),
            ("egress", "gateway"),
            "compact",
            -1,
            8 * MIB,
        ),
        Topic(
            DELIVERIES,
            "tenant/endpoint_id",
            delivery,
            ("router", "gateway"),
            ("egress",),
            "delete",
            7 * DAY_MS,
            9 * MIB,
        ),
        Topic(DELIVERIES_DUE, "tenant/endpoint_id", delivery, ("delayer",), ("egress",), "delete", 7 * DAY_MS, 9 * MIB),
        Topic(
            RESULTS,
            "tenant/endpoint_id",
            "what became of one attempt",
            ("egress", "router"),
            ("users", "gateway", "router"),
            "delete",
            30 * DAY_MS,
            MIB,
        ),
        Topic(
            DEAD_LETTERS,
            "tenant/endpoint_id",
            "a delivery given up: the data's bytes",
            ("egress",),
            ("users",),
            "delete",
            30 * DAY_MS,
            9 * MIB,
        ),
        Topic(
            ORDERING,
            "tenant/endpoint_id/order key",
            "how far a line of ordered deliveries has come, while one of them waits",
            ("egress",),
            ("egress",),
            "compact",
            -1,
            MIB,
        ),
        Topic(
            KEYS,
            "tenant/key id",
            "a key that the tenant's data is sealed with",
            ("router", "gateway", "operators"),
            ("router", "egress", "gateway"),
            "compact",
            -1,
            8 * MIB,
            forgets=True,
        ),
        Topic(
            REJECTED,
            "as it came",
            "a record that could not be read",
            ("router", "egress", "delayer"),
            ("operators", "gateway"),
            "delete",
            30 * DAY_MS,
            10 * MIB,
        ),
    )
    retries = tuple(
        Topic(
            RETRIES + name,
            "tenant/endpoint_id",
            delivery,
            ("egress", "delayer"),
            ("delayer",),
            "delete",
            longest_ms + PROMISED_OUTAGE_MS,
            9 * MIB,
        )
        for name in tiers_ms
    )
    return fixed + retries
