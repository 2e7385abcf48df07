"""What is to be done with a delivery, by its endpoint as it is now."""

from enum import Enum, auto

from schemas.deliveries import Delivery
from schemas.endpoints import EndpointRecord, State
from streams.core import verification


class Step(Enum):
    """`WAIT`: until the endpoint's handshake has ended; `SUPERSEDED`: a handshake that nobody waits for any more."""

    SEND = auto()
    VERIFY = auto()
    WAIT = auto()
    SUPERSEDED = auto()


def decide(delivery: Delivery, record: EndpointRecord | None) -> Step | State:
    """The step, or the state that makes it a skip."""
    if record is None or record.current.settings is None:
        return State.GONE
    version = record.current
    if delivery.is_verification:
        if version.state is State.DISABLED:
            return version.state
        return Step.VERIFY if verification.is_current(delivery, record) else Step.SUPERSEDED
    if version.waits:
        return Step.WAIT
    return Step.SEND if version.state is State.ACTIVE else version.state
