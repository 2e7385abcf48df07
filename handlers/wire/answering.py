"""Answers that are plain: whole, of a length that they tell, on a connection that stays open. Most are.

What is read here, aiohttp's parser reads alike; whatever is out of the ordinary is left to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

#: Well within what aiohttp's parser takes of lines and of their number.
MAX_HEAD_BYTES = 4_096
_HEAD = re.compile(
    rb"HTTP/1\.1 ([2-5][0-9]{2}) [\t\x20-\x7e]*\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e]*\r\n){0,100})\r\n"
)
_LENGTH = re.compile(r"[0-9]{1,7}")
#: They make an answer's end, or what follows it, another matter.
_ODD = frozenset({"transfer-encoding", "trailer", "upgrade", "proxy-connection", "sec-websocket-key1"})
#: RFC 9110, 15.3.5 and 15.4.5.
_BODILESS = frozenset({204, 304})


class Plain(NamedTuple):
    """An answer. `headers` are by their names in lower case; of several of one name, the first."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def read(data: bytes, max_body_bytes: int) -> Plain | int | None:
    """The answer that the bytes are; of how many bytes it is, where they are its beginning; None where it is not plain.

    A head that has not come to its end is not plain, and neither is a body of more than `max_body_bytes`.
    """
    head = _HEAD.match(data, 0, MAX_HEAD_BYTES)
    if head is None:
        return None
    status, headers = int(head[1]), _headers(head[2]) if head[2] else {}
    if headers is None:
        return None
    told = headers.get("content-length", "0" if status in _BODILESS else "")
    if not _LENGTH.fullmatch(told) or (length := int(told)) > max_body_bytes or (length and status in _BODILESS):
        return None
    end = head.end() + length
    if len(data) > end:
        return None
    return Plain(status, headers, data[head.end() :]) if len(data) == end else end


def _headers(block: bytes) -> dict[str, str] | None:
    """The headers by name; None where one of them is odd."""
    found: dict[str, str] = {}
    for line in block.decode().split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        name = name.lower()
        if name not in found:
            found[name] = value.strip(" \t")
        elif name in ("content-length", "connection"):
            return None
    if not _ODD.isdisjoint(found) or found.get("connection", "keep-alive").lower() != "keep-alive":
        return None
    return found
