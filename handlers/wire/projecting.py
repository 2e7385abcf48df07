"""`payload.fields`: part of the data, its untouched parts byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec
import orjson

from streams.core import fields

_OBJECT: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY: msgspec.json.Decoder[list[msgspec.Raw]] = msgspec.json.Decoder(list[msgspec.Raw])

#: A tree of names; None stands for everything from here on.
Tree = dict[str, Any]


@lru_cache(maxsize=4_096)
def _tree(paths: tuple[str, ...]) -> Tree | None:
    root: Tree = {}
    for path in paths:
        names = fields.split(path)[1:]  # the first is `data`
        if not names:
            return None
        node: Tree | None = root
        for name in names[:-1]:
            assert node is not None
            node = node.setdefault(name, {})
            if node is None:
                break  # a shorter path has it all
        else:
            assert node is not None
            node[names[-1]] = None
    return root


def project(data: bytes, paths: Sequence[str]) -> bytes:
    """The fields of the data that the paths name: nesting kept, arrays element by element, what is missing absent.

    Data that is no object or array has no fields, and neither has what is not JSON: nothing is left of it (`null`).
    What lies deeper than 16 levels is left out.
    """
    tree = _tree(tuple(paths))
    try:
        if tree is None:
            orjson.loads(data)
            return data
        return _pick(data, tree, 0) or b"null"
    except (msgspec.DecodeError, orjson.JSONDecodeError, RecursionError):
        return b"null"


def _pick(raw: bytes, tree: Tree, depth: int) -> bytes | None:
    if depth > fields.MAX_DEPTH:
        return None
    first = raw.lstrip()[:1]
    if first == b"[":
        items = (_pick(bytes(item), tree, depth + 1) for item in _ARRAY.decode(raw))
        return b"[" + b",".join(item for item in items if item is not None) + b"]"
    if first != b"{":
        return None
    picked = []
    for name, value in _OBJECT.decode(raw).items():
        if name in tree:
            inner = tree[name]
            kept = bytes(value) if inner is None else _pick(bytes(value), inner, depth + 1)
            if kept is not None:
                picked.append(orjson.dumps(name) + b":" + kept)
    return b"{" + b",".join(picked) + b"}"
