"""A short run of the chaos harness, and proof that it sees a guard that is missing."""

import asyncio
from pathlib import Path

import pytest
from stack import free_port

from compose.kafka import LocalKafka
from tests.chaos import checker, harness
from tests.chaos.plan import Fault

#: Kills and zombies, a graceful stop, a third process, a crash of Kafka's, its disk, and a receiver that is away.
SHORT = (
    Fault(2, "kill", "egress", 0),
    Fault(5, "zombie", "router", 1, 9.0),
    Fault(15, "scale", "egress", 0, 4.0),
    Fault(21, "kafka-kill"),
    Fault(36, "away", for_s=12.0),
    Fault(36, "kill", "router", 0),
    Fault(39, "zombie", "egress", 1, 9.0),
    Fault(49, "kill", "delayer", 0),
    Fault(52, "flood", for_s=2.0),
    Fault(56, "term", "egress", 0),
    Fault(59, "slow-disk", for_s=4.0),
)


@pytest.mark.timeout(400)
async def test_no_promise_is_broken_by_faults_of_any_kind(tmp_path: Path) -> None:
    broker = LocalKafka(tmp_path / "kafka", free_port())
    await asyncio.to_thread(broker.start)
    try:
        observed, done = await harness.run(
            broker.bootstrap, tmp_path, seed=1, length_s=64, schedule=SHORT, broker=broker
        )
    finally:
        await asyncio.to_thread(broker.stop)
    assert sum(count for kind, count in done.items() if kind != "ended by itself") == len(SHORT)
    assert done["ended by itself"] == 0
    assert len(observed.events) > 500
    assert {kind: count for kind, count in checker.check(observed).items() if count} == {}


@pytest.mark.timeout(450)
@pytest.mark.parametrize(
    ("mutant", "schedule", "seen"),
    [
        # A router that comes back has events and changes waiting: it is then that the order between them counts.
        ("no-barrier", (Fault(3, "kill", "router", 0), Fault(8, "kill", "router", 1)), {"not owed", "lost"}),
        (
            "commits-too-early",
            (Fault(3, "kill", "egress", 0), Fault(7, "kill", "egress", 1)),
            {"lost", "wrong attempts"},
        ),
        (
            "no-fence",
            (Fault(3, "zombie", "egress", 0, 9.0), Fault(13, "zombie", "router", 0, 9.0)),
            {"doubled results"},
        ),
        ("empty-book", (Fault(4, "term", "egress", 0), Fault(7, "term", "egress", 1)), {"overtaken"}),
        ("impatient", (), {"overtaken"}),
        ("every-item-accepted", (), {"wrong verdict"}),
    ],
)
async def test_the_checker_sees_a_guard_that_is_missing(
    kafka: str, tmp_path: Path, mutant: str, schedule: tuple[Fault, ...], seen: set[str]
) -> None:
    # What was overtaken, or ended as it should not, is seen at once; what is lost, only at the end.
    settle = not seen & {"overtaken", "wrong verdict"}
    length_s = max((fault.at_s + fault.for_s for fault in schedule), default=3) + (3 if settle else 5)
    found: set[str] = set()
    # A race that the guard would have won may go well once without it, but not three times.
    for seed in (2, 3, 4):
        observed, _ = await harness.run(
            kafka,
            tmp_path,
            seed=seed,
            length_s=length_s,
            schedule=schedule,
            mutant=mutant,
            delay_s=0.5,
            settle=settle,
        )
        found = {kind for kind, count in checker.check(observed).items() if count}
        if found & seen:
            return
    pytest.fail(f"not seen; found {found}")
