"""What the records of each topic look like, as JSON Schema (draft 7): key, headers and value, made from the models."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from schemas import topics
from schemas.api import CloudEvent, PlainEvent
from schemas.changes import Change
from schemas.deliveries import INTEGERS, TEXT_HEADERS, Delivery
from schemas.endpoints import EndpointRecord
from schemas.events import CLOUDEVENTS_JSON, MOVED_HEADER, NOTICE_HEADER, SEALED_HEADER
from schemas.model import ID_PATTERN
from schemas.results import ErrorKind, Result
from schemas.sources import SourceChange

Schema = dict[str, Any]

JSON = "application/json"
BYTES = "application/octet-stream"

REFERENCE = "#/components/schemas/{model}"
_ID = ID_PATTERN.strip("^$")
_PLACE: Schema = {"type": "string", "pattern": r"^[0-9]{1,10}-[0-9]{1,19}$"}
_INTEGER: Schema = {"type": "string", "pattern": "^-?[0-9]+$"}
_ANY_BYTES: Schema = {"type": "string", "format": "binary"}
_ANY_BYTES_OR_NONE: Schema = {"type": ["string", "null"], "format": "binary"}
_NO_VALUE: Schema = {"type": "null"}

#: The key of a record, by what THE MAP says of it.
KEYS: Mapping[str, Schema] = {
    "tenant": {"type": "string", "pattern": ID_PATTERN},
    "tenant/endpoint_id": {"type": "string", "pattern": f"^{_ID}/{_ID}$"},
    "tenant/endpoint_id/order key": {"type": "string", "pattern": f"^{_ID}/{_ID}/.{{1,64}}$"},
    "tenant/key id": {"type": "string", "pattern": f"^{_ID}(/[A-Za-z0-9_-]{{1,32}})?$"},
    "as it came": _ANY_BYTES_OR_NONE,
}


@dataclass(frozen=True, slots=True)
class Shape:
    """One kind of record. `value` is the schema of the parsed value where `content_type` is a JSON one, else of its
    bytes as text; `headers` of an object with each header's value as text.
    """

    name: str
    summary: str
    content_type: str
    value: Schema
    headers: Schema


def of_topic(name: str) -> tuple[Shape, ...]:
    """The kinds of records in a topic, named without prefix; a record is of exactly one. Raises KeyError."""
    return _SHAPES["retries." if name.startswith(topics.RETRIES) else name]


def definitions() -> dict[str, Schema]:
    """The schemas that the shapes refer to, by name."""
    return _DEFINITIONS


class _Plain(GenerateJsonSchema):
    """Pydantic's schemas in the words of draft 7 and AsyncAPI, without a title for every field."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def tagged_union_schema(self, schema: Any) -> Schema:
        # AsyncAPI's `discriminator` is a name, and its values those of schemas; the constants say it as well.
        made = super().tagged_union_schema(schema)
        made.pop("discriminator", None)
        return made


def _generate() -> tuple[dict[str, Schema], dict[str, Schema]]:
    """The schema of each model or union by its name, and all that they refer to."""
    wanted: dict[str, Any] = {
        "PlainEvent": PlainEvent,
        "CloudEvent": CloudEvent,
        "Change": Change,
        "SourceChange": SourceChange,
        "Result": Result,
        "EndpointRecord": EndpointRecord,
    }
    made, rest = TypeAdapter.json_schemas(
        [(name, "validation", TypeAdapter(model)) for name, model in wanted.items()],
        ref_template=REFERENCE,
        schema_generator=_Plain,
    )
    return {name: schema for (name, _), schema in made.items()}, rest["$defs"]


def _reference(name: str) -> Schema:
    return {"$ref": REFERENCE.format(model=name)}


#: Fields of `EndpointRecord` that its value says in another way.
_LAID_FLAT = frozenset({"partition", "current"})


