"""CloudEvents over HTTP, as their binding 1.0.2 has them: what a request says, and envelopes amended."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

import msgspec

from schemas.events import SEALED_HEADER, Event

#: Raw values keep their bytes.
OBJECT: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])
ARRAY: msgspec.json.Decoder[list[msgspec.Raw]] = msgspec.json.Decoder(list[msgspec.Raw])


def is_binary(headers: Mapping[str, str]) -> bool:
    """True where the attributes are in headers."""
    return any(name.lower() in ("ce-id", "ce-type", "ce-specversion") for name in headers)


def attributes_of(headers: Mapping[str, str]) -> dict[str, str]:
    """The attributes in headers. Raises UnicodeError for what is not UTF-8 once it is decoded."""
    return {
        name.lower()[3:]: unquote(value, errors="strict") if "%" in value else value
        for name, value in headers.items()
        if name.lower().startswith("ce-")
    }


def as_headers(attributes: Mapping[str, str]) -> list[tuple[str, bytes]]:
    """Attributes as headers of a record, with the bytes that they came with."""
    return [(f"ce_{name}", value.encode("utf-8", "surrogateescape")) for name, value in attributes.items()]


def as_record(event: Event) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Value and headers of the record of an event that is sealed. Raises ValueError for one that is not."""
    if event.sealed is None:
        raise ValueError(f"the event {event.event_id} is not sealed")
    told = {"id": event.event_id, "type": event.event_type, **event.attributes}
    if event.time is not None:
        told["time"] = event.time
    headers = as_headers(told)
    if event.data_content_type is not None:
        headers.append(("content-type", event.data_content_type.encode()))
    if event.traceparent is not None:
        headers.append(("traceparent", event.traceparent.encode()))
    return event.sealed.data, [*headers, (SEALED_HEADER, event.sealed.key_id.encode())]


def text_of(raw: Mapping[str, msgspec.Raw], name: str) -> str | None:
    """A field that is a text; None where it is none, or absent."""
    value = msgspec.json.decode(raw[name]) if name in raw else None
    return value if isinstance(value, str) else None


def laid_over(raw: Mapping[str, msgspec.Raw], **texts: str) -> bytes:
    """The envelope with these fields; all others, the data too, keep their bytes."""
    return msgspec.json.encode(
        {**raw, **{name: msgspec.Raw(msgspec.json.encode(text)) for name, text in texts.items()}}
    )
