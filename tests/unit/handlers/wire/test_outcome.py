"""What an answer means, and what is written for it."""

import base64

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.wire import outcome, settling
from handlers.wire.outcome import Outcome
from handlers.wire.settling import Policy
from schemas import deliveries, topics
from schemas.changes import Retry
from schemas.deliveries import Delivery
from schemas.endpoints import EndpointSettings, State
from schemas.results import ErrorKind, Verdict

NOW = 1_767_225_600_000  # 2026-01-01T00:00:00Z
POLICY = Policy([5_000, 300_000], 0.0, {"1s": 1_000, "5s": 5_000, "2m": 120_000, "4h": 14_400_000})
SETTINGS = EndpointSettings(url="https://example.com/", subscriptions=(), secrets=())
DATA = base64.b64decode("AP8B")


def classify(status: int, body: bytes = b"", **headers: str) -> Outcome:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return outcome.classify_response(status, named, body, latency_ms=7, now_ms=NOW)


def delivery(attempt: int = 1) -> Delivery:
    return Delivery(
        delivery_id="d", event_id="1", event_type="a.b", tenant="t", endpoint_id="e", endpoint_version="0-1",
        event_time_ms=5, attempt=attempt, data=DATA,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "kind"),
    [(200, None), (204, None), (299, None), (301, "redirect"), (302, "redirect"), (304, "redirect"), (400, "status"),
     (404, "status"), (410, "gone"), (429, "status"), (500, "status"), (503, "status"), (199, "status")],
)  # fmt: skip
def test_a_status_means_what_the_contract_says(status: int, kind: str | None) -> None:
    found = classify(status)
    assert found.error_kind == kind
    assert found.accepted is (kind is None)
    assert found.status_code == status
    assert (found.error is None) is (kind is None)


@pytest.mark.parametrize(
    ("value", "wait_ms"),
    [
        ("120", 120_000),
        ("0", 0),
        ("Thu, 01 Jan 2026 00:02:00 GMT", 120_000),
        ("Thursday, 01-Jan-26 00:02:00 GMT", 120_000),
        ("Thu Jan  1 00:02:00 2026", 120_000),
        ("999999999999999999", outcome.MAX_RETRY_AFTER_MS),
        ("Thu, 01 Jan 2099 00:00:00 GMT", outcome.MAX_RETRY_AFTER_MS),
        ("Thu, 01 Jan 2015 00:00:00 GMT", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("²", None),
    ],
)
def test_retry_after_is_understood_or_ignored(value: str, wait_ms: int | None) -> None:
    assert classify(503, retry_after=value).retry_after_ms == wait_ms


@given(st.text())
def test_no_retry_after_does_harm(value: str) -> None:
    found = classify(503, retry_after=value).retry_after_ms
    assert found is None or 0 <= found <= outcome.MAX_RETRY_AFTER_MS


@given(st.binary(max_size=5_000))
def test_an_excerpt_is_at_most_1024_bytes_of_harmless_text(body: bytes) -> None:
    found = classify(500, body).response_excerpt
    if found is not None:
        assert len(found.encode()) <= 1_024
        assert all(c in "\n\t" or ord(c) >= 32 for c in found)


def test_success_is_one_result() -> None:
    result, made = settling.settle(delivery(), SETTINGS, classify(204), POLICY, attempted_at_ms=NOW, draw=0.5)
    assert [output.topic for output in made] == [topics.RESULTS]
    assert (result.verdict, result.attempt, result.status_code, result.latency_ms) == (Verdict.DELIVERED, 1, 204, 7)


def test_failure_is_a_result_and_a_retry_that_says_when_it_is_due() -> None:
    result, made = settling.settle(delivery(), SETTINGS, classify(500), POLICY, attempted_at_ms=NOW, draw=0.5)
    assert [output.topic for output in made] == [topics.RESULTS, "retries.5s"]
    assert result.next_attempt_at_ms == NOW + 7 + 5_000
    waiting = deliveries.decode(made[1].value, made[1].headers)
    assert isinstance(waiting, Delivery)
    assert (waiting.attempt, waiting.due_at_ms, waiting.data) == (2, result.next_attempt_at_ms, DATA)


def test_the_endpoints_own_schedule_and_the_receivers_wish_count() -> None:
    own = SETTINGS.model_copy(update={"retry": Retry(schedule=("1s",), jitter=0.0)})
    result, made = settling.settle(
        delivery(), own, classify(503, retry_after="100"), POLICY, attempted_at_ms=NOW, draw=1.0
    )
    assert result.next_attempt_at_ms == NOW + 7 + 100_000
    assert made[1].topic == "retries.5s"  # the longest tier that fits; it walks down from there
    last, _ = settling.settle(delivery(2), own, classify(500), POLICY, attempted_at_ms=NOW, draw=1.0)
    assert last.verdict is Verdict.DEAD


def test_giving_up_leaves_a_dead_letter_with_the_bytes_and_the_reason() -> None:
    result, made = settling.settle(delivery(3), SETTINGS, classify(500), POLICY, attempted_at_ms=NOW, draw=0)
    assert result.verdict is Verdict.DEAD
    assert [output.topic for output in made] == [topics.RESULTS, topics.DEAD_LETTERS]
    assert made[1].value == DATA
    assert dict(made[1].headers) == {
        "delivery-id": b"d", "event-id": b"1", "event-type": b"a.b", "attempt": b"3", "error-kind": b"status",
        "error": b"the receiver answered 500", "status-code": b"500", "event-time-ms": b"5",
    }  # fmt: skip


def test_410_disables_the_endpoint() -> None:
    result, made = settling.settle(delivery(), SETTINGS, classify(410), POLICY, attempted_at_ms=NOW, draw=0)
    assert (result.verdict, result.error_kind) == (Verdict.DEAD, ErrorKind.GONE)
    assert [output.topic for output in made] == [topics.RESULTS, topics.DEAD_LETTERS, topics.SUBSCRIPTIONS]
    assert made[2].key == b"t"
    assert orjson.loads(made[2].value or b"") == {"type": "endpoint.disabled", "endpoint_id": "e", "reason": "gone"}


@pytest.mark.parametrize("state", [State.PENDING, State.PAUSED, State.DISABLED, State.GONE])
def test_a_skip_makes_no_attempt(state: State) -> None:
    result, made = settling.skip(delivery(2), state)
    assert (result.verdict, result.attempt, result.error_kind) == (Verdict.SKIPPED, 0, state.value)
    assert [output.topic for output in made] == [topics.RESULTS]


@given(st.integers(100, 599), st.integers(1, 5), st.floats(0, 1))
def test_every_outcome_is_exactly_one_result(status: int, attempt: int, draw: float) -> None:
    _, made = settling.settle(delivery(attempt), SETTINGS, classify(status), POLICY, attempted_at_ms=NOW, draw=draw)
    assert [output.topic for output in made].count(topics.RESULTS) == 1


@pytest.mark.parametrize(
    "kind", [kind for kind in ErrorKind if kind in ("timeout", "dns", "refused", "reset", "tls", "blocked", "protocol")]
)
def test_every_kind_of_failure_has_a_line_for_the_tenant(kind: ErrorKind) -> None:
    found = outcome.classify_failure(kind, latency_ms=1)
    assert found.error
    assert found.error_kind is kind
