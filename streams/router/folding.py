"""Subscription changes into the state of endpoints; what cannot be folded becomes a rejected record."""

from __future__ import annotations

import logging

from schemas import topics
from schemas.endpoints import EndpointRecord
from schemas.settings import RouterSettings
from schemas.sources import SourceRegistered, SourceUnregistered
from streams import metrics
from streams.core import judging, lifecycle, notices, outputs, reading, sources, verification, versions
from streams.core.outputs import Output, Source
from streams.core.reading import Unreadable
from streams.core.registering import Limits
from streams.core.sealing import Keyring
from streams.router.keeper import Keeper

logger = logging.getLogger(__name__)

#: What waits for its commit: with more no further changes are taken.
MAX_MADE = 10_000
MAX_MADE_BYTES = 8 * 1_048_576
#: Kept free for each replay: how far it has come is noted in its endpoint's record.
PROGRESS_BYTES = 128
FAULT = "a fault of Hookfold's own; its log says more"


class Folding:
    """The changes of one partition, on their way into its keeper.

    `made`: outputs that are not committed yet; `max_bytes`: the largest record that `endpoints` takes; `crowded`: an
    endpoint has more history than it should, for events that may still have to be judged.
    """

    def __init__(self, settings: RouterSettings, keeper: Keeper) -> None:
        self.made: list[Output] = []
        self.crowded = False
        self.max_bytes = outputs.MAX_BYTES[topics.ENDPOINTS]
        self._made_bytes = 0
        self._settings = settings
        self._keeper = keeper
        self._limits = Limits(
            settings.allow_http, settings.allowed_networks, settings.default_verification, Keyring(settings.keys)
        )

    @property
    def full(self) -> bool:
        """True while there are as many outputs as one transaction should have."""
        return len(self.made) >= MAX_MADE or self._made_bytes >= MAX_MADE_BYTES

    def take(self) -> None:
        """The outputs have been taken, or are void."""
        self.made = []
        self._made_bytes = 0

    def apply(self, source: Source, pending_since_ms: int) -> None:
        """Fold one change into the keeper. `pending_since_ms`: no event to be judged has an earlier time."""
        try:
            made = self._fold(source, pending_since_ms)
        except Exception:  # one record must not stop its partition for ever
            logger.exception("change.faulted origin=%s", source.origin)
            made = outputs.rejected(source, FAULT)
        metrics.CHANGES.labels("applied" if made is None else made.topic).inc()
        if made is not None:
            self._add(made)

    def progress(self, after: EndpointRecord, pending_since_ms: int) -> bool:
        """The endpoint from now on, with a replay further than it was; False where its topic would not take that."""
        needed_ms = min([pending_since_ms, *(one.since_ms for one in after.catch_ups)])
        fitted, record = self._fitted(after, needed_ms)
        if fitted is not None:
            self._keeper.change(fitted, record.value)
        return fitted is not None

    def _fitted(self, record: EndpointRecord, needed_ms: int, margin: int = 0) -> tuple[EndpointRecord | None, Output]:
        """The endpoint, without history that is not needed, and what is written of it; None where that is too large."""
        key = f"{record.tenant}/{record.endpoint_id}".encode()
        record = versions.prune(record, needed_ms - self._settings.history_ms, needed_ms)
        made = Output(topics.ENDPOINTS, key, record.encode())
        room = self.max_bytes - margin
        if made.size > room:  # what nobody waits for gives way
            record = versions.prune(record, needed_ms, needed_ms)
            made = Output(topics.ENDPOINTS, key, record.encode())
        return (record if made.size <= room else None), made

    def _fold(self, source: Source, pending_since_ms: int) -> Output | None:
        moved = judging.misplaced(source, topics.SUBSCRIPTIONS, self._settings.partitions)
        if moved is not None:
            return moved
        tenant = reading.read_tenant(source.key)
        if isinstance(tenant, Unreadable):
            return outputs.rejected(source, tenant.reason)
        change = reading.read_change(source.value)
        if isinstance(change, Unreadable):
            return outputs.rejected(source, change.reason)
        if isinstance(change, SourceRegistered | SourceUnregistered):
            # The gateway keeps sources; here it is only told what is wrong with one.
            refused = sources.refuse(change, tenant, self._limits.ring)
            return outputs.rejected(source, refused) if refused is not None else None
        before = self._keeper.get(tenant, change.endpoint_id)
        applied = lifecycle.apply(
            before,
            change,
            tenant=tenant,
            partition=source.partition,
            offset=source.offset,
            at_ms=source.at_ms,
            limits=self._limits,
        )
        if isinstance(applied, lifecycle.Refused):
            return outputs.rejected(source, applied.reason)
        if applied is before:
            return None
        # Events may be older than this change: their versions stay.
        needed_ms = min([source.at_ms, pending_since_ms, *(one.since_ms for one in applied.catch_ups)])
        after, record = self._fitted(applied, needed_ms, PROGRESS_BYTES * len(applied.catch_ups))
        self.crowded |= len((after or applied).history) > versions.MAX_HISTORY or record.size > self.max_bytes // 2
        if after is None:
            return outputs.rejected(source, f"the endpoint would have {record.size} bytes, more than its topic takes")
        self._keeper.change(after, record.value)
        if after.current.offset == source.offset and (handshake := verification.begun(after)) is not None:
            self._add(handshake)
        if (notice := notices.of_change(before, after, source.offset)) is not None:
            self._add(notice)
        return None

    def _add(self, output: Output) -> None:
        self.made.append(output)
        self._made_bytes += output.size
