"""What events ask of an endpoint, read from its value in `endpoints` past all else that is there.

The whole record takes sixteen times as long, and several times the memory.
"""

from collections.abc import Collection

import msgspec

from schemas.endpoints import State

_NONE = msgspec.Raw()


class Subscribing(msgspec.Struct, gc=False):
    """A subscription. `filter`: its JSON as it is there, empty where it has none."""

    event_types: tuple[str, ...]
    filter: msgspec.Raw = _NONE


class SubscribedVersion(msgspec.Struct, gc=False):
    """See `EndpointVersion`; one that is gone has no subscriptions."""

    valid_from_ms: int
    offset: int
    state: State
    subscriptions: tuple[Subscribing, ...] = ()
    ordered_by: str | None = None


class Subscribed(SubscribedVersion, kw_only=True, gc=False):
    """See `EndpointRecord`: the version of now laid flat, and the older ones, oldest first."""

    tenant: str
    endpoint_id: str
    version: str
    history: tuple[SubscribedVersion, ...]

    @property
    def partition(self) -> int:
        """The one its changes come from."""
        return int(self.version.partition("-")[0])


class _Types(msgspec.Struct, gc=False):
    event_types: tuple[str, ...]


class _Older(msgspec.Struct, gc=False):
    subscriptions: tuple[_Types, ...] = ()


class _Known(_Older, gc=False):
    history: tuple[_Older, ...] = ()


_SUBSCRIBED = msgspec.json.Decoder(Subscribed)
_KNOWN = msgspec.json.Decoder(_Known)


def read(value: bytes) -> Subscribed:
    """What `EndpointRecord.decode` says of it. Raises msgspec's `DecodeError`, a ValueError, on anything else."""
    return _SUBSCRIBED.decode(value)


def patterns(value: bytes) -> Collection[str]:
    """The event-type patterns of all versions, from such a value, some perhaps several times. Raises the same."""
    known = _KNOWN.decode(value)
    if len(known.subscriptions) == 1 and not known.history:
        return known.subscriptions[0].event_types
    return frozenset[str]().union(
        *(subscription.event_types for version in (known, *known.history) for subscription in version.subscriptions)
    )
