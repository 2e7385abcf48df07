"""An endpoint's life: every transition in one table, and the fold of a change into its record."""

from dataclasses import dataclass

from schemas import changes
from schemas.changes import Change
from schemas.endpoints import EndpointRecord, EndpointSettings, EndpointVersion, ExpiringSecret, State
from streams.core import registering
from streams.core.registering import Limits

#: State after a change, by state before and type of change; None before: the endpoint does not exist or is gone.
#: A pair that is not here is refused. `VERIFIED_OR_PENDING` resolves to active where the URL has been vouched for.
VERIFIED_OR_PENDING = "verified or pending"
SAME = "same"
_LIVE = (State.PENDING, State.ACTIVE, State.PAUSED, State.DISABLED)
TRANSITIONS: dict[tuple[State | None, str], State | str] = {
    **{(before, "endpoint.registered"): VERIFIED_OR_PENDING for before in (None, *_LIVE)},
    **{(before, "endpoint.unregistered"): State.GONE for before in _LIVE},
    **{(before, "endpoint.disabled"): State.DISABLED for before in _LIVE},
    **{
        (before, kind): SAME
        for before in _LIVE
        for kind in (
            "endpoint.failing",
            "endpoint.recovered",
            "subscription.added",
            "subscription.removed",
            "secret.rotated",
        )
    },
    (State.PENDING, "endpoint.changed"): VERIFIED_OR_PENDING,
    (State.ACTIVE, "endpoint.changed"): VERIFIED_OR_PENDING,
    (State.PAUSED, "endpoint.changed"): SAME,
    (State.DISABLED, "endpoint.changed"): SAME,
    (State.PENDING, "endpoint.verified"): State.ACTIVE,
    (State.ACTIVE, "endpoint.verified"): State.ACTIVE,
    (State.PAUSED, "endpoint.verified"): SAME,
    (State.DISABLED, "endpoint.verified"): SAME,
    (State.PENDING, "endpoint.paused"): State.PAUSED,
    (State.ACTIVE, "endpoint.paused"): State.PAUSED,
    (State.PAUSED, "endpoint.paused"): State.PAUSED,
    (State.PENDING, "endpoint.resumed"): VERIFIED_OR_PENDING,
    (State.ACTIVE, "endpoint.resumed"): VERIFIED_OR_PENDING,
    (State.PAUSED, "endpoint.resumed"): VERIFIED_OR_PENDING,
    (State.DISABLED, "endpoint.resumed"): VERIFIED_OR_PENDING,
    (State.DISABLED, "endpoint.paused"): State.PAUSED,
}


@dataclass(frozen=True, slots=True)
class Refused:
    """The change is not applied, for a reason in one line that names no secret."""

    reason: str


def apply(
    record: EndpointRecord | None,
    change: Change,
    *,
    tenant: str,
    partition: int,
    offset: int,
    at_ms: int,
    limits: Limits,
) -> EndpointRecord | Refused:
    """The endpoint's record after the change, whose place is `offset` in `partition` and whose time is `at_ms`.

    A change that the record has already seen leaves it as it is, so that a log folded twice is the log folded once.
    One at a lower offset but of a later time comes from a topic that was made anew, and counts.
    """
    if record is not None and offset <= record.current.offset and at_ms <= record.current.valid_from_ms:
        return record
    before = record.current if record is not None and record.current.state is not State.GONE else None
    target = TRANSITIONS.get((before.state if before else None, change.type))
    if target is None:
        return Refused(f"there is no endpoint {change.endpoint_id}")
    settings = _settings(before, change, at_ms, limits)
    if isinstance(settings, Refused):
        return settings
    verified = _verified(before, change, settings)
    if target == VERIFIED_OR_PENDING:
        state = State.ACTIVE if verified else State.PENDING
    elif target == SAME:
        assert before is not None
        state = before.state
    else:
        state = State(target)
    moved = before is None or before.state is not state or isinstance(change, changes.EndpointRegistered)
    current = EndpointVersion(
        valid_from_ms=at_ms,
        offset=offset,
        state=state,
        since_ms=at_ms if moved or before is None else before.since_ms,
        reason=_reason(before, change, state),
        verified=verified,
        failing_since_ms=_failing(before, change),
        settings=settings if state is not State.GONE else None,
    )
    history = (*record.history, record.current) if record is not None else ()
    return EndpointRecord(
        tenant=tenant, endpoint_id=change.endpoint_id, partition=partition, current=current, history=history
    )


def _settings(before: EndpointVersion | None, change: Change, at_ms: int, limits: Limits) -> EndpointSettings | Refused:
    had = before.settings if before is not None else None
    match change:
        case changes.EndpointRegistered() | changes.EndpointChanged():
            if (refused := registering.refuse_fields(change, limits)) is not None:
                return Refused(refused)
            return registering.merge(had if isinstance(change, changes.EndpointChanged) else None, change, limits)
        case changes.SubscriptionAdded() | changes.SubscriptionRemoved():
            assert had is not None
            changed = registering.change_subscriptions(had, change)
            return Refused(changed) if isinstance(changed, str) else changed
        case changes.SecretRotated():
            assert had is not None
            if (refused := registering.refuse_secret(change.secret)) is not None:
                return Refused(refused)
            older = [ExpiringSecret(secret=secret, until_ms=at_ms + change.overlap_ms) for secret in had.secrets]
            older += [secret for secret in had.expiring_secrets if secret.until_ms > at_ms]
            if len(older) >= registering.MAX_SECRETS:
                return Refused(f"{registering.MAX_SECRETS} secrets sign already; wait until an overlap ends")
            return had.model_copy(
                update={"secrets": (change.secret,), "expiring_secrets": tuple(older) if change.overlap_ms else ()}
            )
        case _:
            assert had is not None
            return had


def _verified(before: EndpointVersion | None, change: Change, settings: EndpointSettings) -> bool:
    match change:
        case changes.EndpointVerified():
            return True
        case changes.EndpointRegistered():
            return settings.verification == "none"
        case changes.EndpointChanged():
            assert before is not None
            assert before.settings is not None
            same = settings.url == before.settings.url
            return settings.verification == "none" or (same and before.verified)
        case _:
            return before is not None and before.verified


def _reason(before: EndpointVersion | None, change: Change, state: State) -> str | None:
    match change:
        case changes.EndpointPaused() | changes.EndpointDisabled() | changes.EndpointResumed():
            return change.reason
        case _:
            return before.reason if before is not None and before.state is state else None


def _failing(before: EndpointVersion | None, change: Change) -> int | None:
    match change:
        case changes.EndpointFailing():
            return change.since_ms
        case changes.EndpointRecovered() | changes.EndpointRegistered() | changes.EndpointUnregistered():
            return None
        case _:
            return before.failing_since_ms if before is not None else None
