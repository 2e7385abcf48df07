"""How partitions are shared out in a group: `streams.core.assigning`, spoken in Kafka's protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import orjson
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

from streams.core import assigning
from streams.core.assigning import Claim


class LaneAssignor:
    """One process's part in its group's rounds. All topics have `partitions` partitions, and a lane has that of each.

    aiokafka asks for these four names. What its members claim, and the number of the round, travel as user data.
    """

    name = "hookfold"

    def __init__(self, topics: Sequence[str], partitions: int, claimed: Callable[[], Iterable[int]]) -> None:
        self._topics = topics
        self._partitions = partitions
        self._claimed = claimed
        self._round = 0

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """What this member says when it joins."""
        said = {"round": self._round, "partitions": sorted(self._claimed())}
        return ConsumerProtocolMemberMetadata(0, list(topics), orjson.dumps(said))

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """What every member gets: asked of the member that leads."""
        claims = {member: _claim(said.user_data) for member, said in members.items()}
        number = max(claim.round for claim in claims.values()) + 1
        return {
            member: ConsumerProtocolMemberAssignment(
                0, [(topic, sorted(mine)) for topic in self._topics], orjson.dumps({"round": number})
            )
            for member, mine in assigning.assign(claims, self._partitions).items()
        }

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """What this member got."""
        self._round = _round(assignment.user_data)


def _round(said: bytes) -> int:
    try:
        return int(orjson.loads(said)["round"])
    except (ValueError, KeyError, TypeError):
        return 0


def _claim(said: bytes) -> Claim:
    """A member's claim; what is none of ours claims nothing."""
    try:
        return Claim(_round(said), frozenset(int(number) for number in orjson.loads(said)["partitions"]))
    except (ValueError, KeyError, TypeError):
        return Claim(0, frozenset())
