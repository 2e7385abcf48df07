"""A batch: its id, its items, and what its receiver says of each."""

import json
from typing import Any

import orjson
import pytest

from handlers.wire import batching, payload
from handlers.wire.outcome import Outcome
from schemas.deliveries import Delivery
from schemas.results import ErrorKind

ACCEPTED = Outcome(5, 200)


def owed(name: str, data: bytes = b"1.10", **more: Any) -> Delivery:
    return Delivery(
        delivery_id=name, event_id=f"e-{name}", event_type="a.b", tenant="t", endpoint_id="e", endpoint_version="0-1",
        event_time_ms=0, data=data, **more,
    )  # fmt: skip


THREE = [owed("d-1"), owed("d-2", b'{"n":2,"m":3}'), owed("d-3", b"")]


def test_the_id_is_the_same_while_the_items_and_their_attempts_are() -> None:
    assert batching.envelope(THREE) == batching.envelope(THREE)
    ids = {
        batching.envelope(items).webhook_id
        for items in (THREE, THREE[:2], [owed("d-1", attempt=2), *THREE[1:]], [owed("d-1", replay_id="r"), *THREE[1:]])
    }
    assert len(ids) == 4
    assert batching.envelope([owed("d-1", attempt=3), THREE[1]]).attempt == 3
    assert batching.envelope([owed("d-1", replay_id="r")]).replay_id == "r"
    assert batching.envelope([owed("d-1", replay_id="r"), THREE[1]]).replay_id is None


def test_each_item_carries_its_delivery_and_its_bytes() -> None:
    body = payload.render_batch("standard", [(one, "T") for one in THREE])
    assert body.content_type == "application/json"
    assert body.body == (
        b'[{"id":"d-1","type":"a.b","timestamp":"T","data":1.10},'
        b'{"id":"d-2","type":"a.b","timestamp":"T","data":{"n":2,"m":3}},'
        b'{"id":"d-3","type":"a.b","timestamp":"T","data":null}]'
    )
    cloud = payload.render_batch("cloudevents", [(one, "T") for one in THREE], ["data.n"])
    assert cloud.content_type == "application/cloudevents-batch+json"
    items = json.loads(cloud.body)
    assert [(one["id"], one["deliveryid"]) for one in items] == [("e-d-1", "d-1"), ("e-d-2", "d-2"), ("e-d-3", "d-3")]
    assert [one.get("data") for one in items] == [None, {"n": 2}, None]


def test_a_2xx_accepts_all_but_those_that_it_names() -> None:
    answer = {"failed": [{"id": "d-2", "error": "no\r\nstock"}, {"id": "other"}, {"id": 7}, "d-1", {"error": "x"}]}
    first, second, third = batching.outcomes(THREE, ACCEPTED, orjson.dumps(answer))
    assert first.accepted
    assert third.accepted
    assert (second.error_kind, second.status_code) == (ErrorKind.STATUS, 200)
    assert second.error == "the receiver failed this item: no stock"


@pytest.mark.parametrize("body", [b"", b"ok", b"[]", b"{}", b'{"failed": null}', b'{"failed": {}}', b'{"failed": []}'])
def test_any_other_2xx_accepts_all(body: bytes) -> None:
    assert all(outcome.accepted for outcome in batching.outcomes(THREE, ACCEPTED, body))


def test_anything_else_fails_all() -> None:
    refused = Outcome(5, 500, ErrorKind.STATUS, "no")
    assert batching.outcomes(THREE, refused, b'{"failed": []}') == [refused] * 3


def test_what_a_receiver_says_of_an_item_is_short() -> None:
    answer = orjson.dumps({"failed": [{"id": "d-1", "error": "x" * 5_000}]})
    assert len(batching.outcomes(THREE, ACCEPTED, answer)[0].error or "") < 250
