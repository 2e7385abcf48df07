"""What is on the wire is read back as it was written; settings say what is wrong with them."""

import json
import math
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas import deliveries, topics
from schemas.changes import BasicAuth, BearerAuth, HeaderAuth, Payload, Retry, Subscription
from schemas.deliveries import Delivery
from schemas.endpoints import EndpointRecord, EndpointSettings, EndpointVersion, ExpiringSecret, State
from schemas.model import trusted
from schemas.results import ErrorKind, Result, Verdict
from schemas.settings import DelayerSettings, EgressSettings, RouterSettings, Settings, load, parse_duration_ms

TEXT = st.text(max_size=12)
SOME = st.one_of(st.none(), TEXT)
IDS = st.text("abcXYZ019_-", min_size=1, max_size=128)
TIMES = st.integers(-(2**63), 2**63 - 1)
SUBSCRIPTIONS = st.builds(Subscription, event_types=st.lists(TEXT, min_size=1, max_size=3).map(tuple))
AUTH = st.one_of(
    st.none(),
    st.builds(HeaderAuth, kind=st.just("header"), name=TEXT, value=TEXT),
    st.builds(BearerAuth, kind=st.just("bearer"), token=TEXT),
    st.builds(BasicAuth, kind=st.just("basic"), username=TEXT, password=TEXT),
)
SETTINGS = st.builds(
    EndpointSettings,
    url=TEXT,
    subscriptions=st.lists(SUBSCRIPTIONS, max_size=3).map(tuple),
    secrets=st.lists(TEXT, max_size=2).map(tuple),
    expiring_secrets=st.lists(st.builds(ExpiringSecret, secret=TEXT, until_ms=TIMES), max_size=2).map(tuple),
    verification=st.sampled_from(["challenge", "okta", "cloudevents", "none"]),
    payload=st.builds(Payload, format=st.sampled_from(["standard", "cloudevents", "cloudevents-binary", "data"])),
    headers=st.one_of(st.none(), st.dictionaries(TEXT, TEXT, max_size=2)),
    auth=AUTH,
    retry=st.one_of(st.none(), st.builds(Retry, schedule=st.just(("5s",)), jitter=st.floats(0, 1))),
    timeout_ms=st.one_of(st.none(), st.integers(1, 600_000)),
    rate_per_s=st.one_of(st.none(), st.floats(0.001, 1e9)),
    description=SOME,
)
VERSIONS = st.builds(
    EndpointVersion,
    valid_from_ms=TIMES,
    offset=st.integers(0, 2**62),
    state=st.sampled_from(State),
    since_ms=TIMES,
    reason=SOME,
    verified=st.booleans(),
    failing_since_ms=st.one_of(st.none(), TIMES),
    settings=st.one_of(st.none(), SETTINGS),
)
RECORDS = st.builds(
    EndpointRecord,
    tenant=IDS,
    endpoint_id=IDS,
    partition=st.integers(0, 1_023),
    current=VERSIONS,
    history=st.lists(VERSIONS, max_size=2).map(tuple),
)
DELIVERIES = st.builds(
    Delivery,
    delivery_id=TEXT,
    event_id=TEXT,
    event_type=TEXT,
    tenant=IDS,
    endpoint_id=IDS,
    endpoint_version=st.builds("{}-{}".format, st.integers(0, 99), st.integers(0, 2**62)),
    event_time_ms=TIMES,
    attempt=st.integers(1, 100),
    due_at_ms=st.one_of(st.none(), TIMES),
    event_time=SOME,
    data_content_type=SOME,
    traceparent=SOME,
    matched=SOME,
    replay_id=SOME,
    attributes=st.dictionaries(TEXT, TEXT, max_size=3),
    data=st.binary(max_size=50),
)


@settings(max_examples=20)
@given(RECORDS)
def test_an_endpoint_is_read_back_as_it_was_written(record: EndpointRecord) -> None:
    assert EndpointRecord.decode(record.encode()) == record


@settings(max_examples=30)
@given(DELIVERIES)
def test_a_delivery_is_read_back_as_it_was_written(delivery: Delivery) -> None:
    assert deliveries.decode(delivery.data, delivery.headers()) == delivery
    assert delivery.key == f"{delivery.tenant}/{delivery.endpoint_id}".encode()


