"""Keys of events made from one secret, of which single ones can be given up: a puncturable pseudorandom function.

A binary tree of `DEPTH` levels in which SHA-256 of a node is its two children (Goldreich, Goldwasser, Micali 1986). The
leaf of an event is a hash of its id. Giving up a leaf replaces the secret by the largest subtrees that do not hold it,
from which every other leaf follows, and this one does not. What is kept depends on which leaves were given up, and not
on the order.
"""

from __future__ import annotations

import hashlib
import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

#: Two of a million ids have the same leaf, and are erased together, with a chance of 1 in 500.
DEPTH = 48
NODE_BYTES = 16
LEAF_BYTES = DEPTH // 8
_LEAVES = 1 << DEPTH
_COUNT_BYTES = 4


def leaf_of(event_id: str) -> int:
    """The leaf of an event, from 0 to before 2 ** `DEPTH`."""
    return int.from_bytes(hashlib.sha256(b"hookfold event\0" + event_id.encode()).digest()[:LEAF_BYTES], "big")


@dataclass(frozen=True, slots=True)
class Punctured:
    """What is left of a secret: the leaves given up, in order, and the subtrees between them, from left to right.

    `starts` is the first leaf of each subtree, `heights` its levels below its node.
    """

    given_up: tuple[int, ...]
    nodes: tuple[bytes, ...] = field(repr=False)
    starts: tuple[int, ...] = field(repr=False)
    heights: tuple[int, ...] = field(repr=False)


def whole(secret: bytes) -> Punctured:
    """All of a secret of `NODE_BYTES` bytes."""
    if len(secret) != NODE_BYTES:
        raise ValueError(f"a secret has {NODE_BYTES} bytes")
    return Punctured((), (secret,), (0,), (DEPTH,))


def is_given_up(key: Punctured, leaf: int) -> bool:
    """True where nothing follows for the leaf any more."""
    place = bisect_left(key.given_up, leaf)
    return place < len(key.given_up) and key.given_up[place] == leaf


def derive(key: Punctured, leaf: int) -> bytes | None:
    """The leaf's own key of 32 bytes; None where it was given up."""
    if is_given_up(key, leaf):
        return None
    place = bisect_right(key.starts, leaf) - 1
    node = key.nodes[place]
    for level in range(key.heights[place] - 1, -1, -1):
        children = hashlib.sha256(node).digest()
        node = children[NODE_BYTES:] if leaf >> level & 1 else children[:NODE_BYTES]
    return hashlib.sha256(b"hookfold event key\0" + node).digest()


def puncture(key: Punctured, leaves: Iterable[int]) -> Punctured:
    """The key without these leaves, too."""
    given_up = tuple(sorted({*key.given_up, *leaves}))
    if given_up == key.given_up:
        return key
    cover = tuple(_cover(given_up))
    nodes = tuple(_nodes(key, cover))
    return Punctured(given_up, nodes, tuple(start for start, _ in cover), tuple(height for _, height in cover))


def encode(key: Punctured) -> bytes:
    """The key as bytes; `decode` is the inverse. A leaf given up takes at most 774 of them."""
    head = len(key.given_up).to_bytes(_COUNT_BYTES, "big")
    return head + b"".join(leaf.to_bytes(LEAF_BYTES, "big") for leaf in key.given_up) + b"".join(key.nodes)


def decode(raw: bytes) -> Punctured:
    """The key in bytes that `encode` made. Raises ValueError on anything else."""
    count = int.from_bytes(raw[:_COUNT_BYTES], "big")
    first = _COUNT_BYTES + count * LEAF_BYTES
    if len(raw) < first:
        raise ValueError("a punctured key is cut short")
    given_up = tuple(
        int.from_bytes(raw[place : place + LEAF_BYTES], "big") for place in range(_COUNT_BYTES, first, LEAF_BYTES)
    )
    if any(left >= right for left, right in itertools.pairwise(given_up)):
        raise ValueError("the leaves of a punctured key are not in order")
    cover = tuple(_cover(given_up))
    nodes = tuple(raw[place : place + NODE_BYTES] for place in range(first, len(raw), NODE_BYTES))
    if len(raw) - first != len(cover) * NODE_BYTES:
        raise ValueError("a punctured key does not have the nodes that its leaves ask for")
    return Punctured(given_up, nodes, tuple(start for start, _ in cover), tuple(height for _, height in cover))


def _cover(given_up: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First leaf and height of the largest subtrees without any of these leaves, from left to right."""
    start = 0
    for leaf in (*given_up, _LEAVES):
        while start < leaf:
            aligned = (start & -start).bit_length() - 1 if start else DEPTH
            height = min(aligned, (leaf - start).bit_length() - 1)
            yield start, height
            start += 1 << height
        start = leaf + 1


def _nodes(key: Punctured, wanted: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """The nodes of subtrees, each by its first leaf and its height, from left to right; the key has one above each."""
    # From the key's own node down to the last one that was wanted: the next has the beginning of its way in common.
    path: list[tuple[int, int, bytes]] = []
    for start, height in wanted:
        while path and start >= path[-1][0] + (1 << path[-1][1]):
            path.pop()
        if not path:
            place = bisect_right(key.starts, start) - 1
            path.append((key.starts[place], key.heights[place], key.nodes[place]))
        first, level, node = path[-1]
        while level > height:
            level -= 1
            children = hashlib.sha256(node).digest()
            if start >> level & 1:
                first, node = first + (1 << level), children[NODE_BYTES:]
            else:
                node = children[:NODE_BYTES]
            path.append((first, level, node))
        yield node
