"""Subscription changes: what an operator, the gateway or the egress says about an endpoint."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from schemas.model import Identifier, Record

Url = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
#: Milliseconds since 1970, before the year 10000.
TimeMs = Annotated[int, Field(ge=0, le=253_402_300_799_999)]
Reason = Annotated[str, StringConstraints(max_length=1024)]


class Subscription(Record):
    """Event-type patterns that lead to the endpoint: an event matches when any pattern does."""

    event_types: tuple[str, ...] = Field(min_length=1, max_length=256)
    filter: str | dict[str, Any] | None = None


class Payload(Record):
    """Which body the receiver gets. `fields`: a projection of the data."""

    format: Literal["standard", "cloudevents", "cloudevents-binary", "data"] = "standard"
    fields: tuple[str, ...] | None = Field(default=None)


class Batch(Record):
    """Several deliveries in one request. A batch is closed by its items, its bytes, or the age of its oldest item."""

    max_items: int = Field(ge=1, le=1_000)
    max_wait_ms: int = Field(ge=0, le=60_000)
    max_bytes: int | None = Field(default=None, ge=1, le=8 * 1_048_576)


class HeaderAuth(Record):
    """A header of the receiver's choice."""

    kind: Literal["header"]
    name: str
    value: str = Field(repr=False)


class BearerAuth(Record):
    """`authorization: Bearer <token>`."""

    kind: Literal["bearer"]
    token: str = Field(repr=False)


class BasicAuth(Record):
    """`authorization: Basic …` (RFC 7617, UTF-8)."""

    kind: Literal["basic"]
    username: str
    password: str = Field(repr=False)


class OAuth2Auth(Record):
    """A bearer token of the client-credentials grant (RFC 6749, 4.4), fetched from `token_url`."""

    kind: Literal["oauth2"]
    token_url: Url
    client_id: Annotated[str, StringConstraints(min_length=1, max_length=4096)]
    client_secret: str = Field(max_length=8192, repr=False)
    scope: Annotated[str, StringConstraints(max_length=4096)] | None = None


class MtlsAuth(Record):
    """A client certificate with its chain, and its key; PEM."""

    kind: Literal["mtls"]
    certificate: str = Field(max_length=65_536)
    private_key: str = Field(max_length=65_536, repr=False)


Auth = Annotated[HeaderAuth | BearerAuth | BasicAuth | OAuth2Auth | MtlsAuth, Field(discriminator="kind")]


class Retry(Record):
    """An endpoint's own waits between attempts (`["5s", "5m"]`) and its jitter, a share of the wait added at random.

    `client_errors`: whether a 4xx is tried again (the default: receivers deploy faults, and mend them) or given up at
    once; 408, 425 and 429 are always tried again.
    """

    schedule: tuple[str, ...] | None = Field(default=None, max_length=64)
    jitter: float | None = Field(default=None, ge=0, le=1)
    client_errors: Literal["retry", "dead"] | None = None


Verification = Literal["challenge", "okta", "cloudevents", "none"]
#: Until a new URL is verified: deliveries wait for it, or the old one serves.
UrlChange = Literal["wait", "serve_old"]
#: An endpoint's version: `<partition>-<offset>` of a change in `subscriptions`.
Version = Annotated[str, StringConstraints(pattern=r"^\d{1,10}-\d{1,19}$")]


class EndpointFields(Record):
    """The settings of an endpoint that a change may carry; what is absent was not given."""

    url: Url | None = None
    subscriptions: tuple[Subscription, ...] | None = Field(default=None, max_length=1000)
    secrets: tuple[str, ...] | None = Field(default=None, max_length=16, repr=False)
    verification: Verification | None = None
    url_change: UrlChange | None = None
    payload: Payload | None = None
    batch: Batch | None = None
    headers: dict[str, str] | None = Field(default=None, repr=False)
    auth: Auth | None = None
    retry: Retry | None = None
    timeout_ms: int | None = Field(default=None, ge=1, le=600_000)
    rate_per_s: float | None = Field(default=None, ge=0.001, le=1_000_000, allow_inf_nan=False)
    max_in_flight: int | None = Field(default=None, ge=1, le=10_000)
    ordered_by: str | None = None
    description: Annotated[str, StringConstraints(max_length=4096)] | None = None


class EndpointRegistered(EndpointFields):
    """A new endpoint, or the same id again, replaced whole.

    `deliver_since_ms`: what it would have got of the events since then is delivered, as a replay.
    """

    type: Literal["endpoint.registered"]
    endpoint_id: Identifier
    url: Url
    subscriptions: tuple[Subscription, ...] = Field(max_length=1000)
    secrets: tuple[str, ...] = Field(max_length=16, repr=False)
    deliver_since_ms: TimeMs | None = None


