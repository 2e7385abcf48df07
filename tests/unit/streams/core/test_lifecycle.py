"""An endpoint's life: every change in every state, and a log that may be read again from anywhere."""

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.endpoints import EndpointRecord, State
from streams.core import lifecycle, reading
from streams.core.lifecycle import Refused
from streams.core.reading import Unreadable
from streams.core.registering import Limits

SECRETS = ["whsec_" + base64.b64encode(bytes([65 + number]) * 32).decode() for number in range(3)]
Step = tuple[str, dict[str, Any]]
REGISTERED: Step = (
    "endpoint.registered",
    {"url": "https://a.example/", "subscriptions": [{"event_types": ["a.*"]}], "secrets": [SECRETS[0]]},
)
UNVERIFIED: Step = ("endpoint.registered", {**REGISTERED[1], "verification": "none"})
VERIFIED: Step = ("endpoint.verified", {"method": "operator"})
PAUSED: Step = ("endpoint.paused", {"reason": "holiday"})
RESUMED: Step = ("endpoint.resumed", {})
GONE: Step = ("endpoint.unregistered", {})
MOVED: Step = ("endpoint.changed", {"url": "https://b.example/"})
TOLD: Step = ("endpoint.changed", {"description": "d"})
FAILING: Step = ("endpoint.failing", {"since_ms": 7})
RECOVERED: Step = ("endpoint.recovered", {"since_ms": 7})
ADDED: Step = ("subscription.added", {"event_types": ["b"]})
REMOVED: Step = ("subscription.removed", {"event_types": ["a.*"]})
ROTATED: Step = ("secret.rotated", {"secret": SECRETS[1], "overlap_ms": 3})


def disabled(reason: str) -> Step:
    return ("endpoint.disabled", {"reason": reason})


EVERY = [REGISTERED, UNVERIFIED, VERIFIED, PAUSED, RESUMED, GONE, MOVED, TOLD, FAILING, RECOVERED, ADDED, REMOVED]
EVERY += [ROTATED, *(disabled(reason) for reason in ("gone", "failing", "unverified", "operator"))]
LOGS = st.lists(st.sampled_from(EVERY), max_size=15)


def step(record: EndpointRecord | None, made: Step, offset: int) -> EndpointRecord | Refused:
    change = reading.read_change(orjson.dumps({"type": made[0], "endpoint_id": "e", **made[1]}))
    assert not isinstance(change, Unreadable), change
    return lifecycle.apply(
        record, change, tenant="t", partition=2, offset=offset, at_ms=1_000 + offset, limits=Limits()
    )


def fold(steps: list[Step], record: EndpointRecord | None = None, start: int = 0) -> EndpointRecord | None:
    for offset, made in enumerate(steps, start):
        after = step(record, made, offset)
        record = record if isinstance(after, Refused) else after
    return record


def folded(*steps: Step) -> EndpointRecord:
    record = fold(list(steps))
    assert record is not None
    return record


BEFORE = {
    State.PENDING: [REGISTERED],
    State.ACTIVE: [REGISTERED, VERIFIED],
    State.PAUSED: [REGISTERED, VERIFIED, PAUSED],
    State.DISABLED: [REGISTERED, VERIFIED, disabled("operator")],
}
#: The state after each change, for a pending, active, paused and disabled endpoint; all but the pending one verified.
AFTER = {
    "endpoint.registered": (REGISTERED, "pending pending pending pending"),
    "endpoint.registered, none": (UNVERIFIED, "active active active active"),
    "endpoint.changed": (TOLD, "pending active paused disabled"),
    "endpoint.changed, url": (MOVED, "pending pending paused disabled"),
    "endpoint.verified": (VERIFIED, "active active paused disabled"),
    "endpoint.paused": (PAUSED, "paused paused paused paused"),
    "endpoint.resumed": (RESUMED, "pending active active active"),
    "endpoint.disabled": (disabled("gone"), "disabled disabled disabled disabled"),
    "endpoint.failing": (FAILING, "pending active paused disabled"),
    "endpoint.recovered": (RECOVERED, "pending active paused disabled"),
    "endpoint.unregistered": (GONE, "gone gone gone gone"),
    "subscription.added": (ADDED, "pending active paused disabled"),
    "subscription.removed": (REMOVED, "pending active paused disabled"),
    "secret.rotated": (ROTATED, "pending active paused disabled"),
}


