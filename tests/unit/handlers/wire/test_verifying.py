"""The handshakes: what is asked, which answers count, and what follows from them."""

from typing import Any

import orjson
import pytest

from handlers.wire import deciding, settling, verifying
from handlers.wire.deciding import Step
from handlers.wire.outcome import Outcome
from schemas import topics
from schemas.deliveries import VERIFICATION, Delivery
from schemas.endpoints import EndpointRecord, EndpointSettings, EndpointVersion, State
from schemas.results import ErrorKind, Verdict
from streams.core import reading

SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
POLICY = settling.Policy((5_000,), 0.0, {"5s": 5_000}, 86_400_000)


def owed(attempt: int = 1, event_type: str = VERIFICATION, version: str = "0-7") -> Delivery:
    return Delivery(
        delivery_id="d-1", event_id="verification-0-7", event_type=event_type, tenant="t", endpoint_id="e",
        endpoint_version=version, event_time_ms=100, attempt=attempt,
    )  # fmt: skip


def endpoint(method: str = "challenge", **more: Any) -> EndpointSettings:
    given = {"url": "https://a.example/", "subscriptions": (), "secrets": (SECRET,), "verification": method, **more}
    return EndpointSettings.model_validate(given)


def question(method: str, **more: Any) -> verifying.Question:
    return verifying.ask(
        owed(), endpoint(method, **more), challenge="c-1", origin="hooks.example", now_ms=0, user_agent="H"
    )


def judge(method: str, body: bytes = b"", status: int = 200, **headers: str) -> verifying.Judged:
    kind = None if status < 300 else ErrorKind.STATUS
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return verifying.judge(question(method), Outcome(5, status, kind), named, body)


def test_a_challenge_is_a_signed_post() -> None:
    asked = question("challenge", headers={"x-a": "1"})
    assert (asked.verb, orjson.loads(asked.body)) == ("POST", {"type": VERIFICATION, "challenge": "c-1"})
    names = [name for name, _ in asked.headers]
    assert {"webhook-id", "webhook-timestamp", "webhook-signature", "content-type", "x-a"} <= set(names)


def test_okta_is_a_get_with_a_header() -> None:
    asked = question("okta")
    assert (asked.verb, asked.body, dict(asked.headers)["x-okta-verification-challenge"]) == ("GET", b"", "c-1")
    assert "webhook-signature" not in dict(asked.headers)


@pytest.mark.parametrize("method", ["challenge", "okta", "cloudevents"])
def test_every_handshake_carries_the_endpoints_own_headers_and_auth(method: str) -> None:
    asked = question(method, headers={"x-a": "1"}, auth={"kind": "bearer", "token": "t"})
    assert {("x-a", "1"), ("authorization", "Bearer t")} <= set(asked.headers)


def test_cloudevents_asks_with_options_who_we_are_and_how_often() -> None:
    asked = question("cloudevents", rate_per_s=2.0)
    headers = dict(asked.headers)
    assert (asked.verb, headers["webhook-request-origin"], headers["webhook-request-rate"]) == (
        "OPTIONS",
        "hooks.example",
        "120",
    )
    assert "webhook-request-callback" not in headers
    assert "webhook-request-rate" not in dict(question("cloudevents").headers)


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("challenge", b'{"challenge": "c-1"}'),
        ("challenge", b'{"challenge": "c-1", "more": 1}'),
        ("challenge", b"c-1"),
        ("challenge", b" c-1\r\n"),
        ("challenge", b'"c-1"'),
        ("okta", b'{"verification": "c-1"}'),
    ],
)
def test_right_answers(method: str, body: bytes) -> None:
    assert judge(method, body).outcome.accepted


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("challenge", b""),
        ("challenge", b"c-2"),
        ("challenge", b"c-1c-1"),
        ("challenge", b'{"challenge": 1}'),
        ("challenge", b'{"verification": "c-1"}'),
        ("challenge", b"\xff\xfe"),
        ("okta", b"c-1"),
        ("okta", b'{"challenge": "c-1"}'),
        ("okta", b'["c-1"]'),
        ("cloudevents", b"*"),
    ],
)
def test_wrong_answers_cost_an_attempt(method: str, body: bytes) -> None:
    judged = judge(method, body)
    assert judged.outcome.error_kind is ErrorKind.PROTOCOL
    assert "c-1" not in (judged.outcome.error or "")


