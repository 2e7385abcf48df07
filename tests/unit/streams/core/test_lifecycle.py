"""An endpoint's life, change by change."""

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.endpoints import EndpointRecord, State
from streams.core import lifecycle, reading, versions
from streams.core.lifecycle import Refused
from streams.core.reading import Unreadable
from streams.core.registering import Limits

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
OTHER = "whsec_" + base64.b64encode(b"o" * 32).decode()
BASE = {
    "url": "https://example.com/a",
    "subscriptions": [{"event_types": ["a.*"]}],
    "secrets": [SECRET],
    "verification": "challenge",
}


def change(kind: str, **fields: Any) -> Any:
    read = reading.read_change(orjson.dumps({"type": kind, "endpoint_id": "e", **fields}))
    assert not isinstance(read, Unreadable), read
    return read


def fold(record: EndpointRecord | None, *steps: tuple[str, dict[str, Any]], start: int = 0) -> EndpointRecord:
    for place, (kind, fields) in enumerate(steps):
        offset = start + place
        after = lifecycle.apply(
            record,
            change(kind, **fields),
            tenant="t",
            partition=0,
            offset=offset,
            at_ms=1_000 + offset,
            limits=Limits(),
        )
        assert isinstance(after, EndpointRecord), after
        record = after
    assert record is not None
    return record


def refused(record: EndpointRecord | None, kind: str, **fields: Any) -> str:
    after = lifecycle.apply(
        record, change(kind, **fields), tenant="t", partition=0, offset=99, at_ms=9_999, limits=Limits()
    )
    assert isinstance(after, Refused)
    assert SECRET not in after.reason
    return after.reason


REGISTERED = ("endpoint.registered", BASE)
VERIFIED = ("endpoint.verified", {"method": "operator"})


@pytest.mark.parametrize(
    ("steps", "state"),
    [
        ([REGISTERED], State.PENDING),
        ([("endpoint.registered", {**BASE, "verification": "none"})], State.ACTIVE),
        ([REGISTERED, VERIFIED], State.ACTIVE),
        ([REGISTERED, VERIFIED, ("endpoint.paused", {})], State.PAUSED),
        ([REGISTERED, VERIFIED, ("endpoint.paused", {}), ("endpoint.resumed", {})], State.ACTIVE),
        ([REGISTERED, ("endpoint.paused", {}), ("endpoint.resumed", {})], State.PENDING),
        ([REGISTERED, VERIFIED, ("endpoint.disabled", {"reason": "failing"})], State.DISABLED),
        ([REGISTERED, VERIFIED, ("endpoint.disabled", {"reason": "gone"}), ("endpoint.resumed", {})], State.ACTIVE),
        ([REGISTERED, ("endpoint.disabled", {"reason": "unverified"}), ("endpoint.resumed", {})], State.PENDING),
        ([REGISTERED, VERIFIED, ("endpoint.changed", {"url": "https://example.com/b"})], State.PENDING),
        ([REGISTERED, VERIFIED, ("endpoint.changed", {"url": "https://example.com/a"})], State.ACTIVE),
        ([REGISTERED, VERIFIED, ("endpoint.changed", {"description": "x"})], State.ACTIVE),
        ([REGISTERED, VERIFIED, ("endpoint.failing", {"since_ms": 5})], State.ACTIVE),
        ([REGISTERED, VERIFIED, ("endpoint.unregistered", {})], State.GONE),
        ([REGISTERED, ("endpoint.unregistered", {}), REGISTERED], State.PENDING),
    ],
)
def test_a_change_leads_to_its_state(steps: list[tuple[str, dict[str, Any]]], state: State) -> None:
    record = fold(None, *steps)
    assert record.current.state is state
    assert len(record.history) == len(steps) - 1
    assert (record.current.settings is None) is (state is State.GONE)


