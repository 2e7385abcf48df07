"""What the fields of an event may be: ids, types, times and attributes."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

MAX_TEXT_BYTES = 256
_TIME = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:)(\d\d)(\.\d{1,12})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
#: Names that are no attributes, or are told in another way.
_RESERVED = frozenset({"data", "data_base64"})
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_ATTRIBUTE = re.compile(r"[a-z0-9_]{1,64}")
_CONTROL_IN_ATTRIBUTE = re.compile("[\x00-\x1f\x7f]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def refuse(fields: Mapping[str, Any]) -> str | None:
    """Why these fields can be no event's, in one line; None where they can."""
    for name in ("id", "type"):
        text = fields[name]
        if text is None and name == "id":
            continue
        if not isinstance(text, str) or not text:
            return f"the event has no {name}" if text is None else f"the event's {name} is not a text"
        if (problem := refuse_text(text)) is not None:
            return f"the event's {name} {problem}"
    if fields["time"] is not None and not _is_time(fields["time"]):
        return "the event's time is not RFC 3339"
    if fields["content_type"] is not None and not isinstance(fields["content_type"], str):
        return "the event's datacontenttype is not a text"
    return _refuse_attributes(fields["attributes"].items(), fields["content_type"])


def _is_time(text: Any) -> bool:
    """RFC 3339, section 5.6; the second 60 is one."""
    found = _TIME.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return False
    try:
        datetime.fromisoformat(f"{found[1]}{'59' if found[2] == '60' else found[2]}{found[4]}".upper())
    except ValueError:
        return False
    return True


def _refuse_attributes(attributes: Iterable[tuple[str, str]], content_type: str | None) -> str | None:
    if content_type is not None and refuse_text(content_type) is not None:
        return "the event's content type has control characters or is longer than 256 bytes"
    for name, text in attributes:
        if name in _RESERVED or not _ATTRIBUTE.fullmatch(name):
            return "an attribute's name is not made of a-z 0-9"
        if len(text.encode("utf-8", "surrogatepass")) > 4_096 or _CONTROL_IN_ATTRIBUTE.search(text):
            return f"the attribute {name} has control characters or is longer than 4096 bytes"
        if _SURROGATE.search(text):
            return f"the attribute {name} is not UTF-8"
    return None


def refuse_text(text: str) -> str | None:
    """Why a text can be no id or type of an event, as the end of a sentence; None where it can."""
    if len(text) <= MAX_TEXT_BYTES and text.isascii() and text.isprintable():
        return None  # nearly all are like that
    if _CONTROL.search(text):
        return "has control characters"
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "is not UTF-8"
    return f"is longer than {MAX_TEXT_BYTES} bytes" if size > MAX_TEXT_BYTES else None
