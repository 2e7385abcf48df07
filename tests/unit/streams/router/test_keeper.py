"""The keeper answers what a plain dictionary of records would, however little of it is parsed at a time."""

import itertools
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from aiokafka.structs import TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import subscribed
from schemas.changes import Subscription
from schemas.endpoints import EndpointRecord, EndpointSettings, EndpointVersion, State
from schemas.settings import RouterSettings
from streams.core import matching
from streams.core.marks import Mark
from streams.router import keeper as keeping
from streams.router.folding import Folding
from streams.router.keeper import Keeper
from streams.router.rebuild import Rebuild

PLACE = TopicPartition("endpoints", 0)
TENANTS, IDS, PATTERNS = ("a", "b"), ("e0", "e1", "e2"), ("order.*", "invoice.paid", "**")
TYPES = ("order.made", "invoice.paid", "other")


@dataclass
class Stored:
    """A record of the topic."""

    offset: int
    key: bytes
    value: bytes | None


class Topic:
    """The topic, as a lane reads it."""

    def __init__(self) -> None:
        self.records: list[Stored] = []

    def write(self, written: dict[bytes, bytes | None]) -> int:
        """Append; the end."""
        self.records += [Stored(len(self.records) + at, key, value) for at, (key, value) in enumerate(written.items())]
        return len(self.records)

    async def stable_ends(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """See `Log.stable_ends`."""
        return dict.fromkeys(places, len(self.records))

    async def bounds(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """See `Log.bounds`."""
        return dict.fromkeys(places, (0, len(self.records)))

    async def read(self, place: TopicPartition, start: int, end: int) -> AsyncIterator[Sequence[Stored]]:
        """See `Log.read`."""
        yield self.records[start:end]


def record(tenant: str, endpoint_id: str, offset: int, patterns: Sequence[str] | None) -> EndpointRecord:
    """An endpoint that is subscribed to these patterns; None: it is gone."""
    known = None
    if patterns is not None:
        known = EndpointSettings(
            url="https://example.com", secrets=(), subscriptions=(Subscription(event_types=tuple(patterns)),)
        )
    state = State.GONE if patterns is None else State.ACTIVE
    version = EndpointVersion(valid_from_ms=offset, offset=offset, state=state, since_ms=offset, settings=known)
    return EndpointRecord(tenant=tenant, endpoint_id=endpoint_id, partition=0, current=version)


def found(kept: Keeper, tenant: str, event_type: str) -> list[tuple[bytes, tuple[str, bytes]]]:
    """Whom `candidates` are, and in which version."""
    plans = [(one, one.as_of(10**9)) for one in kept.candidates(tenant, event_type)]
    return [(plan.key, version.header) for plan, version in plans if version is not None]


def led_to(known: dict[bytes, EndpointRecord], tenant: str, event_type: str) -> list[tuple[bytes, tuple[str, bytes]]]:
    """What these ought to be."""
    return [
        (key, ("endpoint-version", one.settings_version.encode()))
        for key, one in sorted(known.items())
        if one.tenant == tenant
        and one.current.settings is not None
        and any(
            matching.matches(pattern, event_type)
            for subscription in one.current.settings.subscriptions
            for pattern in subscription.event_types
        )
    ]


CHANGES = st.tuples(
    st.just("change"), st.sampled_from(TENANTS), st.sampled_from(IDS),
    st.one_of(st.none(), st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=2, unique=True)),
)  # fmt: skip
STEPS = st.lists(
    st.one_of(
        CHANGES,
        st.tuples(st.just("snapshot"), st.one_of(st.none(), st.integers(1, 3))),
        st.tuples(st.sampled_from(["commit", "lose", "look", "sweep", "warm"])),
    ),
    max_size=40,
)


@settings(max_examples=60)
@given(STEPS)
@pytest.mark.parametrize("room", [1, 3_000, 100_000])
async def test_what_is_known_is_what_was_committed_and_over_it_what_was_changed(room: int, steps: list[Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MAX_INDEX_BYTES", "MIN_INDEX_BYTES", "MAX_PLAN_BYTES", "MIN_PLAN_BYTES", "MAX_PARSED"):
            patch.setattr(keeping, name, room)
        kept, topic = Keeper(PLACE), Topic()
        log: Any = topic
        committed: dict[bytes, EndpointRecord] = {}
        known: dict[bytes, EndpointRecord] = {}
        taken: dict[bytes, bytes | None] = {}
        offsets = itertools.count(1)
        for step in steps:
            match step:
                case ("change", tenant, endpoint_id, patterns):
                    made = record(tenant, endpoint_id, next(offsets), patterns)
                    known[f"{tenant}/{endpoint_id}".encode()] = made
                    kept.change(made)
                case ("snapshot", at_most) if not taken:
                    taken = {**kept.snapshot(at_most)}
                case ("sweep",) if not taken:
                    taken = dict.fromkeys(kept.gone_before(1_000), None)
                case ("commit",):
                    for key, value in taken.items():
                        if value is None:
                            committed.pop(key)
                            if known[key].current.state is State.GONE:
                                known.pop(key)
                        else:
                            committed[key] = EndpointRecord.decode(value)
                    kept.committed(taken, topic.write(taken))
                    taken = {}
                case ("lose",):
                    taken, known = {}, dict(committed)
                    await kept.load(log)
                case ("warm",):
                    kept.warm(next(offsets))
                case _:
                    pass
            for tenant, event_type in itertools.product(TENANTS, TYPES):
                owed = led_to(known, tenant, event_type)
                assert found(kept, tenant, event_type) == owed
                later = [plan.key for plan in kept.candidates(tenant, event_type).after("e0")]
                assert later == [key for key, _ in owed if not key.endswith(b"/e0")]
            assert {key: EndpointRecord.decode(kept.value(key) or b"") for key in kept} == committed
            assert len(kept) == len(committed)
            for tenant, endpoint_id in itertools.product(TENANTS, IDS):
                assert kept.get(tenant, endpoint_id) == known.get(f"{tenant}/{endpoint_id}".encode())


def test_the_patterns_of_a_value_are_those_of_all_its_versions() -> None:
    now, before = record("a", "e", 2, ["order.*"]), record("a", "e", 1, ["invoice.paid", "**"])
    both = now.model_copy(update={"history": (before.current,)})
    assert set(subscribed.patterns(both.encode())) == {"order.*", "invoice.paid", "**"}
    assert not subscribed.patterns(record("a", "e", 3, None).encode())


def test_a_snapshot_in_parts_has_everything_once_and_in_the_order_of_the_changes() -> None:
    kept = Keeper(PLACE)
    for number in range(7):
        kept.change(record("a", f"e{number}", number, ["**"]))
    parts = [list(kept.snapshot(3)) for _ in range(4)]
    assert [len(part) for part in parts] == [3, 3, 1, 0]
    assert [key for part in parts for key in part] == [f"a/e{number}".encode() for number in range(7)]
    assert not kept.dirty


def test_who_is_gone_is_swept_once_that_is_committed_and_not_when_it_has_come_back() -> None:
    kept, topic, key = Keeper(PLACE), Topic(), b"a/e0"
    kept.change(record("a", "e0", 5, None))
    written = {**kept.snapshot()}
    assert kept.gone_before(6) == []
    kept.committed(written, topic.write({**written}))
    assert kept.gone_before(5) == []
    assert kept.gone_before(6) == [key]
    kept.change(record("a", "e0", 7, ["**"]))
    assert kept.gone_before(6) == []
    kept.committed({key: None}, topic.write({key: None}))
    assert [one.endpoint_id for one in kept.candidates("a", "order.made")] == ["e0"]


def test_it_is_full_with_as_much_as_one_transaction_should_have_until_that_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeping, "MAX_CHANGED", 3)
    kept = Keeper(PLACE)
    for number in range(3):
        assert not kept.full
        kept.change(record("a", f"e{number}", number, ["**"]))
    assert kept.full
    kept.snapshot()
    assert not kept.full
    monkeypatch.setattr(keeping, "MAX_CHANGED_BYTES", 500)
    kept.change(record("a", "e1", 4, ["x" * 600]))
    assert kept.full
    kept.snapshot()
    assert not kept.full


async def test_a_topic_that_ends_before_what_was_read_of_it_is_read_from_its_beginning() -> None:
    kept, topic = Keeper(PLACE), Topic()
    log: Any = topic
    topic.write({f"a/e{number}".encode(): record("a", f"e{number}", number, ["**"]).encode() for number in range(3)})
    await kept.load(log)
    topic.records.clear()
    topic.write({b"a/e1": record("a", "e1", 9, ["**"]).encode()})
    await kept.load(log)
    assert found(kept, "a", "order.made") == [(b"a/e1", ("endpoint-version", b"0-9"))]
    assert kept.position == 1


@pytest.mark.parametrize("generation", [0, 1])
async def test_what_another_has_rebuilt_is_read_from_its_beginning(generation: int) -> None:
    kept, topic = Keeper(PLACE), Topic()
    log: Any = topic
    rebuild = Rebuild(log, kept, Folding(RouterSettings(partitions=1), kept), TopicPartition("subscriptions", 0))
    topic.write({f"a/e{number}".encode(): record("a", f"e{number}", number, ["**"]).encode() for number in range(2)})
    await rebuild.load(str(Mark(2)), 5, 1)
    if generation:
        topic.records.clear()
        topic.write({f"a/f{number}".encode(): record("a", f"f{number}", 1, ["**"]).encode() for number in range(3)})
    await rebuild.load(str(Mark(len(topic.records), 0, generation)), 5, 1)
    names = ["f0", "f1", "f2"] if generation else ["e0", "e1"]
    assert [one.endpoint_id for one in kept.candidates("a", "order.made")] == names


async def test_tenants_that_were_loaded_are_indexed_before_any_event_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "WARMED", 2)
    kept, topic = Keeper(PLACE), Topic()
    topic.write(
        {f"{tenant}/e{n}".encode(): record(tenant, f"e{n}", n, ["**"]).encode() for tenant in "abc" for n in (1, 2)}
    )
    log: Any = topic
    await kept.load(log)
    assert [kept.warm(at_s) for at_s in (1, 1.001, 2, 3, 4)] == [True, False, True, False, False]
    read: list[bytes] = []
    monkeypatch.setattr(subscribed, "patterns", read.append)
    assert all(len(list(kept.candidates(tenant, "order.made"))) == 2 for tenant in "abc")
    assert read == []


def test_a_tenant_with_more_candidates_than_there_is_room_for_is_not_read_again_for_each_event(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("MAX_PLAN_BYTES", "MIN_PLAN_BYTES"):
        monkeypatch.setattr(keeping, name, 100 * 2_000)
    kept = Keeper(PLACE)
    for number in range(200):
        kept.change(record("a", f"e{number}", number, ["**"]))
    plans = [list(kept.candidates("a", "order.made")) for _ in range(10)]
    made = [{id(plan) for plan in one} for one in plans]
    assert all(len(one) == 200 for one in made)
    again = [len(one & two) for one, two in itertools.pairwise(made[1:])]
    assert min(again) >= 60


@pytest.mark.parametrize("patterns", [["invoice.paid"], None])
def test_what_is_changed_and_not_committed_counts_when_its_tenant_is_indexed_again(
    monkeypatch: pytest.MonkeyPatch, patterns: list[str] | None
) -> None:
    for name in ("MAX_INDEX_BYTES", "MIN_INDEX_BYTES"):
        monkeypatch.setattr(keeping, name, 1)
    kept, topic = Keeper(PLACE), Topic()
    kept.change(record("a", "e0", 1, ["order.*"]))
    written = {**kept.snapshot()}
    kept.committed(written, topic.write({**written}))
    kept.change(record("a", "e0", 2, patterns))
    kept.candidates("b", "order.made")
    assert list(kept.candidates("a", "order.made")) == []
    kept.candidates("b", "order.made")
    assert [plan.key for plan in kept.candidates("a", "invoice.paid")] == ([] if patterns is None else [b"a/e0"])


def test_tenants_that_are_registered_are_indexed_when_there_is_nothing_else_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeping, "WARMED", 2)
    kept, topic = Keeper(PLACE), Topic()
    for tenant, number in itertools.product("abc", range(2)):
        kept.change(record(tenant, f"e{number}", number, ["**"]))
    written = {**kept.snapshot()}
    kept.committed(written, topic.write({**written}))
    assert [kept.warm(at_s) for at_s in (1, 1.001, 2, 3, 4)] == [True, False, True, False, False]
    read: list[bytes] = []
    monkeypatch.setattr(subscribed, "patterns", read.append)
    assert all(len(list(kept.candidates(tenant, "order.made"))) == 2 for tenant in "abc")
    assert read == []