class EndpointChanged(EndpointFields):
    """Some settings anew; a new `url` is verified again. `if_version`: only while this is the endpoint's version.

    `deliver_since_ms`: as at a registration.
    """

    type: Literal["endpoint.changed"]
    endpoint_id: Identifier
    if_version: Version | None = None
    deliver_since_ms: TimeMs | None = None


class VerificationRequested(Record):
    """The handshake is to be made (again)."""

    type: Literal["endpoint.verification_requested"]
    endpoint_id: Identifier


class EndpointVerified(Record):
    """The handshake was answered, or an operator vouches for the endpoint.

    `version` names the handshake, by the change that began it: the answer to an older one verifies nothing.
    `allowed_rate_per_min` is what the receiver allows.
    """

    type: Literal["endpoint.verified"]
    endpoint_id: Identifier
    method: Annotated[str, StringConstraints(max_length=256)]
    version: Version | None = None
    allowed_rate_per_min: float | None = Field(default=None, ge=0.06, allow_inf_nan=False)


class EndpointPaused(Record):
    """Nothing is delivered until it is resumed."""

    type: Literal["endpoint.paused"]
    endpoint_id: Identifier
    reason: Reason | None = None


class EndpointResumed(Record):
    """Active again. `deliver_since_ms` asks for what was skipped since then."""

    type: Literal["endpoint.resumed"]
    endpoint_id: Identifier
    reason: Reason | None = None
    deliver_since_ms: TimeMs | None = None


class EndpointDisabled(Record):
    """Nothing is delivered any more; `endpoint.resumed` undoes it. `version` names the handshake that was given up."""

    type: Literal["endpoint.disabled"]
    endpoint_id: Identifier
    reason: Literal["gone", "failing", "unverified", "operator"]
    version: Version | None = None


class EndpointFailing(Record):
    """The egress saw a failing streak begin."""

    type: Literal["endpoint.failing"]
    endpoint_id: Identifier
    since_ms: TimeMs


class EndpointRecovered(Record):
    """The egress saw the streak end."""

    type: Literal["endpoint.recovered"]
    endpoint_id: Identifier
    since_ms: TimeMs


class EndpointUnregistered(Record):
    """The endpoint is gone."""

    type: Literal["endpoint.unregistered"]
    endpoint_id: Identifier


class ReplayRequested(Record):
    """What an endpoint got between two times is to be delivered again, as new attempts of the same deliveries.

    `until_ms` None: until now. `event_types` are patterns, `verdicts` the last verdicts of the deliveries; None: any.
    `rate_per_s`: deliveries a second; None: the installation's.
    """

    type: Literal["endpoint.replay_requested"]
    endpoint_id: Identifier
    since_ms: TimeMs
    until_ms: TimeMs | None = None
    event_types: tuple[str, ...] | None = Field(default=None, min_length=1, max_length=256)
    verdicts: tuple[Literal["delivered", "dead", "skipped"], ...] | None = Field(default=None, min_length=1)
    rate_per_s: float | None = Field(default=None, ge=0.1, le=100_000, allow_inf_nan=False)


class ReplayCancelled(Record):
    """A replay ends where it is; what it has delivered already goes on."""

    type: Literal["endpoint.replay_cancelled"]
    endpoint_id: Identifier
    replay_id: Annotated[str, StringConstraints(min_length=1, max_length=256)]


class SubscriptionAdded(Record):
    """One subscription more."""

    type: Literal["subscription.added"]
    endpoint_id: Identifier
    event_types: tuple[str, ...] = Field(min_length=1, max_length=256)
    filter: str | dict[str, Any] | None = None
    deliver_since_ms: TimeMs | None = None


class SubscriptionRemoved(Record):
    """The subscription with the same event types and filter ends."""

    type: Literal["subscription.removed"]
    endpoint_id: Identifier
    event_types: tuple[str, ...] = Field(min_length=1, max_length=256)
    filter: str | dict[str, Any] | None = None


class SecretRotated(Record):
    """A new secret; the older ones sign with it until the overlap ends."""

    type: Literal["secret.rotated"]
    endpoint_id: Identifier
    secret: str = Field(repr=False)
    overlap_ms: int = Field(default=24 * 3_600_000, ge=0, le=366 * 86_400_000)


Change = Annotated[
    EndpointRegistered
    | EndpointChanged
    | VerificationRequested
    | EndpointVerified
    | EndpointPaused
    | EndpointResumed
    | EndpointDisabled
    | EndpointFailing
    | EndpointRecovered
    | EndpointUnregistered
    | ReplayRequested
    | ReplayCancelled
    | SubscriptionAdded
    | SubscriptionRemoved
    | SecretRotated,
    Field(discriminator="type"),
]
