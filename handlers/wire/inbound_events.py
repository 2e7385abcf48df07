"""From a verified request to the events in it: their ids, their types, and their data, whose bytes are not touched."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import msgspec

from handlers.wire import clouds
from handlers.wire.inbound_signatures import Incoming
from schemas.events import CLOUDEVENTS_BATCH, CLOUDEVENTS_JSON
from schemas.sources import Items, Scheme, SourceRegistered
from streams.core import sources

MAX_ITEMS = 1_000
JSON = "application/json"
_NULL = msgspec.Raw(b"null")
#: Where the provider's own id is.
_ID_HEADERS: dict[Scheme, tuple[str, ...]] = {
    "standard": ("webhook-id", "svix-id"),
    "github": ("x-github-delivery",),
    "shopify": ("x-shopify-webhook-id",),
}
_ID_PATHS: dict[Scheme, str] = {"stripe": "$.id", "slack": "$.event_id", "okta": "$.eventId"}
#: An id that each item of a batch has of its own.
_ITEM_ID_PATHS: dict[Scheme, str] = {"okta": "$.uuid"}
#: Where the type is, unless the source says; the first text that is found.
_TYPE_PATHS: dict[Scheme, tuple[str, ...]] = {
    "standard": ("$.type",),
    "stripe": ("$.type",),
    "slack": ("$.event.type", "$.type"),
    "okta": ("$.eventType",),
}
_ITEMS: dict[Scheme, Items] = {"okta": Items.model_validate({"path": "$.data.events", "as": "each"})}


@dataclass(frozen=True, slots=True)
class Arrived:
    """An event as it goes into the log: its id, and the record's value and headers."""

    event_id: str
    value: bytes
    headers: list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Unfit:
    """Why a verified request becomes no event, in one line. `unreadable`: what had to be JSON is none."""

    reason: str
    kind: Literal["unreadable", "invalid", "large"] = "invalid"


class _Missing(Exception):
    """There is no text where the source says that the type is."""


def read(source: SourceRegistered, request: Incoming, new_id: str) -> list[Arrived] | Unfit:
    """The events of a request, in its order. `new_id` is for a request that names none."""
    content_type = request.first("content-type") or ""
    media_type = content_type.split(";", 1)[0].strip().lower()
    items = source.items or _ITEMS.get(source.scheme)
    try:
        if items is not None and items.taken == "each":
            return _each(source, request, items.path, new_id)
        if items is None and media_type == CLOUDEVENTS_BATCH:
            return _batch(source, request, new_id)
        if items is None and media_type == CLOUDEVENTS_JSON:
            return [_structured(source, request.body, _given_id(source, request) or new_id)]
        return [_one(source, request, content_type, new_id)]
    except (msgspec.DecodeError, RecursionError):
        return Unfit("the body is not the JSON that this source is to send", "unreadable")
    except UnicodeError:
        return Unfit("an attribute is not UTF-8")
    except _Missing:
        return Unfit(f"there is no text at {source.event_type}, where the event's type is to be")


def _one(source: SourceRegistered, request: Incoming, content_type: str, new_id: str) -> Arrived:
    own = clouds.attributes_of(request.headers) if clouds.is_binary(request.headers) else {}
    # What a scheme signs counts for more than what anybody can write into a header.
    event_id = _given_id(source, request) or own.get("id") or new_id
    named = own.get("type") if source.event_type is None else None
    headers = {
        "source": _source(source),
        **{name: value for name, value in own.items() if name != "specversion"},
        "id": event_id,
        "type": named or _type(source, request, request.body),
    }
    told = [("content-type", content_type.encode("utf-8", "surrogateescape"))] if content_type else []
    return Arrived(event_id, request.body, [*clouds.as_headers(headers), *told])


