"""An endpoint's life: the fold of a change into its record, by the table of transitions."""

from dataclasses import dataclass
from typing import Literal

from schemas import changes
from schemas.changes import Change
from schemas.endpoints import EndpointRecord, EndpointSettings, EndpointVersion, ExpiringSecret, State
from streams.core import catch_ups, keys, registering, sealing
from streams.core.registering import Limits
from streams.core.sealing import CannotOpen
from streams.core.transitions import SAME, TRANSITIONS, VERIFIED_OR_PENDING

Aside = changes.EndpointFailing | changes.EndpointRecovered | changes.ReplayRequested | changes.ReplayCancelled
FULL = f"{catch_ups.MAX_UNDER_WAY} replays of this endpoint are under way"


@dataclass(frozen=True, slots=True)
class Refused:
    """The change is not applied, for a reason in one line that names no secret.

    `missing`: what it is about does not exist; `outdated`: it was asked of another version; `full`: a bound is reached.
    """

    reason: str
    kind: Literal["invalid", "missing", "outdated", "full"] = "invalid"


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
        if record is not None and isinstance(change, changes.EndpointFailing | changes.EndpointRecovered):
            return record  # it went while the attempt was under way that this is said of
        return Refused(f"there is no endpoint {change.endpoint_id}", "missing")
    if _is_superseded(before, change, partition):
        assert record is not None
        return record
    if record is not None and isinstance(change, Aside):
        return _aside(record, change, offset, at_ms)
    settled = _settle(record, change, tenant, partition, at_ms, limits)
    if isinstance(settled, Refused):
        return settled
    if settled.keeps_state or target == SAME:
        assert before is not None
        state = before.state
    elif target == VERIFIED_OR_PENDING:
        state = State.ACTIVE if settled.verified else State.PENDING
    else:
        state = State(target)
    moved = before is None or before.state is not state or isinstance(change, changes.EndpointRegistered)
    current = EndpointVersion(
        valid_from_ms=at_ms,
        offset=offset,
        state=state,
        since_ms=at_ms if moved or before is None else before.since_ms,
        reason="the new url could not be verified" if settled.keeps_state else _reason(before, change, state),
        verified=settled.verified and state is not State.GONE,
        waits=state is State.PENDING and _waits(before, change),
        verifying=_verifying(before, change, settled, state, offset),
        new_url=settled.new_url,
        allowed_rate_per_min=_allowed_rate(before, change, settled),
        failing_since_ms=_failing(before, change),
        settings=settled.settings if state is not State.GONE else None,
    )
    under_way = catch_ups.after(record, change, state, f"{partition}-{offset}", at_ms)
    if len(under_way) > catch_ups.MAX_UNDER_WAY:
        return Refused(FULL, "full")
    return EndpointRecord(
        tenant=tenant,
        endpoint_id=change.endpoint_id,
        partition=partition,
        current=current,
        history=(*record.history, record.current) if record is not None else (),
        catch_ups=under_way,
        covered=catch_ups.covered(record, change, under_way),
    )


def _aside(record: EndpointRecord, change: Aside, offset: int, at_ms: int) -> EndpointRecord | Refused:
    """What makes no version, since no event is judged by it."""
    current, under_way = record.current, record.catch_ups
    match change:
        case changes.EndpointFailing():
            current = current.model_copy(update={"failing_since_ms": change.since_ms})
        case changes.EndpointRecovered():
            current = current.model_copy(update={"failing_since_ms": None})
        case changes.ReplayRequested():
            begun = catch_ups.requested(change, current.state, f"{record.partition}-{offset}", at_ms)
            if isinstance(begun, str):
                return Refused(begun, "invalid" if current.state is State.ACTIVE else "full")
            under_way = (*under_way, begun)
        case changes.ReplayCancelled():
            under_way = tuple(one for one in under_way if one.replay_id != change.replay_id)
            if len(under_way) == len(record.catch_ups):
                return Refused(f"no replay {change.replay_id} is under way", "missing")
    if len(under_way) > catch_ups.MAX_UNDER_WAY:
        return Refused(FULL, "full")
    return record.model_copy(update={"current": current, "catch_ups": under_way, "aside_offset": offset})


