"""What every attempt to an endpoint needs to know of it, made once for each of its versions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from handlers.wire.template import Template
from schemas.changes import MtlsAuth, OAuth2Auth
from schemas.endpoints import EndpointRecord, EndpointSettings, EndpointVersion, State
from schemas.version import VERSION
from streams.core import sealing
from streams.core.sealing import Keyring

USER_AGENT = f"Hookfold/{VERSION}"


@dataclass(frozen=True, slots=True)
class Plan:
    """An endpoint as `record` has it: its version of now, and that one's settings with their secrets opened.

    `is_plain`: a delivery is one request, with nothing to be fetched for it and nothing to be waited for.
    """

    record: EndpointRecord
    version: EndpointVersion
    named: str
    settings: EndpointSettings
    timeout_ms: int
    template: Template
    is_plain: bool

    def knows(self, named: str) -> bool:
        """True where the endpoint is here at least as it was in a version (`<partition>-<offset>`)."""
        if named == self.named:
            return True
        partition, _, offset = named.partition("-")
        return self.record.partition != int(partition) or self.version.offset >= int(offset)


def maker(ring: Keyring, default_timeout_ms: int) -> Callable[[EndpointRecord], Plan]:
    """What makes plans. It raises `CannotOpen`, and ValueError for an endpoint that is gone."""

    def make(record: EndpointRecord) -> Plan:
        version = record.current
        if version.settings is None:
            raise ValueError("the endpoint is gone")
        settings = sealing.open_secrets(version.settings, ring, record.tenant, record.endpoint_id)
        is_one_request = settings.batch is None and not isinstance(settings.auth, OAuth2Auth | MtlsAuth)
        return Plan(
            record,
            version,
            record.settings_version,
            settings,
            settings.timeout_ms or default_timeout_ms,
            Template(settings, USER_AGENT),
            is_one_request and version.state is State.ACTIVE and not version.waits,
        )

    return make
