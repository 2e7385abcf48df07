"""From records to changes and events: what is read, and why not where it cannot be."""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from pydantic import Field, TypeAdapter, ValidationError

from schemas.changes import Change
from schemas.events import CLOUDEVENTS_JSON, MOVED_HEADER, NOTICE_HEADER, OWN_TYPES, SEALED_HEADER, Event, Sealed
from schemas.model import first_line, is_identifier
from schemas.sources import SourceChange
from streams.core import data_keys, delivery_ids, event_fields
from streams.core.outputs import Source

RecordHeaders = Sequence[tuple[str, bytes]]

_VERSION = re.compile(r"^\d{1,10}-\d{1,19}$", re.ASCII)
_MOVED = re.compile(rb"^\d{1,10}-\d{1,19}$")
#: Attributes that are strings and nothing else.
_CORE = frozenset({"specversion", "id", "type", "time", "datacontenttype"})
#: Attributes besides that CloudEvents has as strings; an extension may be a number or a boolean.
_TEXTS = frozenset({"source", "subject", "dataschema"})
_TRACEPARENT = re.compile(r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]{0,256})?$")
_CHANGES: TypeAdapter[Change | SourceChange] = TypeAdapter(
    Annotated[Change | SourceChange, Field(discriminator="type")]
)
#: Raw values keep their bytes: `1.10` and a number of 30 digits stay what they were.
_OBJECT: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])
_VALUE = msgspec.json.Decoder()

_NO_TEXT = object()
_NO_TENANT = "the key is not a tenant: 1 to 128 of A-Z a-z 0-9 _ -"
#: No tenant is longer, and what is remembered of keys stays small.
MAX_KNOWN_BYTES = 512


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a record cannot be read, in one line; it carries nothing of the record that could be secret."""

    reason: str


def read_tenant(key: bytes | None) -> str | Unreadable:
    """The tenant that a record's key names."""
    if key is None:
        return Unreadable("the record has no key; the key is the tenant")
    return _tenant_of(key) if len(key) <= MAX_KNOWN_BYTES else Unreadable(_NO_TENANT)


@lru_cache(maxsize=65_536)
def _tenant_of(key: bytes) -> str | Unreadable:
    try:
        tenant = key.decode()
    except UnicodeDecodeError:
        return Unreadable("the key is not UTF-8; the key is the tenant")
    if not is_identifier(tenant):
        return Unreadable(_NO_TENANT)
    return tenant


def read_change(value: bytes | None) -> Change | SourceChange | Unreadable:
    """The change in a record's value: about an endpoint, or about a source."""
    if value is None:
        return Unreadable("the record has no value")
    try:
        return _CHANGES.validate_json(value)
    except ValidationError as problem:
        kind = problem.errors(include_url=False, include_input=False, include_context=False)[0]["type"]
        if kind == "union_tag_invalid":
            return Unreadable("the change's type is not one of the known ones")
        if kind == "union_tag_not_found":
            return Unreadable("the change has no type")
        return Unreadable(first_line(problem))


def read_event(
    tenant: str,
    value: bytes | None,
    headers: RecordHeaders,
    *,
    partition: int,
    offset: int,
    max_bytes: int,
) -> Event | Unreadable:
    """The event in a record, in any of the contract's three encodings.

    `partition` and `offset` are the record's own and name an event that has no id; a record that was moved is named
    by its origin. `max_bytes` bounds the value. Sealed data is not opened here.
    """
    if value is None:
        return Unreadable("the record has no value")
    named = {name.lower(): raw for name, raw in headers if raw is not None}
    sealed_with = named.get(SEALED_HEADER)
    if sealed_with is not None:
        max_bytes += data_keys.OVERHEAD_BYTES
    if len(value) > max_bytes:
        return Unreadable(f"the event has {len(value)} bytes, {max_bytes} are allowed")
    moved = named.get(MOVED_HEADER, b"")
    own_id = moved.decode() if _MOVED.fullmatch(moved) else f"{partition}-{offset}"
    try:
        content_type = named.get("content-type", b"").decode()
        traceparent = named.get("traceparent", b"").decode("ascii", "replace")
        fields: dict[str, Any] | Unreadable
        if "ce_id" in named or "ce_type" in named:
            fields = _binary(named, value, content_type)
        elif _media_type(content_type) == CLOUDEVENTS_JSON:
            fields = _structured(value)
        elif _media_type(content_type).startswith("application/cloudevents"):
            return Unreadable(f"unknown encoding {_media_type(content_type)[:80]!r}")
        else:
            fields = _plain(value)
    except UnicodeDecodeError:
        return Unreadable("a header is not UTF-8")
    except (msgspec.DecodeError, RecursionError):
        return Unreadable("the value is not a JSON object")
    if isinstance(fields, Unreadable):
        return fields
    refused = event_fields.refuse(fields)
    if refused:
        return Unreadable(refused)
    if fields["type"].startswith(OWN_TYPES) and not _MOVED.fullmatch(named.get(NOTICE_HEADER, b"")):
        return Unreadable(f"types that begin with {OWN_TYPES} are Hookfold's own")
    given_id = fields["id"] is not None
    sealed: Sealed | None = None
    if sealed_with is not None:
        if not (fields["data"] is value and given_id and data_keys.is_key_id(sealed_with)):
            return Unreadable("sealed data belongs to a CloudEvent in headers with an id, and names its key")
        sealed = Sealed(sealed_with.decode(), value)
    return Event(
        tenant=tenant,
        event_id=fields["id"] if given_id else own_id,
        event_type=fields["type"],
        data=fields["data"] if sealed is None else b"",
        given_id=given_id,
        time=fields["time"],
        data_content_type=fields["content_type"],
        traceparent=traceparent if _TRACEPARENT.fullmatch(traceparent) else None,
        attributes=fields["attributes"],
        sealed=sealed,
    )


