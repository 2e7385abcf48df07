"""What the end of an attempt leads to: one result, always, and what has to be written with it."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.wire import outcome, settling
from handlers.wire.outcome import Outcome
from handlers.wire.settling import Policy
from schemas import deliveries, topics
from schemas.changes import Retry
from schemas.deliveries import Delivery
from schemas.endpoints import EndpointSettings, State
from schemas.results import ErrorKind, Result, Verdict
from streams.core import reading
from streams.core.outputs import Output

TIERS = {"1s": 1_000, "5s": 5_000, "30s": 30_000, "2m": 120_000, "10m": 600_000, "1h": 3_600_000, "4h": 14_400_000}
POLICY = Policy((5_000, 300_000, 1_800_000), 0.1, TIERS, 86_400_000)
AT_MS = 1_700_000_000_000
FAILURES = [ErrorKind(kind) for kind in ("timeout", "dns", "refused", "reset", "tls", "blocked", "protocol")]
OUTCOMES = st.one_of(
    st.sampled_from(FAILURES).map(lambda kind: outcome.classify_failure(kind, latency_ms=7)),
    st.builds(
        lambda status, wish: outcome.classify_response(
            status, {"retry-after": wish} if wish else {}, b"body", latency_ms=7, now_ms=AT_MS
        ),
        st.integers(200, 599),
        st.sampled_from(["", "0", "60", "7200", "999999", "nonsense"]),
    ),
)


def owed(attempt: int = 1, **fields: Any) -> Delivery:
    told = {"data": b"\x001.10", "replay_id": None, **fields}
    return Delivery(
        delivery_id="d-1",
        event_id="ev",
        event_type="a.b",
        tenant="t",
        endpoint_id="e",
        endpoint_version="0-3",
        event_time_ms=99,
        attempt=attempt,
        data_content_type="text/plain",
        attributes={"source": "/s"},
        **told,
    )


def settle(delivery: Delivery, ended: Outcome, draw: float = 0.0, **fields: Any) -> tuple[Result, list[Output]]:
    own = EndpointSettings(url="https://a.example/", subscriptions=(), secrets=(), **fields)
    return settling.settle(delivery, own, ended, POLICY, attempted_at_ms=AT_MS, draw=draw)


def answered(status: int, retry_after: str | None = None) -> Outcome:
    headers = {"retry-after": retry_after} if retry_after else {}
    return outcome.classify_response(status, headers, b"nope", latency_ms=20, now_ms=AT_MS)


@settings(max_examples=120)
@given(st.integers(1, 9), OUTCOMES, st.floats(0, 1, exclude_max=True), st.sampled_from([None, "r-1"]))
def test_an_attempt_has_exactly_one_result_and_a_delivery_goes_on_or_ends(
    attempt: int, ended: Outcome, draw: float, replay_id: str | None
) -> None:
    made, records = settle(owed(attempt, replay_id=replay_id), ended, draw)
    by_topic = [record.topic for record in records]
    assert by_topic.count(topics.RESULTS) == 1
    assert by_topic[0] == topics.RESULTS
    assert orjson.loads(records[0].value or b"") == made.model_dump(mode="json", exclude_none=True)
    waiting = [topic for topic in by_topic if topic.startswith(topics.RETRIES) or topic == topics.DELIVERIES_DUE]
    assert len(waiting) == (made.verdict is Verdict.RETRYING) == (made.next_attempt_at_ms is not None)
    assert by_topic.count(topics.DEAD_LETTERS) == (made.verdict is Verdict.DEAD)
    assert by_topic.count(topics.SUBSCRIPTIONS) == (made.error_kind is ErrorKind.GONE)
    assert (made.verdict is Verdict.DELIVERED) == (made.error_kind is None)
    assert (made.attempt, made.replay_id, made.attempted_at_ms) == (attempt, replay_id, AT_MS)
    assert all(record.fits for record in records)


@settings(max_examples=80)
@given(st.integers(1, 3), OUTCOMES, st.floats(0, 1, exclude_max=True))
def test_a_retry_waits_in_a_tier_until_the_time_its_result_tells(attempt: int, ended: Outcome, draw: float) -> None:
    delivery = owed(attempt)
    made, records = settle(delivery, ended, draw)
    if made.verdict is not Verdict.RETRYING:
        return
    waiting = deliveries.decode(records[1].value, records[1].headers)
    assert isinstance(waiting, Delivery)
    assert waiting == delivery.model_copy(update={"attempt": attempt + 1, "due_at_ms": made.next_attempt_at_ms})
    assert records[1].key == b"t/e"
    assert records[1].topic.removeprefix(topics.RETRIES) in TIERS
    assert made.next_attempt_at_ms is not None
    ended_at_ms = AT_MS + ended.latency_ms
    wait_ms = POLICY.schedule_ms[attempt - 1]
    floor_ms = max(wait_ms, ended.retry_after_ms or 0)
    assert floor_ms <= made.next_attempt_at_ms - ended_at_ms <= max(floor_ms, int(wait_ms * 1.1))


@pytest.mark.parametrize(("attempt", "tier"), [(1, "5s"), (2, "2m"), (3, "10m")])
def test_a_wait_starts_in_the_longest_tier_that_fits(attempt: int, tier: str) -> None:
    assert settle(owed(attempt), answered(500))[1][1].topic == f"retries.{tier}"


def test_the_receivers_wish_is_kept() -> None:
    made, records = settle(owed(), answered(429, "7200"))
    assert made.next_attempt_at_ms == AT_MS + 20 + 7_200_000
    assert records[1].topic == "retries.1h"


def test_an_endpoint_has_its_own_schedule_and_jitter() -> None:
    made, _ = settle(owed(), answered(500), 0.5, retry=Retry(schedule=("10s",), jitter=1.0))
    assert made.next_attempt_at_ms == AT_MS + 20 + 15_000
    assert settle(owed(2), answered(500), retry=Retry(schedule=("10s",)))[0].verdict is Verdict.DEAD
    assert settle(owed(), answered(500), retry=Retry(schedule=()))[0].verdict is Verdict.DEAD
    only_jitter, _ = settle(owed(), answered(500), 0.5, retry=Retry(jitter=0.0))
    assert only_jitter.next_attempt_at_ms == AT_MS + 20 + 5_000


def test_a_dead_letter_has_the_bytes_and_says_what_became_of_them() -> None:
    made, records = settle(owed(4), answered(503))
    letter = records[1]
    assert (made.verdict, len(records)) == (Verdict.DEAD, 2)
    assert (letter.topic, letter.key, letter.value) == (topics.DEAD_LETTERS, b"t/e", b"\x001.10")
    headers = dict(letter.headers)
    assert headers.pop("content-type", b"text/plain") == b"text/plain"
    assert headers == {
        "delivery-id": b"d-1",
        "event-id": b"ev",
        "event-type": b"a.b",
        "attempt": b"4",
        "error-kind": b"status",
        "error": b"the receiver answered 503",
        "status-code": b"503",
        "event-time-ms": b"99",
    }


def test_a_dead_letter_without_an_answer_has_no_status() -> None:
    _, records = settle(owed(4), outcome.classify_failure(ErrorKind.TIMEOUT, latency_ms=15_000))
    headers = dict(records[1].headers)
    assert headers["error-kind"] == b"timeout"
    assert "status-code" not in headers


@pytest.mark.parametrize("attempt", [1, 4])
def test_gone_is_dead_at_once_and_disables_the_endpoint(attempt: int) -> None:
    made, records = settle(owed(attempt), answered(410, "60"))
    assert (made.verdict, made.error_kind, made.status_code) == (Verdict.DEAD, ErrorKind.GONE, 410)
    assert [record.topic for record in records] == [topics.RESULTS, topics.DEAD_LETTERS, topics.SUBSCRIPTIONS]
    assert records[2].key == b"t"
    change: Any = reading.read_change(records[2].value)
    assert (change.type, change.endpoint_id, change.reason) == ("endpoint.disabled", "e", "gone")


@pytest.mark.parametrize("state", [State.PENDING, State.PAUSED, State.DISABLED, State.GONE])
def test_a_skip_is_one_final_result_without_an_attempt(state: State) -> None:
    made, records = settling.skip(owed(3, replay_id="r-1"), state)
    assert [record.topic for record in records] == [topics.RESULTS]
    assert (made.verdict, made.attempt, made.error_kind, made.replay_id) == (Verdict.SKIPPED, 0, state.value, "r-1")
    assert (made.attempted_at_ms, made.latency_ms, made.status_code) == (None, None, None)


@settings(max_examples=60)
@given(st.integers(-10_000, 72_000_000))
def test_putting_off_charges_no_attempt_and_loses_nothing(left_ms: int) -> None:
    delivery = owed(3)
    record = settling.wait(delivery, AT_MS + left_ms, AT_MS, TIERS)
    assert (record.topic == topics.DELIVERIES_DUE) == (left_ms <= 0)
    assert deliveries.decode(record.value, record.headers) == delivery.model_copy(update={"due_at_ms": AT_MS + left_ms})


@settings(max_examples=60)
@given(
    st.sampled_from([200, 201, 204, 299]),
    st.sampled_from([b"", b"thanks", b'"\\\x00\xff']),
    st.sampled_from([None, "abort", "disable"]),
    st.sampled_from([None, "r-\u00e9"]),
    st.integers(-(2**70), 2**70),
)
def test_what_was_simply_accepted_has_the_result_that_it_has_otherwise(
    status: int, body: bytes, wish: str | None, replay_id: str | None, event_time_ms: int
) -> None:
    headers = {"webhook-delivery": wish} if wish else {}
    ended = outcome.classify_response(status, headers, body, latency_ms=7, now_ms=AT_MS)
    delivery = owed(3, replay_id=replay_id).model_copy(update={"event_time_ms": event_time_ms, "event_type": 'a."b'})
    made, records = settle(delivery, ended)
    found = settling.accepted(delivery.key, delivery, ended, AT_MS)
    assert (found is not None) == (wish is None and -(2**63) <= event_time_ms < 2**64)
    if found is not None:
        assert [orjson.loads(found.value or b"")] == [orjson.loads(record.value or b"") for record in records]
        assert (found.topic, found.key) == (records[0].topic, records[0].key)
        assert Result.model_validate_json(found.value or b"") == made


def test_nothing_else_is_simply_accepted() -> None:
    for ended in (answered(500), answered(410), outcome.classify_failure(ErrorKind.TIMEOUT, latency_ms=1)):
        assert settling.accepted(b"t/e", owed(), ended, AT_MS) is None
