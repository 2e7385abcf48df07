"""A short run of the chaos harness, and proof that its checker sees what it looks for."""

from pathlib import Path

import pytest

from tests.chaos import checker, harness, plan
from tests.chaos.checker import Observed, Sent
from tests.chaos.plan import Fault

#: A kill and a zombie of each service, and a graceful stop.
SHORT = (
    Fault(4, "kill", "egress", 0),
    Fault(8, "zombie", "router", 1, 9.0),
    Fault(19, "kill", "router", 0),
    Fault(23, "zombie", "egress", 1, 9.0),
    Fault(34, "kill", "delayer", 0),
    Fault(38, "term", "egress", 0),
)


@pytest.mark.timeout(300)
async def test_no_promise_is_broken_by_kills_and_zombies(kafka: str, tmp_path: Path) -> None:
    observed, done = await harness.run(kafka, tmp_path, seed=1, length_s=42, schedule=SHORT)
    assert sum(count for kind, count in done.items() if kind != "ended by itself") == len(SHORT)
    assert done["ended by itself"] == 0
    assert len(observed.events) > 500
    assert {kind: count for kind, count in checker.check(observed).items() if count} == {}


@pytest.mark.timeout(450)
@pytest.mark.parametrize(
    ("mutant", "schedule", "seen"),
    [
        # A router that comes back has events and changes waiting: it is then that the order between them counts.
        ("no-barrier", (Fault(4, "kill", "router", 0), Fault(9, "kill", "router", 1)), {"not owed", "lost"}),
        (
            "commits-too-early",
            (Fault(5, "kill", "egress", 0), Fault(9, "kill", "egress", 1)),
            {"lost", "wrong_attempts"},
        ),
        (
            "no-fence",
            (Fault(4, "zombie", "egress", 0, 9.0), Fault(14, "zombie", "router", 0, 9.0)),
            {"doubled results"},
        ),
    ],
)
async def test_the_checker_sees_a_guard_that_is_missing(
    kafka: str, tmp_path: Path, mutant: str, schedule: tuple[Fault, ...], seen: set[str]
) -> None:
    length_s = max((fault.at_s + fault.sleep_s for fault in schedule), default=0) + 3
    found: set[str] = set()
    # A race that the guard would have won may go well once without it, but not three times.
    for seed in (2, 3, 4):
        observed, _ = await harness.run(
            kafka, tmp_path, seed=seed, length_s=length_s, schedule=schedule, mutant=mutant, delay_s=0.5
        )
        found = {kind for kind, count in checker.check(observed).items() if count}
        if found & seen:
            return
    pytest.fail(f"not seen; found {found}")


def result(name: str, attempt: int = 1, verdict: str = "delivered", **more: object) -> dict[str, object]:
    return {"tenant": "t", "event_id": name, "endpoint_id": "steady", "delivery_id": "00000000", "attempt": attempt,
            "verdict": verdict, "attempted_at_ms": 1_000, **more}  # fmt: skip


@pytest.mark.parametrize(
    ("results", "kind"),
    [
        ([], "lost"),
        ([result("e"), result("e")], "doubled results"),
        ([result("e"), result("e", 2)], "two final verdicts"),
        ([result("e"), result("other")], "not owed"),
        ([result("e", 1, "retrying", next_attempt_at_ms=2_000), result("e", 2)], "early"),
        ([result("e", 2)], "wrong_attempts"),
        ([result("e")], "results without POST"),
    ],
)
def test_the_checker_names_what_is_wrong(results: list[dict[str, object]], kind: str) -> None:
    observed = Observed(events=[Sent("t", "e", 5)], results=results)
    assert checker.check(observed)[kind] > 0


def test_the_checker_is_content_with_what_should_be() -> None:
    observed = Observed(events=[Sent("t", "e", 5)], results=[result("e")], posts=[("00000000", 1)])
    assert not any(checker.check(observed).values())
    assert plan.failures_of("00000000") == 0