@dataclass(frozen=True, slots=True)
class _Settled:
    """The settings after a change, and what is known of their URL. `keeps_state`: whatever the table says."""

    settings: EndpointSettings
    verified: bool
    new_url: str | None = None
    keeps_state: bool = False


def _is_superseded(before: EndpointVersion | None, change: Change, partition: int) -> bool:
    """The end of a handshake that is not the one under way: the URL it was for may be another one."""
    if not isinstance(change, changes.EndpointVerified | changes.EndpointDisabled) or change.version is None:
        return False
    return before is None or change.version != f"{partition}-{before.verifying}"


def _is_of(record: EndpointRecord, version: str) -> bool:
    """True where the endpoint has not been changed since, but in its health."""
    partition, _, offset = version.partition("-")
    return int(partition) == record.partition and record.current.offset <= int(offset) <= record.last_offset


def _settle(
    record: EndpointRecord | None, change: Change, tenant: str, partition: int, at_ms: int, limits: Limits
) -> _Settled | Refused:
    before = record.current if record is not None and record.current.state is not State.GONE else None
    try:
        match change:
            case changes.EndpointRegistered():
                registration = sealing.open_secrets(change, limits.ring, tenant, change.endpoint_id)
                if (refused := registering.refuse_fields(registration, limits)) is not None:
                    return Refused(refused)
                sealed = sealing.seal_secrets(registration, limits.ring, tenant, change.endpoint_id)
                settings = registering.merge(None, sealed, limits)
                if (refused := registering.refuse_together(settings)) is not None:
                    return Refused(refused)
                return _Settled(settings, settings.verification == "none")
            case changes.EndpointChanged():
                assert record is not None
                assert before is not None
                if change.if_version is not None and not _is_of(record, change.if_version):
                    return Refused(f"the endpoint's version is {record.version}, not {change.if_version}", "outdated")
                opened = sealing.open_secrets(change, limits.ring, tenant, change.endpoint_id)
                if (refused := registering.refuse_fields(opened, limits)) is not None:
                    return Refused(refused)
                return _change(before, sealing.seal_secrets(opened, limits.ring, tenant, change.endpoint_id), limits)
            case changes.SecretRotated():
                assert before is not None
                rotation = sealing.open_secrets(change, limits.ring, tenant, change.endpoint_id)
                if (refused := keys.refuse(rotation.secret)) is not None:
                    return Refused(refused)
                return _rotate(before, sealing.seal_secrets(rotation, limits.ring, tenant, change.endpoint_id), at_ms)
    except CannotOpen as problem:
        return Refused(str(problem))
    had = before.settings if before is not None else None
    assert before is not None
    assert had is not None
    match change:
        case changes.SubscriptionAdded() | changes.SubscriptionRemoved():
            changed = registering.change_subscriptions(had, change)
            if isinstance(changed, str):
                return Refused(changed, "missing" if isinstance(change, changes.SubscriptionRemoved) else "invalid")
            return _Settled(changed, before.verified, before.new_url)
        case changes.EndpointVerified():
            return _Settled(had.model_copy(update={"url": before.new_url or had.url}), verified=True)
        case changes.VerificationRequested():
            if had.verification == "none":
                return Refused("the endpoint's verification is none; there is nothing to ask its receiver")
            return _Settled(had, before.verified and before.state is not State.DISABLED, before.new_url)
        case changes.EndpointDisabled(reason="unverified"):
            kept = before.new_url is not None and before.verified and change.version is not None
            return _Settled(had, kept, keeps_state=kept)
        case _:
            return _Settled(had, before.verified, before.new_url)