@settings(max_examples=10)
@given(RECORDS, DELIVERIES)
def test_fields_of_the_future_are_ignored(record: EndpointRecord, delivery: Delivery) -> None:
    wire = orjson.loads(record.encode())
    wire["colour"] = {"of": ["the", "future"]}
    for older in wire["history"]:
        older["colour"] = 1
    assert EndpointRecord.decode(orjson.dumps(wire)) == record
    headers = [("colour", b"\xff"), *delivery.headers(), ("x-trace", b"")]
    assert deliveries.decode(delivery.data, headers) == delivery


def test_an_endpoint_on_the_wire_says_what_the_contract_names() -> None:
    version = EndpointVersion(valid_from_ms=5, offset=9, state=State.PAUSED, since_ms=4, reason="holiday")
    wire = orjson.loads(EndpointRecord(tenant="t", endpoint_id="e", partition=2, current=version).encode())
    told = {"tenant": "t", "endpoint_id": "e", "state": "paused", "reason": "holiday", "since_ms": 4, "version": "2-9"}
    assert told.items() <= wire.items()
    assert wire["history"] == []


@settings(max_examples=60)
@given(st.binary(max_size=50))
def test_what_is_no_endpoint_is_a_value_error(value: bytes) -> None:
    with pytest.raises(ValueError):
        EndpointRecord.decode(value)


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("attempt", b"0"),
        ("attempt", b"x"),
        ("attempt", b"9" * 5_000),
        ("due-at-ms", b""),
        ("tenant", b"a b"),
        ("endpoint-id", b"\xff"),
        ("endpoint-version", b"1"),
        ("event-attributes", b"[]"),
        ("event-attributes", b'{"a":1}'),
        ("event-attributes", b"{"),
        ("event-time-ms", None),
    ],
)
def test_a_delivery_that_cannot_be_read_has_a_reason_of_one_line(name: str, raw: bytes | None) -> None:
    told = {"delivery-id": b"d", "event-id": b"1", "event-type": b"a", "tenant": b"t", "endpoint-id": b"e"}
    told |= {"endpoint-version": b"0-1", "event-time-ms": b"1"}
    assert isinstance(deliveries.decode(b"", list(told.items())), Delivery)
    reason = deliveries.decode(b"", list({**told, name: raw}.items()))  # type: ignore[arg-type]
    assert isinstance(reason, str)
    assert len(reason.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("0s", 0),
        ("500ms", 500),
        ("5s", 5_000),
        ("30m", 1_800_000),
        ("2h", 7_200_000),
        ("30d", 2_592_000_000),
        (" 1s ", 1_000),
    ],
)
def test_a_duration_has_a_unit(text: str, ms: int) -> None:
    assert parse_duration_ms(text) == ms


