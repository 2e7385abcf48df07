"""Which replays begin by which changes, and what each kind owes."""

from typing import Any

import orjson
import pytest

from schemas.endpoints import CatchUp, EndpointRecord
from schemas.events import Event
from schemas.results import Verdict
from streams.core import catch_ups, catching_up, lifecycle, reading
from streams.core.catching_up import Past
from streams.core.lifecycle import Refused
from streams.core.outputs import Source
from streams.core.registering import Limits

REGISTERED = {"url": "https://example.com/", "secrets": [], "verification": "none"}
A, B = {"event_types": ["a"]}, {"event_types": ["b"]}
Step = tuple[str, dict[str, Any]]


def folded(*steps: Step, at: int = 10) -> EndpointRecord | Refused:
    """The record after changes at the times 10, 20, 30 …, whose offsets are 0, 1, 2 …"""
    record: EndpointRecord | Refused | None = None
    for offset, (kind, fields) in enumerate(steps):
        change = reading.read_change(orjson.dumps({"type": kind, "endpoint_id": "ep", **fields}))
        assert not isinstance(change, reading.Unreadable), change
        assert not isinstance(record, Refused), record
        record = lifecycle.apply(
            record, change, tenant="t", partition=0, offset=offset, at_ms=at * (offset + 1), limits=Limits()
        )
    assert record is not None
    return record


def registered(*subscriptions: dict[str, Any], **more: Any) -> Step:
    return "endpoint.registered", {**REGISTERED, "subscriptions": list(subscriptions), **more}


def owed(record: EndpointRecord | Refused, kind: str, at_ms: int, past: Past | None = None) -> int | None:
    """The attempt that the record's replay owes for an event; None: none."""
    assert isinstance(record, EndpointRecord)
    (catch_up,) = record.catch_ups
    event, source = Event("t", "e", kind, b"1"), Source("events", 0, 0, at_ms, b"t", b"")
    known = {reading.delivery_id("t", "e", "ep"): past} if past is not None else {}
    made = catching_up.owed(event, source, record, catch_up, known)
    if made is None:
        return None
    headers = dict(made.headers)
    assert headers["replay-id"].decode() == catch_up.replay_id
    return int(headers["attempt"])


def test_a_new_endpoint_may_get_what_was_there_before_it() -> None:
    record = folded(registered(A, deliver_since_ms=3))
    assert [owed(record, "a", at_ms) for at_ms in (2, 3, 9, 10)] == [None, 1, 1, None]
    assert owed(record, "b", 5) is None


def test_a_new_subscription_gets_what_it_leads_to_and_no_delivery_twice() -> None:
    record = folded(registered(A), ("subscription.added", {**B, "deliver_since_ms": 0}))
    assert owed(record, "b", 15) == 1
    assert owed(record, "a", 5) == 1, "the endpoint was not there yet"
    assert owed(record, "a", 15) is None, "it is on its way"
    for verdict in (Verdict.DELIVERED, Verdict.DEAD, Verdict.RETRYING):
        assert owed(record, "a", 5, Past(verdict, 3, False)) is None
    assert owed(record, "b", 15, Past(Verdict.SKIPPED, 0, False)) == 1


def test_one_that_is_not_active_yet_waits_for_that() -> None:
    record = folded(registered(A), ("endpoint.paused", {}), ("subscription.added", {**B, "deliver_since_ms": 0}))
    assert isinstance(record, EndpointRecord)
    assert record.catch_ups[0].until_ms is None
    resumed = folded(
        registered(A),
        ("endpoint.paused", {}),
        ("subscription.added", {**B, "deliver_since_ms": 0}),
        ("endpoint.resumed", {}),
    )
    assert owed(resumed, "b", 25) == 1
    assert owed(resumed, "a", 25, Past(Verdict.SKIPPED, 0, False)) == 1


@pytest.mark.parametrize(
    ("verdict", "wanted", "attempt"),
    [
        (Verdict.DEAD, ["dead"], 9),
        (Verdict.DEAD, None, 9),
        (Verdict.DELIVERED, ["dead"], None),
        (Verdict.DELIVERED, ["dead", "delivered"], 9),
        (Verdict.SKIPPED, ["skipped"], 9),
        (Verdict.RETRYING, None, None),
        (None, None, None),
    ],
)
def test_a_replay_takes_what_has_ended_as_it_says(
    verdict: Verdict | None, wanted: list[str] | None, attempt: int | None
) -> None:
    asked: dict[str, Any] = {"since_ms": 0} | ({"verdicts": wanted} if wanted else {})
    record = folded(registered(A), ("endpoint.replay_requested", asked))
    assert owed(record, "a", 15, Past(verdict, 8, False) if verdict else None) == attempt


def test_a_replay_keeps_to_its_event_types_and_times() -> None:
    asked = {"since_ms": 5, "until_ms": 12, "event_types": ["b.*"]}
    record = folded(registered(A), ("endpoint.replay_requested", asked))
    dead = Past(Verdict.DEAD, 1, False)
    assert [owed(record, kind, 7, dead) for kind in ("a", "b.c", "b.c.d")] == [None, 2, None]
    assert [owed(record, "b.c", at_ms, dead) for at_ms in (4, 5, 11, 12)] == [None, 2, 2, None]


def test_a_replay_ends_at_the_time_it_was_asked_for_at_the_latest() -> None:
    record = folded(registered(A), ("endpoint.replay_requested", {"since_ms": 0, "until_ms": 10**12}))
    assert isinstance(record, EndpointRecord)
    assert record.catch_ups == (CatchUp(replay_id="0-1", kind="replay", since_ms=0, until_ms=20),)
    assert record.covered == (), "what is skipped meanwhile is not left to it"
    assert (record.version, record.settings_version) == ("0-1", "0-0")


def test_it_can_be_cancelled_once() -> None:
    begun: tuple[Step, ...] = (registered(A), ("endpoint.replay_requested", {"since_ms": 0}))
    cancelled = folded(*begun, ("endpoint.replay_cancelled", {"replay_id": "0-1"}))
    assert isinstance(cancelled, EndpointRecord)
    assert cancelled.catch_ups == ()
    other = folded(*begun, ("endpoint.replay_cancelled", {"replay_id": "0-9"}))
    assert isinstance(other, Refused)
    assert other.kind == "missing"


@pytest.mark.parametrize(
    "steps",
    [
        [("endpoint.replay_requested", {"since_ms": 20})],
        [("endpoint.replay_requested", {"since_ms": 5, "until_ms": 5})],
        [("endpoint.replay_requested", {"since_ms": 0, "event_types": ["**.a"]})],
        [("endpoint.paused", {}), ("endpoint.replay_requested", {"since_ms": 0})],
        [("endpoint.replay_requested", {"since_ms": 0})] * (catch_ups.MAX_UNDER_WAY + 1),
    ],
)
def test_what_makes_no_sense_is_refused(steps: list[Step]) -> None:
    assert isinstance(folded(registered(A), *steps), Refused)