def _change(before: EndpointVersion, change: changes.EndpointChanged, limits: Limits) -> _Settled | Refused:
    had = before.settings
    assert had is not None
    settings = registering.merge(had, change, limits)
    if (refused := registering.refuse_together(settings)) is not None:
        return Refused(refused)
    if settings.verification == "none":
        url = change.url or before.new_url or had.url
        return _Settled(settings.model_copy(update={"url": url}), verified=True)
    if settings.verification != had.verification:
        # Who is asked in another way has not answered yet.
        return _Settled(settings, verified=False)
    if settings.url == had.url:
        return _Settled(settings, before.verified, before.new_url if change.url is None else None)
    if settings.url_change == "serve_old" and before.verified:
        return _Settled(settings.model_copy(update={"url": had.url}), verified=True, new_url=settings.url)
    return _Settled(settings, verified=False)


def _rotate(before: EndpointVersion, change: changes.SecretRotated, at_ms: int) -> _Settled | Refused:
    had = before.settings
    assert had is not None
    older = [ExpiringSecret(secret=secret, until_ms=at_ms + change.overlap_ms) for secret in had.secrets]
    older += [secret for secret in had.expiring_secrets if secret.until_ms > at_ms]
    if len(older) >= registering.MAX_SECRETS:
        return Refused(f"{registering.MAX_SECRETS} secrets sign already; wait until an overlap ends", "full")
    update = {"secrets": (change.secret,), "expiring_secrets": tuple(older) if change.overlap_ms else ()}
    return _Settled(had.model_copy(update=update), before.verified, before.new_url)


def _waits(before: EndpointVersion | None, change: Change) -> bool:
    """Of a pending endpoint: a new URL lets deliveries wait, a registration does not; what comes between goes on."""
    if isinstance(change, changes.EndpointRegistered) or before is None:
        return False
    return isinstance(change, changes.EndpointChanged) if before.state is not State.PENDING else before.waits


def _verifying(
    before: EndpointVersion | None, change: Change, settled: _Settled, state: State, offset: int
) -> int | None:
    """The offset of the change that began the handshake under way: this one's, the one before, or None."""
    under_way = before.verifying if before is not None else None
    if settled.settings.verification == "none" or state in (State.DISABLED, State.GONE):
        return None
    match change:
        case changes.EndpointVerified() | changes.EndpointDisabled():
            return None
        case changes.EndpointRegistered() | changes.VerificationRequested():
            return offset
        case changes.EndpointChanged():
            assert before is not None
            assert before.settings is not None
            if settled.verified and settled.new_url is None:
                return None if before.new_url is not None else under_way
            same = settled.settings.url == before.settings.url and settled.new_url == before.new_url
            again = not same or settled.settings.verification != before.settings.verification
            return offset if again or under_way is None else under_way
        case changes.EndpointResumed():
            owed = not settled.verified or settled.new_url is not None
            return offset if owed and under_way is None else under_way
        case _:
            return under_way


def _allowed_rate(before: EndpointVersion | None, change: Change, settled: _Settled) -> float | None:
    if isinstance(change, changes.EndpointVerified):
        return change.allowed_rate_per_min
    if before is None or before.settings is None or isinstance(change, changes.EndpointRegistered):
        return None
    return before.allowed_rate_per_min if settled.settings.url == before.settings.url else None


def _reason(before: EndpointVersion | None, change: Change, state: State) -> str | None:
    match change:
        case changes.EndpointPaused() | changes.EndpointDisabled() | changes.EndpointResumed():
            return change.reason
        case changes.EndpointVerified() if state is State.ACTIVE:
            return None
        case _:
            return before.reason if before is not None and before.state is state else None


def _failing(before: EndpointVersion | None, change: Change) -> int | None:
    match change:
        case changes.EndpointRegistered() | changes.EndpointUnregistered():
            return None
        case _:
            return before.failing_since_ms if before is not None else None