@pytest.mark.parametrize(
    "text", ["", "5", "s", "-5s", "1.5h", "5 s", "5S", "1w", "31d", "721h", "9" * 10 + "s", "1h30m"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_duration_ms(text)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """No settings but those of the test."""
    monkeypatch.chdir(tmp_path)
    return monkeypatch


@pytest.mark.parametrize(
    ("model", "name", "value"),
    [
        (Settings, "PARTITIONS", "many"),
        (Settings, "PARTITIONS", "0"),
        (Settings, "PREFIX", "a b"),
        (Settings, "DELAY_TIERS", "5s,1s"),
        (Settings, "DELAY_TIERS", "1s,1s"),
        (Settings, "DELAY_TIERS", "1s,"),
        (Settings, "DELAY_TIERS", "0s,1s"),
        (Settings, "KAFKA_SECURITY", "tls"),
        (Settings, "KAFKA_SECURITY", "sasl_ssl"),
        (RouterSettings, "ROUTER_PORT", "65536"),
        (RouterSettings, "DEFAULT_VERIFICATION", "trust"),
        (RouterSettings, "ALLOW_NETWORKS", "10.0.0.1/8"),
        (RouterSettings, "ALLOW_HTTP", "perhaps"),
        (EgressSettings, "RETRY_SCHEDULE", "5s,soon"),
        (EgressSettings, "RETRY_SCHEDULE", "5s,31d"),
        (EgressSettings, "RETRY_JITTER", "2"),
        (EgressSettings, "TIMEOUT_MS", "15s"),
        (DelayerSettings, "DELAYER_PORT", "-1"),
    ],
)
def test_a_bad_setting_is_one_line_that_names_its_variable(
    bare: pytest.MonkeyPatch, model: type[Settings], name: str, value: str
) -> None:
    bare.setenv(f"HOOKFOLD_{name}", value)
    line = load(model)
    assert isinstance(line, str)
    assert f"HOOKFOLD_{name}" in line
    assert len(line.splitlines()) == 1


def test_the_defaults_are_the_contracts(bare: pytest.MonkeyPatch) -> None:
    router, egress, delayer = load(RouterSettings), load(EgressSettings), load(DelayerSettings)
    assert isinstance(router, RouterSettings)
    assert isinstance(egress, EgressSettings)
    assert isinstance(delayer, DelayerSettings)
    assert (router.kafka, router.prefix, router.partitions, router.replication) == ("127.0.0.1:9092", "hookfold.", 8, 1)
    assert (router.router_port, egress.egress_port, delayer.delayer_port) == (6066, 6067, 6068)
    assert (router.dedupe_window_ms, router.dedupe_events, router.default_verification) == (
        3_600_000,
        100_000,
        "challenge",
    )
    assert [wait_ms // 1_000 for wait_ms in egress.schedule_ms] == [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000]
    assert (egress.timeout_ms, egress.allowed_networks, egress.allow_http) == (15_000, (), False)
    assert math.isclose(egress.retry_jitter, 0.1)


def test_settings_are_read_from_the_environment_and_a_file(bare: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("HOOKFOLD_PREFIX=filed.\nHOOKFOLD_PARTITIONS=3\nOTHER=1\n")
    bare.setenv("HOOKFOLD_PARTITIONS", "5")
    bare.setenv("HOOKFOLD_REPLICATION", "")
    found: Any = load(Settings)
    assert (found.topic("events"), found.group("egress"), found.partitions) == ("filed.events", "filed.egress", 5)
    assert found.replication == 1


def test_the_map_keeps_what_the_contract_says_for_as_long_as_it_says() -> None:
    days = {
        topic.name: topic.retention_ms / topics.DAY_MS for topic in topics.topic_map({"1s": 1_000, "4h": 14_400_000})
    }
    assert (days["events"], days["dead-letters"], days["deliveries"]) == (7, 30, 7)
    assert topics.topic_map({"1s": 1})[1].config()["retention.ms"] == "-1"
    assert days["retries.1s"] == days["retries.4h"] > 7
    assert [t.name for t in topics.topic_map({"1s": 1}) if t.cleanup == "compact"] == ["endpoints", "ordering", "keys"]


@settings(max_examples=60)
@given(
    st.builds(
        Result,
        delivery_id=TEXT,
        event_id=TEXT,
        event_type=TEXT,
        tenant=TEXT,
        endpoint_id=TEXT,
        attempt=st.integers(0, 2**70),
        verdict=st.sampled_from(Verdict),
        error_kind=st.one_of(st.none(), st.sampled_from(ErrorKind)),
        error=SOME,
        latency_ms=st.one_of(st.none(), st.integers(0, 2**70)),
        response_excerpt=SOME,
    )
)
def test_a_result_is_written_as_its_model_says(made: Result) -> None:
    assert json.loads(made.encode()) == made.model_dump(mode="json", exclude_none=True)
    assert Result.model_validate_json(made.encode()) == made


@settings(max_examples=30)
@given(DELIVERIES)
def test_a_record_made_of_what_is_known_to_be_valid_is_what_validation_makes(delivery: Delivery) -> None:
    made = trusted(Delivery, dict(delivery.__dict__))
    assert made == delivery
    changed = made.model_copy(update={"attempt": 7})
    assert (changed.attempt, changed.model_fields_set) == (7, set(Delivery.model_fields))
    assert Delivery.model_validate(made.model_dump()) == delivery
    with pytest.raises(ValidationError):
        made.attempt = 1  # type: ignore[misc]
