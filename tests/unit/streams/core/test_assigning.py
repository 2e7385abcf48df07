"""However members come, go, sleep and claim: shares are even, nothing is in two places, and what stays never stops."""

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.assigning import Claim, assign

NOBODY = frozenset[int]()


def rounds(claims: dict[str, Claim], partitions: int, at_most: int = 5) -> list[dict[str, frozenset[int]]]:
    """Rounds until nobody has to let go of anything."""
    seen = []
    for number in range(1, at_most + 1):
        given = assign(claims, partitions)
        seen.append(given)
        let_go = any(claims[member].partitions - given[member] for member in claims)
        claims = {member: Claim(number + 100, mine) for member, mine in given.items()}
        if not let_go:
            return seen
    raise AssertionError("it does not settle")


def test_the_first_member_gets_everything_and_the_second_half_of_it() -> None:
    assert assign({"a": Claim(0, NOBODY)}, 4) == {"a": frozenset(range(4))}
    both = rounds({"a": Claim(1, frozenset(range(4))), "b": Claim(0, NOBODY)}, 4)
    assert both[0] == {"a": frozenset({0, 1}), "b": NOBODY}
    assert both[1] == {"a": frozenset({0, 1}), "b": frozenset({2, 3})}


def test_a_partition_that_moves_is_nobodys_while_its_holder_finishes() -> None:
    given = assign({"a": Claim(1, frozenset({0, 1, 2})), "b": Claim(1, frozenset({3}))}, 4)
    assert given == {"a": frozenset({0, 1}), "b": frozenset({3})}


def test_what_a_member_that_has_left_held_is_given_out_at_once() -> None:
    assert assign({"a": Claim(3, frozenset({0, 1}))}, 4) == {"a": frozenset({0, 1, 2, 3})}


def test_a_sleeper_that_wakes_does_not_get_back_what_another_was_given_since() -> None:
    given = assign({"awake": Claim(7, frozenset({0, 1})), "sleeper": Claim(6, frozenset({0, 1}))}, 2)
    assert given["awake"] == {0}
    assert given["sleeper"] == NOBODY  # the other one finishes first


def test_two_claims_of_one_round_are_void() -> None:
    given = assign({"a": Claim(5, frozenset({0, 1})), "b": Claim(5, frozenset({0, 1}))}, 2)
    assert given == {"a": {0}, "b": {1}}


CLAIMS = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d", "e"]),
    st.builds(Claim, st.integers(0, 3), st.frozensets(st.integers(0, 20))),
    min_size=1,
)


@settings(max_examples=200)
@given(CLAIMS, st.integers(1, 16))
def test_shares_become_even_and_complete_whatever_was_claimed(claims: dict[str, Claim], partitions: int) -> None:
    seen = rounds(claims, partitions)
    for shares in seen:
        assert sum(len(mine) for mine in shares.values()) == len(frozenset().union(*shares.values()))
    last = seen[-1]
    assert frozenset().union(*last.values()) == frozenset(range(partitions))
    sizes = [len(mine) for mine in last.values()]
    assert max(sizes) - min(sizes) <= 1
    assert len(seen) <= 2


@settings(max_examples=200)
@given(CLAIMS, st.integers(1, 16))
def test_nobody_is_given_what_another_rightly_claims(claims: dict[str, Claim], partitions: int) -> None:
    given = assign(claims, partitions)
    for member, mine in given.items():
        for number in mine:
            rivals = [claim.round for other, claim in claims.items() if other != member and number in claim.partitions]
            own = claims[member].round if number in claims[member].partitions else -1
            assert not rivals or max(rivals) < own or rivals.count(max(rivals)) > 1 or max(rivals) == own


@settings(max_examples=100)
@given(st.integers(1, 6), st.integers(1, 24))
def test_even_shares_stay_as_they_are(members: int, partitions: int) -> None:
    first = rounds({f"m{number}": Claim(0, NOBODY) for number in range(members)}, partitions)[-1]
    assert assign({member: Claim(1, mine) for member, mine in first.items()}, partitions) == first