def test_a_right_answer_with_a_wrong_status_is_wrong() -> None:
    assert judge("challenge", b"c-1", status=404).outcome.error_kind is ErrorKind.STATUS


@pytest.mark.parametrize("allowed", ["*", "hooks.example", "HOOKS.example", "other.example, hooks.example"])
def test_an_origin_that_is_allowed(allowed: str) -> None:
    assert judge("cloudevents", webhook_allowed_origin=allowed).outcome.accepted


@pytest.mark.parametrize("allowed", ["", "example", "hooks.example.org"])
def test_an_origin_that_is_not(allowed: str) -> None:
    assert not judge("cloudevents", webhook_allowed_origin=allowed).outcome.accepted


@pytest.mark.parametrize(
    ("text", "rate"), [("120", 120.0), ("*", None), ("-1", None), ("0", None), ("much", None), ("9" * 40, None)]
)
def test_an_allowed_rate_caps(text: str, rate: float | None) -> None:
    assert judge("cloudevents", webhook_allowed_origin="*", webhook_allowed_rate=text).allowed_rate_per_min == rate


def settle(judged: verifying.Judged, attempt: int = 1) -> Any:
    return settling.settle_verification(owed(attempt), endpoint(), judged, POLICY, attempted_at_ms=100, draw=0.0)


def test_an_answer_is_a_change_that_names_its_handshake() -> None:
    made, records = settle(verifying.Judged(Outcome(5, 200), 120.0))
    assert [record.topic for record in records] == [topics.RESULTS, topics.SUBSCRIPTIONS]
    change: Any = reading.read_change(records[1].value)
    assert (made.verdict, change.type, change.method, change.version) == (
        Verdict.DELIVERED,
        "endpoint.verified",
        "challenge",
        "0-7",
    )
    assert change.allowed_rate_per_min == 120.0


def test_a_handshake_is_retried_and_then_given_up_without_a_dead_letter() -> None:
    failed = verifying.Judged(Outcome(5, 500, ErrorKind.STATUS, "no"))
    made, records = settle(failed)
    assert (made.verdict, [record.topic for record in records]) == (Verdict.RETRYING, [topics.RESULTS, "retries.5s"])
    made, records = settle(failed, attempt=2)
    change: Any = reading.read_change(records[1].value)
    assert made.verdict is Verdict.DEAD
    assert [record.topic for record in records] == [topics.RESULTS, topics.SUBSCRIPTIONS]
    assert (change.type, change.reason, change.version) == ("endpoint.disabled", "unverified", "0-7")


def test_gone_gives_up_at_once() -> None:
    made, _ = settle(verifying.Judged(Outcome(5, 410, ErrorKind.GONE, "gone")))
    assert made.verdict is Verdict.DEAD


def record(state: State, verifying_offset: int | None = None, *, waits: bool = False) -> EndpointRecord:
    settings = endpoint() if state is not State.GONE else None
    current = EndpointVersion(
        valid_from_ms=0, offset=9, state=state, since_ms=0, verifying=verifying_offset, waits=waits, settings=settings
    )
    return EndpointRecord(tenant="t", endpoint_id="e", partition=0, current=current)


@pytest.mark.parametrize(
    ("delivery", "known", "step"),
    [
        (owed(event_type="a"), None, State.GONE),
        (owed(event_type="a"), record(State.GONE), State.GONE),
        (owed(event_type="a"), record(State.ACTIVE), Step.SEND),
        (owed(event_type="a"), record(State.ACTIVE, 7), Step.SEND),
        (owed(event_type="a"), record(State.PENDING, 7, waits=True), Step.WAIT),
        (owed(event_type="a"), record(State.PENDING, 7), State.PENDING),
        (owed(event_type="a"), record(State.PAUSED, 7), State.PAUSED),
        (owed(event_type="a"), record(State.DISABLED), State.DISABLED),
        (owed(), record(State.PENDING, 7), Step.VERIFY),
        (owed(), record(State.ACTIVE, 7), Step.VERIFY),
        (owed(), record(State.PAUSED, 7), Step.VERIFY),
        (owed(), record(State.PENDING, 8), Step.SUPERSEDED),
        (owed(), record(State.ACTIVE), Step.SUPERSEDED),
        (owed(), record(State.DISABLED), State.DISABLED),
        (owed(), record(State.GONE), State.GONE),
    ],
)
def test_what_is_done_with_a_delivery(delivery: Delivery, known: EndpointRecord | None, step: Step | State) -> None:
    assert deciding.decide(delivery, known) == step
