"""Which changes a tenant is told of, and by which event."""

from typing import Any

import orjson
import pytest

from schemas.endpoints import EndpointRecord
from streams.core import lifecycle, notices, reading
from streams.core.registering import Limits

FAILING = ("endpoint.failing", {"since_ms": 7})
RECOVERED = ("endpoint.recovered", {"since_ms": 9})
REGISTERED = (
    "endpoint.registered",
    {"url": "https://example.com/", "subscriptions": [], "secrets": [], "verification": "none"},
)
PAUSED, RESUMED = ("endpoint.paused", {}), ("endpoint.resumed", {})


def disabled(reason: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return "endpoint.disabled", {"reason": reason, **more}


def told(*steps: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The events that changes lead to, one after the other at offsets 0, 1, 2 …"""
    record: EndpointRecord | None = None
    found = []
    for offset, (kind, fields) in enumerate(steps):
        change = reading.read_change(orjson.dumps({"type": kind, "endpoint_id": "ep", **fields}))
        after = lifecycle.apply(
            record, change, tenant="t", partition=3, offset=offset, at_ms=1_000 + offset, limits=Limits()  # type: ignore[arg-type]
        )  # fmt: skip
        assert isinstance(after, EndpointRecord)
        if (event := notices.of_change(record, after, offset)) is not None:
            read = reading.read_event("t", event.value, event.headers, partition=3, offset=0, max_bytes=9_999)
            assert not isinstance(read, reading.Unreadable), read
            found.append({"id": read.event_id, "type": read.event_type, **orjson.loads(read.data)})
        record = after
    return found


def test_a_streak_is_told_at_its_beginning_and_its_end() -> None:
    assert told(REGISTERED, FAILING, FAILING, PAUSED, RESUMED, RECOVERED, RECOVERED) == [
        {"id": "endpoint-3-1", "type": "hookfold.endpoint.failing", "endpoint_id": "ep", "since_ms": 7},
        {"id": "endpoint-3-5", "type": "hookfold.endpoint.recovered", "endpoint_id": "ep", "failing_since_ms": 7},
    ]


@pytest.mark.parametrize("reason", ["gone", "failing", "unverified", "operator"])
def test_an_end_is_told_once_with_its_reason(reason: str) -> None:
    wanted = {"type": "hookfold.endpoint.disabled", "endpoint_id": "ep", "reason": reason}
    assert told(REGISTERED, disabled(reason), disabled("operator")) == [
        {"id": "endpoint-3-1", "since_ms": 1_001, **wanted}
    ]
    assert [one["id"] for one in told(REGISTERED, disabled(reason), RESUMED, disabled(reason))] == [
        "endpoint-3-1",
        "endpoint-3-3",
    ]


def test_what_is_registered_anew_has_not_recovered() -> None:
    assert [one["type"] for one in told(REGISTERED, FAILING, REGISTERED)] == ["hookfold.endpoint.failing"]


def test_health_makes_no_version_and_begins_no_handshake() -> None:
    record: EndpointRecord | None = None
    for offset, (kind, fields) in enumerate([REGISTERED, *[FAILING, RECOVERED] * 500]):
        change = reading.read_change(orjson.dumps({"type": kind, "endpoint_id": "ep", **fields}))
        made = lifecycle.apply(record, change, tenant="t", partition=3, offset=offset, at_ms=offset, limits=Limits())  # type: ignore[arg-type]
        assert isinstance(made, EndpointRecord)
        record = made
    assert record is not None
    assert (record.version, record.settings_version, record.history) == ("3-1000", "3-0", ())
    assert EndpointRecord.decode(record.encode()) == record


@pytest.mark.parametrize(
    ("version", "taken"), [("3-0", False), ("3-2", True), ("3-3", True), ("3-4", False), ("2-2", False)]
)
def test_who_read_before_a_change_of_health_may_still_change_settings(version: str, taken: bool) -> None:
    changed = ("endpoint.changed", {"description": "x"})
    steps = [REGISTERED, changed, changed, FAILING, ("endpoint.changed", {"description": "y", "if_version": version})]
    record: EndpointRecord | lifecycle.Refused | None = None
    for offset, (kind, fields) in enumerate(steps):
        assert not isinstance(record, lifecycle.Refused)
        change = reading.read_change(orjson.dumps({"type": kind, "endpoint_id": "ep", **fields}))
        record = lifecycle.apply(record, change, tenant="t", partition=3, offset=offset, at_ms=offset, limits=Limits())  # type: ignore[arg-type]
    assert isinstance(record, EndpointRecord) is taken
