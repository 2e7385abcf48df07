"""The call that publishes events: plain JSON, or CloudEvents as their HTTP binding 1.0.2 has them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from handlers.gateway.calls import TENANT_PATH, Call, answer
from handlers.gateway.context import Context
from handlers.gateway.problems import Kind, Refusal
from handlers.wire import clouds
from schemas import topics
from schemas.api import CloudEvent, PlainEvent, Published, PublishedBatch
from schemas.events import CLOUDEVENTS_BATCH, CLOUDEVENTS_JSON, Event
from streams.core import reading
from streams.core.reading import Unreadable

MAX_BATCH = 1_000

Record = tuple[str, bytes, list[tuple[str, bytes]]]


async def publish(context: Context, request: web.Request) -> web.StreamResponse:
    """Append an event, or each of a CloudEvents batch, to the log.

    An event without an id takes the `idempotency-key`, in a batch with `-<n>`, or is given one; a repeated id is
    delivered once.
    """
    tenant = request.match_info["tenant"]
    body = await request.read()
    content_type = request.headers.get("content-type", "application/json")
    media_type = content_type.split(";", 1)[0].strip().lower()
    batch = media_type == CLOUDEVENTS_BATCH
    given_id = request.headers.get("idempotency-key")
    traceparent = request.headers.get("traceparent", "")
    more = [("traceparent", traceparent.encode("utf-8", "replace"))] if traceparent else []
    try:
        if clouds.is_binary(request.headers):
            records = [_binary(request.headers, body, given_id)]
        elif batch:
            records = _batch(clouds.ARRAY.decode(body), given_id)
        elif media_type == CLOUDEVENTS_JSON:
            records = [_structured(body, given_id)]
        elif media_type == "application/json":
            records = [_plain(body, given_id)]
        else:
            raise Refusal(Kind.UNSUPPORTED, "an event is application/json or a CloudEvent")
    except (msgspec.DecodeError, RecursionError):
        raise Refusal(Kind.BAD_REQUEST, "the body is not a JSON object, or array of such for a batch") from None
    except UnicodeError:
        raise Refusal(Kind.INVALID, "an id or attribute is not UTF-8") from None
    checked = [
        check(context, tenant, value, [*headers, *more], f"event {number + 1}: " if batch else "")
        for number, (_, value, headers) in enumerate(records)
    ]
    written = [(value, [*headers, *more]) for _, value, headers in records]
    if context.settings.seal_payloads:
        written = [clouds.as_record(event) for event in await context.sealed(tenant, checked)]
    appended = await context.send_all(topics.EVENTS, tenant, written)
    done = [
        Published(id=event_id, partition=sent.partition, offset=sent.offset)
        for (event_id, _, _), sent in zip(records, appended, strict=True)
    ]
    return answer(PublishedBatch(items=tuple(done)) if batch else done[0], 202)


def _batch(items: list[msgspec.Raw], given_id: str | None) -> list[Record]:
    if not items:
        raise Refusal(Kind.INVALID, "the batch has no events")
    if len(items) > MAX_BATCH:
        raise Refusal(Kind.TOO_LARGE, f"a batch has at most {MAX_BATCH} events")
    ids = (f"{given_id}-{number}" if given_id is not None else None for number in range(len(items)))
    return [_structured(bytes(item), own) for item, own in zip(items, ids, strict=True)]


def _plain(body: bytes, given_id: str | None) -> Record:
    raw = clouds.OBJECT.decode(body)
    event_id = _id_in(raw, given_id)
    if "id" in raw and event_id is not None and _is_null(raw["id"]):
        del raw["id"]
    if "id" not in raw and event_id is not None:
        raw = {"id": msgspec.Raw(msgspec.json.encode(event_id)), **raw}
        body = msgspec.json.encode(raw)
    return event_id or "", body, []


def _structured(body: bytes, given_id: str | None) -> Record:
    raw = clouds.OBJECT.decode(body)
    event_id = _id_in(raw, given_id)
    if event_id is not None and ("id" not in raw or _is_null(raw["id"])):
        body = clouds.laid_over(raw, id=event_id)
    return event_id or "", body, [("content-type", CLOUDEVENTS_JSON.encode())]


def _binary(named: Mapping[str, str], body: bytes, given_id: str | None) -> Record:
    attributes = clouds.attributes_of(named)
    if attributes.pop("specversion", "1.0") != "1.0":
        raise Refusal(Kind.INVALID, "the event's specversion is not 1.0")
    event_id = attributes.setdefault("id", given_id or str(uuid.uuid4()))
    headers = clouds.as_headers(attributes)
    if (content_type := named.get("content-type")) is not None:
        headers.append(("content-type", content_type.encode("utf-8", "surrogateescape")))
    return event_id, body, headers


def _id_in(raw: Mapping[str, msgspec.Raw], given_id: str | None) -> str | None:
    """The event's own id, else the one given, else a new one; None where its own is no text."""
    if "id" in raw and not _is_null(raw["id"]):
        own: Any = msgspec.json.decode(raw["id"])
        return own if isinstance(own, str) else None
    return given_id or str(uuid.uuid4())


def _is_null(raw: msgspec.Raw) -> bool:
    return bytes(raw).strip() == b"null"


def check(context: Context, tenant: str, value: bytes, headers: list[tuple[str, bytes]], place: str) -> Event:
    """The event. What the router would not read is not written: it raises `Refusal`, with `place` in front."""
    max_bytes = context.settings.max_event_bytes
    if len(value) > max_bytes:
        raise Refusal(Kind.TOO_LARGE, f"{place}the event has {len(value)} bytes, {max_bytes} are allowed")
    event = reading.read_event(tenant, value, headers, partition=0, offset=0, max_bytes=max_bytes)
    if isinstance(event, Unreadable):
        raise Refusal(Kind.INVALID, place + event.reason)
    return event


CALLS = (
    Call(
        "POST",
        TENANT_PATH + "/events",
        "publish",
        "publish events",
        publish,
        {202: Published},
        bodies={
            "application/json": PlainEvent,
            CLOUDEVENTS_JSON: CloudEvent,
            CLOUDEVENTS_BATCH: [CloudEvent],
        },
        headers={"Idempotency-Key": "the event's id where it has none"},
        problems=(Kind.CONFLICT, Kind.UNAVAILABLE),
    ),
)
