"""What is explained is what is judged."""

import random
from typing import Any

import orjson
import pytest

from schemas.endpoints import EndpointRecord
from schemas.events import Event
from schemas.results import Result
from streams.core import explaining, judging, lifecycle, plans, reading
from streams.core.explaining import Decision
from streams.core.outputs import Source
from streams.core.registering import Limits

URL = "https://example.com/"
FILTERS = (None, "n = '1'", "boom(", {"data": {"a": 1}}, "ABS('x') = 1")


def record_of(draw: random.Random) -> EndpointRecord:
    record: EndpointRecord | None = None
    for offset in range(draw.randrange(1, 9)):
        kinds = ["registered", "paused", "resumed", "disabled", "unregistered", "changed"]
        kind = "registered" if record is None else draw.choice(kinds)
        subscriptions = [
            {"event_types": [draw.choice(["a.*", "*", "b.c", "a.b.**"])], "filter": draw.choice(FILTERS)}
            for _ in range(draw.randrange(3))
        ]
        fields: dict[str, Any] = {"registered": {"url": URL, "secrets": [], "verification": "none"}}.get(kind, {})
        fields |= {"subscriptions": subscriptions} if kind in ("registered", "changed") else {}
        fields |= {"reason": "operator"} if kind == "disabled" else {}
        change = reading.read_change(orjson.dumps({"type": f"endpoint.{kind}", "endpoint_id": "ep", **fields}))
        assert not isinstance(change, reading.Unreadable)
        after = lifecycle.apply(
            record, change, tenant="t", partition=2, offset=offset, at_ms=offset * 10, limits=Limits()
        )
        if isinstance(after, EndpointRecord):
            record = after
        elif record is None:
            return record_of(draw)
    assert record is not None
    return record


@pytest.mark.parametrize("seed", range(400))
def test_it_says_what_the_router_would_do(seed: int) -> None:
    draw = random.Random(seed)
    record = record_of(draw)
    event = Event("t", "e", draw.choice(["a.b", "b.c", "a", "x.y"]), b'{"a":1}', attributes={"n": draw.choice("12")})
    source = Source("events", 2, 7, draw.randrange(0, 100), b"t", b"")
    judged = judging.judge(event, source, [plans.of(record)])
    explained = explaining.explain(event, source, record)
    if judged.deliveries:
        assert explained.decision is Decision.OWED
        version = f"2-{explained.version.offset}".encode()
        assert dict(judged.outputs[0].headers)["endpoint-version"] == version
    elif judged.skipped:
        assert explained.decision is Decision.SKIPPED
        result = Result.model_validate_json(judged.outputs[0].value or b"")
        assert result.error is not None
        assert explained.version.state.value in result.error
        assert explained.version.state.value in explained.reason
    else:
        assert explained.decision in (Decision.FILTERED, Decision.NOT_SUBSCRIBED, Decision.NOT_REGISTERED)
        later = explained.version.valid_from_ms > source.at_ms
        assert later is ("after the event" in explained.reason)


def test_a_filter_is_named_with_what_it_said() -> None:
    given = {"url": URL, "secrets": [], "verification": "none"}
    given["subscriptions"] = [{"event_types": ["a.*"], "filter": "ABS('x') = 1"}, {"event_types": ["b"]}]
    change = reading.read_change(orjson.dumps({"type": "endpoint.registered", "endpoint_id": "ep", **given}))
    record = lifecycle.apply(None, change, tenant="t", partition=0, offset=0, at_ms=0, limits=Limits())  # type: ignore[arg-type]
    assert isinstance(record, EndpointRecord)
    explained = explaining.explain(Event("t", "e", "a.b", b""), Source("events", 0, 0, 5, b"t", b""), record)
    assert explained.decision is Decision.FILTERED
    assert explained.reason.startswith("a.*: the filter failed: ")
