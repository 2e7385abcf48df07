"""Which headers an endpoint may ask for: none of Hookfold's own, none of HTTP's framing, nothing that breaks a line."""

import re

#: RFC 9110, section 5.6.2.
_TOKEN = re.compile(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$")
MAX_VALUE = 4_096

_OWN = frozenset({"content-type", "user-agent", "traceparent", "tracestate", "date"})
_OWN_PREFIXES = ("webhook-", "ce-")
_FRAMING = frozenset(
    {
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "content-encoding",
        "accept-encoding",
        "http2-settings",
    }
)
_FRAMING_PREFIXES = ("proxy-", "sec-")


def refuse_header(name: str, value: str) -> str | None:
    """Why the header cannot be sent, in one line that does not repeat the value; None when it can."""
    if not _TOKEN.fullmatch(name):
        return f"{name[:64]!r} is not a header name"
    lower = name.lower()
    if lower in _OWN or lower.startswith(_OWN_PREFIXES):
        return f"the header {lower} is Hookfold's own"
    if lower in _FRAMING or lower.startswith(_FRAMING_PREFIXES):
        return f"the header {lower} belongs to the connection"
    return refuse_value(lower, value)


def refuse_value(name: str, value: str) -> str | None:
    """Why the value cannot stand in a header."""
    if len(value) > MAX_VALUE:
        return f"the value of {name} is longer than {MAX_VALUE} characters"
    if any((ord(c) < 32 and c != "\t") or ord(c) == 127 or ord(c) > 255 for c in value):
        return f"the value of {name} has control characters, or others than ISO 8859-1"
    return None
