"""The data keys of a process, as `keys` has them: raw by tenant, opened when one is asked for. Knows no Kafka."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from schemas.events import SEALED_HEADER
from streams.core import data_keys, puncturing
from streams.core.outputs import Source
from streams.core.puncturing import Punctured
from streams.core.sealing import CannotOpen, Keyring

#: Keys that are kept opened.
MAX_OPEN = 10_000


@dataclass(frozen=True, slots=True)
class _Raw:
    """A key as its record has it; `offset` is the record's."""

    ring_key: str
    value: bytes
    offset: int


@dataclass(slots=True)
class _Tenant:
    """`erased_at_ms`: when all of its data was erased, in the time of the log; 0: never."""

    keys: dict[str, _Raw] = field(default_factory=dict)
    erased_at_ms: int = 0


class HeldKeys:
    """What the records of `keys` say, one laid over the other in the order of the log."""

    def __init__(self, ring: Keyring) -> None:
        self._ring = ring
        self._tenants: dict[str, _Tenant] = {}
        self._opened: OrderedDict[tuple[str, str], Punctured] = OrderedDict()

    def put(self, record: Source) -> None:
        """Lay a record over what is known. A key that is dropped is forgotten here and now."""
        tenant, _, key_id = (record.key or b"").decode("ascii", "replace").partition("/")
        if not key_id:
            held = self._tenants.setdefault(tenant, _Tenant())
            held.erased_at_ms = max(held.erased_at_ms, record.at_ms)
            return
        self._opened.pop((tenant, key_id), None)
        if record.value is None:
            if (found := self._tenants.get(tenant)) is not None:
                found.keys.pop(key_id, None)
            return
        ring_key = (dict(record.headers).get(SEALED_HEADER) or b"").decode("ascii", "replace")
        self._tenants.setdefault(tenant, _Tenant()).keys[key_id] = _Raw(ring_key, record.value, record.offset)

    def forget(self, is_lost: Callable[[str], bool] = lambda _: True) -> None:
        """Know nothing of those tenants."""
        for tenant in [tenant for tenant in self._tenants if is_lost(tenant)]:
            del self._tenants[tenant]
        for tenant, key_id in [name for name in self._opened if is_lost(name[0])]:
            del self._opened[tenant, key_id]

    def ids(self, tenant: str) -> list[str]:
        """The ids of the tenant's keys, oldest first."""
        return [key_id for key_id, _ in sorted(self._keys_of(tenant).items(), key=lambda one: one[1].offset)]

    def key(self, tenant: str, key_id: str) -> Punctured | None:
        """The key; None where there is none (any more). Raises `CannotOpen` where the ring does not open it."""
        opened = self._opened.get((tenant, key_id))
        if opened is not None:
            self._opened.move_to_end((tenant, key_id))
            return opened
        raw = self._keys_of(tenant).get(key_id)
        if raw is None:
            return None
        opened = data_keys.read(self._ring, tenant, key_id, raw.ring_key, raw.value)
        self._opened[tenant, key_id] = opened
        if len(self._opened) > MAX_OPEN:
            self._opened.popitem(last=False)
        return opened

    def sealing(self, tenant: str) -> tuple[str, Punctured] | None:
        """The newest key that the tenant's data can be sealed with, and its id; None where one is to be made."""
        for key_id in reversed(self.ids(tenant)):
            try:
                key = self.key(tenant, key_id)
            except CannotOpen:
                continue
            if key is not None and len(key.given_up) < data_keys.MAX_SEALING:
                return key_id, key
        return None

    def is_erased(self, tenant: str, event_id: str, at_ms: int) -> bool:
        """True for data in the clear that was to be erased: with all that its tenant had by then, or by its id."""
        held = self._tenants.get(tenant)
        if held is None:
            return False
        if at_ms <= held.erased_at_ms:
            return True
        leaf = puncturing.leaf_of(event_id)
        return any(puncturing.is_given_up(key, leaf) for key in self._openable(tenant, held))

    def _openable(self, tenant: str, held: _Tenant) -> Iterator[Punctured]:
        for key_id in held.keys:
            try:
                key = self.key(tenant, key_id)
            except CannotOpen:
                continue
            if key is not None:
                yield key

    def _keys_of(self, tenant: str) -> dict[str, _Raw]:
        held = self._tenants.get(tenant)
        return held.keys if held is not None else {}
