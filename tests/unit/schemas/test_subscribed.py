"""What events ask of an endpoint is read alike from its value by itself and with all the rest."""

from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import subscribed
from schemas.changes import Subscription
from schemas.endpoints import EndpointRecord, EndpointSettings, EndpointVersion, State
from schemas.subscribed import SubscribedVersion

TEXT = st.text(max_size=12)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
SUBSCRIPTIONS = st.builds(
    Subscription,
    event_types=st.lists(TEXT, min_size=1, max_size=3).map(tuple),
    filter=st.none() | TEXT | st.fixed_dictionaries({"data": st.dictionaries(TEXT, JSON, max_size=3)}),
)
SETTINGS = st.builds(
    EndpointSettings,
    url=TEXT,
    subscriptions=st.lists(SUBSCRIPTIONS, max_size=3).map(tuple),
    secrets=st.lists(TEXT, max_size=2).map(tuple),
    headers=st.none() | st.dictionaries(st.sampled_from(["subscriptions", "history", "x"]), TEXT),
    ordered_by=st.none() | TEXT,
    description=st.none() | st.just('"subscriptions":[{"event_types":["no"]}]') | TEXT,
)
TIMES = st.integers(0, 253_402_300_799_999)
VERSIONS = st.builds(
    EndpointVersion,
    valid_from_ms=TIMES,
    offset=st.integers(0, 2**63 - 1),
    state=st.sampled_from(State),
    since_ms=TIMES,
    reason=st.none() | TEXT,
    settings=st.none() | SETTINGS,
)
RECORDS = st.builds(
    EndpointRecord,
    tenant=st.sampled_from(["t", "T-1"]),
    endpoint_id=st.sampled_from(["e", "E_1"]),
    partition=st.integers(0, 9_999),
    current=VERSIONS,
    history=st.lists(VERSIONS, max_size=3).map(tuple),
    aside_offset=st.none() | st.integers(0, 2**63 - 1),
)


def asked(version: EndpointVersion) -> dict[str, Any]:
    """What events ask of a version."""
    known = version.settings
    return {
        "valid_from_ms": version.valid_from_ms,
        "offset": version.offset,
        "state": version.state,
        "subscriptions": [(one.event_types, one.filter) for one in known.subscriptions] if known is not None else [],
        "ordered_by": known.ordered_by if known is not None else None,
    }


def read(version: SubscribedVersion) -> dict[str, Any]:
    """The same, of what was read."""
    return {
        "valid_from_ms": version.valid_from_ms,
        "offset": version.offset,
        "state": version.state,
        "subscriptions": [
            (one.event_types, orjson.loads(bytes(one.filter)) if one.filter else None) for one in version.subscriptions
        ],
        "ordered_by": version.ordered_by,
    }


@settings(max_examples=300)
@given(RECORDS)
def test_every_endpoint_is_read_alike(record: EndpointRecord) -> None:
    value = record.encode()
    whole, known = EndpointRecord.decode(value), subscribed.read(value)
    assert (known.tenant, known.endpoint_id) == (whole.tenant, whole.endpoint_id)
    assert known.partition == whole.partition
    assert read(known) == asked(whole.current)
    assert [read(one) for one in known.history] == [asked(one) for one in whole.history]
    assert set(subscribed.patterns(value)) == {
        pattern
        for version in (whole.current, *whole.history)
        for subscription in (version.settings.subscriptions if version.settings is not None else ())
        for pattern in subscription.event_types
    }


@pytest.mark.parametrize("value", [b"", b"{}", b"[]", b'{"tenant":1}', b"\xff"])
def test_anything_else_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError):
        subscribed.read(value)
    with pytest.raises(msgspec.DecodeError):
        subscribed.patterns(b"no json")