def read_record(record: Source, max_bytes: int) -> Event | Unreadable:
    """The event in a record of `events`; see `read_tenant` and `read_event`."""
    tenant = read_tenant(record.key)
    if isinstance(tenant, Unreadable):
        return tenant
    return read_event(
        tenant, record.value, record.headers, partition=record.partition, offset=record.offset, max_bytes=max_bytes
    )


def delivery_id(tenant: str, event_id: str, endpoint_id: str) -> str:
    """The id of the delivery of one event to one endpoint: the same whenever it is computed (UUID version 5)."""
    return delivery_ids.of(delivery_ids.front(tenant, endpoint_id), event_id.encode())


def is_version(text: str) -> bool:
    """True for `<partition>-<offset>`."""
    return _VERSION.fullmatch(text) is not None


def _media_type(content_type: str) -> str:
    return content_type.split(";", 1)[0].strip().lower() if content_type else ""


def _binary(named: Mapping[str, bytes], value: bytes, content_type: str) -> dict[str, Any]:
    attributes = {name[3:]: raw.decode() for name, raw in named.items() if name.startswith("ce_")}
    attributes.pop("specversion", None)
    if content_type:
        attributes.pop("datacontenttype", None)
    return {
        "id": attributes.pop("id", None),
        "type": attributes.pop("type", None),
        "time": attributes.pop("time", None),
        "content_type": content_type or attributes.pop("datacontenttype", None) or None,
        "data": value,
        "attributes": attributes,
    }


def _structured(value: bytes) -> dict[str, Any] | Unreadable:
    raw = _OBJECT.decode(value)
    data, encoded = raw.pop("data", None), raw.pop("data_base64", None)
    plain = {name: (_VALUE.decode(text) if name in _CORE else _text(text)) for name, text in raw.items()}
    if data is not None and encoded is not None:
        return Unreadable("the event has both data and data_base64")
    if plain.pop("specversion", None) != "1.0":
        return Unreadable("the event's specversion is not 1.0")
    if any(text is _NO_TEXT for text in plain.values()):
        return Unreadable("an attribute is an array or an object")
    for name in _TEXTS & raw.keys():
        if not isinstance(_VALUE.decode(raw[name]), str | None):
            return Unreadable(f"the event's {name} is not a text")
    content_type = plain.pop("datacontenttype", None)
    body = bytes(data) if data is not None else b""
    if encoded is not None:
        decoded = _base64(_VALUE.decode(encoded))
        if decoded is None:
            return Unreadable("data_base64 is not base64")
        body = decoded
    return {
        "id": plain.pop("id", None),
        "type": plain.pop("type", None),
        "time": plain.pop("time", None),
        "content_type": content_type or ("application/json" if encoded is None else None),
        "data": body,
        "attributes": {name: text for name, text in plain.items() if text is not None},
    }


def _plain(value: bytes) -> dict[str, Any]:
    raw = _OBJECT.decode(value)
    named = {name: _VALUE.decode(raw[name]) for name in ("id", "type", "time") if name in raw}
    return {
        "id": named.get("id"),
        "type": named.get("type"),
        "time": named.get("time"),
        "content_type": "application/json",
        "data": bytes(raw["data"]) if "data" in raw else b"",
        "attributes": {},
    }


def _base64(text: Any) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else None
    except (binascii.Error, ValueError):
        return None


def _text(raw: msgspec.Raw) -> Any:
    """An attribute as text: a string's own, a number or a boolean as it was written; None for null."""
    value = _VALUE.decode(raw)
    if isinstance(value, dict | list):
        return _NO_TEXT
    return value if isinstance(value, str) or value is None else bytes(raw).decode().strip()
