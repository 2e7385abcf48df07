"""When a handshake begins, which end of one counts, and what becomes of the URL meanwhile."""

from typing import Any

import orjson
import pytest

from schemas import topics
from schemas.endpoints import EndpointRecord, State
from streams.core import catch_ups, lifecycle, reading, transitions, verification
from streams.core.lifecycle import Refused
from streams.core.registering import Limits

BASE = {"url": "https://a.example/", "subscriptions": [{"event_types": ["a"]}], "secrets": []}
OLD, NEW = "https://a.example/", "https://b.example/"


def fold(record: EndpointRecord | None, kind: str, **fields: Any) -> EndpointRecord | Refused:
    change = reading.read_change(orjson.dumps({"type": kind, "endpoint_id": "e", **fields}))
    assert not isinstance(change, reading.Unreadable), change.reason
    offset = record.current.offset + 1 if record else 0
    return lifecycle.apply(record, change, tenant="t", partition=3, offset=offset, at_ms=offset * 10, limits=Limits())


def put(record: EndpointRecord | None, kind: str, **fields: Any) -> EndpointRecord:
    after = fold(record, kind, **fields)
    assert isinstance(after, EndpointRecord), after
    return after


def begins(record: EndpointRecord) -> bool:
    return verification.begun(record) is not None


def handshake(record: EndpointRecord) -> str:
    return f"3-{record.current.verifying}"


@pytest.fixture
def pending() -> EndpointRecord:
    return put(None, "endpoint.registered", **BASE)


@pytest.fixture
def active(pending: EndpointRecord) -> EndpointRecord:
    return put(pending, "endpoint.verified", method="challenge", version=handshake(pending))


def test_a_registration_begins_one(pending: EndpointRecord) -> None:
    owed = verification.begun(pending)
    assert owed is not None
    assert (owed.topic, owed.key, owed.value) == (topics.DELIVERIES, b"t/e", b"")
    assert dict(owed.headers)["event-type"] == b"hookfold.verification"
    assert dict(owed.headers)["endpoint-version"] == b"3-0"
    assert (pending.current.state, pending.current.verified) == (State.PENDING, False)


def test_an_unverified_kind_begins_none() -> None:
    record = put(None, "endpoint.registered", **BASE, verification="none")
    assert record.current.state is State.ACTIVE
    assert not begins(record)
    assert isinstance(fold(record, "endpoint.verification_requested"), Refused)


def test_its_answer_makes_active_and_ends_it(active: EndpointRecord) -> None:
    assert (active.current.state, active.current.verified, active.current.verifying) == (State.ACTIVE, True, None)


def test_an_operator_may_vouch_without_naming_one(pending: EndpointRecord) -> None:
    assert put(pending, "endpoint.verified", method="operator").current.state is State.ACTIVE


def test_the_answer_to_an_older_one_verifies_nothing(pending: EndpointRecord) -> None:
    older = handshake(pending)
    moved = put(pending, "endpoint.changed", url=NEW)
    assert begins(moved)
    for late in ("endpoint.verified", "endpoint.disabled"):
        told = {"method": "challenge"} if late == "endpoint.verified" else {"reason": "unverified"}
        assert put(moved, late, version=older, **told) is moved
    assert put(moved, "endpoint.verified", method="challenge", version=handshake(moved)).current.state is State.ACTIVE


def test_given_up_is_disabled_and_a_resume_or_a_request_begins_again(pending: EndpointRecord) -> None:
    disabled = put(pending, "endpoint.disabled", reason="unverified", version=handshake(pending))
    assert (disabled.current.state, disabled.current.reason) == (State.DISABLED, "unverified")
    for kind in ("endpoint.resumed", "endpoint.verification_requested"):
        again = put(disabled, kind)
        assert (again.current.state, begins(again)) == (State.PENDING, True)


def test_a_new_url_waits_for_its_own(active: EndpointRecord) -> None:
    moved = put(active, "endpoint.changed", url=NEW)
    assert (moved.current.state, moved.current.verified, begins(moved)) == (State.PENDING, False, True)
    assert moved.current.settings is not None
    assert moved.current.settings.url == NEW


