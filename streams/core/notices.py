"""What a tenant is told of its own endpoints: events of Hookfold's own, to those that subscribe to them by name."""

from typing import Any

import orjson

from schemas import topics
from schemas.endpoints import EndpointRecord, State
from schemas.events import NOTICE_HEADER, OWN_TYPES
from streams.core.outputs import Output


def of_change(before: EndpointRecord | None, after: EndpointRecord, offset: int) -> Output | None:
    """The event that the change at `offset` leads to; None where it is nobody's concern.

    Its id is made of the change's place, so that it is one event however often the change is folded.
    """
    was = before.current if before is not None else None
    now = after.current
    failed_since_ms = was.failing_since_ms if was is not None else None
    told: dict[str, Any] = {"endpoint_id": after.endpoint_id}
    if now.state is State.DISABLED and (was is None or was.state is not State.DISABLED):
        name = "disabled"
        told |= {"reason": now.reason, "since_ms": now.since_ms}
    elif now.failing_since_ms is not None and failed_since_ms is None:
        name = "failing"
        told["since_ms"] = now.failing_since_ms
    elif now.failing_since_ms is None and failed_since_ms is not None and after.aside_offset == offset:
        name = "recovered"
        told["failing_since_ms"] = failed_since_ms
    else:
        return None
    event = {"id": f"endpoint-{after.partition}-{offset}", "type": f"{OWN_TYPES}endpoint.{name}", "data": told}
    mark = (NOTICE_HEADER, f"{after.partition}-{offset}".encode())
    return Output(topics.EVENTS, after.tenant.encode(), orjson.dumps(event), [mark])
