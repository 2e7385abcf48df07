"""Members of a group against a real Kafka: nothing in two places, what stays goes on, what stands still ends."""

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping, Sequence

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.structs import ConsumerRecord, TopicPartition

from schemas import topics
from schemas.settings import Settings
from streams import provisioning
from streams.core.outputs import Output
from streams.lane.group import LaneGroup, Stalled
from streams.lane.health import Health
from streams.lane.log import Committed
from streams.lane.outputs import Batch

PARTITIONS = 4


class Noting:
    """Work that notes what happens to it; `still`: it always has something to do and never does it."""

    def __init__(self, member: str, number: int, notes: list[tuple[str, str, int]], still: bool = False) -> None:
        self.notify: Callable[[], None] = lambda: None
        self.hurry: Callable[[], None] = lambda: None
        self.is_sure: Callable[[], bool] = lambda: False
        self.fed_at: list[float] = []
        self._member = member
        self._number = number
        self._notes = notes
        self._still = still

    async def opened(self, committed: Mapping[TopicPartition, Committed], *, fresh: bool) -> dict[TopicPartition, int]:
        self._notes.append(("opened", self._member, self._number))
        return {place: known.offset or 0 for place, known in committed.items()}

    def feed(self, partition: TopicPartition, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        self.fed_at += [time.monotonic()] * len(records)

    def passed(self, partition: TopicPartition, position: int) -> None: ...

    def wants(self, partition: TopicPartition) -> bool:
        return True

    async def collect(self) -> Batch | None:
        return None

    def settled(self, batch: Batch) -> None: ...

    async def drain(self, timeout_s: float) -> None:
        await asyncio.sleep(0.3)
        self._notes.append(("drained", self._member, self._number))

    def waiting(self) -> bool:
        return self._still

    def progress(self) -> int:
        return 0


class Member:
    """One process's membership, in this one."""

    def __init__(self, name: str, settings: Settings, notes: list[tuple[str, str, int]], still: bool = False) -> None:
        self.works: dict[int, Noting] = {}
        self.health = Health()
        self.stop = asyncio.Event()

        def make(number: int) -> Noting:
            self.works[number] = Noting(name, number, notes, still)
            return self.works[number]

        self.group = LaneGroup(settings, "egress", [topics.DELIVERIES], make, self.health)
        self.running = asyncio.create_task(self.group.run(self.stop))

    def open(self) -> set[int]:
        """The partitions whose lanes are open."""
        return {number for number, lane in self.group.lanes.items() if lane.open}

    async def leave(self) -> None:
        self.stop.set()
        await self.running


@pytest.fixture
async def settings(kafka: str, prefix: str) -> Settings:
    made = Settings(kafka=kafka, prefix=prefix, partitions=PARTITIONS, session_timeout_ms=6_000, stall_exit_ms=12_000)
    await provisioning.provision(made)
    return made


async def until(condition: Callable[[], bool], timeout_s: float = 40.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_partition_moves_when_its_holder_has_finished_and_the_others_go_on(settings: Settings) -> None:
    notes: list[tuple[str, str, int]] = []
    everything = set(range(PARTITIONS))
    first = Member("first", settings, notes)
    await until(lambda: first.open() == everything)
    before = dict(first.works)
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka) as producer:

        async def produce() -> None:
            while True:
                for number in range(PARTITIONS):
                    await producer.send(settings.topic(topics.DELIVERIES), b"v", partition=number)
                await asyncio.sleep(0.05)

        producing = asyncio.create_task(produce())
        await until(lambda: all(work.fed_at for work in before.values()))
        second = Member("second", settings, notes)
        await until(lambda: len(second.open()) == 2 and len(first.open()) == 2)
        moved, kept = second.open(), first.open()
        assert moved | kept == everything
        await asyncio.sleep(0.5)
        for number in moved:
            assert notes.index(("drained", "first", number)) < notes.index(("opened", "second", number))
            assert notes.count(("opened", "second", number)) == 1
        for number in kept:
            assert first.works[number] is before[number]
            assert ("drained", "first", number) not in notes
            fed_at = before[number].fed_at
            assert max(after - earlier for earlier, after in itertools.pairwise(fed_at)) < 1.5
        began = time.monotonic()
        await second.leave()
        await until(lambda: first.open() == everything)
        assert time.monotonic() - began < 4  # no session has to end for it
        for number in kept:
            assert first.works[number] is before[number]
        producing.cancel()
        await asyncio.wait([producing])
    await first.leave()
    assert {note for note in notes if note[0] == "drained" and note[1] == "first"} >= {
        ("drained", "first", number) for number in everything
    }


async def test_a_lane_that_stands_still_is_told_and_ends_its_process(settings: Settings) -> None:
    member = Member("still", settings, [], still=True)
    await until(lambda: any("moves nothing" in reason for reason in member.health.reasons().values()))
    with pytest.raises(Stalled, match="moved nothing for"):
        await asyncio.wait_for(member.running, 20)


class Eager(Noting):
    """Work with one result to commit whenever it is told so."""

    def __init__(self) -> None:
        super().__init__("eager", 0, [])
        self.due = False
        self.committed_at: list[float] = []

    async def collect(self) -> Batch | None:
        due, self.due = self.due, False
        return Batch([Output(topics.RESULTS, b"t/e", b"{}", partition=0)], {}) if due else None

    def waiting(self) -> bool:
        return self.due

    def settled(self, batch: Batch) -> None:
        self.committed_at.append(time.monotonic())


async def test_what_lingers_is_committed_at_once_when_it_is_in_a_hurry_or_the_lane_stops(settings: Settings) -> None:
    patient = settings.model_copy(update={"commit_interval_ms": 5_000})
    works: dict[int, Eager] = {}
    group = LaneGroup(
        patient, "egress", [topics.DELIVERIES], lambda number: works.setdefault(number, Eager()), Health(),
        linger_ms=5_000,
    )  # fmt: skip
    stop = asyncio.Event()
    running = asyncio.create_task(group.run(stop))
    await until(lambda: len(group.lanes) == PARTITIONS and all(lane.open for lane in group.lanes.values()))
    hurried, lingering, *_ = works.values()
    asked_at = time.monotonic()
    for work in (hurried, lingering):
        work.due = True
        work.notify()
    hurried.hurry()
    await until(lambda: bool(hurried.committed_at))
    assert hurried.committed_at[0] - asked_at < 3
    assert not lingering.committed_at
    stop.set()
    await running
    assert lingering.committed_at[0] - asked_at < 4.5