def test_what_is_owed_waits_for_a_new_url_and_not_for_a_new_registration(active: EndpointRecord) -> None:
    moved = put(active, "endpoint.changed", url=NEW)
    assert moved.current.waits
    assert put(moved, "endpoint.changed", description="x").current.waits
    assert put(moved, "endpoint.verification_requested").current.waits
    assert not put(moved, "endpoint.verified", method="operator").current.waits
    assert not put(moved, "endpoint.paused").current.waits
    assert not put(moved, "endpoint.registered", **BASE).current.waits
    assert not put(active, "endpoint.registered", **BASE).current.waits


def test_other_settings_begin_none_and_interrupt_none(pending: EndpointRecord, active: EndpointRecord) -> None:
    assert not begins(put(active, "endpoint.changed", description="x"))
    assert not begins(put(active, "endpoint.changed", url=OLD))
    described = put(pending, "endpoint.changed", description="x")
    assert handshake(described) == handshake(pending)
    assert not begins(described)


def test_the_old_url_may_serve_until_the_new_one_is_verified(active: EndpointRecord) -> None:
    moved = put(active, "endpoint.changed", url=NEW, url_change="serve_old")
    assert (moved.current.state, moved.current.new_url, begins(moved)) == (State.ACTIVE, NEW, True)
    assert moved.current.settings is not None
    assert moved.current.settings.url == OLD
    done = put(moved, "endpoint.verified", method="challenge", version=handshake(moved)).current
    assert done.settings is not None
    assert (done.state, done.settings.url, done.new_url, done.verifying) == (State.ACTIVE, NEW, None, None)
    kept = put(moved, "endpoint.disabled", reason="unverified", version=handshake(moved)).current
    assert kept.settings is not None
    assert (kept.state, kept.settings.url, kept.new_url, kept.verified) == (State.ACTIVE, OLD, None, True)
    assert kept.reason == "the new url could not be verified"


def test_back_to_the_old_url_ends_the_handshake_of_the_new_one(active: EndpointRecord) -> None:
    moved = put(active, "endpoint.changed", url=NEW, url_change="serve_old")
    back = put(moved, "endpoint.changed", url=OLD).current
    assert (back.new_url, back.verifying, back.state) == (None, None, State.ACTIVE)


def test_what_an_operator_disables_stays_so_although_a_new_url_is_tried(active: EndpointRecord) -> None:
    moved = put(active, "endpoint.changed", url=NEW, url_change="serve_old")
    assert put(moved, "endpoint.disabled", reason="operator").current.state is State.DISABLED


def test_another_kind_of_verification_begins_one(active: EndpointRecord) -> None:
    for had in (active, put(None, "endpoint.registered", **BASE, verification="none")):
        moved = put(had, "endpoint.changed", verification="okta")
        assert (moved.current.state, moved.current.verified, begins(moved)) == (State.PENDING, False, True)
    unasked = put(active, "endpoint.changed", verification="none")
    assert (unasked.current.state, begins(unasked)) == (State.ACTIVE, False)


def test_a_new_url_whose_handshake_was_cut_off_is_asked_when_it_is_resumed(active: EndpointRecord) -> None:
    moved = put(active, "endpoint.changed", url=NEW, url_change="serve_old")
    disabled = put(moved, "endpoint.disabled", reason="gone")
    assert (disabled.current.new_url, disabled.current.verifying) == (NEW, None)
    resumed = put(disabled, "endpoint.resumed")
    assert (resumed.current.state, begins(resumed)) == (State.ACTIVE, True)
    changed = put(
        put(active, "endpoint.disabled", reason="operator"), "endpoint.changed", url=NEW, url_change="serve_old"
    )
    assert not begins(changed)
    assert begins(put(changed, "endpoint.resumed"))