@pytest.mark.parametrize(
    "kind",
    ["endpoint.changed", "endpoint.paused", "endpoint.resumed", "endpoint.unregistered"],
)
def test_a_change_for_an_endpoint_that_does_not_exist_is_refused(kind: str) -> None:
    assert refused(None, kind)
    assert refused(fold(None, REGISTERED, ("endpoint.unregistered", {})), kind)


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "http://example.com/"},
        {"url": "https://192.168.0.1/"},
        {"headers": {"Webhook-Id": "x"}},
        {"headers": {"x": "a\r\nb: c"}},
        {"secrets": ["whsec_short"]},
        {"secrets": ["whsk_" + "A" * 44]},
        {"secrets": ["sealed:x"]},
        {"subscriptions": [{"event_types": ["a..b"]}]},
        {"subscriptions": [{"event_types": ["a"], "filter": "type = 'a'"}]},
        {"batch": {"max_items": 2}},
        {"ordered_by": "subject"},
        {"payload": {"fields": ["data.id"]}},
        {"auth": {"kind": "mtls", "certificate": "c", "private_key": "k"}},
        {"auth": {"kind": "bearer", "token": "a\nb"}},
        {"auth": {"kind": "header", "name": "host", "value": "x"}},
        {"retry": {"schedule": ["soon"]}},
    ],
)
def test_what_cannot_be_served_is_refused_at_registration_and_at_a_change(fields: dict[str, Any]) -> None:
    assert refused(None, "endpoint.registered", **{**BASE, **fields})
    assert refused(fold(None, REGISTERED), "endpoint.changed", **fields)


def test_both_secrets_stand_until_the_overlap_ends() -> None:
    record = fold(None, REGISTERED, ("secret.rotated", {"secret": OTHER, "overlap_ms": 500}))
    assert record.current.settings is not None
    assert record.current.settings.secrets == (OTHER,)
    assert [(s.secret, s.until_ms) for s in record.current.settings.expiring_secrets] == [(SECRET, 1_501)]
    later = fold(record, ("secret.rotated", {"secret": SECRET, "overlap_ms": 0}), start=5_000)
    assert later.current.settings is not None
    assert later.current.settings.expiring_secrets == ()


def test_subscriptions_are_added_once_and_removed() -> None:
    one = {"event_types": ["x.y", "z"]}
    record = fold(None, REGISTERED, ("subscription.added", one), ("subscription.added", {"event_types": ["z", "x.y"]}))
    assert record.current.settings is not None
    assert len(record.current.settings.subscriptions) == 2
    record = fold(record, ("subscription.removed", one), start=10)
    assert record.current.settings is not None
    assert len(record.current.settings.subscriptions) == 1
    assert refused(record, "subscription.removed", **one)


def test_registering_again_replaces_the_whole() -> None:
    record = fold(None, ("endpoint.registered", {**BASE, "headers": {"x-a": "b"}}), VERIFIED, REGISTERED)
    assert record.current.settings is not None
    assert record.current.settings.headers is None
    assert record.current.state is State.PENDING


STEPS = st.lists(
    st.sampled_from(
        [
            REGISTERED,
            VERIFIED,
            ("endpoint.paused", {}),
            ("endpoint.resumed", {}),
            ("endpoint.disabled", {"reason": "operator"}),
            ("endpoint.unregistered", {}),
            ("subscription.added", {"event_types": ["q"]}),
            ("secret.rotated", {"secret": OTHER}),
            ("endpoint.changed", {"url": "https://example.com/c"}),
        ]
    ),
    max_size=12,
)


@given(STEPS)
def test_a_log_folded_twice_is_the_log_folded_once(steps: list[tuple[str, dict[str, Any]]]) -> None:
    def run(record: EndpointRecord | None, again: bool) -> EndpointRecord | None:
        for place, (kind, fields) in enumerate(steps):
            for _ in range(2 if again else 1):
                after = lifecycle.apply(
                    record,
                    change(kind, **fields),
                    tenant="t",
                    partition=0,
                    offset=place,
                    at_ms=1_000 + place,
                    limits=Limits(),
                )
                record = after if isinstance(after, EndpointRecord) else record
        return record

    once = run(None, again=False)
    assert run(None, again=True) == once
    assert run(once, again=False) == once
    if once is not None:
        assert EndpointRecord.decode(once.encode()) == once


def test_an_event_is_judged_by_the_version_before_it_and_never_by_one_of_its_own_millisecond() -> None:
    record = fold(None, REGISTERED, VERIFIED, ("endpoint.unregistered", {}))
    assert versions.as_of(record, 1_000) is None
    assert [versions.as_of(record, at).state for at in (1_001, 1_002, 1_003)] == [  # type: ignore[union-attr]
        State.PENDING,
        State.ACTIVE,
        State.GONE,
    ]


def test_pruning_keeps_what_an_event_may_still_need() -> None:
    record = fold(None, REGISTERED, VERIFIED, ("endpoint.paused", {}), ("endpoint.resumed", {}))
    pruned = versions.prune(record, 1_002)
    for at in range(1_002, 1_010):
        assert versions.as_of(pruned, at) == versions.as_of(record, at)
    assert len(pruned.history) < len(record.history)