def _endpoint(found: Mapping[str, Schema]) -> tuple[Schema, Schema]:
    """The value in `endpoints` and the versions in its history, as `EndpointRecord.encode` lays them flat."""
    version, settings = found["EndpointVersion"], found["EndpointSettings"]
    properties = {name: schema for name, schema in version["properties"].items() if name != "settings"}
    properties |= settings["properties"]
    flat = {
        "type": "object",
        "description": f"{version['description']}\n\nThe settings are laid flat beside it; a gone endpoint has none.",
        "properties": properties,
        "required": [name for name in version["required"] if name != "settings"],
        "dependencies": {"url": [name for name in settings["required"] if name != "url"]},
    }
    own = {name: schema for name, schema in found["EndpointRecord"]["properties"].items() if name not in _LAID_FLAT}
    own["version"] = {**_PLACE, "description": "`<partition>-<offset>` of its last change in `subscriptions`"}
    record = {
        **flat,
        "description": "An endpoint as it stands: its version of now laid flat, and what is still needed of older ones."
        " Secrets are sealed where a key is set.",
        "properties": {**own, **properties},
        "required": ["tenant", "endpoint_id", "version", "history", *flat["required"]],
    }
    return flat, record


def _headers(required: Mapping[str, Schema], optional: Mapping[str, Schema], **more: Any) -> Schema:
    return {"type": "object", "properties": {**required, **optional}, "required": sorted(required), **more}


def _delivery_headers() -> Schema:
    described = Delivery.model_json_schema(schema_generator=_Plain)
    required, optional = dict[str, Schema](), dict[str, Schema]()
    for header, field in TEXT_HEADERS:
        told = described["properties"][field]
        text = next(one for one in told.get("anyOf", [told]) if one["type"] != "null")
        always = field in described["required"] or told.get("default") is not None
        (required if always else optional)[header] = (
            _INTEGER if field in INTEGERS else {key: value for key, value in text.items() if key != "default"}
        )
    optional["event-attributes"] = {"type": "string", "contentMediaType": JSON}
    return _headers(required, {**optional, MOVED_HEADER: _PLACE}, description=described["description"])


_KEY_NAME: Schema = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,32}$"}
#: Data that is sealed says so.
_SEALED: Mapping[str, Schema] = {
    SEALED_HEADER: {**_KEY_NAME, "description": "the data is sealed: the id of its tenant's key in `keys`"}
}
#: A record that was moved to the partition where its key belongs says where from.
_MOVED = {MOVED_HEADER: _PLACE}
#: Header names count in any case; these are the usual ones.
_IS_BINARY: Schema = {"anyOf": [{"required": ["ce_id"]}, {"required": ["ce_type"]}]}
_PLAIN_HEADERS = _headers(
    {},
    {
        "content-type": {"type": "string", "not": {"pattern": "^ *application/cloudevents"}},
        "traceparent": {"type": "string"},
        NOTICE_HEADER: {**_PLACE, "description": "an event of Hookfold's own: the change that it is about"},
        **_MOVED,
    },
    **{"not": _IS_BINARY},
)
_STRUCTURED_HEADERS = _headers(
    {"content-type": {"type": "string", "pattern": f"^ *{CLOUDEVENTS_JSON.replace('+', '[+]')} *(;|$)"}},
    {"traceparent": {"type": "string"}, **_MOVED},
    **{"not": _IS_BINARY},
)
_BINARY_HEADERS = _headers(
    {"ce_type": {"type": "string", "minLength": 1, "maxLength": 256}},
    {
        "ce_id": {"type": "string", "minLength": 1, "maxLength": 256},
        "ce_source": {"type": "string"},
        "ce_time": {"type": "string", "format": "date-time"},
        "ce_subject": {"type": "string"},
        "content-type": {"type": "string", "description": "of the data"},
        "traceparent": {"type": "string"},
        **_SEALED,
        **_MOVED,
    },
    patternProperties={"^ce_[a-z0-9_]{1,64}$": {"type": "string"}},
)
_LETTER_HEADERS = _headers(
    {
        "delivery-id": {"type": "string"},
        "event-id": {"type": "string"},
        "event-type": {"type": "string"},
        "attempt": _INTEGER,
        "error-kind": {"type": "string", "enum": [kind.value for kind in ErrorKind]},
        "event-time-ms": _INTEGER,
    },
    {
        "error": {"type": "string"},
        "status-code": {"type": "string", "pattern": "^[0-9]{3}$"},
        **_SEALED,
        "content-type": {"type": "string", "description": "of the data"},
    },
)
_REJECTED_HEADERS = _headers(
    {
        "rejected-reason": {"type": "string", "description": "why, in one line"},
        "rejected-origin": {"type": "string", "description": "`topic/partition/offset`; empty where it was never one"},
    },
    {"rejected-bytes-cut": {**_INTEGER, "description": "how many bytes of its value did not fit"}},
    description="The record's own headers as they came, and these.",
)
_NO_HEADERS = _headers({}, {})

