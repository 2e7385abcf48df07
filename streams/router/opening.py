"""How the router reads an event: its data opened where it is sealed, and sealed where that is wanted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from schemas.events import Event
from schemas.settings import RouterSettings
from streams.core import reading
from streams.core.outputs import Source
from streams.core.reading import Unreadable
from streams.erasure.view import DataKeys, Locked, NotReady

logger = logging.getLogger(__name__)

#: How soon a key that the ring does not open is tried again.
LOCKED_S = 1.0


class Opening:
    """Of one lane. Where nothing is sealed, keys are not asked for."""

    def __init__(self, settings: RouterSettings, keys: DataKeys) -> None:
        self._settings = settings
        self._keys = keys
        self._known = False
        self._wanted = False
        self._locked = False

    async def prepare(self, events: Sequence[Source]) -> None:
        """Have the keys of events that are read next, where they may be needed. Raises as `DataKeys.ready`."""
        self._known = False
        if self._locked:
            self._locked = False
            await asyncio.sleep(LOCKED_S)
        if events and (self._wanted or self._keys.seals):
            tenants = [reading.read_tenant(key) for key in {event.key for event in events}]
            await self.know(*(tenant for tenant in tenants if isinstance(tenant, str)))
            self._known, self._wanted = True, False

    async def know(self, *tenants: str) -> None:
        """Have the keys of these tenants, for `read_known`. Raises as `DataKeys.ready`."""
        await self._keys.ready(tenants)

    def read(self, source: Source) -> Event | Unreadable:
        """The event as it is judged and written. Raises `NotReady` where `prepare` has more to do first.

        Where the ring lacks a key, the lane stands still, and says so: what would be rejected now can be read with it.
        """
        try:
            return self._read(source, known=self._known)
        except NotReady as problem:
            if isinstance(problem, Locked):
                logger.error("event.waits origin=%s reason=%s", source.origin, problem)
                self._locked = True
            self._wanted = True
            raise

    def read_known(self, source: Source) -> Event | Unreadable:
        """The same, once its tenant is known. Raises `NotReady` where that has changed."""
        return self._read(source, known=True)

    def _read(self, source: Source, *, known: bool) -> Event | Unreadable:
        event = reading.read_record(source, self._settings.max_event_bytes)
        if isinstance(event, Unreadable) or (event.sealed is None and not self._keys.following):
            return event
        return self._keys.resolved(event, source.at_ms, sure=known)
