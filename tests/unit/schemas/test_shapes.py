"""What the document says of records is true of those that our own code writes."""

import orjson
import pytest
from described import Described
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.gateway import asyncapi
from handlers.wire import settling
from schemas import shapes, topics
from schemas.changes import Batch, OAuth2Auth, Payload, Retry, Subscription
from schemas.deliveries import Delivery
from schemas.endpoints import CatchUp, Covered, EndpointRecord, EndpointSettings, EndpointVersion, ExpiringSecret, State
from schemas.model import Record
from schemas.results import ErrorKind, Result, Verdict
from schemas.settings import Settings
from schemas.sources import SourceRegistered, SourceUnregistered
from streams.core import data_keys, outputs, puncturing
from streams.core.ordering import Line
from streams.core.outputs import Output, Source
from streams.core.sealing import Keyring

DOCUMENT = Described(orjson.loads(asyncapi.document(Settings.model_construct())))
IDS = st.text("abcXYZ019_-", min_size=1, max_size=128)
TEXT = st.text(max_size=12)
TIMES = st.integers(0, 2**53)
VERSIONS = st.builds("{}-{}".format, st.integers(0, 999), st.integers(0, 2**62))
DELIVERIES = st.builds(
    Delivery,
    tenant=IDS,
    endpoint_id=IDS,
    endpoint_version=VERSIONS,
    event_time_ms=TIMES,
    attempt=st.integers(1, 99),
    due_at_ms=st.none() | TIMES,
    traceparent=st.none() | TEXT,
    order_key=st.none() | st.text("0af", min_size=32, max_size=32),
    order_after=st.none() | st.integers(-1, 2**62),
    attributes=st.dictionaries(TEXT, TEXT, max_size=2),
    data=st.binary(max_size=20),
)
RESULTS = st.builds(
    Result,
    tenant=IDS,
    endpoint_id=IDS,
    attempt=st.integers(0, 99),
    verdict=st.sampled_from(Verdict),
    error_kind=st.sampled_from(ErrorKind),
    error=st.none() | TEXT,
    status_code=st.none() | st.integers(200, 599),
    latency_ms=st.none() | TIMES,
)
SETTINGS = EndpointSettings(
    url="https://example.com/", subscriptions=(Subscription(event_types=("a.*",), filter={"data": {"n": 1}}),),
    secrets=("whsec_x",), expiring_secrets=(ExpiringSecret(secret="whsec_y", until_ms=1),),
    payload=Payload(fields=("data.id",)), batch=Batch(max_items=2, max_wait_ms=0), headers={"x-a": "b"},
    auth=OAuth2Auth(kind="oauth2", token_url="https://example.com/", client_id="i", client_secret="s"),
    retry=Retry(schedule=("5s",), jitter=0.5, client_errors="dead"), timeout_ms=1, rate_per_s=0.5, max_in_flight=1,
    ordered_by="subject", description="d", verification="none", url_change="serve_old",
)  # fmt: skip
ACTIVE = EndpointVersion(
    valid_from_ms=1, offset=2, state=State.ACTIVE, since_ms=1, verified=True, waits=True, verifying=1, new_url="u",
    allowed_rate_per_min=0.5, failing_since_ms=3, reason="r", settings=SETTINGS,
)  # fmt: skip
GONE = EndpointVersion(valid_from_ms=5, offset=6, state=State.GONE, since_ms=5)
FULL = EndpointRecord(
    tenant="t", endpoint_id="e", partition=1, current=ACTIVE, history=(GONE, ACTIVE), aside_offset=4,
    catch_ups=(CatchUp(replay_id="r", kind="replay", since_ms=1, until_ms=2, event_types=("a.*",),
                       verdicts=("dead",), rate_per_s=0.5, next_offset=3, end_offset=4),),
    covered=(Covered(replay_id="r", since_ms=1, until_ms=2),),
)  # fmt: skip
SOURCE = Source("hookfold.events", 3, 7, 1, b"\xff", b"{nope", [("content-type", b"text/plain")])


def check(written: Output, kind: str) -> None:
    """It is just this kind of record, and the document has a word for all of it."""
    topic = f"hookfold.{written.topic}"
    assert DOCUMENT.kinds(topic, written.key, written.value, written.headers) == [kind]
    if kind != "rejected":
        assert DOCUMENT.untold(topic, kind, written.value, written.headers) == set()


@pytest.mark.parametrize("topic", [topics.DELIVERIES, topics.DELIVERIES_DUE, "retries.5s"])
@settings(max_examples=30)
@given(delivery=DELIVERIES)
def test_deliveries(topic: str, delivery: Delivery) -> None:
    check(Output(topic, delivery.key, delivery.data, delivery.headers()), "delivery")


@given(result=RESULTS)
def test_results(result: Result) -> None:
    check(outputs.result(result), "result")


@given(delivery=DELIVERIES, result=RESULTS)
def test_dead_letters(delivery: Delivery, result: Result) -> None:
    check(settling.dead_letter(delivery, result), "dead_letter")


@pytest.mark.parametrize("record", [FULL, ACTIVE, SETTINGS, *FULL.catch_ups, *FULL.covered], ids=lambda one: type(one))
def test_the_endpoint_that_is_tried_has_every_field_there_is(record: Record) -> None:
    assert record.model_fields_set == set(type(record).model_fields)