_MODELS, _DEFINITIONS = _generate()
_FLAT, _RECORD = _endpoint(_DEFINITIONS)
_LINE: Schema = {
    "type": "object",
    "description": "How far a line of ordered deliveries has come, in offsets of `deliveries`.",
    "properties": {
        "seen": {"type": "integer", "description": "the last place"},
        "done": {"type": "integer", "description": "the last that is over; -1: none"},
        "due_ms": {"type": "integer", "description": "when the first may move on, ms since 1970"},
    },
    "required": ["seen", "done", "due_ms"],
}
_MARK: Schema = {
    "type": "object",
    "properties": {"type": {"type": "string", "const": "tenant.erased"}},
    "required": ["type"],
}
# In `endpoints` a version and its settings are one object.
_DEFINITIONS |= {"EndpointVersion": _FLAT, "EndpointRecord": _RECORD, "OrderLine": _LINE}
_DEFINITIONS |= {name: _MODELS[name] for name in ("Change", "SourceChange")}
del _DEFINITIONS["EndpointSettings"]

_TOMBSTONE = "tombstone"
_DELIVERY = Shape(
    "delivery", "One event owed to one endpoint: the data's bytes; the rest in headers.", BYTES, _ANY_BYTES,
    _delivery_headers(),
)  # fmt: skip
_SHAPES: Mapping[str, tuple[Shape, ...]] = {
    topics.EVENTS: (
        Shape("plain_event", "What happened, as plain JSON.", JSON, _reference("PlainEvent"), _PLAIN_HEADERS),
        Shape(
            "structured_event",
            "What happened, as a CloudEvent in JSON.",
            CLOUDEVENTS_JSON,
            _reference("CloudEvent"),
            _STRUCTURED_HEADERS,
        ),
        Shape(
            "binary_event",
            "What happened, as a CloudEvent in headers; the value is the data, any bytes.",
            BYTES,
            _ANY_BYTES,
            _BINARY_HEADERS,
        ),
    ),
    topics.SUBSCRIPTIONS: (
        Shape("change", "What is said about an endpoint.", JSON, _reference("Change"), _headers({}, _MOVED)),
        Shape(
            "source_change",
            "What is said about a source: a third party that may send events in.",
            JSON,
            _reference("SourceChange"),
            _headers({}, _MOVED),
        ),
    ),
    topics.ENDPOINTS: (
        Shape("endpoint", "An endpoint as it stands.", JSON, _reference("EndpointRecord"), _NO_HEADERS),
        Shape(f"endpoint_{_TOMBSTONE}", "It has been gone for some time.", JSON, _NO_VALUE, _NO_HEADERS),
    ),
    topics.DELIVERIES: (_DELIVERY,),
    topics.DELIVERIES_DUE: (_DELIVERY,),
    topics.RETRIES: (_DELIVERY,),
    topics.RESULTS: (
        Shape("result", "What became of one attempt, or why there was none.", JSON, _reference("Result"), _NO_HEADERS),
    ),
    topics.DEAD_LETTERS: (
        Shape("dead_letter", "A delivery given up: the data's bytes as they came.", BYTES, _ANY_BYTES, _LETTER_HEADERS),
    ),
    topics.ORDERING: (
        Shape("order_line", "A line in which somebody waits.", JSON, _reference("OrderLine"), _NO_HEADERS),
        Shape(f"order_line_{_TOMBSTONE}", "Nobody waits in it.", JSON, _NO_VALUE, _NO_HEADERS),
    ),
    topics.KEYS: (
        Shape(
            "data_key",
            "A key of a tenant that its data is sealed with, without what was erased from it, sealed with the ring.",
            BYTES,
            _ANY_BYTES,
            _headers({SEALED_HEADER: {**_KEY_NAME, "description": "the id of the ring's key"}}, {}),
        ),
        Shape(f"data_key_{_TOMBSTONE}", "It was dropped.", BYTES, _NO_VALUE, _NO_HEADERS),
        Shape("tenant_erased", "All of the tenant's data up to this time was erased.", JSON, _MARK, _NO_HEADERS),
    ),
    topics.REJECTED: (
        Shape("rejected", "A record that could not be read, as it came.", BYTES, _ANY_BYTES_OR_NONE, _REJECTED_HEADERS),
    ),
}
