"""Who gets which partition: shares that are even, partitions that stay where they are, and none in two places."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Claim:
    """What a member still works on, and the round in which it was given that: of two claims the later one counts."""

    round: int
    partitions: frozenset[int]


def assign(claims: Mapping[str, Claim], partitions: int) -> dict[str, frozenset[int]]:
    """Each member's partitions in the next round.

    A partition that has to move is nobody's in this round: its holder finishes there and asks for another round, in
    which it no longer claims it. So a partition is never worked on in two places, and what stays never stops. This is
    the idea of Kafka's cooperative rebalancing (KIP-429), which aiokafka's assignors do not have.
    """
    holders = _holders(claims, partitions)
    wanted = _shares(claims, holders, partitions)
    return {
        member: frozenset(number for number in mine if holders.get(number, member) == member)
        for member, mine in wanted.items()
    }


def _holders(claims: Mapping[str, Claim], partitions: int) -> dict[int, str]:
    """The member that each claimed partition is with; one that two claim in the same round is with nobody."""
    holders: dict[int, str] = {}
    for number in range(partitions):
        claiming = sorted((claim.round, member) for member, claim in claims.items() if number in claim.partitions)
        if claiming and (len(claiming) == 1 or claiming[-1][0] > claiming[-2][0]):
            holders[number] = claiming[-1][1]
    return holders


def _shares(claims: Mapping[str, Claim], holders: Mapping[int, str], partitions: int) -> dict[str, list[int]]:
    """Even shares with as few moves as there can be: who holds most keeps the larger shares."""
    held: dict[str, list[int]] = {member: [] for member in claims}
    for number, member in holders.items():
        held[member].append(number)
    order = sorted(claims, key=lambda member: (-len(held[member]), member))
    least, more = divmod(partitions, len(order))
    size = {member: least + (place < more) for place, member in enumerate(order)}
    shares = {member: sorted(held[member])[: size[member]] for member in order}
    kept = {number for share in shares.values() for number in share}
    free = [number for number in range(partitions) if number not in kept]
    for member in order:
        while len(shares[member]) < size[member]:
            shares[member].append(free.pop(0))
    return shares
