"""Every transition of an endpoint's state; docs/transitions.md is drawn from this table."""

from schemas.endpoints import State

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
            "endpoint.replay_requested",
            "endpoint.replay_cancelled",
            "subscription.added",
            "subscription.removed",
            "secret.rotated",
        )
    },
    (State.PENDING, "endpoint.changed"): VERIFIED_OR_PENDING,
    (State.ACTIVE, "endpoint.changed"): VERIFIED_OR_PENDING,
    (State.PAUSED, "endpoint.changed"): SAME,
    (State.DISABLED, "endpoint.changed"): SAME,
    (State.PENDING, "endpoint.verification_requested"): State.PENDING,
    (State.ACTIVE, "endpoint.verification_requested"): SAME,
    (State.PAUSED, "endpoint.verification_requested"): SAME,
    (State.DISABLED, "endpoint.verification_requested"): State.PENDING,
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