def test_one_that_is_given_up_leaves_nobody_pending(active: EndpointRecord) -> None:
    moved = put(active, "endpoint.changed", url=NEW, url_change="serve_old")
    asked = put(put(moved, "endpoint.disabled", reason="operator"), "endpoint.verification_requested")
    assert (asked.current.state, asked.current.verified) == (State.PENDING, False)
    given_up = put(asked, "endpoint.disabled", reason="unverified", version=handshake(asked)).current
    assert (given_up.state, given_up.reason, given_up.new_url) == (State.DISABLED, "unverified", None)


def test_a_request_asks_an_active_endpoint_again_while_it_serves(active: EndpointRecord) -> None:
    asked = put(active, "endpoint.verification_requested")
    assert (asked.current.state, begins(asked)) == (State.ACTIVE, True)
    refused = put(asked, "endpoint.disabled", reason="unverified", version=handshake(asked)).current
    assert (refused.state, refused.verified) == (State.DISABLED, False)


def test_a_pause_lets_it_go_on(pending: EndpointRecord) -> None:
    paused = put(pending, "endpoint.paused")
    assert handshake(paused) == handshake(pending)
    verified = put(paused, "endpoint.verified", method="challenge", version=handshake(pending))
    assert (verified.current.state, verified.current.verified) == (State.PAUSED, True)
    assert put(verified, "endpoint.resumed").current.state is State.ACTIVE


def test_the_rate_a_receiver_allows_caps_until_the_url_moves(pending: EndpointRecord) -> None:
    told = {"method": "cloudevents", "version": handshake(pending), "allowed_rate_per_min": 120}
    active = put(pending, "endpoint.verified", **told)
    assert active.current.rate_per_s == 2.0
    assert put(active, "endpoint.changed", rate_per_s=1.5).current.rate_per_s == 1.5
    assert put(active, "endpoint.changed", rate_per_s=5.0).current.rate_per_s == 2.0
    assert put(active, "endpoint.changed", url=NEW).current.rate_per_s is None


def test_a_version_that_is_asked_for_must_be_the_one_there_is(active: EndpointRecord) -> None:
    assert isinstance(fold(active, "endpoint.changed", description="x", if_version="3-0"), Refused)
    assert not isinstance(fold(active, "endpoint.changed", description="x", if_version=active.version), Refused)


def test_what_was_skipped_is_delivered_from_a_time_on_to_where_it_is_active_again(active: EndpointRecord) -> None:
    resumed = put(put(active, "endpoint.paused"), "endpoint.resumed", deliver_since_ms=5)
    (catch_up,) = resumed.catch_ups
    assert (catch_up.replay_id, catch_up.since_ms, catch_up.until_ms) == (resumed.version, 5, resumed.current.since_ms)
    assert EndpointRecord.decode(resumed.encode()) == resumed
    moved = put(put(active, "endpoint.paused"), "endpoint.changed", url=NEW)
    waiting = put(moved, "endpoint.resumed", deliver_since_ms=5)
    assert waiting.catch_ups[0].until_ms is None
    verified = put(waiting, "endpoint.verified", method="challenge", version=handshake(waiting))
    assert verified.catch_ups[0].until_ms == verified.current.since_ms
    assert put(verified, "endpoint.unregistered").catch_ups == ()


def test_replays_of_one_endpoint_are_bounded(active: EndpointRecord) -> None:
    record: EndpointRecord | Refused = active
    for _ in range(catch_ups.MAX_UNDER_WAY):
        assert isinstance(record, EndpointRecord)
        record = put(record, "endpoint.resumed", deliver_since_ms=1)
    assert isinstance(record, EndpointRecord)
    assert isinstance(fold(record, "endpoint.resumed", deliver_since_ms=1), Refused)


def test_every_change_has_its_row_for_every_state() -> None:
    kinds = {kind for _, kind in transitions.TRANSITIONS}
    missing = {
        (state, kind)
        for state in (State.PENDING, State.ACTIVE, State.PAUSED, State.DISABLED)
        for kind in kinds
        if (state, kind) not in transitions.TRANSITIONS
    }
    assert missing == set()
    assert {kind for state, kind in transitions.TRANSITIONS if state is None} == {"endpoint.registered"}
