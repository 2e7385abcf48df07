"""The AsyncAPI 3.0 document of every topic, made from THE MAP and the shapes of records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from schemas import shapes
from schemas.settings import Settings, default_of
from schemas.shapes import Shape
from schemas.topics import Topic, topic_map
from schemas.version import VERSION

#: A part of the document, as the specification writes it (https://www.asyncapi.com/docs/reference/specification/v3.0.0).
Part = dict[str, Any]

#: https://github.com/asyncapi/bindings/tree/master/kafka
KAFKA_BINDING = "0.5.0"

#: Who is no process of Hookfold's.
OUTSIDE = {
    "providers": "whoever has events to tell",
    "operators": "whoever registers endpoints, and looks after what was rejected",
    "users": "whoever wants to know what became of events",
}
_WHY = {
    "router": "joins events with subscriptions",
    "egress": "makes the attempts",
    "delayer": "waits",
    "gateway": "serves the HTTP API",
}


def document(settings: Settings) -> bytes:
    """The document as JSON, with the names of topics that these settings give them."""
    rows = topic_map(settings.tiers_ms)
    return orjson.dumps(
        {
            "asyncapi": "3.0.0",
            "info": {
                "title": "Hookfold",
                "version": VERSION,
                "description": "Webhooks out of Kafka, that never vanish. An operation's tag says whose it is: a "
                "process of Hookfold's, or one of those outside. Keys are placed by Kafka's default hash (murmur2).",
                "license": {"name": "Apache-2.0"},
                "tags": [{"name": name, "description": words} for name, words in (_WHY | OUTSIDE).items()],
            },
            "defaultContentType": shapes.JSON,
            "servers": {"kafka": _server()},
            "channels": {row.name: _channel(row, settings) for row in rows},
            "operations": dict(_operations(rows)),
            "components": {
                "messages": {shape.name: _message(shape, row) for row in rows for shape in shapes.of_topic(row.name)},
                "schemas": shapes.definitions(),
            },
        }
    )


def _server() -> Part:
    field = Settings.model_fields["kafka"]
    return {
        "host": "{bootstrap}",
        "protocol": "kafka",
        "variables": {"bootstrap": {"default": default_of(field), "description": field.description}},
    }


def _channel(row: Topic, settings: Settings) -> Part:
    config = row.config()
    told = {name: int(config[name]) for name in ("retention.ms", "max.message.bytes", "delete.retention.ms")
            if name in config}  # fmt: skip
    return {
        "address": settings.topic(row.name),
        "summary": row.value,
        "messages": {
            shape.name: {"$ref": f"#/components/messages/{shape.name}"} for shape in shapes.of_topic(row.name)
        },
        "bindings": {
            "kafka": {
                "topic": settings.topic(row.name),
                "partitions": settings.partitions,
                "replicas": settings.replication,
                "topicConfiguration": {"cleanup.policy": [row.cleanup], **told},
                "bindingVersion": KAFKA_BINDING,
            }
        },
    }


def _operations(rows: Iterable[Topic]) -> Iterable[tuple[str, Part]]:
    for row in rows:
        for action, parties in (("send", row.writers), ("receive", row.readers)):
            for party in parties:
                yield (
                    f"{party}.{action}.{row.name}",
                    {
                        "action": action,
                        "channel": {"$ref": f"#/channels/{row.name}"},
                        "tags": [{"name": party}],
                    },
                )


def _message(shape: Shape, row: Topic) -> Part:
    return {
        "name": shape.name,
        "summary": shape.summary,
        "contentType": shape.content_type,
        "headers": shape.headers,
        "payload": shape.value,
        "bindings": {"kafka": {"key": shapes.KEYS[row.key], "bindingVersion": KAFKA_BINDING}},
    }