@pytest.mark.parametrize(
    "record", [FULL, FULL.model_copy(update={"current": GONE, "history": (), "catch_ups": (), "covered": ()})]
)
def test_endpoints(record: EndpointRecord) -> None:
    check(Output(topics.ENDPOINTS, b"t/e", record.encode()), "endpoint")


@pytest.mark.parametrize(
    "change",
    [{"type": "endpoint.disabled", "reason": "gone"}, {"type": "endpoint.failing", "since_ms": 7},
     {"type": "endpoint.verified", "method": "challenge", "version": "1-2", "allowed_rate_per_min": 60.0}],
)  # fmt: skip
def test_changes_of_our_own(change: dict[str, object]) -> None:
    delivery = Delivery(delivery_id="d", event_id="i", event_type="t", tenant="t", endpoint_id="e",
                        endpoint_version="1-2", event_time_ms=1)  # fmt: skip
    check(settling.change(delivery, **change), "change")


FULL_SOURCE = SourceRegistered.model_validate(
    {"type": "source.registered", "source_id": "s", "scheme": "hmac", "secrets": ("x",), "event_type": "$.type",
     "items": {"path": "$.list", "as": "each"}, "header": "x-sig", "encoding": "hex", "algorithm": "sha256",
     "description": "d"}
)  # fmt: skip


@pytest.mark.parametrize("change", [FULL_SOURCE, SourceUnregistered(type="source.unregistered", source_id="s")])
def test_sources(change: Record) -> None:
    assert change.model_fields_set == set(type(change).model_fields)
    value = change.model_dump_json(exclude_none=True).encode()
    check(Output(topics.SUBSCRIPTIONS, b"t", value), "source_change")


def test_lines_and_tombstones() -> None:
    check(Output(topics.ORDERING, b"t/e/" + b"0" * 32, Line(3, -1, 5).encode()), "order_line")
    check(Output(topics.ORDERING, b"t/e/" + b"0" * 32, None), "order_line_tombstone")
    check(Output(topics.ENDPOINTS, b"t/e", None), "endpoint_tombstone")


def test_data_keys() -> None:
    ring, key = Keyring({"k": bytes(32)}), puncturing.whole(bytes(16))
    check(data_keys.record(ring, "t", "k1", key, 0), "data_key")
    check(Output(topics.KEYS, b"t/k1", None), "data_key_tombstone")
    check(Output(topics.KEYS, b"t", b'{"type":"tenant.erased"}'), "tenant_erased")


@pytest.mark.parametrize("source", [SOURCE, Source("hookfold.events", 3, 7, 1, None, None)])
def test_rejected_records(source: Source) -> None:
    check(outputs.rejected(source, "why"), "rejected")
    check(outputs.cut(outputs.rejected(source, "why"), 200), "rejected")


PLAIN, CLOUD = b'{"type":"a.b","data":1}', b'{"specversion":"1.0","type":"a.b","source":"/","id":"1","data":1}'
STRUCTURED = ("content-type", b"application/cloudevents+json; charset=utf-8")
BINARY = [("ce_id", b"1"), ("ce_type", b"a.b"), ("ce_source", b"/"), ("ce_extension", b"x")]


@pytest.mark.parametrize(
    ("value", "headers", "kinds"),
    [
        (PLAIN, [], ["plain_event"]),
        (PLAIN, [("content-type", b"application/json"), ("traceparent", b"00-")], ["plain_event"]),
        (CLOUD, [STRUCTURED], ["structured_event"]),
        (b"\xff\x00", BINARY, ["binary_event"]),
        (PLAIN, [*BINARY, ("content-type", b"application/json")], ["binary_event"]),
        (CLOUD, [*BINARY, STRUCTURED], ["binary_event"]),
        (PLAIN, [STRUCTURED], []),
        (b'{"data":1}', [], []),
        (b"{nope", [], []),
        (None, [], []),
        (PLAIN, [("content-type", b"application/cloudevents-batch+json")], []),
        (b"1", [("ce_id", b"1")], []),
    ],
)
def test_an_event_is_of_one_encoding_or_of_none(
    value: bytes | None, headers: list[tuple[str, bytes]], kinds: list[str]
) -> None:
    assert DOCUMENT.kinds("hookfold.events", b"acme", value, headers) == kinds
    assert DOCUMENT.kinds("hookfold.events", b"a b", value, headers) == []


@pytest.mark.parametrize(
    "change",
    [b'{"type":"endpoint.exploded","endpoint_id":"e"}', b'{"type":"endpoint.paused"}', b"[]", None,
     b'{"type":"endpoint.registered","endpoint_id":"e","url":"https://example.com/","subscriptions":[]}'],
)  # fmt: skip
def test_what_is_no_change_is_none_in_the_document(change: bytes | None) -> None:
    assert DOCUMENT.kinds("hookfold.subscriptions", b"acme", change, []) == []


def test_every_topic_of_the_map_has_shapes_and_a_key() -> None:
    for topic in topics.topic_map(Settings.model_construct().tiers_ms):
        assert shapes.of_topic(topic.name)
        assert topic.key in shapes.KEYS
