"""The Faust table of endpoints: what the lanes keep, read through Faust and never written through it.

A Faust table recovers from a changelog that nobody fences, and a process that was asleep can overwrite newer state
there (see docs/adr/0002). This one has no changelog: its store is what the lanes have committed to `endpoints`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import faust
from faust.stores.base import Store
from faust.tables.manager import TableManager

from schemas.endpoints import EndpointRecord
from streams.core import partitioning, showing
from streams.core.sealing import Keyring
from streams.router.keeper import Keeper


class ReadOnly(TypeError):
    """Endpoints change by subscription changes alone."""


class Endpoints(Mapping[str, dict[str, Any]]):
    """What is committed in the partitions that this process owns, by `tenant/endpoint_id`, without secrets."""

    def __init__(self, keepers: Callable[[], dict[int, Keeper]], partitions: int) -> None:
        self._keepers = keepers
        self._partitions = partitions

    def __getitem__(self, key: str) -> dict[str, Any]:
        tenant = key.partition("/")[0]
        keeper = self._keepers().get(partitioning.partition_of(tenant.encode(), self._partitions))
        value = keeper.value(key.encode()) if keeper is not None else None
        if value is None:
            raise KeyError(key)
        return public(EndpointRecord.decode(value))

    def __iter__(self) -> Iterator[str]:
        for keeper in self._keepers().values():
            for key in keeper:
                yield key.decode()

    def __len__(self) -> int:
        return sum(len(keeper) for keeper in self._keepers().values())


class KeeperStore(Store):  # type: ignore[type-arg]
    """The store of a table that is read from `Endpoints` and never written."""

    logger = logging.getLogger("faust.endpoints")

    def __init__(self, *words: Any, endpoints: Endpoints, **options: Any) -> None:
        super().__init__(*words, **options)
        self.data: Any = endpoints

    def __setitem__(self, key: str, value: Any) -> None:
        raise ReadOnly(key)

    def __delitem__(self, key: str) -> None:
        raise ReadOnly(key)

    def apply_changelog_batch(self, batch: Iterable[Any], to_key: Any, to_value: Any) -> None:
        """There is no changelog."""

    def reset_state(self) -> None:
        """The lanes reload what they need."""

    async def backup_partition(self, *words: Any, **options: Any) -> None:
        """The topic is the backup."""

    def restore_backup(self, *words: Any, **options: Any) -> None:
        """The topic is the backup."""


class KeeperTable(faust.Table):  # type: ignore[type-arg]
    """A table over a `KeeperStore`."""

    logger = logging.getLogger("faust.endpoints")

    def __init__(self, app: faust.App, keepers: Callable[[], dict[int, Keeper]], partitions: int) -> None:
        super().__init__(app, name="endpoints", partitions=partitions, help="Endpoints of this process's partitions")
        self._endpoints = Endpoints(keepers, partitions)

    def _new_store(self) -> KeeperStore:
        return KeeperStore(
            "keeper://",
            self.app,
            self,
            table_name=self.name,
            endpoints=self._endpoints,
        )

    async def on_start(self) -> None:
        """Nothing to declare."""
        await self.add_runtime_dependency(self.data)


class KeeperTables(TableManager):
    """A table manager that subscribes to no changelog, so that nothing has to be recovered."""

    logger = logging.getLogger("faust.endpoints")

    def add(self, table: Any) -> Any:
        """Register a table by its name."""
        self[table.name] = table
        return table

    async def _update_channels(self) -> None:
        self._tables_finalized.set()
        for table in self.values():
            await table.maybe_start()
        self._tables_registered.set()


def public(record: EndpointRecord) -> dict[str, Any]:
    """The endpoint without anything secret: what a page may show."""
    version = record.current
    if version.settings is not None:
        return showing.shown(record, Keyring({})).model_dump(mode="json")
    return {
        "tenant": record.tenant,
        "endpoint_id": record.endpoint_id,
        "version": record.version,
        "state": version.state.value,
        "since_ms": version.since_ms,
    }
