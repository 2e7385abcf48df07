"""What changes lead to before it is committed: as much as one transaction should have, and records that fit."""

import json

import pytest
from aiokafka.structs import TopicPartition

from schemas import topics
from schemas.settings import RouterSettings
from streams.core.outputs import Output, Source
from streams.router import folding
from streams.router.folding import Folding
from streams.router.keeper import Keeper


def folded() -> Folding:
    settings = RouterSettings(partitions=1)
    return Folding(settings, Keeper(TopicPartition("endpoints", 0)))


def change(kind: str, at_ms: int, endpoint_id: str = "e", **fields: object) -> Source:
    value = json.dumps({"type": f"endpoint.{kind}", "endpoint_id": endpoint_id, **fields}).encode()
    return Source("subscriptions", 0, at_ms, at_ms, b"t", value)


def registered(at_ms: int, description: str = "") -> Source:
    subscriptions = [{"event_types": ["**"]}]
    return change(
        "registered", at_ms, url="https://example.com/", subscriptions=subscriptions, secrets=[], verification="none",
        description=description,
    )  # fmt: skip


def test_history_that_no_event_waits_for_gives_way_to_a_change_and_the_others_stay() -> None:
    made = folded()
    made.max_bytes = 5_000
    made.apply(registered(1, "x" * 1_000), 1)
    for at_ms in range(2, 6):
        made.apply(change("changed", at_ms, description=f"{at_ms}" * 1_000), at_ms)
    assert [output.topic for output in made.made] == []
    kept = made._keeper.get("t", "e")
    assert kept is not None
    assert [one.valid_from_ms for one in (*kept.history, kept.current)] == [4, 5]
    for at_ms in range(6, 12):
        made.apply(change("changed", at_ms, description=f"{at_ms % 10}" * 1_000), 5)
    rejected = [output.value or b"" for output in made.made]
    assert all(output.topic == topics.REJECTED for output in made.made)
    kept = made._keeper.get("t", "e")
    assert kept is not None
    assert kept.history[0].valid_from_ms == 5
    assert len(kept.history) + len(rejected) == 6


def test_it_says_when_history_takes_more_room_than_it_should() -> None:
    made = folded()
    made.apply(registered(1), 1)
    for at_ms in range(2, 102):
        made.apply(change("changed", at_ms, description=f"{at_ms}"), 1)
        assert not made.crowded
    made.apply(change("changed", 102, description="102"), 1)
    assert made.crowded


def test_it_is_full_with_as_many_bytes_as_one_transaction_should_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "MAX_MADE_BYTES", 3_000)
    made = folded()
    for number in range(3):
        assert not made.full
        made.apply(Source("subscriptions", 0, number, number, b"t", b"x" * 1_000), 1)
    assert made.full
    made.take()
    assert not made.full


@pytest.mark.parametrize("replayed", [False, True])
def test_a_change_that_leaves_a_replay_no_room_for_its_progress_is_rejected(replayed: bool) -> None:
    fields = {"deliver_since_ms": 1_000} if replayed else {}
    changes = [registered(1_000), change("paused", 2_000), change("resumed", 3_000, **fields)]
    size = 0
    for limit in (topics.MIB, None):
        made = folded()
        made.max_bytes = size + folding.PROGRESS_BYTES - 1 if limit is None else limit
        for one in changes:
            made.apply(one, 1_000)
        kept = made._keeper.get("t", "e")
        assert kept is not None
        size = Output(topics.ENDPOINTS, b"t/e", kept.encode()).size
        rejected = [output for output in made.made if output.topic == topics.REJECTED]
        assert len(rejected) == (replayed and limit is None)
        assert len(kept.catch_ups) == (replayed and limit is not None)
