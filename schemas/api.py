"""The HTTP API's bodies: what calls take besides the changes of `schemas.changes`, and what they answer."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from schemas.changes import (
    Batch,
    EndpointFields,
    Payload,
    Reason,
    Retry,
    Subscription,
    TimeMs,
    Url,
    UrlChange,
    Verification,
)
from schemas.endpoints import State
from schemas.model import Identifier, Record
from schemas.results import Result, Verdict

EventId = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class Registration(EndpointFields):
    """A new endpoint. Its id, and a secret, are made where none is given."""

    endpoint_id: Identifier | None = None
    url: Url
    subscriptions: tuple[Subscription, ...] = Field(max_length=1000)
    deliver_since_ms: TimeMs | None = None


class Pause(Record):
    """Why, for people."""

    reason: Reason | None = None


class Resume(Record):
    """`deliver_since_ms` asks for what was skipped since then, once each."""

    reason: Reason | None = None
    deliver_since_ms: TimeMs | None = None


class Rotation(Record):
    """A new secret (one is made where none is given); the older ones sign with it for `overlap_ms`."""

    secret: str | None = Field(default=None, max_length=4096, repr=False)
    overlap_ms: int = Field(default=24 * 3_600_000, ge=0, le=366 * 86_400_000)


class AuthShown(Record):
    """How requests are authorised, without the secret."""

    kind: Literal["header", "bearer", "basic", "oauth2", "mtls"]
    name: str | None = None
    username: str | None = None


class ReplayShown(Record):
    """A replay under way: how far the events have been looked through, and where that ends, once that is known."""

    replay_id: str
    kind: Literal["skipped", "backfill", "replay"]
    since_ms: int
    until_ms: int | None = None
    next_offset: int | None = None
    end_offset: int | None = None


class EndpointShown(Record):
    """An endpoint as anyone who may read it sees it: its state and settings, and nothing secret."""

    tenant: str
    endpoint_id: str
    version: str = Field(description="`<partition>-<offset>` of its last change; the ETag")
    state: State
    reason: str | None = None
    since_ms: int
    verified: bool
    verifying: bool
    new_url: str | None = Field(default=None, description="what is being verified while the old URL serves")
    failing_since_ms: int | None = None
    url: str
    subscriptions: tuple[Subscription, ...]
    verification: Verification
    url_change: UrlChange
    payload: Payload
    batch: Batch | None = None
    header_names: tuple[str, ...] = ()
    auth: AuthShown | None = None
    public_keys: tuple[str, ...] = Field(default=(), description="`whpk_…`, for receivers of `v1a` signatures")
    retry: Retry | None = None
    timeout_ms: int | None = None
    rate_per_s: float | None = None
    allowed_rate_per_min: float | None = None
    max_in_flight: int | None = None
    ordered_by: str | None = None
    replays: tuple[ReplayShown, ...] = Field(default=(), description="those under way")
    description: str | None = None


class EndpointWithSecret(EndpointShown):
    """The same, with a secret that was made just now and is shown this once."""

    secret: str | None = None


class EndpointPatch(EndpointFields):
    """Some settings anew. `deliver_since_ms`: what the new subscriptions lead to of the events since then, too."""

    deliver_since_ms: TimeMs | None = None


class NewSubscription(Subscription):
    """One subscription more; see `EndpointPatch`."""

    deliver_since_ms: TimeMs | None = None


class Replay(Record):
    """What is to be delivered again. `event_types` are patterns, `verdicts` the deliveries' last; none is any."""

    since_ms: TimeMs
    until_ms: TimeMs | None = None
    event_types: tuple[str, ...] | None = Field(default=None, min_length=1, max_length=256)
    verdicts: tuple[Literal["delivered", "dead", "skipped"], ...] | None = Field(default=None, min_length=1)
    rate_per_s: float | None = Field(default=None, ge=0.1, le=100_000)


class ReplayBegun(Record):
    """A replay that has begun: its deliveries carry its id."""

    endpoint_id: str
    replay_id: str


class RetryBegun(Record):
    """A delivery that is on its way again."""

    delivery_id: str
    replay_id: str
    attempt: int


class Published(Record):
    """Where an event is in the log."""

    id: str
    partition: int
    offset: int


class PublishedBatch(Record):
    """Where the events of a batch are, in its order."""

    items: tuple[Published, ...]


class PlainEvent(BaseModel):
    """A plain event. The data reaches receivers byte for byte."""

    model_config = ConfigDict(extra="ignore")

    type: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    data: Any = None
    id: EventId | None = None
    time: str | None = Field(default=None, json_schema_extra={"format": "date-time"})


class CloudEvent(BaseModel):
    """A CloudEvent in the JSON format, version 1.0. An id is made where none is given."""

    model_config = ConfigDict(extra="allow")

    specversion: Literal["1.0"]
    type: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    source: str | None = None
    id: EventId | None = None
    time: str | None = Field(default=None, json_schema_extra={"format": "date-time"})
    data: Any = None


class Accepted(Record):
    """The change is in the log; what came of it is not seen yet."""

    endpoint_id: str
    secret: str | None = None


class TestOwed(Record):
    """The trial that is on its way."""

    __test__ = False

    delivery_id: str
    event_id: str


class DeliveryShown(Record):
    """A delivery by its last result. `attempt`: how many were made so far."""

    delivery_id: str
    event_id: str
    event_type: str
    endpoint_id: str
    event_time_ms: int
    verdict: Verdict
    attempt: int
    last_result_at_ms: int


class Attempt(Result):
    """A result, and when the log got it."""

    logged_at_ms: int


class DeliveryWithAttempts(DeliveryShown):
    """A delivery with all its results, oldest first."""

    attempts: tuple[Attempt, ...]


class ChangePlace(Record):
    """A change: where it is in `subscriptions`, and its time in the log."""

    partition: int
    offset: int
    at_ms: int


class EndpointExplained(Record):
    """What an event came to at one endpoint, and the version of it that decided, by the change that made it.

    `decision` is the last verdict, or why there is none: it waits, or was never owed.
    """

    endpoint_id: str
    decision: Literal[
        "delivered",
        "retrying",
        "dead",
        "skipped",
        "waiting",
        "filtered",
        "not_subscribed",
        "not_registered",
        "rejected",
    ]
    reason: str
    change: ChangePlace
    attempts: tuple[Attempt, ...] = ()


class Explanation(Record):
    """An event, where it is in the log, and what it came to at each endpoint of its tenant.

    `erased`: its data cannot be opened any more; absent where that is not so.
    """

    event_id: str
    event_type: str
    event_time_ms: int
    partition: int
    offset: int
    erased: bool | None = None
    endpoints: tuple[EndpointExplained, ...]


class EndpointPage(Record):
    """Endpoints by id."""

    items: tuple[EndpointShown, ...]
    next_cursor: str | None


class DeliveryPage(Record):
    """Deliveries, newest first by the event's time in the log."""

    items: tuple[DeliveryShown, ...]
    next_cursor: str | None


class Problem(Record):
    """RFC 9457. `type` is stable; `detail` is for people."""

    type: str
    title: str
    status: int
    detail: str | None = None
