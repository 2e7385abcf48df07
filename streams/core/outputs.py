"""Records to write, and records as they came: what decisions take and give."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from schemas import topics
from schemas.results import Result
from streams.core import partitioning, rejecting

#: Kafka's own share of a record besides key, value and headers, with room to spare.
_RECORD_OVERHEAD = 128
_HEADER_OVERHEAD = 10

#: The largest record that each topic takes; a tier is any topic that begins with `retries.`.
MAX_BYTES = {topic.name: topic.max_record_bytes for topic in topics.topic_map({"1s": 1_000})}


@dataclass(slots=True)
class Output:
    """A record to write; nobody changes one. `topic` is without prefix, `partition` None is where the key belongs.

    `origin` names the record that it was made from (`topic/partition/offset`), where that is known.
    """

    # Not frozen: that makes one take four times as long to be made, and there is one for each delivery and result.

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    partition: int | None = None
    origin: str = ""
    #: Upper bound of its bytes on the wire, uncompressed.
    size: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Several ask for the size of each record: it is counted once."""
        size = _RECORD_OVERHEAD + len(self.key or b"") + len(self.value or b"")
        for name, value in self.headers:
            size += _HEADER_OVERHEAD + (len(name) if name.isascii() else len(name.encode())) + len(value or b"")
        self.size = size

    @property
    def fits(self) -> bool:
        """False when its topic would refuse it."""
        name = topics.RETRIES + "1s" if self.topic.startswith(topics.RETRIES) else self.topic
        return self.size <= MAX_BYTES[name]

    def place(self, partitions: int) -> int:
        """Its partition, with `partitions` a topic."""
        if self.partition is not None:
            return self.partition
        return partitioning.partition_of(self.key or b"", partitions)


@dataclass(slots=True)
class Source:
    """A record as it came; nobody changes one (see `Event`). `topic` is the full name; `at_ms` its time in the log."""

    topic: str
    partition: int
    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()

    @property
    def origin(self) -> str:
        """`topic/partition/offset`."""
        return f"{self.topic}/{self.partition}/{self.offset}"


def result(made: Result) -> Output:
    """The record of a result."""
    return Output(topics.RESULTS, f"{made.tenant}/{made.endpoint_id}".encode(), made.encode())


def rejected(source: Source, reason: str) -> Output:
    """The record as it came, with the reason; only one too large even for `rejected` loses the end of its value."""
    headers = rejecting.rejected_headers(source.headers, reason, source.origin)
    return cut(Output(topics.REJECTED, source.key, source.value, headers, source.partition), MAX_BYTES[topics.REJECTED])


def cut(output: Output, max_bytes: int) -> Output:
    """The record with as much of its value as fits, and a header that says how much does not."""
    if output.size <= max_bytes:
        return output
    value = output.value or b""
    room = max(0, max_bytes - (output.size - len(value)) - 64)
    headers = [*output.headers, ("rejected-bytes-cut", str(len(value) - room).encode())]
    return replace(output, value=value[:room], headers=headers)


def fitted(output: Output, limits: Mapping[str, int]) -> Output:
    """The output, or where it is larger than its topic takes: a rejected record with all that it holds.

    `limits`: the largest record of each topic without prefix, as the cluster has it.
    """
    limit = limits.get(output.topic)
    if limit is None or output.size <= limit:
        return output
    if output.topic == topics.REJECTED:
        return cut(output, limit)
    reason = f"a record for {output.topic} would have {output.size} bytes, the topic takes {limit}"
    headers = rejecting.rejected_headers(output.headers, reason, output.origin)
    return fitted(replace(output, topic=topics.REJECTED, headers=headers), limits)


def bytes_of(header: tuple[str, bytes]) -> int:
    """What a header adds to a record's `size`."""
    return _HEADER_OVERHEAD + len(header[0].encode()) + len(header[1])


def sized(topic: str, key: bytes, value: bytes, headers: Sequence[tuple[str, bytes]], origin: str, more: int) -> Output:
    """The same as `Output(…)`, for who makes many alike: `more` is what the headers add, which is not counted again."""
    made = object.__new__(Output)
    made.topic = topic
    made.key = key
    made.value = value
    made.headers = headers
    made.partition = None
    made.origin = origin
    made.size = _RECORD_OVERHEAD + len(key) + len(value) + more
    return made
