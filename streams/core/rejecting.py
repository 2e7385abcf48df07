"""What is added to a record that could not be read."""

from collections.abc import Sequence

MAX_REASON = 1_000


def rejected_headers(headers: Sequence[tuple[str, bytes]], reason: str, origin: str) -> list[tuple[str, bytes]]:
    """The headers as they came, then why and where from (`topic/partition/offset`)."""
    line = " ".join(reason.split())[:MAX_REASON]
    return [*headers, ("rejected-reason", line.encode()), ("rejected-origin", origin.encode())]
