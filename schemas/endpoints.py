"""An endpoint as it stands in `endpoints`: the version of now, and the older ones that events may still need."""

from enum import StrEnum
from typing import Any, Literal

import orjson
from pydantic import Field

from schemas.changes import Auth, Batch, Payload, Retry, Subscription, UrlChange, Verification
from schemas.model import Record


class State(StrEnum):
    """Where an endpoint is in its life."""

    PENDING = "pending"
    ACTIVE = "active"
    PAUSED = "paused"
    DISABLED = "disabled"
    GONE = "gone"


class ExpiringSecret(Record):
    """A secret that signs until `until_ms`."""

    secret: str = Field(repr=False)
    until_ms: int


class EndpointSettings(Record):
    """What was registered, with the changes since. None means "the default"."""

    url: str
    subscriptions: tuple[Subscription, ...]
    secrets: tuple[str, ...] = Field(repr=False)
    expiring_secrets: tuple[ExpiringSecret, ...] = Field(default=(), repr=False)
    verification: Verification = "challenge"
    url_change: UrlChange = "wait"
    payload: Payload = Payload()
    batch: Batch | None = None
    headers: dict[str, str] | None = Field(default=None, repr=False)
    auth: Auth | None = Field(default=None, repr=False)
    retry: Retry | None = None
    timeout_ms: int | None = None
    rate_per_s: float | None = None
    max_in_flight: int | None = None
    ordered_by: str | None = None
    description: str | None = None


class EndpointVersion(Record):
    """An endpoint from `valid_from_ms` (its change's time in the log, ms) on.

    `offset` is the change's own in `subscriptions`; `since_ms` is when `state` began; `verified` tells whether the URL
    has been vouched for (a pause does not change that); `waits` that deliveries owed already wait until it is;
    `verifying` is the offset of the change that began the handshake under way, `new_url` what it is for where the old
    URL serves meanwhile; `allowed_rate_per_min` is the receiver's own word; `settings` is None for a gone endpoint.
    """

    valid_from_ms: int
    offset: int
    state: State
    since_ms: int
    reason: str | None = None
    verified: bool = False
    waits: bool = False
    verifying: int | None = None
    new_url: str | None = None
    allowed_rate_per_min: float | None = None
    failing_since_ms: int | None = None
    settings: EndpointSettings | None = None

    @property
    def rate_per_s(self) -> float | None:
        """The rate of now: the endpoint's own, or what its receiver allows where that is less."""
        own = self.settings.rate_per_s if self.settings is not None else None
        if self.allowed_rate_per_min is None:
            return own
        allowed = self.allowed_rate_per_min / 60
        return allowed if own is None else min(own, allowed)


class CatchUp(Record):
    """A replay under way: events between two times are delivered under its name.

    `kind`: what was skipped; what was there before the present subscriptions were (`backfill`); or what was delivered
    or not, as `event_types` and `verdicts` say (`replay`). `rate_per_s` None: the installation's.
    `until_ms` None: it reaches to where the endpoint is active again. `next_offset` is how far `events` has been looked
    through for it, `end_offset` where that ends; None: not known yet.
    """

    replay_id: str
    kind: Literal["skipped", "backfill", "replay"] = "skipped"
    since_ms: int
    until_ms: int | None = None
    event_types: tuple[str, ...] | None = None
    verdicts: tuple[str, ...] | None = None
    rate_per_s: float | None = None
    next_offset: int | None = None
    end_offset: int | None = None


class Covered(Record):
    """What a replay has delivered or will: the events of these times. Later ones leave it to it."""

    replay_id: str
    since_ms: int
    until_ms: int


class EndpointRecord(Record):
    """All that is kept of one endpoint. `partition` is the one its changes come from; `history` is oldest first.

    `catch_ups` are the replays under way, `covered` what they and those before them are about, in their order.
    `aside_offset` is of the last change that made no new version: about its health, or a replay.
    """

    tenant: str
    endpoint_id: str
    partition: int
    current: EndpointVersion
    history: tuple[EndpointVersion, ...] = ()
    catch_ups: tuple[CatchUp, ...] = ()
    covered: tuple[Covered, ...] = ()
    aside_offset: int | None = None

    @property
    def version(self) -> str:
        """`<partition>-<offset>` of the last change."""
        return f"{self.partition}-{self.last_offset}"

    @property
    def last_offset(self) -> int:
        """The offset of the last change."""
        return max(self.current.offset, self.aside_offset or 0)

    @property
    def settings_version(self) -> str:
        """`<partition>-<offset>` of the last change that made a version."""
        return f"{self.partition}-{self.current.offset}"

    def encode(self) -> bytes:
        """The value in `endpoints`: the current version laid flat, and `history` (contract, "endpoints")."""
        wire = {
            "tenant": self.tenant,
            "endpoint_id": self.endpoint_id,
            "version": self.version,
            **_flat(self.current),
            "history": [_flat(version) for version in self.history],
        }
        if self.catch_ups:
            wire["catch_ups"] = [one.model_dump(exclude_none=True) for one in self.catch_ups]
        if self.aside_offset is not None:
            wire["aside_offset"] = self.aside_offset
        if self.covered:
            wire["covered"] = [one.model_dump() for one in self.covered]
        return orjson.dumps(wire)

    @classmethod
    def decode(cls, value: bytes, *, history: bool = True) -> "EndpointRecord":
        """The record of a value that `encode` made, without `history` where that is not wanted.

        Raises ValueError on anything else.
        """
        wire = orjson.loads(value)
        try:
            return cls(
                tenant=wire["tenant"],
                endpoint_id=wire["endpoint_id"],
                partition=int(wire["version"].split("-")[0]),
                current=_version(wire),
                history=tuple(_version(older) for older in wire["history"]) if history else (),
                catch_ups=tuple(CatchUp.model_validate(one, strict=False) for one in wire.get("catch_ups", ())),
                covered=tuple(Covered.model_validate(one) for one in wire.get("covered", ())),
                aside_offset=wire.get("aside_offset"),
            )
        except (KeyError, TypeError, AttributeError) as problem:
            raise ValueError(f"not a record of endpoints: {problem!r}") from problem


def _flat(version: EndpointVersion) -> dict[str, Any]:
    wire = version.model_dump(mode="json", exclude_none=True, exclude={"settings"})
    if version.settings is not None:
        wire |= version.settings.model_dump(mode="json", exclude_none=True)
    return wire


def _version(wire: dict[str, Any]) -> EndpointVersion:
    settings = EndpointSettings.model_validate(wire, strict=False) if "url" in wire else None
    return EndpointVersion.model_validate({**wire, "settings": settings}, strict=False)
