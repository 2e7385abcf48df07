"""The headers of one attempt."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from handlers.wire import signing
from handlers.wire.payload import Body
from schemas.changes import BasicAuth, BearerAuth, HeaderAuth, MtlsAuth, OAuth2Auth
from schemas.deliveries import Delivery
from schemas.endpoints import EndpointSettings


def secrets_at(settings: EndpointSettings, now_ms: int) -> Sequence[str]:
    """The secrets that sign at `now_ms`: the current ones, then those whose overlap has not ended."""
    if not settings.expiring_secrets:
        return settings.secrets
    return [*settings.secrets, *(older.secret for older in settings.expiring_secrets if older.until_ms > now_ms)]


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a request says of itself: a delivery, or a batch under an id of its own."""

    webhook_id: str
    attempt: int
    replay_id: str | None = None
    traceparent: str | None = None

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        """A delivery's own."""
        return cls(delivery.delivery_id, delivery.attempt, delivery.replay_id, delivery.traceparent)


def headers(
    envelope: Envelope, settings: EndpointSettings, body: Body, *, now_ms: int, user_agent: str
) -> list[tuple[str, str]]:
    """Every header but those of the connection. The endpoint's own come last; they were checked at registration."""
    timestamp_s = now_ms // 1_000
    made = [
        ("content-type", body.content_type),
        ("user-agent", user_agent),
        ("webhook-id", envelope.webhook_id),
        ("webhook-timestamp", str(timestamp_s)),
        ("webhook-attempt", str(envelope.attempt)),
    ]
    if secrets := secrets_at(settings, now_ms):
        made.append(("webhook-signature", signing.sign(secrets, envelope.webhook_id, timestamp_s, body.body)))
    if envelope.replay_id is not None:
        made.append(("webhook-replay", envelope.replay_id))
    if envelope.traceparent is not None:
        made.append(("traceparent", envelope.traceparent))
    made += body.headers
    made += (settings.headers or {}).items()
    made += authorize(settings)
    return made


def refuse_breaks(lines: str, count: int) -> None:
    """Raise ValueError unless there are just so many lines, each with its end."""
    if lines.count("\n") != count or lines.count("\r") != count or "\0" in lines:
        raise ValueError("a header has a line break in it")


def authorize(settings: EndpointSettings) -> Sequence[tuple[str, str]]:
    """The headers that the endpoint's `auth` is."""
    match settings.auth:
        case None:
            return ()
        case HeaderAuth(name=name, value=value):
            return ((name, value),)
        case BearerAuth(token=token):
            return (("authorization", f"Bearer {token}"),)
        case BasicAuth(username=username, password=password):
            pair = base64.b64encode(f"{username}:{password}".encode()).decode()
            return (("authorization", f"Basic {pair}"),)
        case OAuth2Auth() | MtlsAuth():
            return ()  # a token that has to be fetched, and a matter of the connection
