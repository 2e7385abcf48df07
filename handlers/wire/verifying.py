"""The handshakes: what asks a receiver whether it wants what is sent to it, and what answers that it does.

`challenge` is Hookfold's own; `okta` is Okta's one-time verification; `cloudevents` is section 4 of "HTTP 1.1 Web Hooks
for Event Delivery" 1.0.2, without a callback: the receiver answers at once or not at all.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, replace

import orjson

from handlers.wire import request
from handlers.wire.outcome import Outcome
from handlers.wire.payload import Body
from handlers.wire.request import Envelope
from schemas.changes import Verification
from schemas.deliveries import VERIFICATION, Delivery
from schemas.endpoints import EndpointSettings
from schemas.results import ErrorKind


@dataclass(frozen=True, slots=True)
class Question:
    """A request, and what has to come back. `challenge` is at random; `origin` is this installation's name."""

    method: Verification
    verb: str
    headers: list[tuple[str, str]]
    body: bytes
    challenge: str
    origin: str


@dataclass(frozen=True, slots=True)
class Judged:
    """What a handshake ended with. `allowed_rate_per_min`: the receiver's limit, where it has set one."""

    outcome: Outcome
    allowed_rate_per_min: float | None = None


def ask(
    delivery: Delivery,
    settings: EndpointSettings,
    *,
    challenge: str,
    origin: str,
    now_ms: int,
    user_agent: str,
) -> Question:
    """The request of a handshake. All carry the endpoint's own headers and auth; the POST is signed."""
    method = settings.verification
    body = b""
    if method == "challenge":
        body = orjson.dumps({"type": VERIFICATION, "challenge": challenge})
    rendered = Body("application/json", body)
    headers = request.headers(Envelope.of(delivery), settings, rendered, now_ms=now_ms, user_agent=user_agent)
    if method == "challenge":
        return Question(method, "POST", headers, body, challenge, origin)
    headers = [(name, value) for name, value in headers if name not in ("content-type", "webhook-signature")]
    if method == "okta":
        headers.append(("x-okta-verification-challenge", challenge))
        return Question(method, "GET", headers, b"", challenge, origin)
    headers.append(("webhook-request-origin", origin))
    if settings.rate_per_s is not None:
        headers.append(("webhook-request-rate", str(max(1, int(settings.rate_per_s * 60)))))
    return Question(method, "OPTIONS", headers, b"", challenge, origin)


def judge(question: Question, outcome: Outcome, headers: Mapping[str, str], body: bytes) -> Judged:
    """What the answer means: a 2xx that does not answer the question is a failure too."""
    if not outcome.accepted:
        return Judged(outcome)
    match question.method:
        case "challenge":
            answered = _named(body, "challenge") or body.decode("utf-8", "replace").strip().strip('"')
            wrong = None if _same(answered, question.challenge) else "the receiver did not answer with the challenge"
        case "okta":
            answered = _named(body, "verification") or ""
            wrong = None if _same(answered, question.challenge) else "the receiver did not answer with the verification"
        case _:
            allowed = headers.get("webhook-allowed-origin", "").lower().split(",")
            named = {"*", question.origin.lower()} & {origin.strip() for origin in allowed}
            wrong = None if named else "the receiver does not allow our origin"
    if wrong is not None:
        return Judged(replace(outcome, error_kind=ErrorKind.PROTOCOL, error=wrong))
    return Judged(outcome, _allowed_rate(headers) if question.method == "cloudevents" else None)


def _allowed_rate(headers: Mapping[str, str]) -> float | None:
    """Requests a minute; `*`, and what makes no sense, is no limit."""
    text = headers.get("webhook-allowed-rate", "").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 and int(text) else None


def _named(body: bytes, name: str) -> str | None:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    found = answer.get(name) if isinstance(answer, dict) else None
    return found if isinstance(found, str) else None


def _same(answer: str, challenge: str) -> bool:
    return hmac.compare_digest(answer.encode(), challenge.encode())