@pytest.mark.parametrize("before", list(BEFORE), ids=str)
@pytest.mark.parametrize("name", list(AFTER))
def test_every_change_in_every_state_leads_where_the_contract_says(before: State, name: str) -> None:
    made, after = AFTER[name]
    record = folded(*BEFORE[before], made)
    assert record.current.state == after.split()[list(BEFORE).index(before)]
    assert record.version == f"2-{len(BEFORE[before])}"
    assert (record.current.settings is None) == (record.current.state is State.GONE)


@pytest.mark.parametrize("made", [s for s in EVERY if s[0] != "endpoint.registered"], ids=lambda s: s[0])
@pytest.mark.parametrize("before", [[], [REGISTERED, GONE]], ids=["never", "gone"])
def test_a_change_for_an_endpoint_that_does_not_exist_is_rejected(before: list[Step], made: Step) -> None:
    record = fold(before)
    if record is not None and made in (FAILING, RECOVERED):  # our own word, of an attempt that was under way meanwhile
        assert step(record, made, 9) is record
    else:
        assert isinstance(step(record, made, 9), Refused)


@settings(max_examples=60)
@given(LOGS)
def test_an_endpoint_is_active_only_while_somebody_vouches_for_its_url(log: list[Step]) -> None:
    record, vouched, open_door, url = None, False, False, ""
    for offset, made in enumerate(log):
        after = step(record, made, offset)
        if isinstance(after, Refused):
            continue
        record = after
        if made in (REGISTERED, UNVERIFIED):
            vouched = open_door = made == UNVERIFIED
            url = made[1]["url"]
        elif made == VERIFIED:
            vouched = True
        elif made == MOVED:
            vouched = open_door or (vouched and url == made[1]["url"])
            url = made[1]["url"]
        assert record.current.state is not State.ACTIVE or vouched


@settings(max_examples=60)
@given(LOGS, st.integers(0, 15))
def test_a_log_read_again_from_anywhere_changes_nothing(log: list[Step], again_from: int) -> None:
    once = fold(log)
    if once is None:
        return
    offset = min(again_from, len(log))
    assert fold(log[offset:], once, offset) == once
    assert EndpointRecord.decode(once.encode()) == once


@settings(max_examples=40)
@given(LOGS)
def test_a_change_at_or_below_the_known_offset_is_the_same_record(log: list[Step]) -> None:
    record = fold([REGISTERED, *log])
    assert record is not None
    for made in EVERY:
        assert step(record, made, record.current.offset) is record


@settings(max_examples=40)
@given(LOGS)
def test_every_version_that_ever_was_is_in_the_history_in_order(log: list[Step]) -> None:
    record = fold(log)
    offsets = [] if record is None else [v.offset for v in (*record.history, record.current)]
    assert offsets == sorted(set(offsets))


def test_a_reason_is_told_as_long_as_the_state_lasts() -> None:
    assert folded(REGISTERED, VERIFIED, PAUSED, ADDED).current.reason == "holiday"
    assert folded(REGISTERED, disabled("failing")).current.reason == "failing"
    assert folded(REGISTERED, VERIFIED, PAUSED, RESUMED).current.reason is None
    assert folded(REGISTERED, disabled("gone"), REGISTERED).current.reason is None


def test_since_is_when_the_state_began_and_not_when_a_setting_changed() -> None:
    assert folded(REGISTERED, VERIFIED, TOLD, ADDED).current.since_ms == 1_001
    assert folded(REGISTERED, VERIFIED, PAUSED).current.since_ms == 1_002


def test_a_failing_streak_is_shown_until_it_ends() -> None:
    assert folded(REGISTERED, VERIFIED, FAILING, TOLD).current.failing_since_ms == 7
    assert folded(REGISTERED, VERIFIED, FAILING, RECOVERED).current.failing_since_ms is None


def test_a_change_of_a_topic_made_anew_counts_although_its_offset_is_low() -> None:
    before = fold([UNVERIFIED, TOLD, PAUSED], start=100)
    assert before is not None
    change = reading.read_change(orjson.dumps({"type": "endpoint.unregistered", "endpoint_id": "e"}))
    assert not isinstance(change, Unreadable)
    for at_ms, state in ((1_102, State.PAUSED), (1_103, State.GONE)):
        after = lifecycle.apply(before, change, tenant="t", partition=2, offset=0, at_ms=at_ms, limits=Limits())
        assert isinstance(after, EndpointRecord)
        assert after.current.state is state
