"""Which replays of an endpoint are under way, by its changes."""

from typing import Literal

from schemas import changes
from schemas.changes import Change
from schemas.endpoints import CatchUp, Covered, EndpointRecord, State
from streams.core import matching

#: Replays of one endpoint that may be under way at a time.
MAX_UNDER_WAY = 16
#: Replays whose times are remembered.
MAX_COVERED = 64
Backfilling = changes.EndpointResumed | changes.EndpointRegistered | changes.EndpointChanged | changes.SubscriptionAdded


def requested(change: changes.ReplayRequested, state: State, replay_id: str, at_ms: int) -> CatchUp | str:
    """The replay that somebody asks for at `at_ms`, or why there is none, in one line."""
    if state is not State.ACTIVE:
        return f"the endpoint is {state.value}; a replay is for one that is active"
    refused = next(filter(None, map(matching.refuse_pattern, change.event_types or ())), None)
    if refused is not None:
        return refused
    until_ms = min(change.until_ms, at_ms) if change.until_ms is not None else at_ms
    if until_ms <= change.since_ms:
        return "the replay ends before it begins"
    return CatchUp(
        replay_id=replay_id,
        kind="replay",
        since_ms=change.since_ms,
        until_ms=until_ms,
        event_types=change.event_types,
        verdicts=change.verdicts,
        rate_per_s=change.rate_per_s,
    )


def after(
    record: EndpointRecord | None, change: Change, state: State, replay_id: str, at_ms: int
) -> tuple[CatchUp, ...]:
    """The replays under way then. One that begins while the endpoint is pending reaches to where that ends."""
    if state is State.GONE:
        return ()
    new = record is None or isinstance(change, changes.EndpointRegistered)
    under_way = () if record is None or new else record.catch_ups
    if isinstance(change, Backfilling) and change.deliver_since_ms is not None:
        kind: Literal["skipped", "backfill"] = "skipped" if isinstance(change, changes.EndpointResumed) else "backfill"
        under_way = (*under_way, CatchUp(replay_id=replay_id, kind=kind, since_ms=change.deliver_since_ms))
    if state is not State.ACTIVE:
        return under_way
    return tuple(one if one.until_ms is not None else one.model_copy(update={"until_ms": at_ms}) for one in under_way)


def covered(record: EndpointRecord | None, change: Change, under_way: tuple[CatchUp, ...]) -> tuple[Covered, ...]:
    """What replays are about, those under way included: a later one leaves that to them."""
    if isinstance(change, changes.EndpointUnregistered):
        return ()
    before = () if record is None or isinstance(change, changes.EndpointRegistered) else record.covered
    known = {one.replay_id for one in before}
    begun = tuple(
        Covered(replay_id=one.replay_id, since_ms=one.since_ms, until_ms=one.until_ms)
        for one in under_way
        if one.until_ms is not None and one.kind != "replay" and one.replay_id not in known
    )
    return (*before, *begun)[-MAX_COVERED:] if begun else before
