"""Single leaves can be given up: for each of them nothing follows any more, for every other just what did before."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core import puncturing
from streams.core.puncturing import DEPTH, NODE_BYTES

SECRET = bytes(range(NODE_BYTES))
WHOLE = puncturing.whole(SECRET)
#: Neighbours, the ends and strangers: where subtrees meet is where a mistake would be.
LEAVES = st.one_of(
    st.integers(0, 40), st.integers(2**DEPTH - 40, 2**DEPTH - 1), st.integers(0, 2**DEPTH - 1),
    st.integers(1, DEPTH - 1).map(lambda level: 2**level), st.integers(1, DEPTH).map(lambda level: 2**level - 1),
)  # fmt: skip


@given(st.sets(LEAVES, max_size=12), st.sets(LEAVES, max_size=12))
def test_an_erased_one_never_derives_and_every_other_derives_the_same(erased: set[int], others: set[int]) -> None:
    key = puncturing.puncture(WHOLE, erased)
    assert [puncturing.derive(key, leaf) for leaf in erased] == [None] * len(erased)
    for leaf in others - erased:
        assert puncturing.derive(key, leaf) == puncturing.derive(WHOLE, leaf)
    assert {leaf for leaf in erased | others if puncturing.is_given_up(key, leaf)} == erased


@given(st.lists(LEAVES, max_size=8), st.randoms(use_true_random=False))
def test_puncturing_commutes_and_is_idempotent(leaves: list[int], chance: random.Random) -> None:
    together = puncturing.puncture(WHOLE, leaves)
    chance.shuffle(leaves)
    apart = WHOLE
    for leaf in [*leaves, *leaves]:
        apart = puncturing.puncture(apart, [leaf])
    assert apart == together
    assert puncturing.puncture(together, leaves) is together


@given(st.sets(LEAVES, max_size=12))
def test_what_is_left_of_a_secret_survives_its_bytes_and_holds_no_ancestor_of_what_was_erased(leaves: set[int]) -> None:
    key = puncturing.puncture(WHOLE, leaves)
    assert puncturing.decode(puncturing.encode(key)) == key
    spans = [(start, start + 2**height) for start, height in zip(key.starts, key.heights, strict=True)]
    assert all(not start <= leaf < end for leaf in leaves for start, end in spans)
    assert sum(end - start for start, end in spans) + len(leaves) == 2**DEPTH
    assert len(puncturing.encode(key)) <= 4 + NODE_BYTES + len(leaves) * 774


def test_the_keys_are_those_of_every_version() -> None:
    """What was sealed by an older version has to open with this one."""
    leaf = puncturing.leaf_of("evt_1")
    assert leaf == 174662636887890
    assert puncturing.derive(WHOLE, leaf) == bytes.fromhex(
        "a532d264b3de5eac9531744851da022c41bb87b632ced671f933e544570c8842"
    )


@pytest.mark.parametrize("raw", [b"", b"\0\0\0\1", b"\0\0\0\0" + SECRET[1:], b"\0\0\0\0" + SECRET + b"\0"])
def test_bytes_that_are_no_key_are_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):
        puncturing.decode(raw)


def test_leaves_out_of_order_are_refused() -> None:
    key = puncturing.encode(puncturing.puncture(WHOLE, [5, 9]))
    with pytest.raises(ValueError, match="in order"):
        puncturing.decode(key[:4] + key[10:16] + key[4:10] + key[16:])
