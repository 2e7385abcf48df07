"""The body a receiver gets. The data's bytes are put in as they came; they are never parsed and written again."""

import base64
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, NamedTuple
from urllib.parse import quote

import orjson

from handlers.wire import projecting
from schemas.deliveries import Delivery
from schemas.events import CLOUDEVENTS_BATCH, CLOUDEVENTS_JSON, cloud_attributes

Format = Literal["standard", "cloudevents", "cloudevents-binary", "data"]
_JSON_TYPE = re.compile(r"^[\w.+-]+/([\w.+-]+\+)?json$")


class Body(NamedTuple):
    """What is sent. `headers` are the format's own, besides the content type."""

    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


def render(form: Format, delivery: Delivery, event_time: str, fields: Sequence[str] | None = None) -> Body:
    """The body for one delivery; `event_time` is RFC 3339, `fields` the part of the data that the endpoint wants."""
    delivery = _projected(delivery, fields)
    match form:
        case "standard":
            return Body("application/json", _standard(delivery, event_time))
        case "cloudevents":
            return Body(CLOUDEVENTS_JSON, _structured(delivery, event_time))
        case "cloudevents-binary":
            return Body(
                delivery.data_content_type or "application/octet-stream", delivery.data, _binary(delivery, event_time)
            )
        case "data":
            return Body(delivery.data_content_type or "application/octet-stream", delivery.data)


def render_batch(form: Format, deliveries: Sequence[tuple[Delivery, str]], fields: Sequence[str] | None = None) -> Body:
    """An array of deliveries, each with its event's time; every item carries its delivery's id."""
    items = []
    for delivery, event_time in deliveries:
        item = _projected(delivery, fields)
        if form == "cloudevents":
            named = item.model_copy(update={"attributes": {**item.attributes, "deliveryid": item.delivery_id}})
            items.append(_structured(named, event_time))
        else:
            items.append(b'{"id":%b,' % orjson.dumps(item.delivery_id) + _standard(item, event_time)[1:])
    content_type = CLOUDEVENTS_BATCH if form == "cloudevents" else "application/json"
    return Body(content_type, b"[" + b",".join(items) + b"]")


def time_of(delivery: Delivery) -> str:
    """The event's own time, else that of the log; RFC 3339."""
    if delivery.event_time is not None:
        return delivery.event_time
    time_s, ms = divmod(delivery.event_time_ms, 1_000)
    return f"{_second(time_s)}.{ms:03}Z"


@lru_cache(maxsize=1_024)
def _second(time_s: int) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat()[:19]


def _projected(delivery: Delivery, fields: Sequence[str] | None) -> Delivery:
    if fields is None or not delivery.data:
        return delivery
    return delivery.model_copy(update={"data": projecting.project(delivery.data, fields)})


def is_json(data: bytes) -> bool:
    """True when the data is one JSON value that can stand inside another."""
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return _is_extreme(data)
    return True


def _is_extreme(data: bytes) -> bool:
    """True for JSON that a parser of ordinary numbers refuses: `1e400` is JSON, too."""
    try:
        json.loads(data.decode(), parse_int=str, parse_float=str, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _standard(delivery: Delivery, event_time: str) -> bytes:
    head = b'{"type":%b,"timestamp":%b,' % (orjson.dumps(delivery.event_type), orjson.dumps(event_time))
    if not delivery.data:
        return head + b'"data":null}'
    if is_json(delivery.data):
        return head + b'"data":' + delivery.data + b"}"
    return head + b'"data_base64":"' + base64.b64encode(delivery.data) + b'"}'


def _attributes(delivery: Delivery, event_time: str) -> dict[str, str]:
    return cloud_attributes(delivery.tenant, delivery.event_id, delivery.event_type, event_time, delivery.attributes)


def _structured(delivery: Delivery, event_time: str) -> bytes:
    attributes = _attributes(delivery, event_time)
    if delivery.data_content_type:
        attributes["datacontenttype"] = delivery.data_content_type
    head = orjson.dumps(attributes)[:-1]
    if not delivery.data:
        return head + b"}"
    # CloudEvents JSON format 3.1: JSON data stands in `data`; anything else, and data that only claims to be JSON,
    # goes as base64.
    media_type = (delivery.data_content_type or "application/json").split(";", 1)[0].strip().lower()
    if _JSON_TYPE.fullmatch(media_type) and is_json(delivery.data):
        return head + b',"data":' + delivery.data + b"}"
    return head + b',"data_base64":"' + base64.b64encode(delivery.data) + b'"}'


def _binary(delivery: Delivery, event_time: str) -> tuple[tuple[str, str], ...]:
    # CloudEvents HTTP binding 3.1.3.2: what is not printable ASCII, and `"` and `%`, is percent-encoded.
    safe = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
    return tuple(
        (f"ce-{name}", quote(value, safe=safe + " ")) for name, value in _attributes(delivery, event_time).items()
    )
