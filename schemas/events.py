"""A provider event as it was read, whatever its encoding."""

from collections.abc import Mapping
from dataclasses import dataclass, field

CLOUDEVENTS_JSON = "application/cloudevents+json"
CLOUDEVENTS_BATCH = "application/cloudevents-batch+json"

#: Header of a record that was moved to the partition where its key belongs: `<partition>-<offset>` of its origin.
MOVED_HEADER = "hookfold-moved-from"
#: Begins the types of events that Hookfold makes itself, and the header that marks them: the change they are about.
OWN_TYPES = "hookfold."
NOTICE_HEADER = "hookfold-change"
#: Header of data that is sealed, with the id of its tenant's key; and of such a key, with that of the ring's.
SEALED_HEADER = "sealed-with"


def cloud_attributes(
    tenant: str, event_id: str, event_type: str, time: str | None, given: Mapping[str, str]
) -> dict[str, str]:
    """The CloudEvents attributes of an event, as filters see them and receivers get them.

    A plain event has no source; CloudEvents requires one, and the tenant is where it came from.
    """
    attributes = {"specversion": "1.0", "id": event_id, "source": f"/{tenant}", "type": event_type}
    if time is not None:
        attributes["time"] = time
    return {**attributes, **given}


@dataclass(frozen=True, slots=True)
class Sealed:
    """Data as it stands in the log, and the id of its tenant's key that it is sealed with."""

    key_id: str
    data: bytes


@dataclass(slots=True)
class Event:
    """What happened at a tenant; nobody changes one, and frozen it would take several times as long to be made.

    `given_id` tells whether the provider named the id (only such ids can repeat). `data` are the provider's bytes;
    `time` is RFC 3339 as it was given; `attributes` are the CloudEvents attributes besides id, type, time and
    datacontenttype, as text. `sealed` is how the data is written; where it was read so, `data` is empty until it is
    opened. `erased`: it cannot be opened any more.
    """

    tenant: str
    event_id: str
    event_type: str
    data: bytes
    given_id: bool = True
    time: str | None = None
    data_content_type: str | None = None
    traceparent: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    sealed: Sealed | None = None
    erased: bool = False
