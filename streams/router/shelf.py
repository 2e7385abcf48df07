"""Values by tenant and endpoint, as bytes: what many small values cost beside themselves is kept low."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


class Shelf:
    """Values by the key `tenant/endpoint_id`. A tenant's name is held once, and an endpoint's is all of its key."""

    def __init__(self) -> None:
        self._tenants: dict[bytes, dict[bytes, bytes]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: bytes) -> bool:
        return self.get(key) is not None

    def __iter__(self) -> Iterator[bytes]:
        for tenant, values in list(self._tenants.items()):
            for endpoint_id in list(values):
                yield tenant + b"/" + endpoint_id

    def get(self, key: bytes) -> bytes | None:
        """The value; None where there is none."""
        tenant, _, endpoint_id = key.partition(b"/")
        values = self._tenants.get(tenant)
        return None if values is None else values.get(endpoint_id)

    @property
    def tenants(self) -> list[bytes]:
        """Who has any."""
        return list(self._tenants)

    def of(self, tenant: bytes) -> Mapping[bytes, bytes]:
        """A tenant's values by endpoint."""
        return self._tenants.get(tenant, {})

    def put(self, key: bytes, value: bytes) -> None:
        """Lay a value under its key."""
        tenant, _, endpoint_id = key.partition(b"/")
        values = self._tenants.get(tenant)
        if values is None:
            values = self._tenants[tenant] = {}
        before = len(values)
        values[endpoint_id] = value
        self._count += len(values) - before

    def pop(self, key: bytes) -> None:
        """Take a key away where it is there."""
        tenant, _, endpoint_id = key.partition(b"/")
        values = self._tenants.get(tenant)
        if values is not None and values.pop(endpoint_id, None) is not None:
            self._count -= 1
            if not values:
                del self._tenants[tenant]

    def clear(self) -> None:
        """Take all away."""
        self._tenants.clear()
        self._count = 0
