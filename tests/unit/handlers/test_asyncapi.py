"""The AsyncAPI document keeps to the specification's structure, and says what THE MAP says.

No Python package brings the official JSON Schema of AsyncAPI 3.0, so that the part of the specification that the
document uses is written down here. Its schemas are held against records in `tests/unit/schemas/test_shapes.py`.
"""

import re
from collections.abc import Iterator
from typing import Any

import orjson
from described import Described
from jsonschema_rs import Draft7Validator

from handlers.gateway import asyncapi
from schemas.settings import Settings
from schemas.topics import topic_map

SETTINGS = Settings.model_construct(prefix="mine.", partitions=3, replication=2)
DOCUMENT = orjson.loads(asyncapi.document(SETTINGS))
#: Object: fields that it must have, and fields that it may have
#: (https://www.asyncapi.com/docs/reference/specification/v3.0.0, and the Kafka bindings 0.5.0).
FIELDS = {
    "document": ("asyncapi info", "servers defaultContentType channels operations components"),
    "info": ("title version", "description license tags"),
    "server": ("host protocol", "variables"),
    "variable": ("", "default description"),
    "channel": ("address messages", "summary bindings"),
    "channel binding": ("", "topic partitions replicas topicConfiguration bindingVersion"),
    "operation": ("action channel", "tags"),
    "message": ("payload", "name summary contentType headers bindings"),
    "message binding": ("", "key bindingVersion"),
    "components": ("", "messages schemas"),
    "tag": ("name", "description"),
}
#: Keywords that draft 7 does not know, or that AsyncAPI means something else by.
FOREIGN = {"$defs", "prefixItems", "dependentRequired", "dependentSchemas", "unevaluatedProperties", "discriminator"}
COMPONENT_NAME = re.compile(r"^[\w.-]+$")


def keep(kind: str, part: dict[str, Any]) -> None:
    required, optional = (set(words.split()) for words in FIELDS[kind])
    assert required <= part.keys() <= required | optional, (kind, part.keys())


def schemas() -> Iterator[dict[str, Any]]:
    yield from DOCUMENT["components"]["schemas"].values()
    for message in DOCUMENT["components"]["messages"].values():
        yield from (message["payload"], message["headers"], message["bindings"]["kafka"]["key"])


def parts(of: Any) -> Iterator[dict[str, Any]]:
    if isinstance(of, dict):
        yield of
    for one in of.values() if isinstance(of, dict) else of if isinstance(of, list) else ():
        yield from parts(one)


def test_every_object_has_the_fields_of_the_specification() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    keep("document", DOCUMENT)
    keep("info", DOCUMENT["info"])
    keep("components", DOCUMENT["components"])
    for server in DOCUMENT["servers"].values():
        keep("server", server)
        assert set(re.findall(r"\{(\w+)\}", server["host"])) == server["variables"].keys()
        for variable in server["variables"].values():
            keep("variable", variable)
    for channel in DOCUMENT["channels"].values():
        keep("channel", channel)
        keep("channel binding", channel["bindings"]["kafka"])
        assert all(part.keys() == {"$ref"} for part in channel["messages"].values())
    for operation in DOCUMENT["operations"].values():
        keep("operation", operation)
        assert operation["action"] in ("send", "receive")
        assert operation["channel"].keys() == {"$ref"}
    for message in DOCUMENT["components"]["messages"].values():
        keep("message", message)
        keep("message binding", message["bindings"]["kafka"])
    for tag in (*DOCUMENT["info"]["tags"], *(tag for one in DOCUMENT["operations"].values() for tag in one["tags"])):
        keep("tag", tag)
    for named in DOCUMENT["components"].values():
        assert all(COMPONENT_NAME.fullmatch(name) for name in named)


def test_every_reference_leads_somewhere() -> None:
    described = Described(DOCUMENT)
    found = [part for part in parts(DOCUMENT) if isinstance(part.get("$ref"), str)]
    assert len(found) > 100
    for part in found:
        described.resolved(part)


def test_every_schema_is_one_of_draft_7() -> None:
    for schema in schemas():
        Draft7Validator({"allOf": [schema], "components": DOCUMENT["components"]})  # raises on anything else
        for part in parts(schema):
            # A field may be called as a keyword is; what stands there then is a schema and not a name or a list.
            assert not FOREIGN & part.keys(), part


def test_channels_and_operations_are_those_of_the_map() -> None:
    rows = topic_map(SETTINGS.tiers_ms)
    assert {name: channel["address"] for name, channel in DOCUMENT["channels"].items()} == {
        row.name: f"mine.{row.name}" for row in rows
    }
    told = {(one["tags"][0]["name"], one["action"], one["channel"]["$ref"]) for one in DOCUMENT["operations"].values()}
    assert told == {
        (party, action, f"#/channels/{row.name}")
        for row in rows
        for action, parties in (("send", row.writers), ("receive", row.readers))
        for party in parties
    }
    assert {tag["name"] for tag in DOCUMENT["info"]["tags"]} == {party for party, _, _ in told}
    for row in rows:
        binding = DOCUMENT["channels"][row.name]["bindings"]["kafka"]
        assert (binding["topic"], binding["partitions"], binding["replicas"]) == (f"mine.{row.name}", 3, 2)
        assert binding["topicConfiguration"]["retention.ms"] == row.retention_ms
        assert binding["topicConfiguration"]["cleanup.policy"] == [row.cleanup]
