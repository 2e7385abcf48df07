"""What an endpoint may be registered with, and how given settings are laid over those it has."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from schemas.changes import (
    BasicAuth,
    BearerAuth,
    EndpointChanged,
    EndpointRegistered,
    HeaderAuth,
    MtlsAuth,
    OAuth2Auth,
    Subscription,
    SubscriptionAdded,
    SubscriptionRemoved,
    Verification,
)
from schemas.endpoints import EndpointSettings
from schemas.settings import parse_duration_ms
from streams.core import addresses, certificates, fields, filtering, headers, keys, matching, ordering
from streams.core.sealing import Keyring

MAX_SUBSCRIPTIONS = 1_000
MAX_HEADERS = 64
#: Formats whose items can stand in an array.
BATCHED_FORMATS = ("standard", "cloudevents")
#: Each secret is a signature in every request.
MAX_SECRETS = 16


@dataclass(frozen=True, slots=True)
class Limits:
    """What this installation allows, how it verifies an endpoint that does not say, and its keys for secrets."""

    allow_http: bool = False
    allowed: tuple[addresses.Network, ...] = ()
    default_verification: Verification = "challenge"
    ring: Keyring = field(default_factory=lambda: Keyring({}), repr=False)


def refuse_fields(given: EndpointRegistered | EndpointChanged, limits: Limits) -> str | None:
    """Why these settings, with nothing sealed in them, cannot be taken, in one line that names no secret."""
    if given.url is not None:
        refused = addresses.refuse_url(given.url, allow_http=limits.allow_http, allowed=limits.allowed)
        if refused is not None:
            return refused
    return (
        _first(refuse_subscription(subscription) for subscription in given.subscriptions or ())
        or _first(keys.refuse(secret) for secret in given.secrets or ())
        or _refuse_headers(given.headers or {})
        or _refuse_auth(given, limits)
        or _refuse_schedule(given.retry.schedule if given.retry else None)
        or (fields.refuse(given.payload.fields) if given.payload and given.payload.fields is not None else None)
        or (ordering.refuse(given.ordered_by) if given.ordered_by is not None else None)
    )


def refuse_subscription(subscription: Subscription | SubscriptionAdded) -> str | None:
    """Why it cannot be subscribed to."""
    return filtering.refuse(subscription.filter) or _first(
        matching.refuse_pattern(pattern) for pattern in subscription.event_types
    )


def merge(
    had: EndpointSettings | None, change: EndpointRegistered | EndpointChanged, limits: Limits
) -> EndpointSettings:
    """The change's fields laid over what the endpoint had; over this installation's defaults for a new one."""
    given = {
        name: value
        for name in EndpointSettings.model_fields
        if name != "expiring_secrets" and (value := getattr(change, name, None)) is not None
    }
    if had is None:
        return EndpointSettings.model_validate({"verification": limits.default_verification, **given})
    if "secrets" in given:
        given["expiring_secrets"] = ()
    return had.model_copy(update=given)


def refuse_together(settings: EndpointSettings) -> str | None:
    """Why settings that are fine each cannot stand side by side."""
    if settings.batch is not None and settings.payload.format not in BATCHED_FORMATS:
        return f"a batch needs one of the payload formats {', '.join(BATCHED_FORMATS)}"
    return None


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


def _refuse_headers(given: dict[str, str]) -> str | None:
    if len(given) > MAX_HEADERS:
        return f"more than {MAX_HEADERS} headers"
    return _first(headers.refuse_header(name, value) for name, value in given.items())


def _refuse_auth(given: EndpointRegistered | EndpointChanged, limits: Limits) -> str | None:
    match given.auth:
        case None:
            return None
        case HeaderAuth(name=name, value=value):
            return headers.refuse_header(name, value)
        case BearerAuth(token=token):
            return headers.refuse_value("authorization", token)
        case BasicAuth(username=username, password=password):
            if any(ord(c) < 32 or ord(c) == 127 for c in username + password):
                return "basic auth has control characters"
            return "a user name of basic auth has no colon" if ":" in username else None
        case OAuth2Auth(token_url=token_url, client_id=client_id, client_secret=client_secret):
            if any(ord(c) < 32 or ord(c) == 127 for c in client_id + client_secret + (given.auth.scope or "")):
                return "oauth2 auth has control characters"
            refused = addresses.refuse_url(token_url, allow_http=limits.allow_http, allowed=limits.allowed)
            return f"auth.token_url: {refused}" if refused is not None else None
        case MtlsAuth(certificate=certificate, private_key=private_key):
            return certificates.refuse(certificate, private_key)


def _refuse_schedule(schedule: Sequence[str] | None) -> str | None:
    try:
        for wait in schedule or ():
            parse_duration_ms(wait)
    except ValueError as problem:
        return f"retry.schedule: {problem}"
    return None


def _first(refusals: Iterable[str | None]) -> str | None:
    return next((refused for refused in refusals if refused is not None), None)