def _each(source: SourceRegistered, request: Incoming, path: str, new_id: str) -> list[Arrived] | Unfit:
    found = _find(request.body, path)
    if found is None or not bytes(found).lstrip().startswith(b"["):
        return Unfit(f"the body has no array at {path}")
    items = clouds.ARRAY.decode(found)
    if len(items) > MAX_ITEMS:
        return Unfit(f"a batch has at most {MAX_ITEMS} items", "large")
    batch_id = _given_id(source, request) or new_id
    own_id = _ITEM_ID_PATHS.get(source.scheme, "")
    made = []
    for number, item in enumerate(items):
        event_id = (_text(item, own_id) if own_id else None) or f"{batch_id}-{number}"
        attributes = {"source": _source(source), "id": event_id, "type": _type(source, request, item)}
        made.append(Arrived(event_id, bytes(item), [*clouds.as_headers(attributes), ("content-type", JSON.encode())]))
    return made


def _batch(source: SourceRegistered, request: Incoming, new_id: str) -> list[Arrived] | Unfit:
    items = clouds.ARRAY.decode(request.body)
    if len(items) > MAX_ITEMS:
        return Unfit(f"a batch has at most {MAX_ITEMS} items", "large")
    batch_id = _given_id(source, request) or new_id
    return [_structured(source, bytes(item), f"{batch_id}-{number}") for number, item in enumerate(items)]


def _structured(source: SourceRegistered, body: bytes, own_id: str) -> Arrived:
    """A CloudEvent that keeps what it says of itself; only what it lacks, or the source decides, is laid over it."""
    raw = clouds.OBJECT.decode(body)
    texts = {}
    event_id = clouds.text_of(raw, "id") or ""
    if bytes(raw.get("id", _NULL)).strip() == b"null":
        texts["id"] = event_id = own_id
    if source.event_type is not None:
        texts["type"] = _configured(source.event_type, body)
    value = clouds.laid_over(raw, **texts) if texts else body
    return Arrived(event_id, value, [("content-type", CLOUDEVENTS_JSON.encode())])


def _given_id(source: SourceRegistered, request: Incoming) -> str | None:
    """The provider's own id of the request."""
    if (names := _ID_HEADERS.get(source.scheme)) is not None:
        return request.first(*names) or None
    path = _ID_PATHS.get(source.scheme)
    return _text_or_none(request.body, path) if path is not None else None


def _type(source: SourceRegistered, request: Incoming, data: bytes | msgspec.Raw) -> str:
    """The type that the source says, else its scheme's, else the source's id. Raises `_Missing`."""
    if source.event_type is not None:
        return _configured(source.event_type, data)
    if source.scheme == "github":
        event = request.first("x-github-event")
        return f"github.{event}" if event else source.source_id
    if source.scheme == "shopify":
        return (request.first("x-shopify-topic") or "").replace("/", ".") or source.source_id
    found = _first(_text_or_none(data, path) for path in _TYPE_PATHS.get(source.scheme, ()))
    return found or source.source_id


def _configured(event_type: str, data: bytes | msgspec.Raw) -> str:
    if not sources.is_path(event_type):
        return event_type
    found = _text(data, event_type)
    if not found:
        raise _Missing
    return found


def _source(source: SourceRegistered) -> str:
    return f"/in/{source.source_id}"


def _first(found: Iterable[str | None]) -> str | None:
    return next((text for text in found if text), None)


def _text_or_none(data: bytes | msgspec.Raw, path: str) -> str | None:
    """The text at a path, where the data need not be JSON at all."""
    try:
        return _text(data, path) or None
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None


def _text(data: bytes | msgspec.Raw, path: str) -> str | None:
    """The text at a path. Raises msgspec's errors where the data is not JSON."""
    found = _find(data, path)
    value = msgspec.json.decode(found) if found is not None and bytes(found).lstrip().startswith(b'"') else None
    return value if isinstance(value, str) else None


def _find(data: bytes | msgspec.Raw, path: str) -> msgspec.Raw | None:
    """What is at a path, with its bytes; None where there is nothing. Raises msgspec's errors."""
    found = msgspec.json.decode(data, type=msgspec.Raw)
    for name in sources.split(path):
        if not bytes(found).lstrip().startswith(b"{"):
            return None
        inner = clouds.OBJECT.decode(found).get(name)
        if inner is None:
            return None
        found = inner
    return found
