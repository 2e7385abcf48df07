"""What an erasure is answered with."""

from schemas.model import Record


class Erased(Record):
    """What is in force now. `keys`: how many of the tenant's keys were dropped, or have given the event up.

    0: there was nothing sealed, or it had been erased before.
    """

    tenant: str
    event_id: str | None = None
    keys: int
