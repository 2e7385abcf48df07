"""What an endpoint may be registered with, and how given settings are laid over those it has."""

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from schemas.changes import (
    BasicAuth,
    BearerAuth,
    EndpointChanged,
    EndpointRegistered,
    HeaderAuth,
    OtherAuth,
    Subscription,
    SubscriptionAdded,
    SubscriptionRemoved,
    Verification,
)
from schemas.endpoints import EndpointSettings
from schemas.settings import parse_duration_ms
from streams.core import addresses, filtering, headers, matching

MAX_SUBSCRIPTIONS = 1_000
MAX_HEADERS = 64
#: Each secret is a signature in every request.
MAX_SECRETS = 16


@dataclass(frozen=True, slots=True)
class Limits:
    """What this installation allows, and how it verifies an endpoint that does not say."""

    allow_http: bool = False
    allowed: tuple[addresses.Network, ...] = ()
    default_verification: Verification = "challenge"


def refuse_fields(fields: EndpointRegistered | EndpointChanged, limits: Limits) -> str | None:
    """Why these settings cannot be taken, in one line that names no secret; None when they can."""
    if fields.url is not None:
        refused = addresses.refuse_url(fields.url, allow_http=limits.allow_http, allowed=limits.allowed)
        if refused is not None:
            return refused
    return (
        _refuse_unserved(fields)
        or _first(refuse_subscription(subscription) for subscription in fields.subscriptions or ())
        or _first(refuse_secret(secret) for secret in fields.secrets or ())
        or _refuse_headers(fields.headers or {})
        or _refuse_auth(fields)
        or _refuse_schedule(fields.retry.schedule if fields.retry else None)
    )


def refuse_subscription(subscription: Subscription | SubscriptionAdded) -> str | None:
    """Why it cannot be subscribed to."""
    return filtering.refuse(subscription.filter) or _first(
        matching.refuse_pattern(pattern) for pattern in subscription.event_types
    )


def refuse_secret(secret: str) -> str | None:
    """Why nothing can be signed with it."""
    if secret.startswith("sealed:"):
        return "sealed secrets are not served yet"
    if secret.startswith("whsk_"):
        return "whsk_ keys are not served yet"
    if not secret.startswith("whsec_"):
        return "a secret begins with whsec_"
    text = secret.removeprefix("whsec_")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return "a secret is whsec_ and base64"
    return None if 16 <= len(key) <= 128 else "a secret has 16 to 128 bytes"


def merge(
    had: EndpointSettings | None, fields: EndpointRegistered | EndpointChanged, limits: Limits
) -> EndpointSettings:
    """`fields` laid over what the endpoint had; over nothing for a new one, with this installation's defaults."""
    given = {
        name: value
        for name in EndpointSettings.model_fields
        if name != "expiring_secrets" and (value := getattr(fields, name, None)) is not None
    }
    if had is None:
        return EndpointSettings.model_validate({"verification": limits.default_verification, **given})
    if "secrets" in given:
        given["expiring_secrets"] = ()
    return had.model_copy(update=given)


def change_subscriptions(
    had: EndpointSettings, change: SubscriptionAdded | SubscriptionRemoved
) -> EndpointSettings | str:
    """The settings with one subscription more or fewer, or why not."""
    wanted = Subscription(event_types=change.event_types, filter=change.filter)
    if isinstance(change, SubscriptionRemoved):
        left = tuple(subscription for subscription in had.subscriptions if not _same(subscription, wanted))
        if len(left) == len(had.subscriptions):
            return "the endpoint has no such subscription"
        return had.model_copy(update={"subscriptions": left})
    if (refused := refuse_subscription(change)) is not None:
        return refused
    if any(_same(subscription, wanted) for subscription in had.subscriptions):
        return had
    if len(had.subscriptions) >= MAX_SUBSCRIPTIONS:
        return f"the endpoint has {MAX_SUBSCRIPTIONS} subscriptions already"
    return had.model_copy(update={"subscriptions": (*had.subscriptions, wanted)})


def _same(one: Subscription, other: Subscription) -> bool:
    return set(one.event_types) == set(other.event_types) and one.filter == other.filter


def _refuse_unserved(fields: EndpointRegistered | EndpointChanged) -> str | None:
    if fields.batch is not None:
        return "batch is not served yet"
    if fields.ordered_by is not None:
        return "ordered_by is not served yet"
    if fields.payload is not None and fields.payload.fields is not None:
        return "payload.fields is not served yet"
    return None


def _refuse_headers(given: dict[str, str]) -> str | None:
    if len(given) > MAX_HEADERS:
        return f"more than {MAX_HEADERS} headers"
    if any(value.startswith("sealed:") for value in given.values()):
        return "sealed header values are not served yet"
    return _first(headers.refuse_header(name, value) for name, value in given.items())


def _refuse_auth(fields: EndpointRegistered | EndpointChanged) -> str | None:
    match fields.auth:
        case None:
            return None
        case HeaderAuth(name=name, value=value):
            secrets: Sequence[str] = (value,)
            refused = headers.refuse_header(name, value)
        case BearerAuth(token=token):
            secrets = (token,)
            refused = headers.refuse_value("authorization", token)
        case BasicAuth(username=username, password=password):
            secrets = (username, password)
            refused = "a user name of basic auth has no colon" if ":" in username else None
            if any(ord(c) < 32 or ord(c) == 127 for c in username + password):
                refused = "basic auth has control characters"
        case OtherAuth(kind=kind):
            return f"auth of kind {kind} is not served yet"
    if any(secret.startswith("sealed:") for secret in secrets):
        return "sealed auth is not served yet"
    return refused


def _refuse_schedule(schedule: Sequence[str] | None) -> str | None:
    try:
        for wait in schedule or ():
            parse_duration_ms(wait)
    except ValueError as problem:
        return f"retry.schedule: {problem}"
    return None


def _first(refusals: Iterable[str | None]) -> str | None:
    return next((refused for refused in refusals if refused is not None), None)
