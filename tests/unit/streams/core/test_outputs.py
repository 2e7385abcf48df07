"""What is written has a bounded size, and what could not be read is kept as it came."""

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import topics
from schemas.results import ErrorKind, Result, Verdict
from streams.core import outputs
from streams.core.outputs import Output, Source

BYTES = st.one_of(st.none(), st.binary(max_size=50))
HEADERS = st.lists(st.tuples(st.text(max_size=10), st.binary(max_size=20)), max_size=5)


@settings(max_examples=80)
@given(BYTES, BYTES, HEADERS, st.text(max_size=50), st.integers(0, 7), st.integers(0, 2**62))
def test_a_rejected_record_keeps_key_value_and_headers_and_tells_why_and_where_from(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]], reason: str, partition: int, offset: int
) -> None:
    made = outputs.rejected(Source("p.events", partition, offset, 0, key, value, headers), reason)
    assert (made.topic, made.key, made.value, made.partition) == (topics.REJECTED, key, value, partition)
    assert list(made.headers[: len(headers)]) == headers
    (reason_name, line), (origin_name, origin) = made.headers[len(headers) :]
    assert (reason_name, origin_name) == ("rejected-reason", "rejected-origin")
    assert origin == f"p.events/{partition}/{offset}".encode()
    assert b"\n" not in line
    assert line.decode().split() == reason.split()


def test_a_reason_is_bounded() -> None:
    made = outputs.rejected(Source("p.events", 0, 0, 0, b"t", b"v"), "é" * 10_000)
    assert len(dict(made.headers)["rejected-reason"].decode()) <= 1_000


@pytest.mark.parametrize("size", [8, 9, 10, 11, 20])
def test_a_record_of_any_size_can_be_rejected_and_says_what_it_lost(size: int) -> None:
    value = b"x" * (size * topics.MIB)
    made = outputs.rejected(Source("p.events", 0, 0, 0, b"t", value, [("h", b"1")]), "too large")
    assert made.fits
    lost = int(dict(made.headers).get("rejected-bytes-cut", b"0"))
    assert len(made.value or b"") + lost == len(value)
    assert (lost == 0) == (size < 10)


@settings(max_examples=60)
@given(BYTES, BYTES, HEADERS)
def test_the_size_of_a_record_is_never_understated(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]
) -> None:
    content = len(key or b"") + len(value or b"") + sum(len(name.encode()) + len(raw) for name, raw in headers)
    assert Output(topics.EVENTS, key, value, headers).size >= content + 70 + 10 * len(headers)


@pytest.mark.parametrize("topic", topics.topic_map({"1s": 1_000, "4h": 14_400_000}), ids=lambda topic: topic.name)
def test_every_topic_has_a_largest_record(topic: topics.Topic) -> None:
    assert Output(topic.name, b"k", b"v").fits
    assert not Output(topic.name, b"k", b"x" * topic.max_record_bytes).fits


def test_a_result_is_json_without_what_does_not_apply_and_its_key_is_the_endpoint() -> None:
    made = Result(
        delivery_id="d",
        event_id="é",
        event_type="a.b",
        tenant="t",
        endpoint_id="e",
        attempt=2,
        verdict=Verdict.RETRYING,
        status_code=503,
        error_kind=ErrorKind.STATUS,
        error="the receiver answered 503",
        next_attempt_at_ms=7,
    )
    record = outputs.result(made)
    assert (record.topic, record.key) == (topics.RESULTS, b"t/e")
    assert orjson.loads(record.value or b"") == {
        "delivery_id": "d",
        "event_id": "é",
        "event_type": "a.b",
        "tenant": "t",
        "endpoint_id": "e",
        "attempt": 2,
        "verdict": "retrying",
        "status_code": 503,
        "error_kind": "status",
        "error": "the receiver answered 503",
        "next_attempt_at_ms": 7,
    }
