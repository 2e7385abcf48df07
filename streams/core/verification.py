"""The handshake owed to an endpoint: a delivery of its own kind, that the router writes where a change begins one."""

from schemas import topics
from schemas.deliveries import VERIFICATION, Delivery
from schemas.endpoints import EndpointRecord
from streams.core import reading
from streams.core.outputs import Output


def begun(record: EndpointRecord) -> Output | None:
    """The verification that the record's last change has begun; None where it has not."""
    version = record.current
    if version.verifying is None or version.verifying != version.offset:
        return None
    event_id = f"verification-{record.settings_version}"
    owed = Delivery(
        delivery_id=reading.delivery_id(record.tenant, event_id, record.endpoint_id),
        event_id=event_id,
        event_type=VERIFICATION,
        tenant=record.tenant,
        endpoint_id=record.endpoint_id,
        endpoint_version=record.settings_version,
        event_time_ms=version.valid_from_ms,
    )
    return Output(topics.DELIVERIES, owed.key, owed.data, owed.headers())


def is_current(delivery: Delivery, record: EndpointRecord) -> bool:
    """True while this is the handshake under way: another may have begun since, or an operator has vouched."""
    return delivery.endpoint_version == f"{record.partition}-{record.current.verifying}"
